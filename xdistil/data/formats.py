"""The three formats of tagged sentences: tab-separated, columns, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

from xdistil.data.lines import numbered_lines
from xdistil.errors import InputError

Lines = Iterable[tuple[int, str]]

_LINES_TO_LOOK_AT = 200
_COMMENT = re.compile(r"# \S+ = ")


@dataclass(frozen=True, slots=True)
class Row:
    """A sentence as a file has it; nothing is checked but its form.

    Args:
        words: the words.
        tags: the tags, with prefixes; numbers where a JSON line has numbers.
        line: line number of the sentence, in columns that of its first word.
        language: what a JSON line says of it.
        lines: in columns, the line number of each word.
    """

    words: tuple[str, ...]
    tags: tuple[str | int, ...]
    line: int
    language: str | None = None
    lines: tuple[int, ...] | None = None

    def line_of(self, position: int) -> int:
        """The line number of a word."""
        return self.lines[position] if self.lines else self.line


def read_rows(path: str) -> Iterator[Row]:
    """The sentences of a file, whose format its suffix tells, or its first lines.

    A `.tsv` file may hold columns: a word, a tab and a tag in every line, blank lines between.

    Args:
        path: the file; `.gz` at the end is no suffix.

    Raises:
        InputError: the file cannot be read, or a line is not of its format.
    """
    suffix = PurePath(path.removesuffix(".gz")).suffix.lower()
    lines = numbered_lines(path)
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix](path, lines)
    # A pipe cannot be read again: the lines that were looked at go to the reader too.
    head = list(islice(lines, _LINES_TO_LOOK_AT))
    return _guess_format(path, suffix, [line for _, line in head])(path, chain(head, lines))


def _guess_format(path: str, suffix: str, head: list[str]) -> Callable[[str, Lines], Iterator[Row]]:
    head = [line.strip(" \r") for line in head]
    lines = [line for line in head if line]
    if suffix == ".tsv" and not any("\t" in line for line in lines):
        return read_tab_separated
    if not lines:
        raise InputError(f"{path}: only blank lines at its beginning: give a file with sentences")
    if lines[0].startswith("{") and suffix != ".tsv":
        return read_json_lines
    return read_columns if _holds_columns(head, lines) else read_tab_separated


def _holds_columns(head: list[str], lines: list[str]) -> bool:
    # In columns every line has a word and a tag, and a blank line ends a sentence; a line of the
    # tab-separated format has one tab, and spaces within its halves.
    ended = "" in head[head.index(lines[0]) :] or lines[0].startswith("-DOCSTART-")
    tabs = any("\t" in line for line in lines)
    return (ended or not tabs) and all(
        len(line.split()) >= 2 and not (" " in line and "\t" in line) for line in lines
    )


def read_tab_separated(path: str, numbered: Lines) -> Iterator[Row]:
    """A sentence a line: words, a tab, tags; each separated by spaces and by nothing else."""
    for number, line in numbered:
        if not line.strip():
            continue
        words, tab, tags = line.partition("\t")
        if not tab:
            raise InputError(
                f"{path}:{number}: no tab in the line {shortened(line)}: expected the words, a "
                "tab, and the tags"
            )
        if "\t" in tags:
            raise InputError(
                f"{path}:{number}: {line.count(chr(9))} tabs in the line: expected the words, one "
                "tab, and the tags"
            )
        yield Row(_split_at_spaces(words), _split_at_spaces(tags), number)


def read_columns(path: str, numbered: Lines) -> Iterator[Row]:
    """A word a line, its tag in the last column; a blank line between sentences."""
    rows: list[tuple[str, str, int]] = []
    for number, line in numbered:
        if not line.strip() or line.startswith("-DOCSTART-"):
            if rows:
                yield _row_of_columns(rows)
                rows = []
            continue
        parts = line.split("\t" if "\t" in line else " ")
        columns = [part.strip(" ") for part in parts if part.strip(" ")]
        if not rows and _COMMENT.match(line):
            continue
        if len(columns) < 2:
            raise InputError(
                f"{path}:{number}: one column in the line {shortened(line)}: expected a word "
                "and, in the last column, its tag"
            )
        rows.append((columns[0], columns[-1], number))
    if rows:
        yield _row_of_columns(rows)


def _row_of_columns(rows: list[tuple[str, str, int]]) -> Row:
    words, tags, lines = zip(*rows, strict=True)
    return Row(words, tags, lines[0], lines=lines)


def read_json_lines(path: str, numbered: Lines) -> Iterator[Row]:
    """An object a line: `tokens` or `words`, `tags` or `ner_tags`, and maybe `language`."""
    for number, record in json_objects(path, numbered):
        words = _json_list(record, ("tokens", "words"), str, path, number)
        tags = _json_list(record, ("tags", "ner_tags"), str | int, path, number)
        if words or tags:
            yield Row(words, tags, number, record.get("language"))


def json_objects(path: str, numbered: Lines) -> Iterator[tuple[int, dict[str, Any]]]:
    """An object a line, with its line number; blank lines are skipped.

    `language`, where there is one, is a string, and may be called `lang` in the file.

    Raises:
        InputError: a line is not a JSON object, or its language is not a string.
    """
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path}:{number}: not JSON ({error}): expected one object a line"
            ) from None
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: not a JSON object: expected one object a line")
        language = record.get("language") or record.get("lang")
        if language is not None and not isinstance(language, str):
            raise InputError(f"{path}:{number}: the language is {language!r}: expected a string")
        yield number, {**record, "language": language}


def checked_characters(text: str, path: str, number: int) -> str:
    """The text of a JSON string, unless it cannot be written as UTF-8.

    Raises:
        InputError: it holds half of a surrogate pair.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"{path}:{number}: half of a surrogate pair in {text!r}: write the character whole"
        )
    return text


def _json_list(record: dict, keys: tuple[str, str], kind: Any, path: str, number: int) -> tuple:
    key = next((key for key in keys if key in record), None)
    if key is None:
        raise InputError(
            f"{path}:{number}: no key {keys[0]!r} or {keys[1]!r} in the object: expected one"
        )
    values = record[key]
    if not isinstance(values, list) or not all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    ):
        names = "strings" if kind is str else "strings or numbers"
        raise InputError(f"{path}:{number}: {key!r} is not a list of {names}: correct it")
    for value in values:
        if isinstance(value, str):
            checked_characters(value, path, number)
    return tuple(values)


_BY_SUFFIX = {
    ".conll": read_columns,
    ".bio": read_columns,
    ".iob": read_columns,
    ".iob2": read_columns,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_lines,
}


def _split_at_spaces(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(" ") if part)


def shortened(value: Any) -> str:
    """A line, or a value in it, as an error shows it."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:37]}...")
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
