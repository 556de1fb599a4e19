"""Datasets of the hub, with a stand-in for the library `datasets`, and with itself if installed."""

import json
import sys
import types

import pytest

from xdistil.data.hub_datasets import open_hub_dataset
from xdistil.data.labels import Labels
from xdistil.data.read_report import ReadReport
from xdistil.errors import InputError


class DatasetsError(Exception):
    """Stands for the exception of that name in `datasets`, which is no OSError."""


class Table(list):
    """Rows with features, as `datasets.load_dataset` gives them."""

    def __init__(self, rows, features):
        super().__init__(rows)
        self.features = features


def classes(*names):
    return types.SimpleNamespace(feature=types.SimpleNamespace(names=list(names)))


@pytest.fixture
def serve(monkeypatch):
    """Puts a stand-in for `datasets` in place that serves one table and notes how it was asked."""
    asked = []

    def serve(table):
        def load_dataset(*args, **options):
            asked.append((args, options))
            if isinstance(table, Exception):
                raise table
            return table

        library = types.SimpleNamespace(
            load_dataset=load_dataset,
            exceptions=types.SimpleNamespace(DatasetsError=DatasetsError),
        )
        monkeypatch.setitem(sys.modules, "datasets", library)
        return asked

    return serve


FEATURES = {"tokens": None, "ner_tags": classes("O", "B-PER", "I-PER"), "langs": None}
ROWS = [
    {"tokens": ["Ada", "Lee"], "ner_tags": [1, 2], "langs": ["sw", "sw"]},
    {"tokens": [], "ner_tags": [], "langs": []},
    {"tokens": ["left"], "ner_tags": [0], "langs": []},
]


def test_rows_become_tagged_sentences(serve):
    asked = serve(Table(ROWS, FEATURES))
    report = ReadReport()
    sentences = list(open_hub_dataset("names", "de", "test", report=report))
    assert [(one.words, one.tags, one.language) for one in sentences] == [
        (("Ada", "Lee"), ("B-PER", "I-PER"), "sw"),
        (("left",), ("O",), "de"),
    ]
    assert asked == [(("names", "de"), {"split": "test", "streaming": False})]
    assert (report.sentences, report.words) == (2, 3)


def test_tags_may_be_strings_and_the_language_may_be_given(serve):
    rows = [{"words": ["Ada"], "tags": ["B-PER"]}]
    serve(Table(rows, {"words": None, "tags": None}))
    (found,) = open_hub_dataset("names", language="en")
    assert (found.tags, found.language) == (("B-PER",), "en")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "ner_tags": [0]}, "names/de/train:1: 2 words but 1 tags"),
        ({"tokens": ["a"], "ner_tags": [-1]}, "names/de/train:1: tag '-1' is not a BIO tag"),
        ({"tokens": ["a"], "ner_tags": [2]}, "names/de/train:1: tag 'I-PER' is not one of"),
    ],
)
def test_a_faulty_row_is_refused_with_its_number(serve, row, message):
    serve(Table([row], FEATURES))
    with pytest.raises(InputError, match=message):
        list(open_hub_dataset("names", "de", labels=Labels(["O", "B-PER"])))


def test_a_dataset_without_words_or_tags_is_refused(serve):
    serve(Table([], {"text": None, "label": None}))
    with pytest.raises(InputError, match=r"no column tokens or words .* has text, label"):
        open_hub_dataset("reviews")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("not there\nmore"),
        ValueError("no config"),
        RuntimeError("Dataset scripts are no longer supported, but found names.py"),
        DatasetsError("An error occurred while generating the dataset\n\nAll the data files must"),
    ],
)
def test_a_dataset_that_cannot_be_opened_is_one_line(serve, error):
    serve(error)
    with pytest.raises(InputError, match="names/train: the dataset cannot be opened") as caught:
        open_hub_dataset("names")
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'xdistil\[hub\]'"):
        open_hub_dataset("names")


def test_files_that_do_not_fit_together_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache", raising=False)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"tokens": ["Ada"]}\nno JSON\n')
    with pytest.raises(InputError, match="the dataset cannot be opened"):
        open_hub_dataset(str(tmp_path / "set"))


def test_a_local_dataset_opens_with_the_library_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache", raising=False)
    row = {"tokens": ["Ada", "left"], "ner_tags": ["B-PER", "O"], "lang": "de"}
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = open_hub_dataset(str(tmp_path / "set"), split="train")
    assert (found.words, found.tags, found.language) == (("Ada", "left"), ("B-PER", "O"), "de")
