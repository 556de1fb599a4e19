"""Each loss against its formula, on hand-made tensors with padding in them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.distillation.losses import (
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)

# Two sentences of three and two real pieces; the fourth column is padding everywhere.
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)
WORD_STARTS = np.array([[0, 1, 0, 0], [0, 1, 0, 0]], np.int32)
LABELS = np.array([[-1, 2, -1, -1], [-1, 0, -1, -1]], np.int32)
FEATURES = {"padding_mask": MASK, "word_starts": WORD_STARTS}


@pytest.fixture
def outputs():
    random = np.random.default_rng(1)
    teacher = {
        "logits": random.normal(size=(2, 4, 3)).astype("float32"),
        "hidden_states": {5: random.normal(size=(2, 4, 6)).astype("float32")},
    }
    student = {
        "logits": random.normal(size=(2, 4, 3)).astype("float32"),
        "representation": random.normal(size=(2, 4, 6)).astype("float32"),
    }
    return teacher, student


def mean_loss(loss, teacher, student, targets=None):
    targets = targets or {"labels": LABELS}
    return float(loss.compute_loss(teacher, student, features=FEATURES, targets=targets))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_labels_are_cross_entropy_over_labeled_positions_alone(outputs):
    teacher, student = outputs
    p = softmax(student["logits"].astype("float64"))
    expected = -(np.log(p[0, 1, 2]) + np.log(p[1, 1, 0])) / 2
    assert mean_loss(LabelCrossEntropy(), teacher, student) == pytest.approx(expected, rel=1e-6)


def test_logits_loss_is_half_the_squared_distance_of_raw_logits(outputs):
    teacher, student = outputs
    squares = 0.5 * ((student["logits"] - teacher["logits"]).astype("float64") ** 2).sum(-1)
    words = (squares * WORD_STARTS).sum() / WORD_STARTS.sum()
    pieces = (squares * MASK).sum() / MASK.sum()
    assert mean_loss(LogitsRegression(), teacher, student) == pytest.approx(words, rel=1e-6)
    loss = LogitsRegression(positions="pieces")
    assert mean_loss(loss, teacher, student) == pytest.approx(pieces, rel=1e-6)


def test_each_representation_loss_follows_its_formula(outputs):
    teacher, student = outputs
    t = teacher["hidden_states"][5].astype("float64")
    s = student["representation"].astype("float64")
    clipped_t, clipped_s = np.clip(t, 1e-7, 1), np.clip(s, 1e-7, 1)
    by_kind = {
        "mse": ((t - s) ** 2).mean(-1),
        "kl": (softmax(t) * np.log(softmax(t) / softmax(s))).sum(-1),
        "cosine": 1 - (t * s).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(s, axis=-1),
        "keras_kld": (clipped_t * np.log(clipped_t / clipped_s)).sum(-1),
    }
    for kind, values in by_kind.items():
        loss = RepresentationDistillation(5, kind)
        expected = (values * MASK).sum() / MASK.sum()
        assert mean_loss(loss, teacher, student) == pytest.approx(expected, rel=1e-5), kind


def test_keras_kld_equals_the_loss_of_keras(outputs):
    teacher, student = outputs
    ours = RepresentationDistillation(5, "keras_kld").values(teacher, student, {})
    keras_loss = keras.losses.KLDivergence(reduction=None)
    theirs = keras_loss(teacher["hidden_states"][5], student["representation"])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_what_stands_at_padded_positions_does_not_matter(outputs):
    teacher, student = outputs
    losses = [
        LabelCrossEntropy(),
        LogitsRegression("pieces"),
        *(RepresentationDistillation(5, kind) for kind in ("mse", "kl", "cosine", "keras_kld")),
    ]
    before = [mean_loss(loss, teacher, student) for loss in losses]
    for array in (student["logits"], student["representation"], teacher["hidden_states"][5]):
        array[MASK == 0] = 1e3
    assert [mean_loss(loss, teacher, student) for loss in losses] == before


def test_a_batch_without_any_label_has_the_loss_zero_not_nan(outputs):
    teacher, student = outputs
    targets = {"labels": np.full((2, 4), -1, np.int32)}
    assert mean_loss(LabelCrossEntropy(), teacher, student, targets) == 0.0


def test_hidden_states_may_be_a_tuple_or_a_dict(outputs):
    teacher, student = outputs
    as_tuple = {"hidden_states": tuple([None] * 5 + [teacher["hidden_states"][5]])}
    loss = RepresentationDistillation(5)
    np.testing.assert_array_equal(
        loss.values(as_tuple, student, {}), loss.values(teacher, student, {})
    )


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="'huber'"):
        RepresentationDistillation(5, "huber")


def test_half_precision_outputs_give_float32_losses(outputs):
    teacher, student = outputs
    half = {k: tf.cast(v, tf.bfloat16) for k, v in student.items()}
    for loss in (LabelCrossEntropy(), LogitsRegression(), RepresentationDistillation(5)):
        assert loss.values(teacher, half, {"labels": LABELS}).dtype == tf.float32
