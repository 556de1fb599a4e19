"""The losses on whole texts against their formulas: one value a text, none for filling rows."""

import numpy as np
import pytest

from xdistil.distillation.losses import (
    HardDistillation,
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)

# Three texts, the second without a gold label, and a row that only fills up the batch.
MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], np.int32)
LABELS = np.array([[2, -1, -1], [-1, -1, -1], [0, -1, -1], [-1, -1, -1]], np.int32)
REAL = slice(0, 3)


@pytest.fixture
def outputs():
    random = np.random.default_rng(1)
    teacher = {
        "logits": random.normal(size=(4, 3)).astype("float32"),
        "pooled_output": random.normal(size=(4, 6)).astype("float32"),
    }
    student = {
        "logits": random.normal(size=(4, 3)).astype("float32"),
        "representation": random.normal(size=(4, 6)).astype("float32"),
    }
    return teacher, student


def mean_loss(loss, teacher, student):
    features = {"padding_mask": MASK, "word_starts": MASK}
    targets = {"labels": LABELS}
    return float(loss.compute_loss(teacher, student, features=features, targets=targets))


def softmax(x):
    e = np.exp(x.astype("float64") - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_labels_count_texts_with_a_gold_label(outputs):
    teacher, student = outputs
    p = softmax(student["logits"])
    expected = -(np.log(p[0, 2]) + np.log(p[2, 0])) / 2
    loss = LabelCrossEntropy(positions="labeled_texts")
    assert mean_loss(loss, teacher, student) == pytest.approx(expected, rel=1e-6)


def test_hard_distillation_takes_the_gold_label_else_the_teachers_best_class(outputs):
    teacher, student = outputs
    teacher["logits"][0] = [9, 0, 0]  # the teacher is wrong about a text whose label is known
    p = softmax(student["logits"])
    classes = [2, teacher["logits"][1].argmax(), 0]
    expected = -np.mean([np.log(p[row, c]) for row, c in enumerate(classes)])
    assert mean_loss(HardDistillation(), teacher, student) == pytest.approx(expected, rel=1e-6)


def test_logits_of_texts_are_half_the_squared_distance(outputs):
    teacher, student = outputs
    squares = 0.5 * ((student["logits"] - teacher["logits"]).astype("float64") ** 2).sum(-1)
    loss = LogitsRegression("texts")
    assert mean_loss(loss, teacher, student) == pytest.approx(squares[REAL].mean(), rel=1e-6)


def test_log_odds_are_of_clipped_probabilities(outputs):
    teacher, student = outputs
    teacher["logits"][0] = [90, 0, 0]  # p is 1 in float32: only the clipping keeps the odds finite
    p = np.clip(softmax(teacher["logits"]), 1e-7, 1 - 1e-7)
    squares = 0.5 * ((student["logits"] - np.log(p / (1 - p))) ** 2).sum(-1)
    loss = LogitsRegression("texts", target="log_odds")
    # 1 - 1e-7 is a float32 only to 1e-8, a tenth of what is left of it.
    assert mean_loss(loss, teacher, student) == pytest.approx(squares[REAL].mean(), rel=2e-2)
    teacher["logits"][0] = [1, 0, 0]
    p = softmax(teacher["logits"])
    squares = 0.5 * ((student["logits"] - np.log(p / (1 - p))) ** 2).sum(-1)
    assert mean_loss(loss, teacher, student) == pytest.approx(squares[REAL].mean(), rel=1e-5)


def test_the_representation_is_held_against_the_pooled_output(outputs):
    teacher, student = outputs
    squares = ((student["representation"] - teacher["pooled_output"]).astype("float64") ** 2).mean(
        -1
    )
    loss = RepresentationDistillation("pooled_output", positions="texts")
    assert mean_loss(loss, teacher, student) == pytest.approx(squares[REAL].mean(), rel=1e-6)
    assert loss.teacher_outputs == ("pooled_output",)


def test_what_stands_in_a_row_that_fills_up_does_not_matter(outputs):
    teacher, student = outputs
    losses = [
        LabelCrossEntropy(positions="labeled_texts"),
        HardDistillation(),
        LogitsRegression("texts"),
        LogitsRegression("texts", target="log_odds"),
        RepresentationDistillation("pooled_output", positions="texts"),
    ]
    before = [mean_loss(loss, teacher, student) for loss in losses]
    for array in (*teacher.values(), *student.values()):
        array[3] = 1e3
    assert [mean_loss(loss, teacher, student) for loss in losses] == before


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="'odds'"):
        LogitsRegression(target="odds")
