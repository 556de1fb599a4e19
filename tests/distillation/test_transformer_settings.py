"""What a transformer student begins with: fresh, layers of a model, or a checkpoint."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.distillation.transformer_settings import TransformerStudentSettings
from xdistil.errors import InputError
from xdistil.models import EncoderConfig, Teacher, TextTeacher, TransformerStudent
from xdistil.models import TransformerTextStudent as TextStudent
from xdistil.models.embeddings import compress_embeddings
from xdistil.tasks import Classification, Tagging

CHECKPOINT = Path(__file__).parent.parent / "fixtures" / "checkpoints" / "bert" / "encoder"


@pytest.fixture(scope="module")
def encoder():
    return train_wordpiece([TaggedSentence(("rain", "sun", "storm"))], 60, seq_len=16)


@pytest.fixture(scope="module")
def task(encoder):
    return Classification(Labels(["no", "yes", "maybe"]), encoder)


@pytest.fixture(scope="module")
def teacher(encoder):
    config = EncoderConfig(encoder.vocabulary_size, 12, 4, 3, max_length=16)
    return TextTeacher(config, num_classes=3)


def built(settings, task, teacher, kept=None):
    keras.utils.set_random_seed(1)
    return settings.build(task, teacher, kept, seed=5)


def weights_of_layer(model, number):
    return model.encoder.transformer_layers[number - 1].get_weights()


def test_a_fresh_student_is_a_bert_with_the_teachers_embeddings_compressed(task, teacher):
    settings = TransformerStudentSettings(
        TextStudent, num_layers=2, hidden_dim=8, num_heads=4, embedding_dim=6, dropout=0.3
    )
    student = built(settings, task, teacher)
    config = student.encoder_config
    assert (config.num_layers, config.hidden_dim, config.num_heads) == (2, 8, 4)
    assert (config.embedding_dim, config.intermediate_dim, config.family) == (6, 32, "electra")
    assert (config.dropout, config.attention_dropout, student.dropout) == (0.3, 0.3, 0.3)
    assert student.label_names == ("no", "yes", "maybe")
    expected = compress_embeddings(teacher.embedding_matrix(), 6)
    np.testing.assert_array_equal(student.embedding_matrix(), expected)
    # Heads as wide as the teacher's, the teacher's width, no projection: a plain BERT.
    wide = TransformerStudentSettings(TextStudent).fresh_config(teacher.encoder_config)
    assert (wide.hidden_dim, wide.num_heads, wide.family) == (12, 3, "bert")
    with pytest.raises(InputError, match="10 wide cannot have heads of 4"):
        TransformerStudentSettings(TextStudent, hidden_dim=10).fresh_config(teacher.encoder_config)


def test_layers_of_the_fine_tuned_teacher_come_with_its_pooler_and_a_fresh_head(task, teacher):
    settings = TransformerStudentSettings(TextStudent, layers=(1, 4))
    student = built(settings, task, teacher)
    for number, origin in ((1, 1), (2, 4)):
        for own, other in zip(
            weights_of_layer(student, number), weights_of_layer(teacher, origin), strict=True
        ):
            np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(student.pooler.kernel, teacher.pooler.kernel)
    assert np.abs(student.head.kernel - teacher.head.kernel).max() > 0


def test_the_dropout_before_the_head_is_that_of_what_the_student_begins_as(task, teacher):
    config = {**teacher.get_config(), "dropout": 0.4}
    source = TextTeacher.from_config(config)
    for settings in (
        TransformerStudentSettings(TextStudent, layers=(1,)),
        TransformerStudentSettings(TextStudent, num_layers=1, embedding_init="random"),
    ):
        student = built(settings, task, source)
        assert (student.dropout, student.encoder_config.dropout) == (0.4, 0.1)
        told = built(dataclasses.replace(settings, dropout=0.2), task, source)
        assert (told.dropout, told.encoder_config.dropout) == (0.2, 0.2)
    albert = CHECKPOINT.parent.parent / "albert" / "classifier"
    student = built(TransformerStudentSettings(TextStudent, checkpoint=albert), task, teacher)
    assert (student.dropout, student.encoder_config.dropout) == (0.3, 0.15)


def test_kept_pieces_bring_their_rows_along(task, encoder, teacher):
    kept = np.array([*encoder.special_ids, 7, 9], np.int32)
    student = built(TransformerStudentSettings(TextStudent, layers=(1, 2)), task, teacher, kept)
    np.testing.assert_array_equal(student.embedding_matrix(), teacher.embedding_matrix()[kept])
    assert student.unknown_token_id == encoder.unk_id


def test_a_checkpoint_gives_all_of_its_layers_or_those_asked_for(encoder, teacher):
    task = Tagging(Labels.from_tags(["B-PER", "O"]), encoder)
    source = Teacher.from_preset(CHECKPOINT, num_classes=2)
    whole = TransformerStudentSettings(TransformerStudent, checkpoint=CHECKPOINT)
    student = built(whole, task, teacher)
    assert student.encoder_config == source.encoder_config
    assert student.num_classes == task.num_classes
    some = dataclasses.replace(whole, layers=(2,), freeze_embeddings=True)
    student = built(some, task, teacher)
    assert student.num_layers == 1 and student.freeze_embeddings
    for own, other in zip(weights_of_layer(student, 1), weights_of_layer(source, 2), strict=True):
        np.testing.assert_array_equal(own, other)


def test_the_same_seed_gives_the_same_student(task, teacher):
    settings = TransformerStudentSettings(TextStudent, num_layers=1, embedding_init="random")
    first, second = (built(settings, task, teacher).get_weights() for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
