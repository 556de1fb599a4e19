"""Soft targets and the losses on several layers, against their formulas, with padding."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import CLASSES, VOCABULARY, padded_batch, sentences, tiny_teacher

from xdistil.distillation.attention_distillation import AttentionDistillation
from xdistil.distillation.distiller import Distiller
from xdistil.distillation.hidden_states_distillation import (
    HiddenStatesDistillation,
    PatientDistillation,
    top_pairs,
)
from xdistil.distillation.losses import RepresentationDistillation, teacher_layers
from xdistil.distillation.projections import Projections
from xdistil.distillation.soft_targets import SoftTargets
from xdistil.models import EncoderConfig, TransformerStudent

# Two sentences of three and two real pieces, and a row that only fills up the batch.
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], np.int32)
WORD_STARTS = np.array([[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.int32)
FEATURES = {"padding_mask": MASK, "word_starts": WORD_STARTS}
POSITIONS = {"pieces": MASK, "words": WORD_STARTS, "texts": MASK[:, :1]}


def softmax(x):
    e = np.exp(x.astype("float64") - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention_maps(random, layers):
    """Distributions over the real positions."""
    scores = random.normal(size=(layers, 3, 2, 4, 4))
    scores = np.where(MASK[:, None, None] == 1, scores, -1e9)
    return tuple(softmax(layer).astype("float32") for layer in scores)


@pytest.fixture
def outputs():
    random = np.random.default_rng(1)

    def states(layers, width):
        return tuple(random.normal(size=(layers, 3, 4, width)).astype("float32"))

    teacher = {
        "logits": random.normal(size=(3, 4, 3)).astype("float32"),
        "hidden_states": states(5, 6),
        "attentions": attention_maps(random, 4),
    }
    student = {
        "logits": random.normal(size=(3, 4, 3)).astype("float32"),
        "hidden_states": states(3, 6),
        "representation": states(1, 4)[0],
        "attentions": attention_maps(random, 2),
    }
    return teacher, student


def mean_loss(loss, teacher, student):
    return float(loss.compute_loss(teacher, student, features=FEATURES, targets={}))


def test_soft_targets_of_texts_count_each_text_once(outputs):
    teacher, student = ({"logits": model["logits"][:, 0]} for model in outputs)
    p, q = (softmax(model["logits"] / 2.0) for model in (teacher, student))
    expected = 4.0 * (p * np.log(p / q)).sum(-1)[:2].mean()
    assert mean_loss(SoftTargets(2.0, "texts"), teacher, student) == pytest.approx(
        expected, rel=1e-5
    )


def patience(teacher, student, layers, normalize, positions):
    """L_PT by hand: the mean over positions of the sum over layers of squared distances."""
    weights = POSITIONS[positions].astype("float64")
    total = 0.0
    for own, other in layers:
        s = student["hidden_states"][own].astype("float64")
        t = teacher["hidden_states"][other].astype("float64")
        if normalize:
            s, t = (x / np.sqrt((x**2).sum(-1, keepdims=True)) for x in (s, t))
        distances = ((s - t) ** 2).sum(-1)
        if positions == "texts":
            distances = distances[:, :1]
        total += (distances * weights).sum()
    return total / weights.sum()


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("positions", ["texts", "words"])
def test_patience_is_the_sum_of_squared_distances_over_pairs_of_layers(
    outputs, normalize, positions
):
    teacher, student = outputs
    layers = ((1, 2), (2, 4))
    expected = patience(teacher, student, layers, normalize, positions)
    loss = PatientDistillation(layers, normalize, positions=positions)
    assert loss.project(student, {}) is student  # of one width there is nothing to learn
    assert mean_loss(loss, teacher, student) == pytest.approx(expected, rel=1e-5)
    # The authors' code takes means: a β of theirs is layers · width times the paper's.
    mean = PatientDistillation(layers, normalize, "mean", positions)
    assert mean_loss(mean, teacher, student) == pytest.approx(expected / (2 * 6), rel=1e-5)


def test_of_texts_the_first_position_alone_is_kept_and_read(outputs):
    teacher, student = outputs
    loss = PatientDistillation(((1, 2), (2, 4)))
    assert loss.teacher_outputs == ("cls_states_2", "cls_states_4")
    kept = {f"cls_states_{layer}": teacher["hidden_states"][layer][:, 0] for layer in (2, 4)}
    assert mean_loss(loss, kept, student) == mean_loss(loss, teacher, student)
    assert PatientDistillation(((1, 2),), positions="words").teacher_outputs == ("hidden_states_2",)
    assert teacher_layers([loss, RepresentationDistillation(3), SoftTargets()]) == (2, 3, 4)


def test_hidden_states_are_held_against_the_uppermost_of_the_teacher(outputs):
    teacher, student = outputs
    pairs = top_pairs(3, 5)
    assert pairs == ((0, 2), (1, 3), (2, 4))
    expected = 0.0
    for own, other in pairs:
        gap = student["hidden_states"][own].astype("float64") - teacher["hidden_states"][other]
        expected += ((gap**2).mean(-1) * MASK).sum() / MASK.sum()
    loss = HiddenStatesDistillation(pairs)
    assert mean_loss(loss, teacher, student) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="6 hidden states beside a teacher of 5"):
        top_pairs(6, 5)


def test_a_projection_is_a_linear_map_of_each_layer_of_the_student(outputs):
    teacher, student = outputs
    narrow = {**student, "hidden_states": tuple(x[..., :4] for x in student["hidden_states"])}
    with pytest.raises(ValueError, match=r"`projection=\(4, 6\)`"):
        HiddenStatesDistillation(((1, 3),)).values(teacher, narrow, {})
    loss = HiddenStatesDistillation(((0, 2), (2, 4)), projection=(4, 6))
    layers = Projections(seed=3).of([loss])["hidden_states"]
    assert [*layers] == ["layer_0", "layer_2"]
    expected = 0.0
    for own, other in loss.layers:
        kernel, bias = layers[f"layer_{own}"].get_weights()
        found = narrow["hidden_states"][own].astype("float64") @ kernel + bias
        expected += (((found - teacher["hidden_states"][other]) ** 2).mean(-1) * MASK).sum()
    found = mean_loss(loss, teacher, loss.project(narrow, layers))
    assert found == pytest.approx(expected / MASK.sum(), rel=1e-5)


def test_a_projected_representation_is_held_against_the_teachers_width(outputs):
    teacher, student = outputs
    loss = RepresentationDistillation(4, projection=(4, 6))
    layers = Projections().of([loss])["representation"]
    kernel, bias = layers["representation"].get_weights()
    gap = student["representation"].astype("float64") @ kernel + bias - teacher["hidden_states"][4]
    expected = ((gap**2).mean(-1) * MASK).sum() / MASK.sum()
    found = mean_loss(loss, teacher, loss.project(student, layers))
    assert found == pytest.approx(expected, rel=1e-5)
    assert "projection" not in RepresentationDistillation(4).get_config()  # as older stages have it


def test_attentions_are_the_mean_squared_error_over_heads_and_real_positions(outputs):
    teacher, student = outputs
    layers = ((1, 3), (2, 4))
    expected = 0.0
    for own, other in layers:
        gap = student["attentions"][own - 1] - teacher["attentions"][other - 1].astype("float64")
        for row, size in enumerate((3, 2)):
            expected += (gap[row, :, :size, :size] ** 2).mean((0, 2)).sum()  # of each position
    loss = AttentionDistillation(layers)
    assert mean_loss(loss, teacher, student) == pytest.approx(expected / MASK.sum(), rel=1e-5)
    assert loss.teacher_outputs == ("attentions",)
    # As `keras.distillation` calls it, which knows no mask: every position is a real one.
    gap = student["attentions"][0] - teacher["attentions"][2].astype("float64")
    first = AttentionDistillation(layers[:1])
    assert float(first.compute_loss(teacher, student)) == pytest.approx((gap**2).mean(), rel=1e-5)
    other = {"attentions": tuple(x[:, :1] for x in student["attentions"])}
    with pytest.raises(ValueError, match="has 1 attention heads, layer 3 of the teacher 2"):
        loss.values(teacher, other, {"padding_mask": MASK})


def test_what_stands_at_padded_positions_does_not_matter(outputs):
    teacher, student = outputs
    pairs = ((1, 2), (2, 4))
    losses = [
        SoftTargets(3.0, "pieces"),
        HiddenStatesDistillation(pairs),
        *(PatientDistillation(pairs, positions=where) for where in ("texts", "words")),
        AttentionDistillation(pairs),
    ]
    before = [mean_loss(loss, teacher, student) for loss in losses]
    for model, value in zip(outputs, (1e3, -1e3), strict=True):
        for array in (model["logits"], *model["hidden_states"]):
            array[MASK == 0] = value
        for maps in model["attentions"]:  # (batch, heads, queries, keys)
            np.moveaxis(maps, 2, 1)[MASK == 0] = value
            np.moveaxis(maps, 3, 1)[MASK == 0] = value
    assert [mean_loss(loss, teacher, student) for loss in losses] == before


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="above 0, received 0"):
        SoftTargets(0)
    with pytest.raises(ValueError, match="'max'"):
        PatientDistillation(((1, 2),), reduction="max")
    for loss in (PatientDistillation, HiddenStatesDistillation, AttentionDistillation):
        with pytest.raises(ValueError, match="at least one pair"):
            loss(())


def small_student():
    keras.utils.set_random_seed(2)
    config = EncoderConfig(VOCABULARY, 8, 1, 2, max_length=32, dropout=0.0, attention_dropout=0.0)
    return TransformerStudent(config, CLASSES)


LOSSES = (
    SoftTargets(2.0, "words"),
    PatientDistillation(((1, 1),), positions="words", projection=(8, 16)),
    HiddenStatesDistillation(((0, 1), (1, 2)), projection=(8, 16)),
    AttentionDistillation(((1, 2),)),
)


@pytest.fixture(scope="module")
def teacher():
    return tiny_teacher()


def distiller_of(teacher, losses=LOSSES, projections=None):
    distiller = Distiller(small_student(), losses, teacher=teacher, projections=projections)
    distiller.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    return distiller


def as_tensors(batch):
    return tf.nest.map_structure(tf.constant, batch)


def test_batches_of_any_split_and_padding_give_the_same_losses(teacher):
    rows = sentences(5)
    distiller = distiller_of(teacher)
    distiller.test_step(as_tensors(padded_batch(rows, 9)))
    whole = {name: float(value) for name, value in distiller.get_metrics_result().items()}
    distiller.reset_metrics()
    for part, length, empty in ((rows[:2], 14, 1), (rows[2:], 9, 0)):
        distiller.test_step(as_tensors(padded_batch(part, length, empty)))
    parts = {name: float(value) for name, value in distiller.get_metrics_result().items()}
    assert {loss.name for loss in LOSSES} < whole.keys()
    assert parts == pytest.approx(whole, rel=1e-5)


def test_projections_learn_with_the_student_and_go_on_in_the_next_stage(teacher):
    batch = as_tensors(padded_batch(sentences(5), 9))
    projections = Projections(seed=1)
    first = distiller_of(teacher, projections=projections)
    layers = first.projections["hidden_states"]
    before = [layer.kernel.numpy() for layer in layers.values()]
    assert len(first.learnt_variables) == len(first.student.trainable_variables) + 2 * 3
    first.train_step(batch)
    for old, layer in zip(before, layers.values(), strict=True):
        assert np.abs(layer.kernel.numpy() - old).max() > 1e-6
    second = distiller_of(teacher, LOSSES[2:], projections)
    assert second.projections["hidden_states"]["layer_1"] is layers["layer_1"]
    assert set(second.projections) == {"hidden_states"}
    # They are no part of what is saved.
    weights = {id(weight) for weight in first.student.weights}
    assert not any(id(layer.kernel) in weights for layer in layers.values())
