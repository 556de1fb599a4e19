"""Readers of whole texts and of pairs, with labels or without; bad input is an error with line."""

from __future__ import annotations

from collections.abc import Iterator

from xdistil.data.examples import LabeledText
from xdistil.data.labels import Labels
from xdistil.data.read_report import TextReport
from xdistil.data.readers import Paths, expand_files, folder_language
from xdistil.data.text_formats import Wanted, read_text_rows
from xdistil.data.text_labels import LabelChecker
from xdistil.errors import InputError


def read_labeled_text(
    files: Paths,
    *,
    pairs: bool = False,
    labels: Labels | None = None,
    language: str | None = None,
    report: TextReport | None = None,
) -> Iterator[LabeledText]:
    """Reads texts, or pairs of texts, with their labels, one at a time, in the order of the files.

    Three formats, each also gzipped; the suffix decides, and the first line where it does not:

    - tab-separated (`.tsv`): a text, a tab, its label; or two texts and their label. Nothing is
      quoted.
    - comma-separated (`.csv`): the same columns; a text that holds commas, line breaks or quotes
      stands between double quotes.
    - JSON lines (`.jsonl`): `{"text": "...", "label": "...", "language": "fr"}`, also `sentence`;
      for pairs `text` and `text_pair`, `text1` and `text2`, `sentence1` and `sentence2`, `premise`
      and `hypothesis`, or `question1` and `question2`.

    A first row of column names is recognised by the names of a JSON line; columns may then have
    any order, and others are skipped.

    A label is a name or a number. With `labels`, names are among them, and numbers count them from
    0 (unless the labels themselves are numbers). The language is `language`, else that of the row,
    else the name of the file's folder if it looks like a language code, else `"und"`. White space
    around texts and labels is dropped.

    Args:
        files: paths or globs, see `expand_files`.
        pairs: whether each row holds two texts.
        labels: the labels allowed; default: every name.
        language: the language of all texts.
        report: counts what was read.

    Raises:
        InputError: at once for a file that is missing; while reading for a file that is empty or
            cut or not UTF-8, a row of too few or too many columns, a text or label that is empty,
            a label that is none or not one of `labels`.

    Example:

    ```python
    report = TextReport()
    texts = list(read_labeled_text("data/train.tsv.gz", report=report))
    labels = Labels.from_names(report.label_counts)
    ```
    """
    paths = expand_files(files)
    report = TextReport() if report is None else report
    return _read_labeled(paths, Wanted(pairs, True), labels, language, report)


def _read_labeled(
    paths: list[str],
    wanted: Wanted,
    labels: Labels | None,
    language: str | None,
    report: TextReport,
) -> Iterator[LabeledText]:
    for path in paths:
        yield from _texts_of(path, wanted, language, LabelChecker(path, labels), report)


def read_unlabeled_text(
    files: Paths, *, pairs: bool = False, language: str | None = None
) -> Iterator[LabeledText]:
    """Reads texts, or pairs of texts, without labels, one at a time, in the order of the files.

    The formats are those of `read_labeled_text` without the label, and plain text: in a file of
    any other suffix than theirs, such as `.txt`, each line is a text; of pairs, each line is a
    text, a tab, and a text. Labels that a header or a JSON line names are skipped.

    Args:
        files: paths or globs, see `expand_files`.
        pairs: whether each row holds two texts.
        language: the language of all texts; default: as in `read_labeled_text`.

    Raises:
        InputError: as in `read_labeled_text`.
    """
    return _read_unlabeled(expand_files(files), Wanted(pairs, False), language)


def _read_unlabeled(
    paths: list[str], wanted: Wanted, language: str | None
) -> Iterator[LabeledText]:
    for path in paths:
        yield from _texts_of(path, wanted, language)


def _texts_of(
    path: str,
    wanted: Wanted,
    language: str | None,
    checker: LabelChecker | None = None,
    report: TextReport | None = None,
) -> Iterator[LabeledText]:
    of_folder = folder_language(path)
    found = False
    for row in read_text_rows(path, wanted):
        label = None if checker is None else checker.check(row.label, row.line)
        found = True
        text = LabeledText(row.text, label, row.text_pair, language or row.language or of_folder)
        if report is not None:
            report.add(text)
            if row.may_name_columns:
                report.first_rows.append((f"{path}:{row.line}", label))
        yield text
    if not found:
        raise InputError(f"{path}: no row in it: expected {wanted} in each line")
