"""The encoder's settings, masks and weights; its numbers are checked in test_checkpoints.py."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.errors import InputError
from xdistil.models.activations import gelu, gelu_tanh
from xdistil.models.encoder import Encoder, EncoderConfig

TINY = EncoderConfig(
    vocabulary_size=30, hidden_dim=8, num_layers=2, num_heads=2, max_length=12, intermediate_dim=20
)


def features_of(token_ids, **others):
    token_ids = np.array(token_ids, "int32")
    padding_mask = (token_ids != 0).astype("int32")
    return {"token_ids": token_ids, "padding_mask": padding_mask, **others}


def strong_encoder(config=TINY, **kwargs):
    """Weights large enough that attention is far from even: a wrong mask must show."""
    keras.utils.set_random_seed(3)
    return Encoder(dataclasses.replace(config, initializer_range=0.5), **kwargs)


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 1704),
        ({"num_segments": 1}, 1704 - 8),
        ({"num_segments": 0}, 1704 - 16),
        ({"position_offset": 2}, 1704 + 16),
        # Embeddings of width 4, their normalization, and a projection from 4 to 8.
        ({"embedding_dim": 4}, 1704 - 4 * (30 + 12 + 2 + 2) + 4 * 8 + 8),
    ],
)
def test_the_number_of_weights_follows_from_the_settings(changes, parameters):
    encoder = Encoder(dataclasses.replace(TINY, **changes))
    assert encoder.count_params() == parameters
    named = encoder.named_weights()
    assert len(named) == len(encoder.weights)
    assert {id(weight) for weight in named.values()} == {id(w) for w in encoder.weights}


def test_fresh_weights_are_truncated_normal_and_all_different():
    encoder = Encoder(dataclasses.replace(TINY, hidden_dim=64, vocabulary_size=500))
    kernels = [
        weight.numpy()
        for name, weight in encoder.named_weights().items()
        if name.endswith(".kernel") or (weight.shape[-1] == 64 and len(weight.shape) == 2)
    ]
    assert len({kernel.flat[0] for kernel in kernels}) == len(kernels)
    for kernel in kernels:
        assert np.abs(kernel).max() <= 0.04
    assert np.std(kernels[0]) == pytest.approx(0.02 * 0.88, rel=0.05)


def test_every_hidden_state_comes_back_with_the_embeddings_first():
    states = Encoder(TINY)(features_of([[2, 5, 3]]))
    assert [tuple(state.shape) for state in states] == [(1, 3, 8)] * 3


@pytest.mark.parametrize("offset", [0, 2])
def test_padding_does_not_change_real_positions(offset):
    encoder = strong_encoder(dataclasses.replace(TINY, position_offset=offset))
    short = encoder(features_of([[2, 5, 6, 3]]))
    long = encoder(features_of([[2, 5, 6, 3, 0, 0, 0, 0], [2, 9, 9, 9, 9, 9, 9, 3]]))
    for state, padded in zip(short, long, strict=True):
        np.testing.assert_allclose(state[0], padded[0, :4], atol=1e-6)


def test_positions_are_counted_from_the_offset():
    encoder = strong_encoder(dataclasses.replace(TINY, position_offset=2))
    features = features_of([[2, 5, 3]])
    before = encoder(features)[-1]
    table = encoder.position_embedding.position_embeddings
    rows = table.numpy()
    rows[:2] = 9.0  # RoBERTa's rows for padding: no piece ever reads them
    table.assign(rows)
    np.testing.assert_array_equal(encoder(features)[-1], before)
    rows[2] = 9.0
    table.assign(rows)
    assert np.abs(encoder(features)[-1] - before).max() > 1e-2


def test_what_stands_in_padding_does_not_matter():
    encoder = strong_encoder()
    features = features_of([[2, 5, 6, 3, 0, 0]])
    other = {**features, "token_ids": np.array([[2, 5, 6, 3, 17, 29]], "int32")}
    for one, two in zip(encoder(features), encoder(other), strict=True):
        np.testing.assert_array_equal(one[:, :4], two[:, :4])


def test_the_mask_reaches_attention():
    encoder = strong_encoder()
    features = features_of([[2, 5, 6, 3, 0, 0]])
    unmasked = {"token_ids": features["token_ids"]}
    assert np.abs(encoder(features)[-1][:, :4] - encoder(unmasked)[-1][:, :4]).max() > 1e-2


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_rows_of_padding_alone_stay_finite_in_values_and_gradients(dropout, dtype):
    # Keras takes two ways through attention, with and without dropout.
    config = dataclasses.replace(TINY, dropout=dropout, attention_dropout=dropout)
    encoder = strong_encoder(config, dtype=dtype)
    features = features_of([[2, 5, 3], [0, 0, 0]])
    with tf.GradientTape() as tape:
        states = encoder(features, training=True)
        loss = tf.add_n([tf.reduce_sum(tf.cast(state, tf.float32) ** 2) for state in states])
    for value in (*states, *tape.gradient(loss, encoder.trainable_variables)):
        assert np.isfinite(tf.convert_to_tensor(value)).all()


def test_segments_change_the_result_where_the_family_has_two():
    segment_ids = np.array([[0, 0, 1]], "int32")
    features = {"token_ids": np.array([[2, 5, 3]], "int32"), "segment_ids": segment_ids}
    without = {"token_ids": features["token_ids"]}
    two = strong_encoder()
    assert np.abs(two(features)[-1] - two(without)[-1]).max() > 1e-2
    # One segment: there is only its number 0, whatever the features say.
    one = strong_encoder(dataclasses.replace(TINY, num_segments=1))
    np.testing.assert_array_equal(one(features)[-1], one(without)[-1])


@pytest.mark.parametrize(("hidden", "attention"), [(0.4, 0.0), (0.0, 0.4), (0.1, 0.3)])
def test_attention_weights_have_a_dropout_of_their_own(hidden, attention):
    config = dataclasses.replace(TINY, dropout=hidden, attention_dropout=attention)
    layer = Encoder(config).transformer_layers[0]
    x = np.random.default_rng(0).normal(size=(1, 6, 8)).astype("float32")
    attend = layer._self_attention_layer
    assert np.allclose(attend(x, x, training=True), attend(x, x)) == (attention == 0)
    dropped = layer._feedforward_dropout(x, training=True)
    assert np.allclose(dropped, x) == (hidden == 0)
    if hidden:
        drops = layer._feedforward_dropout(np.ones((1, 999, 8), "float32"), training=True) == 0
        assert np.mean(drops) == pytest.approx(hidden, abs=0.03)
    copy = type(layer).from_config(layer.get_config())
    assert (copy.hidden_dropout, copy.attention_dropout) == (hidden, attention)


def test_sequences_longer_than_the_positions_are_refused():
    with pytest.raises(InputError, match=r"13 word pieces.*positions for 12"):
        Encoder(TINY)({"token_ids": np.ones((1, 13), "int32")})
    offset = Encoder(dataclasses.replace(TINY, position_offset=2))
    assert offset({"token_ids": np.ones((1, 12), "int32")})[0].shape == (1, 12, 8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_dim": 9}, "no multiple of num_heads 2"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"num_layers": True}, "num_layers is True"),
        ({"vocabulary_size": 3.5}, "vocabulary_size is 3.5"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"attention_dropout": "much"}, "attention_dropout is 'much'"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon is 0"),
        ({"activation": "step"}, "activation 'step'"),
    ],
)
def test_settings_that_make_no_encoder_are_refused(changes, reason):
    with pytest.raises(InputError, match=reason):
        dataclasses.replace(TINY, **changes)


def test_settings_survive_a_trip_through_json():
    encoder = Encoder(TINY)
    assert EncoderConfig(**encoder.config.to_dict()) == TINY
    assert Encoder.from_config(encoder.get_config()).config == TINY


def test_gelu_is_exact_and_its_tanh_form_is_the_other():
    x = np.linspace(-9, 9, 501).astype("float32")
    np.testing.assert_allclose(gelu(x), keras.activations.gelu(x, approximate=False), atol=1e-6)
    np.testing.assert_allclose(gelu_tanh(x), keras.activations.gelu(x, approximate=True), atol=1e-6)
    assert np.abs(gelu(x) - gelu_tanh(x)).max() > 1e-4
