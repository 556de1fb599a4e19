"""Scores of classified texts, counted by hand."""

import pytest

from xdistil.metrics.classification import classification_scores

LABELS = ("a", "b", "c")


def test_scores_are_those_counted_by_hand():
    gold = ["a", "a", "b", "b", "a"]
    predicted = ["a", "b", "b", "b", "a"]
    scores = classification_scores(gold, predicted, ["en"] * 3 + ["de"] * 2, labels=LABELS)
    assert scores["accuracy"] == pytest.approx(4 / 5)
    # a: precision 1, recall 2/3; b: precision 2/3, recall 1; c occurs nowhere.
    assert scores["f1_macro"] == pytest.approx((0.8 + 0.8) / 2)
    assert list(scores["per_language"]) == ["de", "en"]
    assert scores["per_language"]["de"] == {"accuracy": 1.0, "f1_macro": 1.0, "support": 2}
    assert scores["per_language"]["en"]["accuracy"] == pytest.approx(2 / 3)


def test_a_label_that_is_only_predicted_costs_macro_f1():
    scores = classification_scores(["a", "a"], ["a", "c"], ["en"] * 2, labels=LABELS)
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)


def test_lists_of_other_lengths_and_nothing_at_all_are_refused():
    for gold, predicted in ((["a"], []), ([], [])):
        with pytest.raises(ValueError, match="as many labels"):
            classification_scores(gold, predicted, ["en"] * len(gold), labels=LABELS)
