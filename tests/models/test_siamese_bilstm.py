"""The siamese student: both texts of a pair in one row, and neither sees the other."""

import numpy as np
import pytest
import tensorflow as tf
from model_checks import run_model_checks

from xdistil.models.siamese_bilstm import SiameseBiLSTMStudent

CLS, SEP = 2, 3
SHAPE = {"embedding_dim": 5, "hidden_dim": 4, "representation_dim": 6}
PAIRS = [([7, 8, 9], [10, 11]), ([12], [7, 7, 5, 13]), ([6, 4], [])]


def small_student(**changes):
    settings = {"boundary_token_ids": (CLS, SEP), **SHAPE, **changes}
    return SiameseBiLSTMStudent(14, 3, **settings)


def features_of(pairs, length=10):
    """Rows `[CLS] first [SEP] second [SEP]`, padded."""
    rows = {name: [] for name in ("token_ids", "segment_ids", "padding_mask")}
    for first, second in pairs:
        token_ids = [CLS, *first, SEP, *second, SEP]
        segment_ids = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        padding = [0] * (length - len(token_ids))
        rows["token_ids"].append(token_ids + padding)
        rows["segment_ids"].append(segment_ids + padding)
        rows["padding_mask"].append([1] * len(token_ids) + padding)
    return {name: np.array(values, "int32") for name, values in rows.items()}


@pytest.mark.parametrize("settings", [{}, {"pooling": "max", "channels": 2}])
def test_student_keeps_the_promises_of_every_model(tmp_path, settings):
    channels = settings.get("channels", 1)
    run_model_checks(
        lambda **kwargs: small_student(activation="gelu_tanh", **settings, **kwargs),
        vocabulary_size=14,
        expected_parameters=SiameseBiLSTMStudent.expected_parameters(14, 5, 4, 6, 3, channels),
        expected_hidden_states=[5 * channels, 8],
        folder=tmp_path,
        boundary=SEP,
    )


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_each_encoding_is_that_of_the_text_run_alone(pooling):
    student = small_student(pooling=pooling)
    first, second = student.encode_texts(features_of(PAIRS))
    for row, pair in enumerate(PAIRS):
        for text, received in zip(pair, (first, second), strict=True):
            if not text:
                assert not np.any(received[row])
                continue
            states = student.bilstm(student.embed(np.array([text], "int32")))[0].numpy()
            last = np.concatenate([states[-1, :4], states[0, 4:]])
            alone = last if pooling == "last" else states.max(axis=0)
            np.testing.assert_allclose(received[row], alone, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_another_text_beside_it_never_changes_an_encoding(pooling):
    student = small_student(pooling=pooling)
    first, second = student.encode_texts(features_of([([7, 8, 9], [10, 11]), ([5], [10, 11])]))
    np.testing.assert_allclose(second[0], second[1], atol=1e-6)
    assert not np.allclose(first[0], first[1], atol=1e-3)
    first, second = student.encode_texts(features_of([([7, 8], [10, 11]), ([7, 8], [6, 5, 4])]))
    np.testing.assert_allclose(first[0], first[1], atol=1e-6)
    assert not np.allclose(second[0], second[1], atol=1e-3)


def test_no_gradient_runs_from_one_text_to_the_other():
    student = small_student()
    features = features_of(PAIRS[:1])
    with tf.GradientTape(persistent=True) as tape:
        embedded = student.embed(features["token_ids"])
        tape.watch(embedded)
        mask = student.text_mask(features)
        states = student.bilstm(embedded, mask=mask)
        first, second = student._encodings(states, mask, features)
    is_second = features["segment_ids"] == 1
    for encoding, own in ((first, ~is_second), (second, is_second)):
        gradient = np.abs(tape.gradient(encoding, embedded)).max(axis=-1)
        assert not np.any(gradient[~own | ~mask.numpy()])
        assert np.all(gradient[own & mask.numpy()] > 0)


def test_both_texts_are_read_by_the_same_weights():
    student = small_student()
    first, second = student.encode_texts(features_of([([7, 8], [9, 10, 4])]))
    other_first, other_second = student.encode_texts(features_of([([9, 10, 4], [7, 8])]))
    np.testing.assert_allclose(first, other_second, atol=1e-6)
    np.testing.assert_allclose(second, other_first, atol=1e-6)


def test_the_dense_layer_reads_both_encodings_their_product_and_their_distance():
    student = small_student()
    features = features_of(PAIRS)
    h1, h2 = (encoding.numpy() for encoding in student.encode_texts(features))
    together = np.concatenate([h1, h2, h1 * h2, np.abs(h1 - h2)], axis=1)
    expected = np.maximum(together @ student.dense.kernel.numpy(), 0)
    outputs = student(features)
    np.testing.assert_allclose(outputs["representation"], expected, atol=1e-6)
    logits = expected @ student.head.kernel.numpy()
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-6)


def test_boundaries_are_known_by_the_teachers_ids_when_pieces_were_dropped():
    kept = [1, CLS, SEP, 7, 8, 9]
    student = SiameseBiLSTMStudent(
        6, 3, boundary_token_ids=(CLS, SEP), kept_token_ids=kept, unknown_token_id=1, **SHAPE
    )
    first, _ = student.encode_texts(features_of([([7, 8], [9]), ([7, 8], [9, 7])]))
    np.testing.assert_allclose(first[0], first[1], atol=1e-6)
    assert type(student).from_config(student.get_config()).kept_token_ids.tolist() == kept


def test_the_sizes_of_the_paper():
    student = SiameseBiLSTMStudent(10, 2, boundary_token_ids=(2, 3), channels=2)
    embeddings = sum(layer.count_params() for layer in student.embedding_layers)
    # 600 wide at the input, h = 150, f = 200: [h1, h2, h1 * h2, |h1 - h2|] is 1,200 wide.
    assert student.count_params() - embeddings == 901_200 + (1_200 + 1) * 200 + 402


def test_a_student_without_a_boundary_is_refused():
    with pytest.raises(ValueError, match="`boundary_token_ids` must hold the id between"):
        small_student(boundary_token_ids=())
