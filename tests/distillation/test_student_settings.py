"""The shapes of students: what their embeddings hold, and what they see of two texts."""

import keras
import numpy as np
import pytest

from xdistil.data.labels import Labels
from xdistil.data.word_vectors import WordVectors, vectors_matrix, word_encoder
from xdistil.distillation.student_settings import SiameseStudentSettings, TextStudentSettings
from xdistil.models import EncoderConfig, TextTeacher
from xdistil.tasks import Classification, PairClassification

WORDS = ("rain", "sun", "storm", "wind")
VECTORS = WordVectors(WORDS, np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32))


@pytest.fixture(scope="module")
def encoder():
    return word_encoder(WORDS, lower_case=True, seq_len=16)


@pytest.fixture(scope="module")
def teacher():
    config = EncoderConfig(
        vocabulary_size=30, hidden_dim=8, num_layers=1, num_heads=2, max_length=16
    )
    return TextTeacher(config, num_classes=2)


def built(settings_class, task_class, encoder, teacher, **changes):
    keras.utils.set_random_seed(1)
    settings = settings_class(
        embedding_dim=6,
        hidden_dim=5,
        dropout=0.0,
        vectors=vectors_matrix(VECTORS, encoder, seed=1),
        **changes,
    )
    task = task_class(Labels(["no", "yes"]), encoder)
    return task, settings.build(task, teacher, None, seed=1)


@pytest.mark.parametrize("settings_class", [TextStudentSettings, SiameseStudentSettings])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_channel_begins_with_the_vectors_of_the_file(
    settings_class, channels, encoder, teacher
):
    _, student = built(settings_class, PairClassification, encoder, teacher, channels=channels)
    tables = [weight.numpy() for weight in student.weights if weight.shape == (len(WORDS) + 5, 6)]
    assert len(tables) == channels
    for table in tables:
        for word, vector in zip(WORDS, VECTORS.matrix, strict=True):
            np.testing.assert_array_equal(table[encoder.vocabulary.index(word)], vector)


@pytest.mark.parametrize("pooling", ["max", "last"])
@pytest.mark.parametrize("settings_class", [TextStudentSettings, SiameseStudentSettings])
def test_a_student_of_words_sees_which_text_comes_first(settings_class, pooling, encoder, teacher):
    task, student = built(settings_class, PairClassification, encoder, teacher, pooling=pooling)
    if settings_class is SiameseStudentSettings:
        # Its dense layer begins with the two texts side by side.
        assert student.dense.kernel.shape[0] == 4 * 2 * 5
    pairs = [("rain sun", "storm wind"), ("storm wind", "rain sun")]
    encoded = list(task.encode(task.unlabeled(pairs)))
    rows = [
        student(
            {
                "token_ids": example.token_ids[None],
                "segment_ids": example.segment_ids[None],
                "padding_mask": np.ones((1, len(example)), bool),
            }
        )["logits"].numpy()
        for example in encoded
    ]
    assert np.abs(rows[0] - rows[1]).max() > 1e-5


def test_a_student_of_words_reads_no_special_tokens_of_a_single_text(encoder, teacher):
    task, student = built(TextStudentSettings, Classification, encoder, teacher)
    assert set(student.boundary_token_ids) == {encoder.cls_id, encoder.sep_id}
    (example,) = task.encode(task.unlabeled(["rain"]))
    assert len(example) == 3
