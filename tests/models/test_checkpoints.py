"""Checkpoints of the hub's format against PyTorch, and every way in which one can be wrong."""

import json
import shutil
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xdistil.errors import InputError
from xdistil.models.checkpoints import Checkpoint, load_encoder_weights
from xdistil.models.encoder import Encoder
from xdistil.models.presets import find_checkpoint
from xdistil.models.teacher import Teacher

FIXTURES = Path(__file__).parent.parent / "fixtures" / "checkpoints"
LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
INPUTS = ("token_ids", "padding_mask", "segment_ids")
SCALE = "bert.encoder.layer.1.output.LayerNorm.gamma"
KERNEL = "bert.encoder.layer.0.intermediate.dense.weight"


def expected_of(name):
    """Inputs and outputs of transformers 5.23 with PyTorch 2.13, see make_checkpoints.py."""
    with np.load(FIXTURES / name / "expected.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    return {key: arrays.pop(key) for key in INPUTS}, arrays


def copy_of(name, tmp_path):
    folder = tmp_path / name
    shutil.copytree(FIXTURES / name, folder)
    return folder


def rewrite_config(folder, **changes):
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    config = {key: value for key, value in config.items() if value != "drop"}
    file.write_text(json.dumps(config))


def rewrite_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    tensors = change(tensors) or tensors
    save_file(tensors, folder / "model.safetensors")


def load(folder):
    checkpoint = Checkpoint(folder)
    encoder = Encoder(checkpoint.encoder_config)
    return encoder, load_encoder_weights(encoder, checkpoint)


def refusal_of(folder):
    """The message of refusal: one line that begins with the folder or a file in it."""
    with pytest.raises(InputError) as refusal:
        load(folder)
    message = str(refusal.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message


@pytest.mark.parametrize("name", ["plain", "tagger", "old_names"])
def test_every_hidden_state_agrees_with_pytorch_transformers(name):
    features, expected = expected_of(name)
    encoder, _ = load(FIXTURES / name)
    hidden_states = encoder(features)
    assert len(hidden_states) == 4
    real = features["padding_mask"] == 1
    for index, state in enumerate(hidden_states):
        difference = np.abs(np.array(state) - expected[f"hidden_state_{index}"])[real]
        assert difference.max() < 1e-5, f"layer {index}"


@pytest.mark.parametrize("name", ["tagger", "old_names"])
def test_logits_of_a_fine_tuned_tagger_agree_with_pytorch_transformers(name):
    features, expected = expected_of(name)
    logits = np.array(Teacher.from_preset(FIXTURES / name)(features)["logits"])
    real = features["padding_mask"] == 1
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-5)


def test_settings_of_config_json_are_honoured():
    plain, tagger, old = (
        Checkpoint(FIXTURES / name).encoder_config for name in ("plain", "tagger", "old_names")
    )
    assert (plain.layer_norm_epsilon, plain.activation, plain.num_segments) == (1e-3, "gelu", 2)
    assert (tagger.activation, tagger.num_segments) == ("relu", 1)
    assert (old.layer_norm_epsilon, old.activation, old.num_segments) == (1e-12, "gelu_tanh", 2)
    assert (old.dropout, old.attention_dropout) == (0.1, 0.3)


def test_label_names_are_those_of_a_token_classification_head_only(tmp_path):
    assert Checkpoint(FIXTURES / "plain").label_names is None
    assert Checkpoint(FIXTURES / "tagger").label_names == LABELS
    assert Checkpoint(FIXTURES / "old_names").label_names == LABELS
    folder = copy_of("old_names", tmp_path)
    rewrite_config(folder, architectures=["BertForSequenceClassification"])
    assert Checkpoint(folder).label_names is None


def test_a_pooler_and_a_language_model_head_are_dropped_and_a_classifier_is_handed_back(tmp_path):
    assert load(FIXTURES / "plain")[1] == []
    assert load(FIXTURES / "tagger")[1] == ["classifier.bias", "classifier.weight"]
    folder = copy_of("old_names", tmp_path)
    extra = np.zeros((64, 24), "float32")
    rewrite_tensors(folder, lambda tensors: {**tensors, "cls.predictions.decoder.weight": extra})
    assert load(folder)[1] == ["classifier.bias", "classifier.weight"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float16, 5e-3), (ml_dtypes.bfloat16, 5e-2), (np.float64, 1e-7)]
)
def test_weights_of_any_float_type_are_read_as_float32(tmp_path, dtype, tolerance):
    folder = copy_of("old_names", tmp_path)
    before = load_file(folder / "model.safetensors")
    after = {name: tensor.astype(dtype) for name, tensor in before.items()}
    write_safetensors(folder / "model.safetensors", after)
    read = Checkpoint(folder).read(KERNEL)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, before[KERNEL], atol=tolerance)
    load(folder)


def write_safetensors(file, tensors):
    """The format by hand, as safetensors writes no bfloat16 from numpy."""
    names = {"float16": "F16", "bfloat16": "BF16", "float64": "F64"}
    header, data = {}, b""
    for name, tensor in tensors.items():
        begin, data = len(data), data + tensor.tobytes()
        offsets = [begin, len(data)]
        dtype = names[tensor.dtype.name]
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_a_missing_folder_is_refused(tmp_path):
    assert "no such folder" in refusal_of(tmp_path / "absent")


def test_a_folder_without_config_json_is_refused(tmp_path):
    assert "config.json: missing" in refusal_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"model_type":\n "bert",', "config.json:2: broken JSON"),
        (b"[1, 2]", "holds a list"),
        (b"\xff\xfe{", "no UTF-8"),
    ],
)
def test_a_broken_config_json_is_refused(tmp_path, content, reason):
    folder = copy_of("plain", tmp_path)
    (folder / "config.json").write_bytes(content)
    assert reason in refusal_of(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'; expected one of: albert, bert"),
        ({"model_type": "drop"}, "model_type is None"),
        ({"model_type": ["bert"]}, "model_type is ['bert']"),
        ({"hidden_size": "drop"}, "has no 'hidden_size'"),
        ({"hidden_size": "wide"}, "hidden_dim is 'wide'"),
        ({"num_hidden_layers": 0}, "num_layers is 0"),
        ({"num_attention_heads": 5}, "no multiple of num_heads 5"),
        ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
        ({"hidden_dropout_prob": 1.5}, "dropout is 1.5"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"is_decoder": True}, "is_decoder is True: a decoder"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"vocab_size": 65}, "has shape (64, 24); expected (65, 24)"),
        ({"num_hidden_layers": 2}, "no place for"),
        ({"num_hidden_layers": 4}, "lack 'encoder.layer.3.attention.self.query.weight'"),
    ],
)
def test_a_config_json_that_does_not_fit_is_refused(tmp_path, changes, reason):
    folder = copy_of("plain", tmp_path)
    rewrite_config(folder, **changes)
    assert reason in refusal_of(folder)


@pytest.mark.parametrize("id2label", [{"0": "O"}, dict.fromkeys("01234", "O"), ["O"], {"a": "O"}])
def test_label_names_that_do_not_fit_the_head_are_refused(tmp_path, id2label):
    folder = copy_of("old_names", tmp_path)
    rewrite_config(folder, id2label=id2label)
    with pytest.raises(InputError, match="id2label") as refusal:
        Teacher.from_preset(folder)
    assert "\n" not in str(refusal.value)
    # Who leaves the head aside has no use for its names.
    assert Teacher.from_preset(folder, num_classes=2, fresh_head=True).num_classes == 2


@pytest.mark.parametrize(
    ("architectures", "labels"), [("BertForTokenClassification", LABELS), ("BertModel", None)]
)
def test_architectures_may_be_one_string(tmp_path, architectures, labels):
    folder = copy_of("old_names", tmp_path)
    rewrite_config(folder, architectures=architectures)
    assert Checkpoint(folder).label_names == labels
    rewrite_config(folder, architectures=5)
    with pytest.raises(InputError, match=r"config\.json: architectures is 5; expected a list"):
        Teacher.from_preset(folder)


@pytest.mark.parametrize("value", ["0.1", 1, True])
def test_a_broken_dropout_of_the_head_is_named_with_its_file(tmp_path, value):
    folder = copy_of("old_names", tmp_path)
    rewrite_config(folder, classifier_dropout=value)
    with pytest.raises(InputError, match=rf"config\.json: classifier_dropout is {value!r}"):
        Teacher.from_preset(folder)


@pytest.mark.parametrize(
    ("config", "way"),
    [
        ({"format": "xdistil run directory 1"}, "its export/hub"),
        ({"format": "xdistil model 1", "model": {"class_name": "TextTeacher"}}, "--reuse_from"),
        ({"format": "xdistil model 1", "model": {"class_name": "TransformerStudent"}},
         "its run's export/hub, or train it further by --continue_from"),
        ({"format": "xdistil model 1", "model": "x"}, "such a model has none"),
    ],
)  # fmt: skip
def test_folders_of_our_own_are_known_and_the_way_told(tmp_path, config, way):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert way in refusal_of(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    folder = copy_of("plain", tmp_path)
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refusal_of(folder)


def test_a_pickle_is_refused_and_the_way_to_convert_it_told(tmp_path):
    folder = copy_of("plain", tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refusal_of(folder)
    assert "pickle" in message
    assert "transformers.BertModel.from_pretrained" in message and "save_pretrained" in message
    rewrite_config(folder, architectures="drop")
    assert "transformers.AutoModel.from_pretrained" in refusal_of(folder)


def test_a_file_cut_short_is_refused(tmp_path):
    folder = copy_of("plain", tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "broken or cut short" in refusal_of(folder)


def test_a_missing_weight_is_named_with_its_shape(tmp_path):
    folder = copy_of("old_names", tmp_path)
    rewrite_tensors(folder, lambda tensors: tensors.pop(KERNEL) is None or None)
    assert f"lack {KERNEL!r} of shape (48, 24)" in refusal_of(folder)


def test_a_weight_of_another_shape_is_named_with_both_shapes(tmp_path):
    folder = copy_of("old_names", tmp_path)
    narrow = np.ones(23, "float32")
    rewrite_tensors(folder, lambda tensors: {**tensors, SCALE: narrow})
    message = refusal_of(folder)
    assert "model.safetensors" in message
    assert f"{SCALE!r} has shape (23,); expected (24,)" in message


def test_a_wrong_weight_leaves_the_encoder_as_it_was(tmp_path):
    folder = copy_of("old_names", tmp_path)
    narrow = np.ones(23, "float32")
    rewrite_tensors(folder, lambda tensors: {**tensors, SCALE: narrow})
    checkpoint = Checkpoint(folder)
    encoder = Encoder(checkpoint.encoder_config)
    before = [weight.numpy() for weight in encoder.weights]
    with pytest.raises(InputError):
        load_encoder_weights(encoder, checkpoint)
    for weight, value in zip(encoder.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_a_missing_shard_is_refused(tmp_path):
    folder = copy_of("tagger", tmp_path)
    (folder / "model-00002-of-00004.safetensors").unlink()
    assert "model-00002-of-00004.safetensors: missing" in refusal_of(folder)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({}, "no 'weight_map'"),
        ({"weight_map": {"a": "../plain/model.safetensors"}}, "bare file name"),
        ({"weight_map": {"a": "model-00001-of-00004.safetensors"}}, "has no 'a'"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path, index, reason):
    folder = copy_of("tagger", tmp_path)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert reason in refusal_of(folder)


def test_a_preset_is_a_folder_before_it_is_a_name_of_the_hub():
    assert find_checkpoint(str(FIXTURES / "plain")) == FIXTURES / "plain"


@pytest.mark.parametrize("preset", ["./absent", "/absent/folder", "a/b/c", "../absent"])
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(preset, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    with pytest.raises(InputError, match="no such folder"):
        find_checkpoint(preset)


def test_an_empty_preset_is_not_the_folder_one_stands_in():
    with pytest.raises(InputError, match="no teacher named"):
        find_checkpoint("")


def test_a_file_is_refused_as_a_preset():
    with pytest.raises(InputError, match="is a file"):
        find_checkpoint(FIXTURES / "plain" / "config.json")


def test_a_name_of_the_hub_is_fetched_without_any_pickle(monkeypatch, tmp_path):
    asked = {}

    def snapshot_download(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name: [])
    assert find_checkpoint("owner/model") == tmp_path
    assert "spiece.model" in asked["patterns"]
    assert asked["name"] == "owner/model"
    assert not any("bin" in pattern or pattern == "*" for pattern in asked["patterns"])


def test_a_name_of_the_hub_with_a_pickle_alone_gets_the_same_advice(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertForMaskedLM"]}')
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name: ["pytorch_model.bin"])
    with pytest.raises(InputError, match=r"owner/model: holds only .*BertForMaskedLM\.from"):
        find_checkpoint("owner/model")


def test_without_a_connection_one_line_says_so(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError, match=r"owner/model: no such folder.*no route to host"):
        find_checkpoint("owner/model")


def test_without_huggingface_hub_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install xdistil\[hub\]"):
        find_checkpoint("owner/model")
