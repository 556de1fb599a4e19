"""Classes on [CLS], pairs with segments, masks of augmented rows, and answers out of logits."""

import numpy as np
import pytest

from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.tasks import Classification, PairClassification

LABELS = Labels(["question", "statement"])
TEXTS = ("is it raining", "it rains [MASK] in Turin")


@pytest.fixture(scope="module")
def encoder():
    sentences = [TaggedSentence(tuple(text.split())) for text in TEXTS]
    return train_wordpiece(sentences, 80, seq_len=16)


def test_the_class_stands_at_the_first_position_alone(encoder):
    task = Classification(LABELS, encoder)
    rows = [LabeledText(TEXTS[1], "statement"), LabeledText(TEXTS[0])]
    first, second = task.encode(rows)
    assert first.labels[0] == 1 and set(first.labels[1:]) == {-1}
    assert second.labels is None
    assert first.token_ids[0] == encoder.cls_id


def test_a_label_outside_the_set_is_refused(encoder):
    with pytest.raises(InputError, match="'command'"):
        list(Classification(LABELS, encoder).encode([LabeledText("go", "command")]))


def test_only_rows_that_say_so_are_masked(encoder):
    task = Classification(LABELS, encoder)
    plain, augmented, again = task.encode(
        [
            LabeledText(TEXTS[1]),
            LabeledText(TEXTS[1], mask_word="[MASK]"),
            LabeledText(TEXTS[1]),
        ]
    )
    assert encoder.mask_id in augmented.token_ids
    for example in (plain, again):
        assert encoder.mask_id not in example.token_ids


def test_a_pair_is_one_example_with_segments(encoder):
    task = PairClassification(LABELS, encoder)
    row = LabeledText(TEXTS[0], "question", text_pair=TEXTS[1])
    (example,) = task.encode([row])
    boundary = np.flatnonzero(example.token_ids == encoder.sep_id)
    assert len(boundary) == 2 and boundary[1] == len(example) - 1
    expected = (np.arange(len(example)) > boundary[0]).astype(int)
    np.testing.assert_array_equal(example.segment_ids, expected)
    assert example.labels[0] == 0


def test_probabilities_and_answers_follow_from_logits(encoder):
    task = Classification(LABELS, encoder)
    encoded = list(task.encode(map(LabeledText, TEXTS)))
    logits = np.array([[2.0, 0.0], [-1.0, 3.0]], np.float32)

    def run(examples):
        return iter([{"logits": row} for row, _ in zip(logits, examples, strict=True)])

    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(task.probabilities(run, encoded), expected, rtol=1e-6)
    assert task.predict(run, encoded) == ["question", "statement"]
    gold = [LabeledText(TEXTS[0], "question"), LabeledText(TEXTS[1], "question", language="en")]
    scores = task.evaluate(run, encoded, gold)
    assert task.main_metric(scores) == 0.5
    assert scores["per_language"]["und"]["accuracy"] == 1.0
    # Both are questions: to say so of all texts would have scored more.
    assert task.warning_of(scores, gold).startswith("scores 50.00% on test, and one answer for all")
    assert task.warning_of({"accuracy": 0.51}, [gold[0], LabeledText("a", "statement")]) is None
    assert task.predict(lambda examples: iter(()), []) == []


def test_unlabeled_takes_what_users_have(encoder):
    assert list(Classification(LABELS, encoder).unlabeled(["a b"])) == [LabeledText("a b")]
    pairs = PairClassification(LABELS, encoder).unlabeled([("a", "b")])
    assert list(pairs) == [LabeledText("a", text_pair="b")]


@pytest.mark.parametrize(
    ("task_class", "inputs", "message"),
    [
        (Classification, [["a", "b"]], "is no text"),
        (PairClassification, ["a b"], "is no pair"),
        (PairClassification, [("a", "b", "c")], "is no pair"),
        (PairClassification, [("a", ["b"])], "is no text"),
    ],
)
def test_inputs_of_another_shape_are_told(task_class, inputs, message):
    with pytest.raises(InputError, match=message):
        list(task_class.unlabeled(object.__new__(task_class), inputs))
