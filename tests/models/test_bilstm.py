"""The BiLSTM student: size, outputs, and the way from the teacher's ids to its rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_checks import run_model_checks

from xdistil.models.bilstm import BiLSTMStudent

KEPT = [0, 2, 3, 7, 11, 12]
SHAPE = {"embedding_dim": 5, "hidden_dim": 4, "representation_dim": 6}

# The sizes of Table 16 in arXiv:2004.05686: 88,480 pieces, a teacher 768 wide, 11 classes. Of its
# 16 rows the published millions of parameters of these four were at hand; the other twelve are
# held against the model that is built.
PUBLISHED = {(300, 600): 31.8, (100, 400): 11.1, (50, 200): 5.1, (50, 100): 4.7}
TABLE_16 = [(dim, hidden) for dim in (50, 100, 200, 300) for hidden in (100, 200, 400, 600)]


def small_student(**changes):
    return BiLSTMStudent(
        len(KEPT), 3, **{**SHAPE, "kept_token_ids": KEPT, "unknown_token_id": 2, **changes}
    )


def test_student_keeps_the_promises_of_every_model(tmp_path):
    run_model_checks(
        lambda **kwargs: small_student(dropout=0.0, **kwargs),
        vocabulary_size=14,
        expected_parameters=BiLSTMStudent.expected_parameters(6, 5, 4, 6, 3),
        expected_hidden_states=[5, 8],
        folder=tmp_path,
    )


@pytest.mark.parametrize(("embedding_dim", "hidden_dim"), TABLE_16)
def test_parameters_of_table_16(embedding_dim, hidden_dim):
    expected = BiLSTMStudent.expected_parameters(88_480, embedding_dim, hidden_dim, 768, 11)
    with keras.StatelessScope():  # shapes alone: no memory is filled
        student = BiLSTMStudent(88_480, 11, embedding_dim=embedding_dim, hidden_dim=hidden_dim)
    assert student.count_params() == expected
    if (embedding_dim, hidden_dim) in PUBLISHED:
        assert round(expected / 1e6, 1) == PUBLISHED[embedding_dim, hidden_dim]


def test_representation_is_the_tanh_gelu_of_the_dense_layer_before_dropout():
    keras.utils.set_random_seed(0)
    student = small_student(dropout=0.9)
    # Wide enough that the tanh form and the exact one differ by more than the tolerance.
    student.dense.kernel.assign(50 * student.dense.kernel)
    features = {"token_ids": np.array([[3, 7, 11]], "int32"), "padding_mask": np.ones((1, 3), int)}
    outputs = student(features, training=False)
    x = outputs["hidden_states"][1].numpy() @ student.dense.kernel.numpy()
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(outputs["representation"], expected, atol=1e-6)
    logits = expected @ student.head.kernel.numpy()
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-6)
    wide = BiLSTMStudent(4, 3, embedding_dim=5, hidden_dim=4, representation_dim=500, dropout=0.9)
    features = {"token_ids": np.array([[1, 2, 3]]), "padding_mask": np.ones((1, 3))}
    noisy = wide(features, training=True)
    assert np.count_nonzero(noisy["representation"]) > 0.6 * 1500  # 0.1 · 1500 after a dropout


def test_each_of_the_three_dropouts_is_active_in_training_alone():
    student = small_student(dropout=0.5)
    features = {"token_ids": np.full((2, 9), 7, "int32"), "padding_mask": np.ones((2, 9), "int32")}
    still = student(features, training=False)
    assert np.array_equal(student(features, training=False)["logits"], still["logits"])
    for chosen in ("embedding_dropout", "bilstm_dropout", "dense_dropout"):
        for name in ("embedding_dropout", "bilstm_dropout", "dense_dropout"):
            getattr(student, name).rate = 0.5 if name == chosen else 0.0
        assert not np.allclose(student(features, training=True)["logits"], still["logits"])


def test_dropped_pieces_are_read_as_the_unknown_piece():
    student = small_student()
    token_ids = np.arange(30, dtype="int32")[None]
    features = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    rows = [KEPT.index(token_id if token_id in KEPT else 2) for token_id in range(30)]
    expected = student.embedding.embeddings.numpy()[rows]
    for jit_compile in (False, True):
        call = tf.function(student, jit_compile=jit_compile)
        np.testing.assert_array_equal(call(features)["hidden_states"][0][0], expected)
    assert student.kept_token_ids.tolist() == KEPT


def test_rows_of_a_shuffled_list_of_kept_pieces_follow_the_list():
    student = small_student(kept_token_ids=KEPT[::-1])
    token_ids = np.array([KEPT[::-1]], "int32")
    outputs = student({"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)})
    np.testing.assert_array_equal(
        outputs["hidden_states"][0][0], student.embedding.embeddings.numpy()
    )


def test_without_pruning_token_ids_are_rows():
    student = BiLSTMStudent(9, 3, **SHAPE)
    token_ids = np.array([[8, 0, 4]], "int32")
    outputs = student({"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)})
    rows = student.embedding.embeddings.numpy()[[8, 0, 4]]
    np.testing.assert_array_equal(outputs["hidden_states"][0][0], rows)
    assert student.kept_token_ids is None
    assert BiLSTMStudent.from_config(student.get_config()).kept_token_ids is None


def test_the_row_of_the_padding_piece_is_a_row_like_any_other():
    student = small_student()
    token_ids = np.array([[0, 7]], "int32")
    features = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    before = student(features)["logits"].numpy()
    matrix = student.embedding.embeddings.numpy()
    matrix[0] += 1.0
    student.set_embeddings(matrix)
    assert not np.allclose(student(features)["logits"], before)


def test_layer_groups_run_from_bottom_to_top():
    assert list(small_student().layer_groups) == ["embedding", "bilstm", "dense", "head"]


def test_embeddings_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(6, 5\), received shape \(6, 4\)"):
        small_student().set_embeddings(np.zeros((6, 4)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kept_token_ids": KEPT[1:]}, r"`vocabulary_size` = 6 ids, received shape \(5,\)"),
        ({"kept_token_ids": [0, 2, 2, 7, 11, 12]}, "must be different ids"),
        ({"kept_token_ids": [-1, 2, 3, 7, 11, 12]}, "must be different ids"),
        ({"unknown_token_id": 1}, "must be one of `kept_token_ids`, received 1"),
    ],
)
def test_kept_pieces_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_student(**changes)
