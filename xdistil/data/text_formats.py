"""The formats of texts and pairs of texts: tables of tabs or commas, JSON lines, plain lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath

from xdistil.data.formats import Lines, checked_characters, json_objects, shortened
from xdistil.data.lines import numbered_lines
from xdistil.errors import InputError

_TEXT_NAMES = ("text", "sentence", "utterance", "review", "tweet")
_PAIR_NAMES = (
    ("text", "text_pair"),
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
)
_LABEL_NAMES = (
    *("label", "labels", "class", "category", "intent", "sentiment", "topic", "target"),
    *("relation", "gold_label", "is_duplicate"),
)
_LANGUAGE_NAMES = ("language", "lang")
# A quote that is never closed makes one field of the rest of the file.
_LONGEST_FIELD = 10_000_000
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each row of a file is to hold.

    Args:
        pairs: two texts instead of one.
        labeled: a label too.
    """

    pairs: bool
    labeled: bool

    @property
    def columns(self) -> int:
        """Columns of a row without a header."""
        return 1 + self.pairs + self.labeled

    def __str__(self) -> str:
        if self.pairs:
            return "two texts and their label" if self.labeled else "two texts"
        return "a text and its label" if self.labeled else "a text alone"

    def hint(self, found: int) -> str:
        """What may have been meant by a row of another number of columns."""
        hints = []
        if not self.pairs and found == self.columns + 1:
            hints.append("; pairs of texts are for run_pairs.py")
        if self.pairs and found == self.columns - 1:
            hints.append("; single texts are for run_classification.py")
        if not self.labeled and found == self.columns + 1:
            hints.append("; labels are not read here: cut the column off")
        return "".join(hints)


@dataclass(frozen=True, slots=True)
class TextRow:
    """A text or a pair as a file has it.

    Args:
        text: the text, or the first of two.
        text_pair: the second text, where pairs are wanted.
        label: the label as it is written, where one is wanted; not checked yet.
        line: the line number where the row begins.
        language: what the row says of it.
        may_name_columns: it is the first of a table, and holds no column names that are known.
    """

    text: str
    text_pair: str | None
    label: str | None
    line: int
    language: str | None = None
    may_name_columns: bool = False


def format_of(path: str) -> str:
    """The suffix that decides how a file is read; `.gz` at the end is none."""
    return PurePath(path.removesuffix(".gz")).suffix.lower()


def read_text_rows(path: str, wanted: Wanted) -> Iterator[TextRow]:
    """The rows of a file, whose format its suffix tells; without a known one, its first line.

    Args:
        path: the file; `.gz` at the end is no suffix.
        wanted: what a row holds.

    Raises:
        InputError: the file cannot be read, or a row does not hold what is wanted.
    """
    suffix, lines = format_of(path), numbered_lines(path)
    if suffix == ".csv":
        return _rows_of_table(path, _comma_separated(path, lines), wanted, ",")
    if suffix in _JSON_SUFFIXES:
        return _rows_of_json(path, lines, wanted)
    if suffix == ".tsv" or wanted.columns > 1:
        return _tabs_or_json(path, suffix, lines, wanted)
    return _plain_rows(path, lines)


def _tabs_or_json(path: str, suffix: str, lines: Lines, wanted: Wanted) -> Iterator[TextRow]:
    # A pipe cannot be read again: the lines that were looked at go to the reader too.
    head: list[tuple[int, str]] = []
    lines = iter(lines)
    for number, line in lines:
        head.append((number, line))
        if line.strip():
            break
    lines = chain(head[-1:], lines)
    if head and suffix != ".tsv" and head[-1][1].startswith("{"):
        return _rows_of_json(path, lines, wanted)
    return _rows_of_table(path, _tab_separated(lines), wanted, "\t")


def _plain_rows(path: str, lines: Lines) -> Iterator[TextRow]:
    for number, line in lines:
        if text := line.strip():
            yield TextRow(text, None, None, number)


def _tab_separated(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split("\t")) for number, line in lines if line.strip())


def _comma_separated(path: str, lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """The records with the line numbers where they begin."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    reader = csv.reader((f"{line}\n" for _, line in lines), strict=True)
    begin = 1
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        if "field limit" in str(error):
            raise InputError(
                f"{path}:{begin}: a text of more than {csv.field_size_limit():,} characters: a "
                'double quote is likely not closed; write a quote within a text twice ("")'
            ) from None
        raise InputError(
            f"{path}:{begin}: not comma-separated text ({error}): put a text with commas, line "
            'breaks or quotes between double quotes, and write a quote within it twice ("")'
        ) from None


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a row has what is wanted."""

    texts: tuple[int, ...]
    label: int | None
    language: int | None
    count: int


def _rows_of_table(
    path: str, records: Iterable[tuple[int, list[str]]], wanted: Wanted, separator: str
) -> Iterator[TextRow]:
    columns = None
    for line, fields in records:
        fields = [field.strip() for field in fields]
        first = columns is None
        if first:
            columns = _columns_of_header(fields, wanted, f"{path}:{line}")
            if columns is not None:
                continue
            columns = _columns_by_place(wanted)
        if len(fields) != columns.count:
            raise InputError(f"{path}:{line}: {_wrong_columns(fields, columns, wanted, separator)}")
        text, text_pair = (*(fields[index] for index in columns.texts), None)[:2]
        label = None if columns.label is None else fields[columns.label]
        language = None if columns.language is None else fields[columns.language] or None
        yield _checked(TextRow(text, text_pair, label, line, language, first), path)


def _columns_by_place(wanted: Wanted) -> _Columns:
    texts = 1 + wanted.pairs
    return _Columns(tuple(range(texts)), texts if wanted.labeled else None, None, wanted.columns)


def _columns_of_header(fields: Sequence[str], wanted: Wanted, place: str) -> _Columns | None:
    """What the first row says of the columns, `None` if it is a row like the others.

    It is a header if it names the texts, and the label where one is wanted; or if its last field
    names the label, and the others, as many as are wanted, are one word each.

    Raises:
        InputError: It names the texts, and no label where one is wanted.
    """
    names = [field.lower() for field in fields]
    texts = _known_names(names, wanted.pairs)
    label = _first_known(names, _LABEL_NAMES)
    if wanted.labeled and label is None and texts is not None:
        told = ", ".join(map(repr, fields))
        raise InputError(
            f"{place}: column names {told}, and none of them is the label's: call its column label"
        )
    if (wanted.labeled and label is None) or len(set(names)) < len(names):
        return None
    if "text_pair" in names and not wanted.pairs:
        return None
    if texts is None:
        words = all(len(name.split()) == 1 for name in names)
        with_label = Wanted(wanted.pairs, True)
        if label != len(names) - 1 or len(names) != with_label.columns or not words:
            return None
        places = tuple(range(label))
    else:
        places = tuple(names.index(name) for name in texts)
    language = _first_known(names, _LANGUAGE_NAMES)
    return _Columns(places, label if wanted.labeled else None, language, len(names))


def _known_names(names: Iterable[str], pairs: bool) -> tuple[str, ...] | None:
    names = set(names)
    known = _PAIR_NAMES if pairs else tuple((name,) for name in _TEXT_NAMES)
    return next((texts for texts in known if names.issuperset(texts)), None)


def _first_known(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _wrong_columns(fields: Sequence[str], columns: _Columns, wanted: Wanted, separator: str) -> str:
    if columns.count != wanted.columns:
        return (
            f"{len(fields)} columns, but the header names {columns.count}: complete the row, and "
            f"check it for a missing {'tab' if separator == chr(9) else 'quote'}"
        )
    if len(fields) == 1 and separator == "\t":
        row = shortened(fields[0])
        return f"no tab in the line {row}: expected {wanted}, with a tab between"
    noun = "column" if len(fields) == 1 else "columns"
    hint = wanted.hint(len(fields))
    if separator == "," and len(fields) > columns.count:
        hint += "; a text that holds a comma stands between double quotes"
    if separator == "," and len(fields) == 1 and ";" in fields[0]:
        hint += "; separate by commas, not by semicolons"
    if len(fields) > columns.count:
        hint += "; or begin with a row of column names (text, label), then others are skipped"
    return f"{len(fields)} {noun} in the line: expected {wanted}{hint}"


def _rows_of_json(path: str, lines: Lines, wanted: Wanted) -> Iterator[TextRow]:
    for line, record in json_objects(path, lines):
        names = _known_names(record, wanted.pairs)
        if names is None:
            raise InputError(f"{path}:{line}: {_missing_texts(record, wanted)}")
        if not wanted.pairs and record.get("text_pair") is not None:
            raise InputError(
                f"{path}:{line}: 'text_pair' in the object: expected {wanted}; pairs of texts are "
                "for run_pairs.py"
            )
        texts = [_json_text(record, name, path, line) for name in names]
        first, second = (*texts, None)[:2]
        label = _json_label(record, path, line) if wanted.labeled else None
        yield _checked(TextRow(first, second, label, line, record.get("language")), path)


def _missing_texts(record: dict, wanted: Wanted) -> str:
    if wanted.pairs:
        told = " or ".join(f"{one!r} and {other!r}" for one, other in _PAIR_NAMES)
        single = _known_names(record, False) is not None
        hint = "; single texts are for run_classification.py" if single else ""
    else:
        told = " or ".join(map(repr, _TEXT_NAMES))
        pair = _known_names(record, True) is not None
        hint = "; pairs of texts are for run_pairs.py" if pair else ""
    return f"the object has no {told}: expected {wanted}{hint}"


def _json_text(record: dict, name: str, path: str, line: int) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise InputError(f"{path}:{line}: {name!r} is {shortened(value)}: expected a string")
    return checked_characters(value, path, line).strip()


def _json_label(record: dict, path: str, line: int) -> str:
    name = next((name for name in _LABEL_NAMES if name in record), None)
    if name is None:
        raise InputError(f"{path}:{line}: the object has no 'label': add it")
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(
            f"{path}:{line}: {name!r} is {shortened(value)}: expected a name or a whole number"
        )
    return checked_characters(str(value), path, line).strip()


def _checked(row: TextRow, path: str) -> TextRow:
    if not row.text:
        which = "text" if row.text_pair is None else "first text"
        raise InputError(f"{path}:{row.line}: the {which} is empty: write one, or drop the row")
    if row.text_pair == "":
        raise InputError(f"{path}:{row.line}: the second text is empty: write one, or drop the row")
    if row.label == "":
        raise InputError(f"{path}:{row.line}: the label is empty: write one, or drop the row")
    return row
