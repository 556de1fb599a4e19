"""The BiLSTM student of texts: its size, its pooling, and its embedding channels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_checks import run_model_checks

from xdistil.models.bilstm_text import BiLSTMTextStudent

KEPT = [0, 2, 3, 7, 11, 12]
SHAPE = {"embedding_dim": 5, "hidden_dim": 4, "representation_dim": 6, "dropout": 0.0}
TOKEN_IDS = np.array([[2, 7, 11, 12, 3, 0], [2, 5, 3, 0, 0, 0]], "int32")
FEATURES = {"token_ids": TOKEN_IDS, "padding_mask": (TOKEN_IDS > 0).astype("int32")}


def small_student(**changes):
    return BiLSTMTextStudent(
        len(KEPT), 3, **{**SHAPE, "kept_token_ids": KEPT, "unknown_token_id": 2, **changes}
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"pooling": "last", "activation": "relu", "channels": 2, "boundary_token_ids": [3]}],
)
def test_student_keeps_the_promises_of_every_model(tmp_path, settings):
    channels = settings.get("channels", 1)
    run_model_checks(
        lambda **kwargs: small_student(**settings, **kwargs),
        vocabulary_size=14,
        expected_parameters=BiLSTMTextStudent.expected_parameters(6, 5, 4, 6, 3, channels),
        expected_hidden_states=[5 * channels, 8],
        folder=tmp_path,
    )


def test_the_student_of_tang_has_961_802_parameters_beside_its_word_vectors():
    sizes = {"embedding_dim": 300, "hidden_dim": 150, "representation_dim": 200}
    student = BiLSTMTextStudent(10, 2, channels=2, pooling="last", activation="relu", **sizes)
    embeddings = sum(layer.count_params() for layer in student.embedding_layers)
    assert embeddings == 2 * 10 * 300
    assert student.count_params() - embeddings == 961_802
    assert BiLSTMTextStudent.expected_parameters(0, 300, 150, 200, 2, channels=2) == 961_802


def test_the_default_sizes_are_those_of_the_paper_with_transfer_data():
    with keras.StatelessScope():  # shapes alone: no memory is filled
        student = BiLSTMTextStudent(30_000, 4)
    expected = BiLSTMTextStudent.expected_parameters(30_000, 300, 600, 768, 4)
    assert student.count_params() == expected
    assert (student.dropout, student.pooling) == (0.4, "max")


def test_max_pool_sees_every_real_position_and_no_padding():
    student = small_student()
    outputs = student(FEATURES)
    states = outputs["hidden_states"][1].numpy()
    pooled = np.stack([states[0, :5].max(axis=0), states[1, :3].max(axis=0)])
    x = pooled @ student.dense.kernel.numpy()
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(outputs["representation"], expected, atol=1e-6)
    logits = expected @ student.head.kernel.numpy()
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-6)


def test_last_states_and_relu_can_be_chosen():
    student = small_student(pooling="last", activation="relu")
    outputs = student(FEATURES)
    states = outputs["hidden_states"][1].numpy()
    pooled = [[*states[row, end, :4], *states[row, 0, 4:]] for row, end in ((0, 4), (1, 2))]
    expected = np.maximum(np.array(pooled) @ student.dense.kernel.numpy(), 0)
    np.testing.assert_allclose(outputs["representation"], expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "last"])
def test_boundaries_are_not_read(pooling):
    """With [CLS] and [SEP] masked, the text gives what it gives without them."""
    student = small_student(pooling=pooling, boundary_token_ids=(2, 3))
    bare = {"token_ids": TOKEN_IDS[:1, 1:4], "padding_mask": np.ones((1, 3), "int32")}
    bounded = {name: rows[:1] for name, rows in FEATURES.items()}
    expected = student(bare)["logits"]
    np.testing.assert_allclose(student(bounded)["logits"], expected, atol=1e-6)
    other = small_student(pooling=pooling)
    other.set_weights(student.get_weights())
    assert not np.allclose(other(bounded)["logits"], expected, atol=1e-4)


def test_a_row_of_padding_alone_is_finite_and_learns_nothing_wrong():
    student = small_student()
    empty = {name: np.zeros((2, 6), "int32") for name in FEATURES}
    with tf.GradientTape() as tape:
        logits = student(empty, training=True)["logits"]
    gradients = tape.gradient(logits, [weight.value for weight in student.trainable_weights])
    assert np.isfinite(logits).all()
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients if g is not None)


def test_each_of_the_two_dropouts_is_active_in_training_alone():
    keras.utils.set_random_seed(1)
    student = small_student(dropout=0.5)
    still = student(FEATURES, training=False)["logits"]
    assert np.array_equal(student(FEATURES, training=False)["logits"], still)
    names = ("embedding_dropout", "pooling_dropout")
    for chosen in names:
        for name in names:
            getattr(student, name).rate = 0.5 if name == chosen else 0.0
        assert not np.allclose(student(FEATURES, training=True)["logits"], still)


def test_both_channels_begin_with_the_same_vectors_and_one_of_them_learns():
    student = small_student(channels=2)
    vectors = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    student.set_embeddings(vectors)
    embedded = student(FEATURES)["hidden_states"][0].numpy()
    np.testing.assert_array_equal(embedded[..., :5], embedded[..., 5:])
    # Neither the model nor its groups can make the static channel learn.
    student.trainable = False
    for layers in student.layer_groups.values():
        for layer in layers:
            layer.trainable = True
    student.trainable = True
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(student(FEATURES, training=True)["logits"] ** 2)
    variables = student.trainable_variables
    optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
    assert len(variables) == 1 + 6 + 2 + 2
    np.testing.assert_array_equal(student.static_embedding.embeddings, vectors)
    assert not np.array_equal(student.embedding.embeddings, vectors)


def test_ids_of_its_own_are_rows():
    student = BiLSTMTextStudent(13, 3, **SHAPE)
    embedded = student(FEATURES)["hidden_states"][0].numpy()
    np.testing.assert_array_equal(embedded, student.embedding.embeddings.numpy()[TOKEN_IDS])
    assert student.kept_token_ids is None


def test_dropped_pieces_are_read_as_the_unknown_piece():
    student = small_student()
    outputs = student(FEATURES)  # 5 is not kept
    unknown = student.embedding.embeddings.numpy()[KEPT.index(2)]
    np.testing.assert_array_equal(outputs["hidden_states"][0][1, 1], unknown)


def test_layer_groups_run_from_bottom_to_top():
    assert list(small_student().layer_groups) == ["embedding", "bilstm", "dense", "head"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "mean"}, "`pooling` must be one of"),
        ({"activation": "swish"}, "activation 'swish': expected one of gelu, gelu_tanh"),
        ({"channels": 3}, "`channels` must be 1 or 2, received 3"),
        ({"kept_token_ids": KEPT[1:]}, "`vocabulary_size` = 6 ids"),
    ],
)
def test_settings_that_make_no_student_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_student(**changes)
