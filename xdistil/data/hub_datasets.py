"""Opens a tagged dataset of the hub by its name; needs the extra `hub`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xdistil.data.examples import TaggedSentence
from xdistil.data.formats import Row
from xdistil.data.labels import Labels
from xdistil.data.read_report import ReadReport
from xdistil.data.readers import looks_like_a_language
from xdistil.data.tags import TagChecker
from xdistil.errors import InputError

_WORD_COLUMNS = ("tokens", "words")
_TAG_COLUMNS = ("ner_tags", "tags")
_LANGUAGE_COLUMNS = ("language", "lang", "langs")


def open_hub_dataset(
    name: str,
    config: str | None = None,
    split: str = "train",
    *,
    labels: Labels | None = None,
    language: str | None = None,
    report: ReadReport | None = None,
    streaming: bool = False,
) -> Iterator[TaggedSentence]:
    """Reads a dataset that has a column of words and one of BIO tags, row by row.

    Words are in the column `tokens` or `words`, tags in `ner_tags` or `tags`: strings, or classes,
    whose names the dataset knows. The language is that of the tags' prefix, else `language`, else
    that of the column `language`, `lang` or `langs`, else the name of the configuration if it
    looks like a language code, else `"und"`.

    Args:
        name: the dataset's name on the hub, or a folder that the library `datasets` can open.
        config: its configuration, such as a language of a multilingual dataset.
        split: `"train"`, `"validation"`, `"test"`, or a slice such as `"train[:1000]"`.
        labels: the labels allowed; default: every BIO tag.
        language: the language of all rows.
        report: counts what was read.
        streaming: whether to read without downloading the whole dataset first.

    Raises:
        InputError: at once if `datasets` is not installed, or cannot open the dataset, or the
            dataset lacks the columns; while reading for rows that `read_tagged` would refuse too.

    Example:

    ```python
    sentences = open_hub_dataset("wikiann", "sw", "train[:100]")
    ```
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{name}: a dataset of the hub needs the package datasets: "
            "pip install 'xdistil[hub]', or give files"
        ) from None
    try:
        dataset = datasets.load_dataset(name, config, split=split, streaming=streaming)
    # RuntimeError: the dataset is a script, which the library no longer runs.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{_place(name, config, split)}: the dataset cannot be opened ({reason}): check name, "
            "configuration and split"
        ) from None
    columns = list(dataset.features or {})
    words = _column(columns, _WORD_COLUMNS, "words", _place(name, config, split))
    tags = _column(columns, _TAG_COLUMNS, "tags", _place(name, config, split))
    of_config = config if config and looks_like_a_language(config) else "und"
    report = ReadReport() if report is None else report
    checker = TagChecker(_place(name, config, split), labels, report)
    class_names = getattr(getattr(dataset.features[tags], "feature", None), "names", None)

    def read() -> Iterator[TaggedSentence]:
        for number, record in enumerate(dataset, 1):
            values = record[tags]
            if class_names is not None:
                values = [class_names[value] if value >= 0 else str(value) for value in values]
            row = Row(tuple(record[words]), tuple(values), number, _language_of(record))
            if not row.words and not row.tags:
                continue
            names, prefix = checker.check(row)
            found = prefix or language or row.language or of_config
            sentence = TaggedSentence(row.words, names, found)
            report.add(sentence)
            yield sentence

    return read()


def _place(name: str, config: str | None, split: str) -> str:
    return "/".join(filter(None, (name, config, split)))


def _column(columns: list[str], names: tuple[str, ...], what: str, place: str) -> str:
    for name in names:
        if name in columns:
            return name
    raise InputError(
        f"{place}: no column {' or '.join(names)} for the {what}; the dataset has "
        f"{', '.join(columns) or 'no columns'}: give another dataset"
    )


def _language_of(record: dict[str, Any]) -> str | None:
    for name in _LANGUAGE_COLUMNS:
        value = record.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str) and value:
            return value
    return None
