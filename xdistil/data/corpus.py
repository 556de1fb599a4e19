"""A run's text: labeled sentences, what is left as transfer text, dev and test."""

import dataclasses
import hashlib
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.data.readers import (
    ReadReport,
    expand_files,
    folder_language,
    read_tagged,
    read_text,
    split_files,
)
from xdistil.errors import InputError

Read = Callable[[], Iterator[TaggedSentence]]


@dataclasses.dataclass(frozen=True)
class CorpusFiles:
    """Where a tagging corpus lies; either `data_dir` or the files.

    Args:
        data_dir: Folder with `<language>/{train,dev,test}.tsv[.gz]`.
        languages: Folders to take; empty = all.
        train: Files of labeled sentences, globs too.
        dev: Files of held-out labeled sentences.
        test: Files to score on; may be empty.
        transfer: Files of plain text, a sentence a line; may be empty.
        labels: File with a label a line; `None`: labels are found in train.
    """

    data_dir: str | None = None
    languages: Sequence[str] = ()
    train: Sequence[str] = ()
    dev: Sequence[str] = ()
    test: Sequence[str] = ()
    transfer: Sequence[str] = ()
    labels: str | None = None

    def of_split(self, split: str) -> list[tuple[str, str | None]]:
        """The files of train, dev or test, each with its language where the folder tells it."""
        given = getattr(self, split)
        if self.data_dir and given:
            raise InputError(
                f"--data_dir and --{split}_file contradict each other: give one of the two."
            )
        if self.data_dir:
            return list(split_files(self.data_dir, self.languages, split))
        return [(path, None) for path in expand_files(given)] if given else []


@dataclasses.dataclass(frozen=True)
class CorpusLimits:
    """How much of a corpus is used; the choice is drawn by the seed.

    Args:
        labeled_per_language: Labeled sentences a language; the rest of train joins the transfer
            text. 0 = all.
        dev_per_language: Dev sentences a language; 0 = all.
        test_per_language: Test sentences a language; 0 = all.
        transfer_sentences: Most transfer sentences; 0 = all.
        seed: Decides which.
    """

    labeled_per_language: int = 0
    dev_per_language: int = 0
    test_per_language: int = 0
    transfer_sentences: int = 0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class TaggingCorpus:
    """The text of a tagging run.

    Args:
        labels: The tags.
        train: Labeled sentences.
        dev: Held-out labeled sentences.
        test: Sentences to score on; may be empty.
        transfer: Gives the transfer text anew at each call, streamed.
        transfer_size: Sentences in the transfer text.
        fingerprint: Hash of the files and of what is taken from them.
        inputs: Hash of each file.
        warnings: What a user should know of the data, a line each.
    """

    labels: Labels
    train: list[TaggedSentence]
    dev: list[TaggedSentence]
    test: list[TaggedSentence]
    transfer: Read
    transfer_size: int
    fingerprint: str
    inputs: dict[str, str]
    warnings: list[str]


def load_tagging_corpus(files: CorpusFiles, limits: CorpusLimits | None = None) -> TaggingCorpus:
    """Reads a tagging corpus. Labeled text is held in memory, transfer text is not.

    Args:
        files: Where it lies.
        limits: How much of it is used.

    Returns:
        The corpus. Sentences keep the order of the files.

    Raises:
        InputError: If a file is missing, empty or wrong; the message names file and line.

    Example:
        ```python
        corpus = load_tagging_corpus(CorpusFiles(data_dir="data", languages=["de", "en"]))
        ```
    """
    limits = limits or CorpusLimits()
    paths = {split: files.of_split(split) for split in ("train", "dev", "test")}
    for split in ("train", "dev"):
        if not paths[split]:
            raise InputError(f"No {split} text: give --{split}_file, or --data_dir.")
    transfer_files = expand_files(files.transfer) if files.transfer else []
    for path in [*(path for split in paths.values() for path, _ in split), *transfer_files]:
        if not os.path.isfile(path):
            raise InputError(
                f"{path}: is a pipe or a device, and would be read several times: give a file"
            )
    reports = {split: ReadReport() for split in paths}
    given = _read_labels(files.labels) if files.labels else None
    read = {split: _reader(paths[split], given, reports[split]) for split in paths}
    sizes, tags = _survey(read["train"]())
    labels = given or Labels.from_tags(tags)
    for split in ("dev", "test"):
        _survey(_reader(paths[split], labels, reports[split])())
    read = {split: _reader(paths[split], labels, None) for split in paths}
    chosen = _draw(sizes, limits.labeled_per_language, limits.seed, "labeled")
    left = sum(sizes.values()) - sum(len(indices) for indices in chosen.values())
    size = left + sum(_count_sentences(path) for path in transfer_files)
    taken = _draw(Counter(all=size), limits.transfer_sentences, limits.seed, "transfer")["all"]
    transfer = _transfer(read["train"], chosen, transfer_files, taken)
    inputs = {
        path: sha256_of_file(path)
        for path in [*(p for split in paths.values() for p, _ in split), *transfer_files]
    }
    return TaggingCorpus(
        labels=labels,
        train=_take(read["train"], chosen),
        dev=_sample(read["dev"], limits.dev_per_language, limits.seed, "dev"),
        test=_sample(read["test"], limits.test_per_language, limits.seed, "test"),
        transfer=transfer,
        transfer_size=len(taken),
        fingerprint=_fingerprint(paths, transfer_files, inputs, labels, limits),
        inputs=inputs,
        warnings=[
            *_missing_languages(paths),
            *(line for report in reports.values() for line in report.warnings()),
        ],
    )


def _missing_languages(paths: Mapping[str, Sequence[tuple[str, str | None]]]) -> list[str]:
    """A line if the folders of `data_dir` have not the same splits: a test set alone may be meant
    (zero-shot), a misspelt file name may not."""
    found = {split: {language for _, language in files} for split, files in paths.items()}
    every = set().union(*found.values())
    lacks = {split: sorted(every - found[split]) for split in found}
    if not any(lacks.values()) or None in every:
        return []
    told = "; ".join(f"no {split} in {', '.join(names)}" for split, names in lacks.items() if names)
    return [
        f"not every language has every split: {told}. Each split is read where it is; check the "
        "names of the files, or name --languages"
    ]


def _reader(
    paths: Sequence[tuple[str, str | None]], labels: Labels | None, report: ReadReport | None
) -> Read:
    def read() -> Iterator[TaggedSentence]:
        for path, language in paths:
            yield from read_tagged([path], labels=labels, language=language, report=report)

    return read


def _survey(sentences: Iterable[TaggedSentence]) -> tuple[Counter[str], set[str]]:
    """Sentences a language, and the tags that occur."""
    sizes: Counter[str] = Counter()
    tags: set[str] = set()
    for sentence in sentences:
        sizes[sentence.language] += 1
        tags.update(sentence.tags or ())
    return sizes, tags


def _draw(sizes: Counter[str], limit: int, seed: int, purpose: str) -> dict[str, Collection[int]]:
    """Which sentences of each language are taken: their indices within the language."""
    chosen: dict[str, Collection[int]] = {}
    for language, size in sizes.items():
        chosen[language] = range(size)
        if 0 < limit < size:
            draw = random.Random(f"{seed} {purpose} {language}")
            chosen[language] = set(draw.sample(range(size), limit))
    return chosen


def _marked(
    read: Read, chosen: dict[str, Collection[int]]
) -> Iterator[tuple[TaggedSentence, bool]]:
    seen: Counter[str] = Counter()
    for sentence in read():
        index = seen[sentence.language]
        seen[sentence.language] += 1
        yield sentence, index in chosen[sentence.language]


def _take(read: Read, chosen: dict[str, Collection[int]]) -> list[TaggedSentence]:
    return [sentence for sentence, taken in _marked(read, chosen) if taken]


def _sample(read: Read, limit: int, seed: int, purpose: str) -> list[TaggedSentence]:
    if not limit:
        return list(read())
    sizes, _ = _survey(read())
    return _take(read, _draw(sizes, limit, seed, purpose))


def _transfer(
    read_train: Read,
    chosen: dict[str, Collection[int]],
    files: Sequence[str],
    taken: Collection[int],
) -> Read:
    def everything() -> Iterator[TaggedSentence]:
        for sentence, labeled in _marked(read_train, chosen):
            if not labeled:
                yield TaggedSentence(sentence.words, None, sentence.language)
        if files:
            yield from read_text(files)

    def read() -> Iterator[TaggedSentence]:
        return (sentence for number, sentence in enumerate(everything()) if number in taken)

    return read


def _count_sentences(path: str) -> int:
    return sum(1 for _ in read_text([path]))


def _fingerprint(
    paths: Mapping[str, Sequence[tuple[str, str | None]]],
    transfer: Sequence[str],
    inputs: Mapping[str, str],
    labels: Labels,
    limits: CorpusLimits,
) -> str:
    # Paths do not count: the same text in another place is the same text. But where files are
    # named, their folder may tell the language, which decides what is drawn, how it is scored, and
    # whose student reads it.
    parts = [
        f"{split} {language or _told_language(path)} {inputs[path]}"
        for split, files in paths.items()
        for path, language in files
    ]
    for path in transfer:
        told = _told_language(path)
        parts.append(f"transfer {told} {inputs[path]}" if told else f"transfer {inputs[path]}")
    return hashlib.sha256("\n".join([*parts, *labels.names, repr(limits)]).encode()).hexdigest()


def _told_language(path: str) -> str | None:
    language = folder_language(path)
    return None if language == "und" else language


def _read_labels(path: str) -> Labels:
    labels = Labels.from_file(path)
    wrong = [name for name in labels if not re.fullmatch(r"O|[BI]-\S+", name)]
    if wrong:
        raise InputError(
            f"{path}: {wrong[0]!r} is no BIO label: expected O, B-TYPE or I-TYPE, one a line; "
            "classes for pieces ([CLS], X) are added by --scheme=pieces."
        )
    return labels
