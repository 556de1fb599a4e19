"""Transformer students: the promises of every model, layers of a teacher, kept pieces."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from model_checks import run_model_checks

from xdistil.errors import InputError
from xdistil.models import (
    EncoderConfig,
    Teacher,
    TextTeacher,
    TransformerStudent,
    TransformerTextStudent,
)
from xdistil.models.layer_choice import chosen_layers, last_layers, skip_layers

FIXTURES = Path(__file__).parent.parent / "fixtures" / "checkpoints"
TINY = EncoderConfig(
    vocabulary_size=30,
    hidden_dim=8,
    num_layers=2,
    num_heads=2,
    max_length=12,
    intermediate_dim=20,
    dropout=0.0,
    attention_dropout=0.0,
    initializer_range=0.3,
)
DEEP = dataclasses.replace(TINY, num_layers=4)
FEATURES = {
    "token_ids": np.array([[2, 9, 17, 3, 0], [2, 5, 3, 0, 0]], np.int32),
    "padding_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], np.int32),
}
REAL = FEATURES["padding_mask"] == 1
STUDENTS = ((TransformerStudent, Teacher), (TransformerTextStudent, TextTeacher))


def test_a_tagger_of_compressed_frozen_embeddings_keeps_the_promises_of_every_model(tmp_path):
    encoder = dataclasses.replace(TINY, embedding_dim=4)
    embeddings = (30 + 12 + 2 + 2) * 4 + (4 * 8 + 8)
    layer = 4 * (8 * 8 + 8) + (8 * 20 + 20) + (20 * 8 + 8) + 4 * 8
    run_model_checks(
        lambda **kwargs: TransformerStudent(encoder, 3, freeze_embeddings=True, **kwargs),
        vocabulary_size=30,
        expected_parameters=embeddings + 2 * layer + (8 * 3 + 3),
        expected_hidden_states=[8, 8, 8],
        folder=tmp_path,
        idle_weights=("key/bias",),
        logits_of_float64="float32",
    )


def test_a_classifier_of_kept_pieces_keeps_the_promises_of_every_model(tmp_path):
    kept = [0, 1, 2, 3, 4, *range(10, 20)]
    encoder = dataclasses.replace(TINY, vocabulary_size=len(kept))
    run_model_checks(
        lambda **kwargs: TransformerTextStudent(
            encoder, num_classes=4, kept_token_ids=kept, unknown_token_id=1, **kwargs
        ),
        vocabulary_size=30,
        expected_parameters=1704 - 15 * 8 + (8 * 8 + 8) + (8 * 4 + 4),
        expected_hidden_states=[8, 8, 8],
        folder=tmp_path,
        idle_weights=("key/bias",),
        logits_of_float64="float32",
        boundary=3,
    )


@pytest.mark.parametrize("student_class, teacher_class", STUDENTS)
def test_all_layers_of_a_teacher_give_its_very_hidden_states(student_class, teacher_class):
    teacher = teacher_class(DEEP, num_classes=3)
    student = student_class(DEEP, num_classes=5)
    student.take_layers(teacher, [1, 2, 3, 4])
    expected, found = teacher(FEATURES), student(FEATURES)
    for left, right in zip(expected["hidden_states"], found["hidden_states"], strict=True):
        np.testing.assert_array_equal(left, right)
    if teacher_class is TextTeacher:
        np.testing.assert_array_equal(expected["pooled_output"], found["representation"])
    else:
        np.testing.assert_array_equal(expected["hidden_states"][-1], found["representation"])


def test_chosen_layers_are_those_of_the_teacher_in_that_order():
    teacher = Teacher(DEEP, num_classes=3)
    student = TransformerStudent(TINY, num_classes=3)
    student.take_layers(teacher, [4, 2])
    x = np.random.default_rng(2).normal(size=(1, 4, 8)).astype("float32")
    for own, number in zip(student.encoder.transformer_layers, (4, 2), strict=True):
        layer = teacher.encoder.transformer_layers[number - 1]
        np.testing.assert_array_equal(own(x), layer(x))


def test_layers_that_do_not_fit_are_refused_before_anything_is_copied():
    teacher, student = Teacher(DEEP, num_classes=3), TransformerStudent(TINY, num_classes=3)
    before = student.get_weights()
    with pytest.raises(InputError, match="layer 5 to take: the model has layers 1 to 4"):
        student.take_layers(teacher, [1, 5])
    with pytest.raises(InputError, match="3 layers to take for a student of 2"):
        student.take_layers(teacher, [1, 2, 3])
    narrow = TransformerStudent(dataclasses.replace(TINY, intermediate_dim=12), num_classes=3)
    with pytest.raises(InputError, match=r"shape \(8, 20\).*\(8, 12\) here"):
        narrow.take_layers(teacher, [1, 2])
    for old, now in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_kept_pieces_read_as_in_the_teacher_and_others_as_the_unknown_piece():
    kept = [0, 1, 2, 3, 9, 17]
    teacher = TextTeacher(TINY, num_classes=3)
    small = dataclasses.replace(TINY, vocabulary_size=len(kept))
    student = TransformerTextStudent(small, 3, kept_token_ids=kept, unknown_token_id=1)
    student.take_layers(teacher, [1, 2])
    features = {
        **FEATURES,
        "token_ids": np.where(FEATURES["token_ids"] == 5, 1, FEATURES["token_ids"]),
    }
    expected = teacher(features)["pooled_output"]
    np.testing.assert_allclose(student(FEATURES)["representation"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon is 1e-05"),
        ({"family": "distilbert", "num_segments": 0}, "family is 'distilbert'"),
        ({"num_segments": 0}, "num_segments is 0"),
        ({"position_offset": 2, "max_length": 10}, "position_offset is 2"),
        ({"shared_layers": True}, "shared_layers is True"),
        ({"project_embeddings": True}, "project_embeddings is True"),
    ],
)
def test_a_source_that_computes_otherwise_is_refused_though_its_shapes_may_fit(changes, told):
    source = Teacher(dataclasses.replace(TINY, **changes), num_classes=3)
    student = TransformerStudent(TINY, num_classes=3)
    with pytest.raises(InputError, match=f"{told} in the model to take layers from"):
        student.take_layers(source, [1, 2])


def test_a_student_with_a_pooler_takes_no_layers_of_a_tagger():
    with pytest.raises(InputError, match="pooler: Teacher, the model to take layers from, has"):
        TransformerTextStudent(TINY, num_classes=3).take_layers(Teacher(TINY, 3), [1, 2])


def pruned(kept, **changes):
    config = dataclasses.replace(TINY, vocabulary_size=len(kept))
    return TransformerStudent(config, 3, kept_token_ids=kept, **{"unknown_token_id": 1, **changes})


def test_rows_of_kept_pieces_are_found_in_a_source_that_was_pruned_itself():
    source, student = pruned([0, 1, 17, 3, 2, 9]), pruned([1, 9, 17, 2])
    student.take_layers(source, [1, 2])
    expected = source.embedding_matrix()[[1, 5, 2, 4]]
    np.testing.assert_array_equal(student.embedding_matrix(), expected)
    with pytest.raises(InputError, match="no row for 1 of them, such as 4"):
        pruned([1, 4]).take_layers(source, [1, 2])
    with pytest.raises(InputError, match="no row for 1 of them, such as 30"):
        pruned([1, 30]).take_layers(Teacher(TINY, 3), [1, 2])
    whole = TransformerStudent(dataclasses.replace(TINY, vocabulary_size=6), 3)
    with pytest.raises(InputError, match="keeps 6 pieces of its vocabulary"):
        whole.take_layers(source, [1, 2])


def test_kept_pieces_want_the_id_of_the_unknown_piece():
    with pytest.raises(ValueError, match="need `unknown_token_id`, received None"):
        pruned([0, 1, 2], unknown_token_id=None)


def test_frozen_embeddings_stay_whatever_a_stage_unfreezes():
    student = TransformerStudent(TINY, num_classes=3, freeze_embeddings=True)
    for layers in student.layer_groups.values():
        for layer in layers:
            layer.trainable = True
    paths = [weight.path for weight in student.trainable_weights]
    assert not [path for path in paths if "token_embedding" in path]
    assert [path for path in paths if "position_embedding" in path]
    with pytest.raises(ValueError, match=r"shape \(30, 8\), received shape \(4, 8\)"):
        student.set_embeddings(np.zeros((4, 8), "float32"))


def test_a_checkpoint_fills_a_student_as_it_fills_a_teacher():
    features = {**FEATURES, "token_ids": np.minimum(FEATURES["token_ids"], 9)}
    teacher = TextTeacher.from_preset(FIXTURES / "classifier")
    student = TransformerTextStudent.from_preset(FIXTURES / "classifier", freeze_embeddings=True)
    assert student.label_names == teacher.label_names
    np.testing.assert_array_equal(teacher(features)["logits"], student(features)["logits"])


def test_attentions_are_distributions_over_real_positions_and_change_no_output():
    keras.utils.set_random_seed(5)
    student = TransformerStudent(DEEP, num_classes=3)
    plain, outputs = student(FEATURES), student(FEATURES, return_attentions=True)
    assert "attentions" not in plain
    np.testing.assert_allclose(outputs["logits"], plain["logits"], atol=1e-5)
    assert [tuple(a.shape) for a in outputs["attentions"]] == [(2, 2, 5, 5)] * 4
    for attention in outputs["attentions"]:
        attention = np.moveaxis(np.asarray(attention), 1, -1)  # (batch, query, key, head)
        assert (np.moveaxis(attention, 2, 1)[~REAL] == 0).all()
        np.testing.assert_allclose(attention.sum(2)[REAL], 1, atol=1e-6)


def test_layers_to_begin_with_are_those_of_the_papers():
    assert chosen_layers("first", 12, 3) == (1, 2, 3)
    assert tuple(layer - 1 for layer in chosen_layers("spread", 12, 6)) == (0, 2, 4, 7, 9, 11)
    assert chosen_layers("spread", 12, 1) == (1,)
    for teacher_layers in range(1, 13):
        for student_layers in range(1, teacher_layers + 1):
            chosen = chosen_layers("spread", teacher_layers, student_layers)
            assert len(set(chosen)) == student_layers and chosen[0] == 1
            assert student_layers == 1 or chosen[-1] == teacher_layers
    with pytest.raises(InputError, match="a student of 4 layers beside a teacher of 3"):
        chosen_layers("first", 3, 4)
    with pytest.raises(InputError, match="'top'"):
        chosen_layers("top", 3, 2)


def test_the_maps_of_patience_are_those_of_the_paper():
    assert skip_layers(12, 6) == (2, 4, 6, 8, 10)
    assert last_layers(12, 6) == (7, 8, 9, 10, 11)
    assert (skip_layers(12, 3), last_layers(12, 3)) == ((4, 8), (10, 11))
    assert skip_layers(7, 3) == (2, 4)
    assert skip_layers(5, 5) == last_layers(5, 5) == (1, 2, 3, 4)
    assert skip_layers(6, 1) == last_layers(6, 1) == ()
