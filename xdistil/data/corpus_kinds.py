"""What differs between a corpus of tagged sentences, of texts, and of pairs of texts."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.formats import shortened
from xdistil.data.labels import Labels, is_number
from xdistil.data.read_report import ReadReport, TextReport
from xdistil.data.readers import TAGGED_SUFFIXES, read_tagged, read_text
from xdistil.data.text_formats import format_of
from xdistil.data.text_readers import read_labeled_text, read_unlabeled_text
from xdistil.errors import InputError

# More words than a class is named by.
_LONG_LABEL = 5


class CorpusKind(Protocol):
    """One kind of corpus: how its files are read, and what its labels are.

    Attributes:
        suffixes: Of the files that a data folder may hold.
    """

    suffixes: tuple[str, ...]

    def new_report(self) -> Any:
        """Counts what is read."""

    def labeled(
        self, path: str, labels: Labels | None, language: str | None, report: Any
    ) -> Iterator[Any]:
        """The labeled examples of a file."""

    def unlabeled(self, paths: Sequence[str]) -> Iterator[Any]:
        """The examples of files of transfer text."""

    def without_label(self, example: Any) -> Any:
        """A labeled example as transfer text."""

    def class_of(self, example: Any) -> str:
        """The one label of an example."""

    def labels_from(self, report: Any) -> Labels:
        """The label set of the train text that was counted."""

    def labels_from_file(self, path: str) -> Labels:
        """The label set of a labels file."""

    def format_of(self, path: str) -> str:
        """What of a file's name counts for the fingerprint beside its content."""

    def warnings(self, reports: Iterable[Any], train: Sequence[Any], labels: Labels) -> list[str]:
        """What a user should know of the data, a line each."""


class TaggedSentences:
    """Sentences with a BIO tag a word."""

    suffixes = TAGGED_SUFFIXES

    def new_report(self) -> ReadReport:
        return ReadReport()

    def labeled(
        self, path: str, labels: Labels | None, language: str | None, report: ReadReport | None
    ) -> Iterator[TaggedSentence]:
        return read_tagged([path], labels=labels, language=language, report=report)

    def unlabeled(self, paths: Sequence[str]) -> Iterator[TaggedSentence]:
        return read_text(paths)

    def without_label(self, example: TaggedSentence) -> TaggedSentence:
        return dataclasses.replace(example, tags=None)

    def class_of(self, example: TaggedSentence) -> str:
        raise InputError(
            "--labeled_per_class: a sentence has a tag a word, not one class: give "
            "--labeled_per_language"
        )

    def labels_from(self, report: ReadReport) -> Labels:
        return Labels.from_tags(report.tag_counts)

    def labels_from_file(self, path: str) -> Labels:
        labels = Labels.from_file(path)
        wrong = [name for name in labels if not re.fullmatch(r"O|[BI]-\S+", name)]
        if wrong:
            raise InputError(
                f"{path}: {wrong[0]!r} is no BIO label: expected O, B-TYPE or I-TYPE, one a line; "
                "classes for pieces ([CLS], X) are added by --scheme=pieces."
            )
        return labels

    def format_of(self, path: str) -> str:
        return ""

    def warnings(
        self, reports: Iterable[ReadReport], train: Sequence[TaggedSentence], labels: Labels
    ) -> list[str]:
        return [line for report in reports for line in report.warnings()]


class LabeledTexts:
    """Texts, or pairs of texts, with one label each.

    Args:
        pairs: Whether each example has two texts.
    """

    suffixes = (".tsv", ".csv", ".jsonl")

    def __init__(self, pairs: bool):
        self.pairs = pairs

    def new_report(self) -> TextReport:
        return TextReport()

    def labeled(
        self, path: str, labels: Labels | None, language: str | None, report: TextReport | None
    ) -> Iterator[LabeledText]:
        return read_labeled_text(
            [path], pairs=self.pairs, labels=labels, language=language, report=report
        )

    def unlabeled(self, paths: Sequence[str]) -> Iterator[LabeledText]:
        return read_unlabeled_text(paths, pairs=self.pairs)

    def without_label(self, example: LabeledText) -> LabeledText:
        return dataclasses.replace(example, label=None)

    def class_of(self, example: LabeledText) -> str:
        return example.label

    def labels_from(self, report: TextReport) -> Labels:
        labels = Labels.from_names(report.label_counts)
        if len(labels) < 2:
            raise InputError(
                f"All train text has the label {labels[0]!r}: expected at least two classes."
            )
        self._check_first_rows(report)
        longest = max(labels, key=lambda name: len(name.split()))
        if 2 * len(labels) > report.texts and len(longest.split()) > _LONG_LABEL:
            raise InputError(
                f"{report.texts} train texts have {len(labels)} labels, such as "
                f"{shortened(longest)}: check the order of the columns, or name them in a first "
                "row (text, label)."
            )
        return labels

    def _check_first_rows(self, report: TextReport) -> None:
        """Raises if a file's first row is likely one of column names that nobody knows."""
        firsts = Counter(label for _, label in report.first_rows)
        counts = report.label_counts
        for place, label in report.first_rows:
            alone = counts[label] == firsts[label] and not is_number(label)
            others = [other for other in counts if other != label]
            # Where other classes are as rare, it may be one too, unless they are numbers.
            rarest = all(counts[label] < counts[other] for other in others)
            if alone and (rarest or all(map(is_number, others))):
                raise InputError(
                    f"{place}: the label {label!r} stands in no other row: if the row is one of "
                    "column names, name them as they are known (text, label), or drop it; if it "
                    "is a class, give it more texts, or give a labels file (--labels_file)"
                )

    def labels_from_file(self, path: str) -> Labels:
        labels = Labels.from_file(path)
        if len(labels) < 2:
            raise InputError(f"{path}: one label alone, {labels[0]!r}: expected at least two")
        return labels

    def format_of(self, path: str) -> str:
        return format_of(path)

    def warnings(
        self, reports: Iterable[TextReport], train: Sequence[LabeledText], labels: Labels
    ) -> list[str]:
        counts = Counter(map(self.class_of, train))
        missing = [name for name in labels if not counts[name]]
        if not missing:
            return []
        names = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        return [
            f"none of the {len(train):,} labeled train texts that are used has the label {names}: "
            "what has none is never predicted"
        ]
