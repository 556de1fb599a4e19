"""The soft-target loss against its formula in numpy, with padding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.distillation.soft_targets import SoftTargets

RNG = np.random.default_rng(4)
TEACHER = {"logits": RNG.normal(size=(2, 4, 5)).astype("float32") * 3}
STUDENT = {"logits": RNG.normal(size=(2, 4, 5)).astype("float32") * 3}
FEATURES = {
    "padding_mask": np.array([[1, 1, 1, 0], [1, 1, 0, 0]], "int32"),
    "word_starts": np.array([[0, 1, 0, 0], [0, 1, 0, 0]], "int32"),
}
TARGETS = {"labels": np.array([[-1, 3, -1, -1], [2, -1, -1, -1]], "int32")}


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(logits.astype("float64") / temperature)
    return powers / powers.sum(-1, keepdims=True)


def formula(temperature: float) -> np.ndarray:
    """T^2 times the divergence, at each position."""
    p, q = (softmax(model["logits"], temperature) for model in (TEACHER, STUDENT))
    return temperature**2 * (p * np.log(p / q)).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 10.0])
@pytest.mark.parametrize(
    ("positions", "counted"),
    [
        ("pieces", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]),
        ("words", [(0, 1), (1, 1)]),
        ("labeled", [(0, 1), (1, 0)]),
    ],
)
def test_soft_targets_are_the_formula_over_the_positions_that_count(
    temperature, positions, counted
):
    loss = SoftTargets(temperature, positions)
    expected = np.mean([formula(temperature)[place] for place in counted])
    found = loss.compute_loss(TEACHER, STUDENT, features=FEATURES, targets=TARGETS)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_padding_changes_nothing():
    loss = SoftTargets(2.0)
    other = {"logits": STUDENT["logits"].copy()}
    other["logits"][0, 3] = 99.0
    other["logits"][1, 2:] = -99.0
    found = [
        float(loss.compute_loss(TEACHER, student, features=FEATURES, targets=TARGETS))
        for student in (STUDENT, other)
    ]
    assert found[0] == found[1]


def test_one_vector_of_logits_a_text_is_compared_text_by_text():
    teacher, student = ({"logits": model["logits"][:, 0]} for model in (TEACHER, STUDENT))
    loss = SoftTargets(3.0, "texts")
    expected = formula(3.0)[:, 0].mean()
    found = loss.compute_loss(teacher, student, features=FEATURES, targets=TARGETS)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_zero_and_flat_where_student_and_teacher_agree():
    logits = tf.constant(TEACHER["logits"])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(SoftTargets(2.0).values(TEACHER, {"logits": logits}, {}))
    assert float(value) == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(tape.gradient(value, logits), 0.0, atol=1e-5)


def test_the_gradient_is_that_of_a_cross_entropy_against_soft_targets():
    logits = tf.constant(STUDENT["logits"])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(SoftTargets(2.0).values(TEACHER, {"logits": logits}, {}))
    expected = 2.0 * (softmax(STUDENT["logits"], 2.0) - softmax(TEACHER["logits"], 2.0))
    np.testing.assert_allclose(tape.gradient(value, logits), expected, atol=1e-5)


def test_half_precision_logits_are_compared_in_float32():
    teacher, student = (
        {"logits": keras.ops.cast(model["logits"], "float16")} for model in (TEACHER, STUDENT)
    )
    found = SoftTargets(2.0).values(teacher, student, {})
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, formula(2.0), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        SoftTargets(temperature)


def test_two_losses_of_the_same_settings_are_equal():
    assert SoftTargets(2) == SoftTargets(2.0)
    assert SoftTargets(2.0) != SoftTargets(3.0)
    assert "temperature=2.0" in repr(SoftTargets(2.0))
