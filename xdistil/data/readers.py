"""Readers of tagged sentences and of plain text; bad input is an error with file and line."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from xdistil.data.examples import TaggedSentence
from xdistil.data.formats import read_rows
from xdistil.data.labels import Labels
from xdistil.data.lines import numbered_lines
from xdistil.data.paths import AnyPath, as_path, glob_files, real_path
from xdistil.data.read_report import ReadReport
from xdistil.data.tags import TagChecker
from xdistil.errors import InputError

Paths = str | os.PathLike | Sequence[str | os.PathLike]

TAGGED_SUFFIXES = (".tsv", ".conll", ".bio", ".jsonl")
_SPLIT_NAMES = {"dev": ("dev", "valid", "validation")}
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,9})*")
# Folder names that look like a language code and are none.
# fmt: off
_NO_LANGUAGES = frozenset((
    "all", "bin", "bio", "csv", "dat", "dev", "doc", "etc", "lib", "log", "mnt", "ner", "new",
    "old", "opt", "out", "raw", "run", "src", "srv", "tmp", "tsv", "txt", "usr", "var",
))
# fmt: on


def expand_files(patterns: Paths) -> list[str]:
    """Turns paths, globs and comma-separated lists of both into paths, in the order given.

    The matches of a glob come sorted. A name that exists is taken as it is, whatever characters it
    holds.

    Args:
        patterns: one or several of them.

    Raises:
        InputError: nothing was given, or a pattern matches no file.
    """
    patterns = [patterns] if isinstance(patterns, str | os.PathLike) else list(patterns)
    files: list[str] = []
    for pattern in map(os.fspath, patterns):
        parts = [pattern] if as_path(pattern).exists() else pattern.split(",")
        for part in filter(None, (part.strip() for part in parts)):
            files += _matches(part)
    if not files:
        raise InputError("no file given: expected a path, a glob, or several with commas between")
    return files


def refuse_shared_files(
    files: Sequence[str], held_out: Sequence[str], hashes: Mapping[str, str] | None = None
) -> None:
    """Refuses text that would be learned from and held out at once.

    Args:
        files: Paths of what is learned from.
        held_out: Paths of what is held out.
        hashes: Of each file's content, by its path; without it the paths are compared, links
            followed.

    Raises:
        InputError: A file is on both sides.
    """
    key = real_path if hashes is None else hashes.__getitem__
    learned = {key(path): path for path in reversed(files)}
    for path in held_out:
        twin = learned.get(key(path))
        if twin is not None:
            named = "" if twin == path else f" as {twin}"
            raise InputError(
                f"{path}: held out by --dev_file, and learned from{named} by --text_file: a score "
                "on it would say nothing; give other text as --dev_file, or leave it out for a "
                "share of --text_file"
            )


def _matches(pattern: str) -> list[str]:
    if as_path(pattern).is_dir():
        raise InputError(f"{pattern}: is a folder: give a file, or a glob such as {pattern}/*.tsv")
    if as_path(pattern).exists():
        return [pattern]
    found = glob_files(pattern)
    if not found:
        kind = "no file matches" if glob.has_magic(pattern) else "no such file"
        raise InputError(f"{pattern}: {kind}: check the path")
    return found


def read_tagged(
    files: Paths,
    *,
    labels: Labels | None = None,
    language: str | None = None,
    report: ReadReport | None = None,
) -> Iterator[TaggedSentence]:
    """Reads tagged sentences, one at a time, in the order of the files.

    Three formats, each also gzipped; the suffix decides, and the content where it does not:

    - tab-separated (`.tsv`): a sentence a line, its words, a tab, its tags; words and tags are
      separated by a space each. Only the space separates: a no-break space is part of its word.
      A `.tsv` file of one word a line, with blank lines between, is read as columns.
    - columns (`.conll`, `.bio`): a word a line, its tag in the last of several columns; a blank
      line between sentences. `-DOCSTART-` lines and comments of the form `# key = value` are
      skipped.
    - JSON lines (`.jsonl`): `{"tokens": [...], "tags": [...], "language": "fr"}`; also `words`,
      and `ner_tags`, whose numbers stand for `labels`.

    The language is that of the tags' prefix (`fr:B-PER`), else `language`, else that of the JSON
    line, else the name of the file's folder if it looks like a language code, else `"und"`.

    An `I-` tag that continues nothing is kept as it is, and counted in `report`.

    Args:
        files: paths or globs, see `expand_files`.
        labels: the labels allowed; default: every BIO tag.
        language: the language of all sentences without a prefix.
        report: counts what was read.

    Raises:
        InputError: at once for a file that is missing; while reading for a file that is empty or
            cut or not UTF-8, a line without a tab, words and tags that differ in number, a tag
            that is not BIO or not one of `labels`.

    Example:

    ```python
    report = ReadReport()
    sentences = list(read_tagged("data/*/train.tsv.gz", report=report))
    print(report.sentences, report.warnings())
    ```
    """
    paths = expand_files(files)
    report = ReadReport() if report is None else report
    return _read_tagged(paths, labels, language, report)


def _read_tagged(
    paths: list[str], labels: Labels | None, language: str | None, report: ReadReport
) -> Iterator[TaggedSentence]:
    for path in paths:
        checker = TagChecker(path, labels, report)
        of_folder = folder_language(path)
        found = False
        for row in read_rows(path):
            tags, prefix = checker.check(row)
            sentence = TaggedSentence(
                row.words, tags, prefix or language or row.language or of_folder
            )
            report.add(sentence)
            found = True
            yield sentence
        if not found:
            raise InputError(f"{path}: no sentence in it: give a file with at least one")


def read_text(files: Paths, *, language: str | None = None) -> Iterator[TaggedSentence]:
    """Reads plain text, one sentence a line, words separated by white space of any kind.

    White space is what `str.split` takes for it, no-break spaces included. Blank lines are
    skipped. Files may be gzipped.

    Args:
        files: paths or globs, see `expand_files`.
        language: the language of all sentences; default: the name of the file's folder if it looks
            like a language code, else `"und"`.

    Raises:
        InputError: at once for a file that is missing; while reading for a file that is blank, cut
            or not UTF-8.
    """
    return _read_text(expand_files(files), language)


def _read_text(paths: list[str], language: str | None) -> Iterator[TaggedSentence]:
    for path in paths:
        of_file = language or folder_language(path)
        found = False
        for _, line in numbered_lines(path):
            if words := tuple(line.split()):
                found = True
                yield TaggedSentence(words, None, of_file)
        if not found:
            raise InputError(f"{path}: only blank lines in it: expected one sentence a line")


def read_folder(
    data_dir: str | os.PathLike,
    languages: Sequence[str],
    split: str,
    *,
    labels: Labels | None = None,
    report: ReadReport | None = None,
) -> Iterator[TaggedSentence]:
    """Reads one split of a folder `<language>/{train,dev,test}.tsv`, one language after the other.

    `.conll`, `.bio` and `.jsonl` are read too, each also with `.gz`; `valid` and `validation` are
    other names of `dev`. The folder's name is the language, unless the tags have a prefix.

    Args:
        data_dir: the folder.
        languages: names of its subfolders, in the order to read; none: each that has the split,
            sorted.
        split: `"train"`, `"dev"` or `"test"`.
        labels: as in `read_tagged`.
        report: as in `read_tagged`.

    Raises:
        InputError: at once for a folder or file that is missing, or two files for one split; while
            reading as `read_tagged` does.
    """
    files = split_files(data_dir, languages, split)
    report = ReadReport() if report is None else report
    return (
        sentence
        for path, language in files
        for sentence in _read_tagged([path], labels, language, report)
    )


def split_files(
    data_dir: str | os.PathLike,
    languages: Sequence[str],
    split: str,
    suffixes: Sequence[str] = TAGGED_SUFFIXES,
) -> list[tuple[str, str]]:
    """The files of one split with their languages, as `read_folder` reads them.

    Args:
        data_dir: as in `read_folder`.
        languages: as in `read_folder`.
        split: as in `read_folder`.
        suffixes: of the files that are looked for, each also with `.gz`.

    Raises:
        InputError: a folder or file is missing, or there are two files for one split.
    """
    return [
        (_file_of_language(data_dir, language, split, suffixes), language)
        for language in (languages or _languages_with(data_dir, split, suffixes))
    ]


def _file_of_language(
    data_dir: str | os.PathLike, language: str, split: str, suffixes: Sequence[str]
) -> str:
    folder = as_path(data_dir, language)
    if not folder.is_dir():
        there = ", ".join(subfolders(data_dir)) or "none"
        raise InputError(f"{folder}: no such folder: the languages of {data_dir} are {there}")
    return split_file(folder, split, suffixes)


def split_file(folder: str | os.PathLike, split: str, suffixes: Sequence[str]) -> str:
    """The one file of a split in a folder.

    Args:
        folder: the folder itself, not one above it.
        split: `"train"`, `"dev"` or `"test"`.
        suffixes: of the files that are looked for, each also with `.gz`.

    Raises:
        InputError: there is no file for the split, or there are two.
    """
    files = files_of_split(folder, split, suffixes)
    if len(files) > 1:
        names = " and ".join(path.name for path in files)
        raise InputError(f"{folder}: {names} are both the split {split!r}: keep one of them")
    if not files:
        raise InputError(f"{folder}: no {split}.tsv or {split}.tsv.gz in it: add the file")
    return str(files[0])


def files_of_split(
    folder: str | os.PathLike, split: str, suffixes: Sequence[str] = TAGGED_SUFFIXES
) -> list[AnyPath]:
    """All files in a folder that a split may be, maybe none.

    Args:
        folder: the folder itself, not one above it.
        split: `"train"`, `"dev"` or `"test"`.
        suffixes: of the files that are looked for, each also with `.gz`.
    """
    names = (
        f"{name}{suffix}{packed}"
        for name in _SPLIT_NAMES.get(split, (split,))
        for suffix in suffixes
        for packed in ("", ".gz")
    )
    return [path for path in (as_path(folder, name) for name in names) if path.is_file()]


def subfolders(data_dir: str | os.PathLike) -> list[str]:
    """The names of the folders in a folder, sorted.

    Args:
        data_dir: the folder.

    Raises:
        InputError: there is no such folder.
    """
    if not as_path(data_dir).is_dir():
        raise InputError(
            f"{data_dir}: no such folder: give one with files or a folder for each language"
        )
    return sorted(path.name for path in as_path(data_dir).iterdir() if path.is_dir())


def _languages_with(data_dir: str | os.PathLike, split: str, suffixes: Sequence[str]) -> list[str]:
    languages = [
        name
        for name in subfolders(data_dir)
        if files_of_split(as_path(data_dir, name), split, suffixes)
    ]
    if not languages:
        raise InputError(
            f"{data_dir}: no subfolder has {split}.tsv or {split}.tsv.gz: expected "
            f"<language>/{split}.tsv"
        )
    return languages


def looks_like_a_language(name: str) -> bool:
    """Whether a name has the form of a language code: `de`, `hau`, `pt-BR`, `zh-classical`.

    Args:
        name: such as a folder's name. `tmp`, `dev` and their like are not taken for languages.
    """
    return _LANGUAGE_CODE.fullmatch(name) is not None and name not in _NO_LANGUAGES


def folder_language(path: str) -> str:
    """The language that the name of a file's folder tells, else `"und"`."""
    name = as_path(path).absolute().parent.name
    return name if looks_like_a_language(name) else "und"
