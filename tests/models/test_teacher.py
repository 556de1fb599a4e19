"""The teacher as a Keras model, and the head that a fine-tuned checkpoint brings along."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_checks import run_model_checks

from xdistil.errors import InputError
from xdistil.models.encoder import EncoderConfig
from xdistil.models.teacher import Teacher

FIXTURES = Path(__file__).parent.parent / "fixtures" / "checkpoints"
LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TINY = EncoderConfig(
    vocabulary_size=30, hidden_dim=8, num_layers=2, num_heads=2, max_length=12, intermediate_dim=20
)
TOKEN_IDS = np.array([[2, 5, 6, 3, 0], [2, 7, 8, 9, 3], [0, 0, 0, 0, 0]], "int32")
FEATURES = {
    "token_ids": TOKEN_IDS,
    "segment_ids": np.zeros_like(TOKEN_IDS),
    "padding_mask": (TOKEN_IDS != 0).astype("int32"),
    "word_starts": np.ones_like(TOKEN_IDS),
}


@pytest.fixture
def teacher():
    keras.utils.set_random_seed(1)
    return Teacher(TINY, num_classes=4, label_names=["O", "A", "B", "C"])


def copy_of(name, tmp_path, **changes):
    folder = tmp_path / name
    shutil.copytree(FIXTURES / name, folder)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def test_teacher_keeps_the_promises_of_every_model(tmp_path):
    still = dataclasses.replace(TINY, dropout=0.0, attention_dropout=0.0)
    run_model_checks(
        lambda **kwargs: Teacher(still, num_classes=4, **kwargs),
        vocabulary_size=30,
        expected_parameters=1704 + 8 * 4 + 4,
        expected_hidden_states=[8, 8, 8],
        folder=tmp_path,
        idle_weights=("key/bias",),  # adds the same to all scores of a query: softmax drops it
        logits_of_float64="float32",
    )


def test_a_teacher_tells_its_outputs_its_sizes_and_its_layers(teacher):
    assert set(teacher(FEATURES)) == {"logits", "hidden_states"}
    assert list(teacher.layer_groups) == ["embedding", "layer_1", "layer_2", "head"]
    assert (teacher.num_layers, teacher.hidden_dim, teacher.vocabulary_size) == (2, 8, 30)


def test_a_group_can_be_frozen(teacher):
    for layer in teacher.layer_groups["layer_1"]:
        layer.trainable = False
    assert len(teacher.trainable_variables) == len(teacher.weights) - 16


def test_a_training_step_under_xla_has_the_gradients_of_eager():
    still = dataclasses.replace(TINY, num_layers=1, dropout=0.0, attention_dropout=0.0)
    teacher = Teacher(still, num_classes=4)

    def gradients(features):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(teacher(features, training=True)["logits"] ** 2)
        return [
            tf.convert_to_tensor(value)
            for value in tape.gradient(loss, teacher.trainable_variables)
        ]

    features = {key: tf.constant(value) for key, value in FEATURES.items()}
    compiled = tf.function(gradients, jit_compile=True)(features)
    for one, two in zip(compiled, gradients(features), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_teacher_comes_back_from_a_keras_file(tmp_path, dtype):
    teacher = Teacher(TINY, 4, dropout=0.25, label_names=["O", "A", "B", "C"], dtype=dtype)
    teacher.save(tmp_path / "teacher.keras")
    copy = keras.models.load_model(tmp_path / "teacher.keras", safe_mode=True)
    assert isinstance(copy, Teacher)
    assert (copy.encoder_config, copy.num_classes, copy.dropout) == (TINY, 4, 0.25)
    assert copy.label_names == ("O", "A", "B", "C")
    assert copy.dtype_policy.name == dtype
    np.testing.assert_array_equal(copy(FEATURES)["logits"], teacher(FEATURES)["logits"])


def test_get_config_is_plain_data_and_enough_to_build_again(teacher):
    config = json.loads(json.dumps(teacher.get_config()))
    copy = Teacher.from_config(config)
    assert copy.get_config() == teacher.get_config()


def test_dropout_acts_in_training_only(teacher):
    assert not np.allclose(
        teacher(FEATURES, training=True)["logits"], teacher(FEATURES, training=True)["logits"]
    )
    np.testing.assert_array_equal(teacher(FEATURES)["logits"], teacher(FEATURES)["logits"])


def test_a_teacher_from_nothing_learns():
    """Every position's class is its token's number modulo 4: the embedding alone can tell."""
    keras.utils.set_random_seed(1)
    teacher = Teacher(dataclasses.replace(TINY, num_layers=1), num_classes=4)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(teacher.trainable_variables)
    labels, weights = TOKEN_IDS % 4, FEATURES["padding_mask"].astype("float32")

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = teacher(FEATURES, training=True)["logits"]
            losses = keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
        variables = teacher.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    losses = [float(step()) for _ in range(40)]
    assert losses[-1] < 0.3 * losses[0]


def test_embedding_matrix_is_a_copy_of_the_word_piece_embedding(teacher):
    matrix = teacher.embedding_matrix()
    assert (matrix.shape, matrix.dtype) == ((30, 8), np.float32)
    matrix[:] = 0
    assert np.abs(teacher.embedding_matrix()).max() > 0


def test_a_plain_encoder_gets_a_fresh_head():
    teacher = Teacher.from_preset(FIXTURES / "plain", labels=LABELS)
    assert (teacher.num_classes, teacher.label_names) == (5, None)
    assert Teacher.from_preset(str(FIXTURES / "plain"), num_classes=3).num_classes == 3
    with pytest.raises(InputError, match="give labels or num_classes"):
        Teacher.from_preset(FIXTURES / "plain")
    with pytest.raises(InputError, match="num_classes is 3, but there are 5 labels"):
        Teacher.from_preset(FIXTURES / "plain", labels=LABELS, num_classes=3)


@pytest.mark.parametrize("name", ["tagger", "old_names"])
def test_the_head_of_a_tagger_is_put_in_the_order_of_the_labels(name):
    own = Teacher.from_preset(FIXTURES / name)
    assert own.label_names == LABELS
    wanted = ("B-PER", "I-PER", "O", "I-LOC", "B-LOC")
    teacher = Teacher.from_preset(FIXTURES / name, labels=wanted)
    assert teacher.label_names == wanted
    logits, reordered = (model(FEATURES)["logits"].numpy() for model in (own, teacher))
    for place, label in enumerate(wanted):
        np.testing.assert_allclose(
            reordered[..., place], logits[..., LABELS.index(label)], atol=1e-6
        )


def test_labels_that_are_not_the_heads_are_named():
    with pytest.raises(InputError) as refusal:
        Teacher.from_preset(FIXTURES / "tagger", labels=["O", "B-LOC", "I-LOC", "B-ORG"])
    message = str(refusal.value)
    assert "data has and the head lacks: B-ORG;" in message
    assert "head has and the data lacks: B-PER, I-PER;" in message
    assert "fresh_head=True" in message
    assert "\n" not in message


def test_a_fresh_head_can_be_asked_for():
    teacher = Teacher.from_preset(FIXTURES / "tagger", labels=["O", "B-ORG"], fresh_head=True)
    assert (teacher.num_classes, teacher.label_names) == (2, None)
    own = Teacher.from_preset(FIXTURES / "tagger")
    np.testing.assert_array_equal(teacher.embedding_matrix(), own.embedding_matrix())


def test_num_classes_must_be_those_of_the_head():
    assert Teacher.from_preset(FIXTURES / "tagger", num_classes=5).num_classes == 5
    with pytest.raises(InputError, match="head has 5 classes, num_classes is 3"):
        Teacher.from_preset(FIXTURES / "tagger", num_classes=3)


def test_dropout_comes_from_config_json_unless_given(tmp_path):
    folder = copy_of("old_names", tmp_path, classifier_dropout=0.2)
    teacher = Teacher.from_preset(folder)
    config = teacher.encoder_config
    assert (config.dropout, config.attention_dropout, teacher.dropout) == (0.1, 0.3, 0.2)
    teacher = Teacher.from_preset(folder, dropout=0.05)
    config = teacher.encoder_config
    assert (config.dropout, config.attention_dropout, teacher.dropout) == (0.05, 0.05, 0.05)


def test_settings_that_make_no_teacher_are_refused(tmp_path):
    with pytest.raises(InputError, match="num_classes is 0"):
        Teacher(TINY, 0)
    with pytest.raises(InputError, match="1 label names for 2 classes"):
        Teacher(TINY, 2, label_names=["O"])
    with pytest.raises(InputError, match="dropout is 'much'"):
        Teacher.from_preset(copy_of("tagger", tmp_path, classifier_dropout="much"))
    with pytest.raises(InputError, match="dropout is 2"):
        Teacher.from_preset(FIXTURES / "tagger", dropout=2)
