"""A run's text: labeled examples, what is left as transfer text, dev and test."""

import dataclasses
import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.corpus_files import CorpusFiles, SplitFiles, missing_languages
from xdistil.data.corpus_kinds import CorpusKind, LabeledTexts, TaggedSentences
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.labels import Labels
from xdistil.data.paths import as_path
from xdistil.data.readers import expand_files, folder_language
from xdistil.errors import InputError

Example = TypeVar("Example", TaggedSentence, LabeledText)
Read = Callable[[], Iterator[Any]]
Key = Callable[[Any], str]
_NO_TEST = "no test text in it: neither teacher nor student will be scored"


@dataclasses.dataclass(frozen=True)
class CorpusLimits:
    """How much of a corpus is used; the choice is drawn by the seed.

    Args:
        labeled_per_language: Labeled examples a language; the rest of train joins the transfer
            text. 0 = all.
        dev_per_language: Dev examples a language; 0 = all.
        test_per_language: Test examples a language; 0 = all.
        transfer_sentences: Most transfer examples; 0 = all.
        seed: Decides which.
        labeled_per_class: Labeled texts a class, over all languages; the rest of train joins the
            transfer text. 0 = all.
    """

    labeled_per_language: int = 0
    dev_per_language: int = 0
    test_per_language: int = 0
    transfer_sentences: int = 0
    seed: int = 0
    # Not in the text that a fingerprint hashes: those of finished runs stay.
    labeled_per_class: int = dataclasses.field(default=0, repr=False)

    def __post_init__(self):
        if self.labeled_per_language and self.labeled_per_class:
            raise InputError(
                "--labeled_per_language and --labeled_per_class contradict each other: give one of "
                "the two."
            )


@dataclasses.dataclass(frozen=True)
class Corpus(Generic[Example]):
    """The text of a run.

    Args:
        labels: The tags, or the classes.
        train: Labeled examples.
        dev: Held-out labeled examples.
        test: Examples to score on; may be empty.
        transfer: Gives the transfer text anew at each call, streamed.
        transfer_size: Examples in the transfer text.
        fingerprint: Hash of the files and of what is taken from them.
        inputs: Hash of each file.
        warnings: What a user should know of the data, a line each.
    """

    labels: Labels
    train: list[Example]
    dev: list[Example]
    test: list[Example]
    transfer: Callable[[], Iterator[Example]]
    transfer_size: int
    fingerprint: str
    inputs: dict[str, str]
    warnings: list[str]


TaggingCorpus = Corpus[TaggedSentence]
TextCorpus = Corpus[LabeledText]


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
    return _load(TaggedSentences(), files, limits or CorpusLimits())


def load_text_corpus(
    files: CorpusFiles, limits: CorpusLimits | None = None, pairs: bool = False
) -> TextCorpus:
    """Reads a corpus of texts or of pairs. Labeled text is held in memory, transfer text is not.

    The formats are those of `read_labeled_text` and `read_unlabeled_text`.

    Args:
        files: Where it lies.
        limits: How much of it is used.
        pairs: Whether each example has two texts.

    Returns:
        The corpus. Texts keep the order of the files. Labels that no file names are those of
        train, sorted.

    Raises:
        InputError: If a file is missing, empty or wrong; the message names file and line.

    Example:
        ```python
        limits = CorpusLimits(labeled_per_class=100)
        corpus = load_text_corpus(CorpusFiles(data_dir="data/intents"), limits)
        ```
    """
    return _load(LabeledTexts(pairs), files, limits or CorpusLimits())


def _load(kind: CorpusKind, files: CorpusFiles, limits: CorpusLimits) -> Corpus:
    paths = {split: files.of_split(split, kind.suffixes) for split in ("train", "dev")}
    # The one split that a run can do without.
    scored = files.has_split("test", kind.suffixes)
    paths["test"] = files.of_split("test", kind.suffixes) if scored else []
    transfer_files = expand_files(files.transfer) if files.transfer else []
    _check_files(paths, transfer_files)
    reports = {split: kind.new_report() for split in paths}
    labels_file = files.labels_file(kind.suffixes)
    given = kind.labels_from_file(labels_file) if labels_file else None
    key, limit, purpose = _labeled_draw(kind, limits)
    read_train = _reader(kind, paths["train"], given, reports["train"])
    sizes = Counter(map(key, read_train()))
    labels = given or kind.labels_from(reports["train"])
    for split in ("dev", "test"):
        _count(_reader(kind, paths[split], labels, reports[split])())
    read = {split: _reader(kind, paths[split], labels, None) for split in paths}
    chosen = _draw(sizes, limit, limits.seed, purpose)
    left = sum(sizes.values()) - sum(len(indices) for indices in chosen.values())
    size = left + sum(_count(kind.unlabeled([path])) for path in transfer_files)
    taken = _draw(Counter(all=size), limits.transfer_sentences, limits.seed, "transfer")["all"]
    marked = functools.partial(_marked, read["train"], chosen, key)
    train = [example for example, labeled in marked() if labeled]
    inputs = {path: sha256_of_file(path) for path in _every_file(paths, transfer_files)}
    return Corpus(
        labels=labels,
        train=train,
        dev=_sample(read["dev"], limits.dev_per_language, limits.seed, "dev"),
        test=_sample(read["test"], limits.test_per_language, limits.seed, "test"),
        transfer=_transfer(kind, marked, transfer_files, taken),
        transfer_size=len(taken),
        fingerprint=_fingerprint(kind, paths, transfer_files, inputs, labels, limits),
        inputs=inputs,
        warnings=[
            *_missing_splits(files, paths),
            *_small_classes(sizes, limits.labeled_per_class),
            *kind.warnings(reports.values(), train, labels),
        ],
    )


def _missing_splits(files: CorpusFiles, paths: SplitFiles) -> list[str]:
    if files.data_dir and not paths["test"]:
        return [f"{files.data_dir}: {_NO_TEST}"]
    return missing_languages(paths)


def _check_files(paths: SplitFiles, transfer: Sequence[str]) -> None:
    for split in ("train", "dev"):
        if not paths[split]:
            raise InputError(f"No {split} text: give --{split}_file, or --data_dir.")
    for path in _every_file(paths, transfer):
        if not as_path(path).is_file():
            raise InputError(
                f"{path}: is a pipe or a device, and would be read several times: give a file"
            )


def _every_file(paths: SplitFiles, transfer: Sequence[str]) -> list[str]:
    return [*(path for files in paths.values() for path, _ in files), *transfer]


def _labeled_draw(kind: CorpusKind, limits: CorpusLimits) -> tuple[Key, int, str]:
    """What labeled text is counted by, how much of each is kept, and the name of the draw."""
    if limits.labeled_per_class:
        return kind.class_of, limits.labeled_per_class, "labeled class"
    return _language_of, limits.labeled_per_language, "labeled"


def _language_of(example: TaggedSentence | LabeledText) -> str:
    return example.language


def _small_classes(sizes: Counter[str], limit: int) -> list[str]:
    """A line if classes have fewer texts than were asked for."""
    small = [f"{name} ({size})" for name, size in sorted(sizes.items()) if size < limit]
    if not small:
        return []
    names = ", ".join(small[:10]) + (", …" if len(small) > 10 else "")
    return [f"fewer than {limit} labeled texts, all were taken: {names}"]


def _reader(
    kind: CorpusKind, paths: Sequence[tuple[str, str | None]], labels: Labels | None, report: Any
) -> Read:
    def read() -> Iterator[Any]:
        for path, language in paths:
            yield from kind.labeled(path, labels, language, report)

    return read


def _draw(sizes: Counter[str], limit: int, seed: int, purpose: str) -> dict[str, Collection[int]]:
    """Which examples of each language or class are taken: their indices within it."""
    chosen: dict[str, Collection[int]] = {}
    for name, size in sizes.items():
        chosen[name] = range(size)
        if 0 < limit < size:
            draw = random.Random(f"{seed} {purpose} {name}")
            chosen[name] = set(draw.sample(range(size), limit))
    return chosen


def _marked(read: Read, chosen: dict[str, Collection[int]], key: Key) -> Iterator[tuple[Any, bool]]:
    seen: Counter[str] = Counter()
    for example in read():
        name = key(example)
        index = seen[name]
        seen[name] += 1
        yield example, index in chosen[name]


def _sample(read: Read, limit: int, seed: int, purpose: str) -> list[Any]:
    if not limit:
        return list(read())
    sizes = Counter(map(_language_of, read()))
    marked = _marked(read, _draw(sizes, limit, seed, purpose), _language_of)
    return [example for example, taken in marked if taken]


def _transfer(
    kind: CorpusKind,
    marked: Callable[[], Iterator[tuple[Any, bool]]],
    files: Sequence[str],
    taken: Collection[int],
) -> Read:
    def everything() -> Iterator[Any]:
        yield from (kind.without_label(example) for example, labeled in marked() if not labeled)
        if files:
            yield from kind.unlabeled(files)

    def read() -> Iterator[Any]:
        return (example for number, example in enumerate(everything()) if number in taken)

    return read


def _count(examples: Iterable[Any]) -> int:
    return sum(1 for _ in examples)


def _fingerprint(
    kind: CorpusKind,
    paths: SplitFiles,
    transfer: Sequence[str],
    inputs: Mapping[str, str],
    labels: Labels,
    limits: CorpusLimits,
) -> str:
    # Paths do not count: the same text in another place is the same text. But where files are
    # named, their folder may tell the language, which decides what is drawn, how it is scored, and
    # whose student reads it.
    parts = [
        f"{split} {language or _told_language(path)} {inputs[path]}{kind.format_of(path)}"
        for split, files in paths.items()
        for path, language in files
    ]
    for path in transfer:
        told = _told_language(path)
        content = f"{inputs[path]}{kind.format_of(path)}"
        parts.append(f"transfer {told} {content}" if told else f"transfer {content}")
    if limits.labeled_per_class:
        parts.append(f"labeled_per_class {limits.labeled_per_class}")
    return hashlib.sha256("\n".join([*parts, *labels.names, repr(limits)]).encode()).hexdigest()


def _told_language(path: str) -> str | None:
    language = folder_language(path)
    return None if language == "und" else language
