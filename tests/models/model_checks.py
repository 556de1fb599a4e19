"""Facts that hold for every student and teacher, checked in one call."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def run_model_checks(
    make: Callable[..., keras.Model],
    *,
    vocabulary_size: int,
    expected_parameters: int,
    expected_hidden_states: list[int],
    folder: Path,
    idle_weights: tuple[str, ...] = (),
    logits_of_float64: str = "float64",
    boundary: int | None = None,
) -> None:
    """Put a model through what all models of the package promise.

    Args:
        make: gives a fresh model; takes `dtype`.
        vocabulary_size: token ids are drawn below this.
        expected_parameters: what `count_params` gives.
        expected_hidden_states: width of each hidden state, bottom to top.
        folder: an empty folder, for saving.
        idle_weights: ends of the paths of weights that change no output, and so never learn.
        logits_of_float64: dtype of the logits under the policy float64.
        boundary: a token id; given, every row is a pair with this id at the beginning and after
            each of its texts. A classifier of texts gives one row of logits a text, a tagger one
            a position: the model's own logits tell which it is.
    """
    keras.utils.set_random_seed(3)
    model = make()
    features = _features(vocabulary_size, lengths=[7, 1, 4, 0], length=7)
    if boundary is not None:
        _make_pairs(features, boundary)
    _check_contract(model, features, expected_parameters, expected_hidden_states)
    _check_padding(model, features)
    _check_compiled(model, features)
    _check_saving(model, features, folder)
    for policy in ("float32", "mixed_bfloat16", "mixed_float16", "float64"):
        logits_dtype = logits_of_float64 if policy == "float64" else "float32"
        _check_precision(make, model, features, policy, logits_dtype, idle_weights)


def _features(vocabulary_size: int, lengths: list[int], length: int) -> dict[str, np.ndarray]:
    mask = (np.arange(length) < np.array(lengths)[:, None]).astype("int32")
    token_ids = np.random.default_rng(3).integers(1, vocabulary_size, mask.shape)
    return {
        "token_ids": (token_ids * mask).astype("int32"),
        "segment_ids": np.zeros_like(mask),
        "padding_mask": mask,
        "word_starts": mask.copy(),
    }


def _make_pairs(features: dict[str, np.ndarray], boundary: int) -> None:
    token_ids, mask = features["token_ids"], features["padding_mask"]
    token_ids[token_ids == boundary] = boundary + 1
    for row, length in enumerate(mask.sum(axis=1)):
        seam = length // 2
        token_ids[row, [0, seam, length - 1][: min(length, 3)]] = boundary
        features["segment_ids"][row, seam + 1 : length] = 1


def _check_contract(model, features, expected_parameters, expected_hidden_states) -> None:
    assert model.built, "the model must be built when it is made"
    assert model.count_params() == expected_parameters
    grouped = [weight.path for layers in model.layer_groups.values() for layer in layers
               for weight in layer.trainable_weights]  # fmt: skip
    assert sorted(grouped) == sorted(weight.path for weight in model.trainable_weights)
    batch_size, length = features["token_ids"].shape
    outputs = model(features, training=False)
    per_text = len(outputs["logits"].shape) == 2
    rows = (batch_size,) if per_text else (batch_size, length)
    assert outputs["logits"].shape == (*rows, model.num_classes)
    assert isinstance(outputs["hidden_states"], tuple)
    shapes = [tuple(state.shape) for state in outputs["hidden_states"]]
    assert shapes == [(batch_size, length, width) for width in expected_hidden_states]
    assert all(np.isfinite(array).all() for array in _arrays(outputs))


def _check_padding(model, features) -> None:
    """Neither what stands in the padding nor how much there is of it changes a real position."""
    wider = {name: np.pad(rows, ((0, 2), (0, 5))) for name, rows in features.items()}
    wider["token_ids"] = np.where(wider["padding_mask"], wider["token_ids"], 4).astype("int32")
    real = features["padding_mask"].astype(bool)
    batch_size, length = real.shape
    expected = _arrays(model(features, training=False))
    received = _arrays(model(wider, training=False))
    for left, right in zip(expected, received, strict=True):
        if left.ndim == 3:
            _assert_near(left[real], right[:batch_size, :length][real])
        else:
            _assert_near(left[real.any(axis=1)], right[:batch_size][real.any(axis=1)])


def _check_compiled(model, features) -> None:
    expected = _arrays(model(features, training=False))
    for jit_compile in (False, True):
        call = tf.function(lambda rows: model(rows, training=False), jit_compile=jit_compile)
        for left, right in zip(expected, _arrays(call(features)), strict=True):
            _assert_near(left, right)


def _check_saving(model, features, folder) -> None:
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    assert loaded.get_config() == model.get_config()
    pairs = zip(_arrays(model(features)), _arrays(loaded(features)), strict=True)
    assert all(np.array_equal(left, right) for left, right in pairs)


def _check_precision(make, model, features, policy, logits_dtype, idle_weights) -> None:
    """Another precision gives nearly the same logits, and every weight learns."""
    other = make(dtype=policy)
    for target, source in zip(other.weights, model.weights, strict=True):
        target.assign(source)
    with tf.GradientTape() as tape:
        logits = other(features, training=True)["logits"]
        loss = tf.reduce_sum(logits[_real(features, logits)])
    assert logits.dtype == logits_dtype
    assert {weight.dtype for weight in other.weights} <= {"float32", logits_dtype, other.dtype}
    gradients = tape.gradient(loss, [weight.value for weight in other.trainable_weights])
    for weight, gradient in zip(other.trainable_weights, gradients, strict=True):
        assert gradient is not None, f"{weight.path} has no gradient"
        gradient = np.abs(tf.convert_to_tensor(gradient))
        assert np.isfinite(gradient).all(), weight.path
        # Where a gradient ought to be 0 there is rounding error.
        if weight.path.endswith(idle_weights):
            bound = 1e-2 if policy.startswith("mixed") else 1e-5
            assert gradient.max() < bound, f"{weight.path}: {gradient.max()}"
        else:
            assert gradient.max() > 1e-5, f"{weight.path}: {gradient.max()}"
    real = _real(features, logits)
    expected = model(features, training=False)["logits"].numpy()[real]
    received = other(features, training=False)["logits"].numpy()[real]
    tolerance = 0.03 * max(1.0, np.abs(expected).max()) if policy.startswith("mixed") else 1e-5
    np.testing.assert_allclose(received, expected, rtol=0, atol=tolerance)


def _real(features, logits) -> np.ndarray:
    """Where logits count: real positions, or texts with any."""
    real = features["padding_mask"].astype(bool)
    return real if len(logits.shape) == 3 else real.any(axis=1)


def _arrays(outputs) -> list[np.ndarray]:
    return [np.asarray(tensor) for tensor in tf.nest.flatten(outputs)]


def _assert_near(left: np.ndarray, right: np.ndarray) -> None:
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-6 * max(1.0, np.abs(left).max()))
