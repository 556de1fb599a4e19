"""Checks the tags of a row: their number, BIO, the language prefix, the label set."""

from __future__ import annotations

import re

from xdistil.data.formats import Row
from xdistil.data.labels import Labels
from xdistil.data.read_report import ReadReport
from xdistil.errors import InputError

_TAG = re.compile(r"(?:([A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*):)?(O|[BI]-\S+)")
_OTHER_SCHEME = re.compile(r"(?:[A-Za-z_-]{2,}:)?[SELUMW]-\S+")


class TagChecker:
    """Checks the rows of one file; each different tag is taken apart once.

    Args:
        path: the file, for the messages.
        labels: the labels allowed, or `None` for every BIO tag.
        report: counts `I-` tags that continue nothing.
    """

    def __init__(self, path: str, labels: Labels | None, report: ReadReport):
        self.path = path
        self.labels = labels
        self.report = report
        self._known: dict[str, tuple[str | None, str]] = {}

    def check(self, row: Row) -> tuple[tuple[str, ...], str | None]:
        """Returns the row's tags without their language prefix, and the prefix or `None`.

        Raises:
            InputError: words and tags differ in number, a tag is not BIO or not one of the labels,
                or prefixes of two languages stand in one sentence.
        """
        if len(row.words) != len(row.tags):
            raise InputError(
                f"{self.path}:{row.line}: {len(row.words)} words but {len(row.tags)} tags: "
                "expected one tag a word"
            )
        language = None
        tags = []
        previous = "O"
        for position, raw in enumerate(row.tags):
            prefix, tag = self._known.get(raw) or self._take_apart(raw, row, position)
            if prefix is not None and prefix != language:
                if language is not None:
                    raise InputError(
                        f"{self.path}:{row.line}: prefixes of two languages, {language} and "
                        f"{prefix}, in one sentence: expected one"
                    )
                language = prefix
            if tag[0] == "I" and (previous == "O" or previous[2:] != tag[2:]):
                self.report.add_orphan(f"{self.path}:{row.line_of(position)} {tag}")
            tags.append(tag)
            previous = tag
        return tuple(tags), language

    def _take_apart(self, raw: str, row: Row, position: int) -> tuple[str | None, str]:
        line = row.line_of(position)
        if isinstance(raw, int):
            raw = self._name_of(raw, line)
        match = _TAG.fullmatch(raw)
        if match is None:
            hint = "expected O, B-TYPE or I-TYPE"
            if _OTHER_SCHEME.fullmatch(raw):
                hint += "; this looks like BIOES or BILOU: write S- and U- as B-, E- and L- as I-"
            raise InputError(f"{self.path}:{line}: tag {raw!r} is not a BIO tag: {hint}")
        prefix, tag = match.groups()
        if self.labels is not None and tag not in self.labels:
            raise InputError(
                f"{self.path}:{line}: tag {tag!r} is not one of the labels "
                f"{', '.join(self.labels)}: correct it or add it to the labels file"
            )
        self._known[row.tags[position]] = (prefix, tag)
        return prefix, tag

    def _name_of(self, number: int, line: int) -> str:
        if self.labels is None:
            raise InputError(
                f"{self.path}:{line}: tag {number} is a number: give a labels file, whose lines "
                "the numbers count from 0, or write the tags out"
            )
        if not 0 <= number < len(self.labels):
            raise InputError(
                f"{self.path}:{line}: tag {number}, but the labels go from 0 to "
                f"{len(self.labels) - 1}: correct it or add to the labels file"
            )
        return self.labels[number]
