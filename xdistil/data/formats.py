"""The three formats of tagged sentences: tab-separated, columns, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Any

from xdistil.data.lines import numbered_lines
from xdistil.errors import InputError

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


def choose_format(path: str) -> Callable[[str], Iterator[Row]]:
    """The reader of a file, by its suffix, or by its first lines if the suffix is no help.

    Args:
        path: the file; `.gz` at the end is no suffix.

    Raises:
        InputError: the file cannot be read, or it holds only blank lines.
    """
    suffix = PurePath(path.removesuffix(".gz")).suffix.lower()
    by_suffix = {
        ".tsv": read_tab_separated,
        ".conll": read_columns,
        ".bio": read_columns,
        ".iob": read_columns,
        ".iob2": read_columns,
        ".jsonl": read_json_lines,
        ".ndjson": read_json_lines,
        ".json": read_json_lines,
    }
    return by_suffix.get(suffix) or _guess_format(path)


def _guess_format(path: str) -> Callable[[str], Iterator[Row]]:
    head = [line.strip(" \r") for _, line in islice(numbered_lines(path), _LINES_TO_LOOK_AT)]
    lines = [line for line in head if line]
    if not lines:
        raise InputError(f"{path}: only blank lines at its beginning: give a file with sentences")
    if lines[0].startswith("{"):
        return read_json_lines
    # In columns every line has a word and a tag, and blank lines stand between sentences; a line of
    # the tab-separated format has one tab, and spaces within its halves.
    between = "" in head[:-1] or lines[0].startswith("-DOCSTART-")
    tabs = any("\t" in line for line in lines)
    if (between or not tabs) and all(
        len(line.split()) >= 2 and not (" " in line and "\t" in line) for line in lines
    ):
        return read_columns
    return read_tab_separated


def read_tab_separated(path: str) -> Iterator[Row]:
    """A sentence a line: words, a tab, tags; each separated by spaces and by nothing else."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        words, tab, tags = line.partition("\t")
        if not tab:
            raise InputError(
                f"{path}:{number}: no tab in the line {_shortened(line)}: expected the words, a "
                "tab, and the tags"
            )
        if "\t" in tags:
            raise InputError(
                f"{path}:{number}: {line.count(chr(9))} tabs in the line: expected the words, one "
                "tab, and the tags"
            )
        yield Row(_split_at_spaces(words), _split_at_spaces(tags), number)


def read_columns(path: str) -> Iterator[Row]:
    """A word a line, its tag in the last column; a blank line between sentences."""
    rows: list[tuple[str, str, int]] = []
    for number, line in numbered_lines(path):
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
                f"{path}:{number}: one column in the line {_shortened(line)}: expected a word "
                "and, in the last column, its tag"
            )
        rows.append((columns[0], columns[-1], number))
    if rows:
        yield _row_of_columns(rows)


def _row_of_columns(rows: list[tuple[str, str, int]]) -> Row:
    words, tags, lines = zip(*rows, strict=True)
    return Row(words, tags, lines[0], lines=lines)


def read_json_lines(path: str) -> Iterator[Row]:
    """An object a line: `tokens` or `words`, `tags` or `ner_tags`, and maybe `language`."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{path}:{number}: not JSON ({error}): expected one object a line"
            ) from None
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: not a JSON object: expected one object a line")
        words = _json_list(record, ("tokens", "words"), str, path, number)
        tags = _json_list(record, ("tags", "ner_tags"), str | int, path, number)
        language = record.get("language") or record.get("lang")
        if language is not None and not isinstance(language, str):
            raise InputError(f"{path}:{number}: the language is {language!r}: expected a string")
        if words or tags:
            yield Row(words, tags, number, language)


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
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(
                f"{path}:{number}: half of a surrogate pair in {value!r}: write the character whole"
            )
    return tuple(values)


def _split_at_spaces(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(" ") if part)


def _shortened(line: str) -> str:
    return repr(line if len(line) <= 40 else f"{line[:37]}...")
