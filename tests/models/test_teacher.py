"""The teacher as a Keras model, and the head that a fine-tuned checkpoint brings along."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_outputs_are_logits_and_one_hidden_state_more_than_layers(teacher):
    outputs = teacher(FEATURES)
    assert set(outputs) == {"logits", "hidden_states"}
    assert outputs["logits"].shape == (3, 5, 4)
    assert isinstance(outputs["hidden_states"], tuple)
    assert [tuple(state.shape) for state in outputs["hidden_states"]] == [(3, 5, 8)] * 3
    assert (teacher.num_layers, teacher.hidden_dim, teacher.vocabulary_size) == (2, 8, 30)


def test_variables_exist_before_the_first_call():
    teacher = Teacher(TINY, num_classes=4)
    assert teacher.built
    assert teacher.count_params() == 1704 + 8 * 4 + 4


def test_layer_groups_run_from_bottom_to_top_and_hold_every_weight_once(teacher):
    groups = teacher.layer_groups
    assert list(groups) == ["embedding", "layer_1", "layer_2", "head"]
    weights = [id(w) for layers in groups.values() for layer in layers for w in layer.weights]
    assert sorted(weights) == sorted(id(weight) for weight in teacher.weights)
    assert len(set(weights)) == len(weights)


def test_a_group_can_be_frozen(teacher):
    for layer in teacher.layer_groups["layer_1"]:
        layer.trainable = False
    assert len(teacher.trainable_variables) == len(teacher.weights) - 16


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graph_and_xla_give_what_eager_gives(teacher, jit_compile):
    expected = teacher(FEATURES)
    call = tf.function(lambda features: teacher(features), jit_compile=jit_compile)
    outputs = call({key: tf.constant(value) for key, value in FEATURES.items()})
    np.testing.assert_allclose(outputs["logits"], expected["logits"], atol=1e-6)
    for state, other in zip(outputs["hidden_states"], expected["hidden_states"], strict=True):
        np.testing.assert_allclose(state, other, atol=1e-5)


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


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_logits_and_weights_in_float32(dtype):
    teacher = Teacher(TINY, num_classes=4, dtype=dtype)
    outputs = teacher(FEATURES)
    assert outputs["logits"].dtype == tf.float32
    assert outputs["hidden_states"][-1].dtype == tf.as_dtype(dtype.removeprefix("mixed_"))
    assert {weight.dtype for weight in teacher.weights} == {"float32"}
    plain = Teacher(TINY, num_classes=4)
    plain.set_weights(teacher.get_weights())
    np.testing.assert_allclose(outputs["logits"], plain(FEATURES)["logits"], atol=5e-3)


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
