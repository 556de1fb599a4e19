"""`Distiller`: masked losses, the same number at any padding, batch size and split."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_models import LAYER, padded_batch, sentences, tiny_student, tiny_teacher

from xdistil.distillation.distiller import Distiller
from xdistil.distillation.fused_optimizers import FusedAdam
from xdistil.distillation.losses import (
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)

LOSSES = (LabelCrossEntropy(), LogitsRegression(), RepresentationDistillation(LAYER))


def with_targets(teacher, batch):
    features, targets = batch
    outputs = teacher(features)
    return features, {
        **targets,
        "logits": outputs["logits"],
        "hidden_states": {LAYER: outputs["hidden_states"][LAYER]},
    }


def dataset(batches):
    def generate():
        # Copies: tf.data shares the arrays' memory, and training on two CPU devices writes to it.
        for batch in batches:
            yield keras.tree.map_structure(lambda x: np.array(x, copy=True), batch)

    signature = keras.tree.map_structure(
        lambda t: tf.TensorSpec([None, None, *t.shape[2:]], t.dtype), batches[0]
    )
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def evaluate(batches, losses=LOSSES, teacher=None):
    distiller = Distiller(tiny_student(), losses, teacher=teacher)
    distiller.compile(optimizer="sgd", run_eagerly=True)
    scores = distiller.evaluate(dataset(batches), verbose=0, return_dict=True)
    return {name: float(value) for name, value in scores.items()}  # older Keras gives tensors


@pytest.fixture(scope="module")
def teacher():
    return tiny_teacher()


def test_padding_batch_size_and_empty_rows_do_not_change_any_loss(teacher):
    rows = sentences(12)
    reference = evaluate([with_targets(teacher, padded_batch(rows, 9))])
    for batches in (
        [padded_batch(rows, 20)],
        [padded_batch(rows, 9, empty_rows=4)],
        [padded_batch(rows[:5], 9), padded_batch(rows[5:], 16)],
        [padded_batch([row], len(row)) for row in rows],
    ):
        scores = evaluate([with_targets(teacher, batch) for batch in batches])
        assert set(scores) == {"loss", "labels", "logits", "representation"}
        for name, value in scores.items():
            assert value == pytest.approx(reference[name], abs=1e-6), name


def test_the_teacher_online_gives_the_losses_of_its_targets(teacher):
    batch = padded_batch(sentences(8), 9)
    stored = evaluate([with_targets(teacher, batch)])
    online = evaluate([batch], teacher=teacher)
    for name, value in stored.items():
        assert online[name] == pytest.approx(value, rel=1e-6)


def test_weights_of_the_terms_scale_the_loss(teacher):
    batch = with_targets(teacher, padded_batch(sentences(8), 9))
    student = tiny_student()
    distiller = Distiller(student, LOSSES[:2], [0.25, 3.0])
    distiller.compile(optimizer="sgd")
    scores = distiller.evaluate(dataset([batch]), verbose=0, return_dict=True)
    assert scores["loss"] == pytest.approx(0.25 * scores["labels"] + 3 * scores["logits"], rel=1e-6)


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (0.25, 3.0, 0.5)])
def test_one_step_of_sgd_is_the_gradient_of_the_weighted_masked_means(teacher, factors):
    batch = with_targets(teacher, padded_batch(sentences(8), 12, empty_rows=2))
    student = tiny_student()
    before = [w.numpy() for w in student.trainable_variables]
    with tf.GradientTape() as tape:
        outputs = student(batch[0], training=True)
        loss = tf.add_n(
            [
                factor * x.compute_loss(batch[1], outputs, features=batch[0], targets=batch[1])
                for factor, x in zip(factors, LOSSES, strict=True)
            ]
        )
    gradients = tape.gradient(loss, [w.value for w in student.trainable_variables])
    distiller = Distiller(student, LOSSES, factors)
    distiller.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    distiller.fit(dataset([batch]), epochs=1, verbose=0)
    for old, gradient, new in zip(before, gradients, student.trainable_variables, strict=True):
        expected = old - 0.1 * tf.convert_to_tensor(gradient).numpy()
        np.testing.assert_allclose(new.numpy(), expected, atol=1e-6)


def trained_by(batches, epochs, jit_compile):
    """A student's weights; its loss has fallen."""
    student = tiny_student()
    distiller = Distiller(student, LOSSES)
    distiller.compile(optimizer=keras.optimizers.SGD(0.3, momentum=0.9), jit_compile=jit_compile)
    losses = distiller.fit(dataset(batches), epochs=epochs, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    return student.get_weights(), distiller._update_function != distiller._update


def test_fit_lowers_the_loss_and_xla_takes_the_same_steps(teacher):
    # Few steps: rounding, which differs between chips, grows with each.
    epochs, tolerance = 5, 1e-6
    batches = [with_targets(teacher, padded_batch(sentences(16, seed=s), 9)) for s in range(3)]
    plain, is_compiled = trained_by(batches, epochs, jit_compile=False)
    assert not is_compiled
    compiled, is_compiled = trained_by(batches, epochs, jit_compile=True)
    assert is_compiled
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_strategy_of_one_device_takes_the_steps_of_none(teacher, jit_compile):
    batch = with_targets(teacher, padded_batch(sentences(8), 9))
    weights = []
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0"])):
        with strategy.scope():
            student = tiny_student()
            distiller = Distiller(student, LOSSES)
            optimizer = FusedAdam(0.01, epsilon=1e-2)
            distiller.compile(optimizer=optimizer, jit_compile=jit_compile)
        distiller.fit(dataset([batch]), epochs=2, verbose=0)
        weights.append(student.get_weights())
    for alone, under_strategy in zip(*weights, strict=True):
        np.testing.assert_allclose(alone, under_strategy, atol=1e-5)


def test_frozen_layers_and_the_teacher_keep_their_weights(teacher):
    student = tiny_student()
    for group in ("embedding", "bilstm"):
        for layer in student.layer_groups[group]:
            layer.trainable = False
    frozen = student.layer_groups["embedding"] + student.layer_groups["bilstm"]
    before = [w for layer in frozen for w in layer.get_weights()] + teacher.get_weights()
    head = student.layer_groups["head"][0].get_weights()
    distiller = Distiller(student, LOSSES, teacher=teacher)
    distiller.compile(optimizer=keras.optimizers.Adam(0.01))
    distiller.fit(dataset([padded_batch(sentences(8), 9)]), epochs=2, verbose=0)
    after = [w for layer in frozen for w in layer.get_weights()] + teacher.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not np.array_equal(head[0], student.layer_groups["head"][0].get_weights()[0])


@pytest.mark.parametrize("known", [True, False])
def test_several_steps_in_one_call_are_the_steps_one_by_one(known):
    teacher = tiny_teacher()
    batches = [with_targets(teacher, padded_batch(sentences(4, seed=n), 9 + n)) for n in range(6)]

    def trained(steps, known):
        student = tiny_student()
        distiller = Distiller(student, LOSSES)
        distiller.compile(optimizer=keras.optimizers.SGD(0.1), steps_per_execution=steps)
        data = dataset(batches)
        data = data.apply(tf.data.experimental.assert_cardinality(6)) if known else data
        logs = distiller.fit(data, epochs=2, verbose=0).history
        assert int(distiller.optimizer.iterations) == 12
        scores = distiller.evaluate(data, verbose=0, return_dict=True)
        return student.get_weights(), {**logs, **scores}

    weights, logs = trained(1, known=True)
    for steps in (1, 4, 6, 9):
        found, found_logs = trained(steps, known)
        for a, b in zip(found, weights, strict=True):
            np.testing.assert_array_equal(a, b)
        assert found_logs == logs


def test_no_data_of_fit_is_autotuned(monkeypatch):
    given = {}
    monkeypatch.setattr(keras.Model, "fit", lambda self, x, **kwargs: given.update(x=x, **kwargs))
    data = dataset([padded_batch(sentences(4), 9)])
    Distiller(tiny_student(), LOSSES).fit(data, validation_data=data, epochs=1)
    assert given.pop("epochs") == 1
    assert {name: one.options().autotune.enabled for name, one in given.items()} == {
        "x": False,
        "validation_data": False,
    }


def test_names_and_weights_are_checked():
    with pytest.raises(ValueError, match="distinct names"):
        Distiller(tiny_student(), [LabelCrossEntropy(), LabelCrossEntropy()])
    with pytest.raises(ValueError, match="as many weights"):
        Distiller(tiny_student(), LOSSES, [1.0])


def test_the_loss_is_scaled_where_the_student_computes_in_float16():
    student = tiny_student(dtype="mixed_float16")
    distiller = Distiller(student, LOSSES)
    distiller.compile(optimizer=keras.optimizers.SGD(0.1))
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    distiller = Distiller(tiny_student(), LOSSES)
    distiller.compile(optimizer=keras.optimizers.SGD(0.1))
    assert not isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
