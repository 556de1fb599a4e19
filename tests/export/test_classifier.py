"""Classifiers through the interface of predictors, in both runtimes."""

import itertools
import json

import numpy as np
import pytest
from classifier_fixtures import LABELS

from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.export.classified_result import ClassifiedResult
from xdistil.export.classifier import Classes, Classifier
from xdistil.export.keras_classifier import KerasClassifier
from xdistil.export.predictor import load_predictor


class FirstWord(Classifier):
    """Classifies by the words of the first text, and remembers its batches."""

    def __init__(self, pairs=False, batch_size=2):
        super().__init__(Labels(["few", "many"]), pairs, batch_size)
        self.batches = []

    def _classify(self, batch):
        self.batches.append(batch)
        first = [given[0] if self.pairs else given for given in batch]
        many = np.array([len(text.split()) > 2 for text in first], np.float32)
        return Classes(np.stack([1 - many, many], 1), np.zeros(len(batch), int))


@pytest.fixture(params=["keras", "saved_model"])
def predictor(request, classifier, classifier_folder):
    if request.param == "keras":
        return KerasClassifier(classifier)
    return load_predictor(classifier_folder)


@pytest.fixture(params=["keras", "saved_model"])
def pair_predictor(request, pair_classifier, pair_classifier_folder):
    if request.param == "keras":
        return KerasClassifier(pair_classifier)
    return load_predictor(pair_classifier_folder)


def test_results_come_in_the_order_of_the_texts_blank_ones_included():
    predictor = FirstWord()
    results = list(predictor.predict(["a b c", "", "a", "  ", "a b c d", "a b"]))
    assert [result.label for result in results] == ["many", None, "few", None, "many", "few"]
    assert [result.text for result in results] == ["a b c", "", "a", "  ", "a b c d", "a b"]
    assert [sorted(map(len, batch)) for batch in predictor.batches] == [[1, 3], [5, 7]]


def test_a_pair_is_blank_only_if_both_texts_are():
    results = list(FirstWord(pairs=True).predict([("", " "), ("", "a"), ("a b c", "")]))
    assert [result.label for result in results] == [None, "few", "many"]
    assert (results[0].text, results[0].text_pair) == ("", " ")


def test_texts_are_read_a_chunk_at_a_time():
    numbers = itertools.count()
    taken = iter(f"word {number}" for number in numbers)
    results = FirstWord().predict(taken, chunk=8)
    for _ in range(9):
        next(results)
    assert next(numbers) == 16


@pytest.mark.parametrize(
    ("pairs", "given"),
    [(False, ("a", "b")), (False, ["a"]), (True, "a b"), (True, ("a",)), (True, ("a", "b", "c"))],
)
def test_what_the_model_does_not_take_is_told(pairs, given):
    with pytest.raises(InputError, match="pairs of texts" if pairs else "texts, each a str"):
        list(FirstWord(pairs).predict([given]))


def test_both_runtimes_say_what_the_trained_model_says(predictor, classifier, sentences):
    results = list(predictor.predict(sentences))
    asked = [text for text in sentences if text.strip()]
    assert [result.label for result in results if result.text.strip()] == classifier.predict(asked)
    for result in results:
        assert result.text_pair is None
        if result.label is None:
            assert (result.score, result.probabilities) == (0, {}) and not result.text.strip()
            continue
        assert tuple(result.probabilities) == LABELS
        assert (
            result.score == result.probabilities[result.label] == max(result.probabilities.values())
        )
        assert sum(result.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_both_runtimes_agree_on_probabilities_and_unseen_words(
    classifier, classifier_folder, sentences
):
    keras, graph = KerasClassifier(classifier, 7), load_predictor(classifier_folder, batch_size=7)
    for one, other in zip(keras.predict(sentences), graph.predict(sentences), strict=True):
        assert (one.text, one.label) == (other.text, other.label)
        assert one.unseen_words == other.unseen_words
        assert list(one.probabilities.values()) == pytest.approx(
            list(other.probabilities.values()), abs=1e-5
        )


def test_pairs_are_served_by_both_runtimes(pair_predictor, pair_classifier, pairs):
    results = list(pair_predictor.predict(pairs))
    assert [(result.text, result.text_pair) for result in results] == pairs
    asked = [pair for pair in pairs if "".join(pair).strip()]
    labels = [result.label for result in results if result.label is not None]
    assert labels == pair_classifier.predict(asked)


def test_a_run_directory_and_a_student_tell_their_task(
    classifier, pair_classifier, classifier_folder, tmp_path
):
    classifier.save(tmp_path / "run" / "student")
    pair_classifier.save(tmp_path / "pairs")
    (tmp_path / "run" / "export").mkdir()
    (tmp_path / "run" / "export" / "saved_model").symlink_to(classifier_folder)
    found = [
        load_predictor(*arguments)
        for arguments in (
            (tmp_path / "run",),
            (tmp_path / "run", "saved_model"),
            (tmp_path / "pairs",),
        )
    ]
    assert [(type(one).__name__, one.pairs) for one in found] == [
        ("KerasClassifier", False),
        ("SavedModelClassifier", False),
        ("KerasClassifier", True),
    ]
    assert found[0].labels == found[1].labels == Labels(LABELS)


def test_unseen_words_are_told(predictor):
    unseen = predictor.unseen_words()
    list(unseen.count(predictor.predict(["Paris", "London " * 80, ""])))
    (line,) = unseen.warnings()
    assert "words in 1 texts were not seen by the model: " in line


def test_a_line_is_a_text_or_two_texts_with_a_tab_between():
    assert FirstWord().parse_line(" Ada  lives ", "x:1") == " Ada  lives "
    assert FirstWord().parse_line("\t", "x:1").strip() == ""
    pairs = FirstWord(pairs=True)
    assert pairs.parse_line("Ada\tin Turin", "x:1") == ("Ada", "in Turin")
    assert pairs.parse_line(" \t\t ", "x:1") == pairs.parse_line("", "x:1") == ("", "")


@pytest.mark.parametrize(
    ("pairs", "line", "message"),
    [
        (False, "a text\tits label", "x:7: 2 columns in the line 'a text\\\\tits label'"),
        (True, "a text", "x:7: 1 column in the line 'a text': this model takes two texts"),
        (True, "a\tb\tc", "x:7: 3 columns"),
    ],
)
def test_a_line_of_other_columns_is_refused_with_its_place(pairs, line, message):
    with pytest.raises(InputError, match=message):
        FirstWord(pairs).parse_line(line, "x:7")


def test_formats():
    probabilities = {"small": 0.25, "größe": 0.7500001}
    one = ClassifiedResult(" a\u00a0 b", None, "größe", 0.7500001, probabilities)
    assert one.format("tsv") == "a b\tgröße\n"
    assert one.format("jsonl") == (
        '{"text": " a\u00a0 b", "label": "größe", "score": 0.75, '
        '"probabilities": {"small": 0.25, "größe": 0.75}}\n'
    )
    two = ClassifiedResult("a\tb", "c\nd", "x", 1.0, {"x": 1.0})
    assert two.format("tsv") == "a b\tc d\tx\n"
    assert json.loads(two.format("jsonl"))["text_pair"] == "c\nd"
    assert ClassifiedResult(" ").format("tsv") == "\n"
    assert json.loads(ClassifiedResult("").format("jsonl"))["label"] is None
    for name in ("conll", "xml"):
        with pytest.raises(ValueError, match=name):
            one.format(name)
