"""The teacher of texts and pairs: its pooler, its outputs, and the head of a checkpoint."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from model_checks import run_model_checks
from safetensors.numpy import load_file, save_file

from xdistil.errors import InputError
from xdistil.models.encoder import EncoderConfig
from xdistil.models.teacher import Teacher
from xdistil.models.text_teacher import TextTeacher

FIXTURES = Path(__file__).parent.parent / "fixtures" / "checkpoints"
CLASSES = ("entailment", "neutral", "contradiction")
INPUTS = ("token_ids", "padding_mask", "segment_ids")
TINY = EncoderConfig(
    vocabulary_size=30, hidden_dim=8, num_layers=2, num_heads=2, max_length=12, intermediate_dim=20
)


def expected_of(name):
    """Inputs and outputs of transformers 5.23 with PyTorch 2.13, see make_checkpoints.py."""
    with np.load(FIXTURES / name / "expected.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    return {key: arrays.pop(key) for key in INPUTS}, arrays


def copy_of(name, tmp_path, change=lambda tensors: tensors, **settings):
    folder = tmp_path / name
    shutil.copytree(FIXTURES / name, folder)
    config = {**json.loads((folder / "config.json").read_text()), **settings}
    (folder / "config.json").write_text(json.dumps(config))
    weights = folder / "model.safetensors"
    save_file(change(load_file(weights)), weights)
    return folder


def without(*parts):
    """Takes the tensors away whose names hold one of the parts."""

    def change(tensors):
        return {name: t for name, t in tensors.items() if not any(part in name for part in parts)}

    return change


def test_teacher_keeps_the_promises_of_every_model(tmp_path):
    # Weights of a size that lets [CLS] feel what every weight does.
    still = dataclasses.replace(TINY, dropout=0.0, attention_dropout=0.0, initializer_range=0.3)
    run_model_checks(
        lambda **kwargs: TextTeacher(still, num_classes=4, **kwargs),
        vocabulary_size=30,
        expected_parameters=1704 + (8 * 8 + 8) + (8 * 4 + 4),
        expected_hidden_states=[8, 8, 8],
        folder=tmp_path,
        idle_weights=("key/bias",),  # adds the same to all scores of a query: softmax drops it
        logits_of_float64="float32",
        boundary=3,
    )


def test_a_fine_tuned_classifier_agrees_with_pytorch_transformers():
    features, expected = expected_of("classifier")
    teacher = TextTeacher.from_preset(FIXTURES / "classifier")
    outputs = teacher(features)
    real = features["padding_mask"] == 1
    for index, state in enumerate(outputs["hidden_states"]):
        np.testing.assert_allclose(
            state.numpy()[real], expected[f"hidden_state_{index}"][real], atol=1e-5
        )
    np.testing.assert_allclose(outputs["pooled_output"], expected["pooled_output"], atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], expected["logits"], atol=1e-5)
    assert (teacher.label_names, teacher.dropout) == (CLASSES, 0.2)


def test_the_pooler_of_a_plain_encoder_agrees_with_pytorch_transformers():
    features, expected = expected_of("plain")
    teacher = TextTeacher.from_preset(FIXTURES / "plain", num_classes=2)
    assert teacher.label_names is None
    np.testing.assert_allclose(
        teacher(features)["pooled_output"], expected["pooled_output"], atol=1e-5
    )


def test_segment_ids_are_read():
    features, _ = expected_of("classifier")
    teacher = TextTeacher.from_preset(FIXTURES / "classifier")
    one_text = {**features, "segment_ids": np.zeros_like(features["segment_ids"])}
    one, two = (teacher(rows)["logits"].numpy() for rows in (one_text, features))
    assert np.abs(one[0] - two[0]).max() > 0.01
    np.testing.assert_array_equal(one[1], two[1])  # this row has no second text


def test_the_head_is_put_in_the_order_of_the_labels():
    features, expected = expected_of("classifier")
    wanted = ("contradiction", "entailment", "neutral")
    teacher = TextTeacher.from_preset(FIXTURES / "classifier", labels=wanted)
    assert teacher.label_names == wanted
    np.testing.assert_allclose(
        teacher(features)["logits"], expected["logits"][:, [2, 0, 1]], atol=1e-5
    )


def test_labels_that_are_not_the_heads_are_named_and_a_fresh_head_can_be_asked_for():
    with pytest.raises(InputError, match=r"head lacks: maybe;.*the data lacks: neutral;.*fresh"):
        TextTeacher.from_preset(
            FIXTURES / "classifier", labels=["entailment", "maybe", "contradiction"]
        )
    features, expected = expected_of("classifier")
    teacher = TextTeacher.from_preset(FIXTURES / "classifier", labels=["a", "b"], fresh_head=True)
    assert (teacher.num_classes, teacher.label_names) == (2, None)
    # The pooler belongs to the encoder, not to the head that was left aside.
    np.testing.assert_allclose(
        teacher(features)["pooled_output"], expected["pooled_output"], atol=1e-5
    )


def test_a_head_for_several_labels_at_once_is_refused_and_a_fresh_one_can_be_asked_for(tmp_path):
    folder = copy_of("classifier", tmp_path, problem_type="multi_label_classification")
    with pytest.raises(InputError, match=r"'multi_label_classification'.*fresh_head=True"):
        TextTeacher.from_preset(folder)
    teacher = TextTeacher.from_preset(folder, num_classes=3, fresh_head=True)
    assert teacher.label_names is None


def test_an_encoder_without_a_pooler_gets_a_fresh_one(caplog):
    features, expected = expected_of("tagger")
    teacher = TextTeacher.from_preset(FIXTURES / "tagger", num_classes=2)
    assert "tagger: has no pooler, a fresh one is trained" in caplog.text
    assert not np.any(teacher.pooler.bias)
    pooled = np.tanh(expected["hidden_state_3"][:, 0] @ teacher.pooler.kernel.numpy())
    np.testing.assert_allclose(teacher(features)["pooled_output"], pooled, atol=1e-5)
    with pytest.raises(InputError, match=r"no head of a classifier of texts.*give labels"):
        TextTeacher.from_preset(FIXTURES / "tagger")


def test_an_old_file_without_architectures_is_known_by_its_pooler(tmp_path):
    folder = copy_of("classifier", tmp_path, architectures=None)
    assert TextTeacher.from_preset(folder).label_names == CLASSES
    assert Teacher.from_preset(folder, num_classes=2).label_names is None


def test_a_tagger_takes_no_head_of_a_classifier():
    teacher = Teacher.from_preset(FIXTURES / "classifier", num_classes=3)
    assert teacher.label_names is None
    with pytest.raises(InputError, match="no head of a tagger"):
        Teacher.from_preset(FIXTURES / "classifier")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("pooler"), r"head of a classifier, but no pooler.*fresh_head=True"),
        (without("pooler.dense.bias"), "lack 'bert.pooler.dense.bias'"),
        (
            lambda tensors: {**tensors, "bert.pooler.dense.weight": np.zeros((24, 8), "float32")},
            r"'bert.pooler.dense.weight' has shape \(24, 8\); expected \(24, 24\)",
        ),
    ],
)
def test_a_pooler_that_does_not_fit_is_refused(tmp_path, change, reason):
    folder = copy_of("classifier", tmp_path, change)
    with pytest.raises(InputError, match=reason) as refusal:
        TextTeacher.from_preset(folder)
    assert "\n" not in str(refusal.value)


def test_layer_groups_hold_every_weight_from_bottom_to_top():
    teacher = TextTeacher(TINY, num_classes=2)
    names = ["embedding", "layer_1", "layer_2", "pooler", "head"]
    assert list(teacher.layer_groups) == names


def test_a_teacher_comes_back_from_plain_data():
    teacher = TextTeacher(TINY, 2, dropout=0.25, label_names=["no", "yes"])
    copy = TextTeacher.from_config(json.loads(json.dumps(teacher.get_config())))
    assert copy.get_config() == teacher.get_config()
    assert (copy.dropout, copy.label_names) == (0.25, ("no", "yes"))


def test_dropout_acts_on_the_pooled_output_in_training_only():
    keras.utils.set_random_seed(1)
    still = dataclasses.replace(TINY, dropout=0.0, attention_dropout=0.0)
    teacher = TextTeacher(still, 4, dropout=0.5)
    features = {"token_ids": np.array([[2, 5, 6, 3]], "int32")}
    noisy = [teacher(features, training=True) for _ in range(2)]
    np.testing.assert_array_equal(noisy[0]["pooled_output"], noisy[1]["pooled_output"])
    assert not np.allclose(noisy[0]["logits"], noisy[1]["logits"])
    np.testing.assert_array_equal(teacher(features)["logits"], teacher(features)["logits"])
