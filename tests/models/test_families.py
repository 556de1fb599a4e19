"""Every family of checkpoints against transformers' own classes in PyTorch, and written back."""

import functools
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from model_checks import run_model_checks
from safetensors.numpy import load_file, save_file

from xdistil.errors import InputError
from xdistil.models.activations import get_activation
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.checkpoints import Checkpoint, load_encoder_weights
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.families import FAMILIES
from xdistil.models.masked_lm_head import load_masked_lm_head, masked_lm_activation
from xdistil.models.teacher import Teacher
from xdistil.models.text_teacher import TextTeacher

FIXTURES = Path(__file__).parent.parent / "fixtures" / "checkpoints"
INPUTS = ("token_ids", "padding_mask", "segment_ids")
KINDS = ("encoder", "tagger", "classifier", "masked_lm")
LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
CLASSES = ("entailment", "neutral", "contradiction")
every_family = pytest.mark.parametrize("family", sorted(FAMILIES))


def expected_of(family, kind):
    """Inputs and outputs of transformers 5.23 with PyTorch 2.13, see make_checkpoints.py."""
    with np.load(FIXTURES / family / kind / "expected.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    return {key: arrays.pop(key) for key in INPUTS}, arrays


@functools.cache
def load(family, kind):
    """A fixture's checkpoint and its encoder, which no test changes."""
    checkpoint = Checkpoint(FIXTURES / family / kind)
    encoder = Encoder(checkpoint.encoder_config)
    load_encoder_weights(encoder, checkpoint)
    return checkpoint, encoder


@functools.cache
def load_teacher(family, kind):
    """A fixture as a teacher, which no test changes."""
    teacher_class = Teacher if kind == "tagger" else TextTeacher
    names = {} if kind in ("tagger", "classifier") else {"num_classes": 2}
    return teacher_class.from_preset(FIXTURES / family / kind, **names)


def assert_states(states, features, expected):
    real = features["padding_mask"] == 1
    assert len(states) == sum(name.startswith("hidden_state_") for name in expected)
    for index, state in enumerate(states):
        difference = np.abs(np.array(state) - expected[f"hidden_state_{index}"])[real]
        assert difference.max() < 1e-5, f"layer {index}"


def copy_of(family, kind, tmp_path, change=lambda tensors: tensors, **settings):
    folder = tmp_path / family
    shutil.copytree(FIXTURES / family / kind, folder)
    config = {**json.loads((folder / "config.json").read_text()), **settings}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    return folder


@every_family
def test_every_hidden_state_agrees_with_pytorch_transformers(family):
    features, expected = expected_of(family, "encoder")
    assert (features["padding_mask"] == 0).any()
    checkpoint, encoder = load(family, "encoder")
    assert checkpoint.prefix == ""
    assert_states(encoder(features), features, expected)


@every_family
def test_a_fine_tuned_tagger_of_each_family_brings_its_head_along(family):
    features, expected = expected_of(family, "tagger")
    teacher = load_teacher(family, "tagger")
    outputs = teacher(features)
    assert_states(outputs["hidden_states"], features, expected)
    real = features["padding_mask"] == 1
    logits = np.array(outputs["logits"])
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-5)
    assert teacher.label_names == LABELS
    assert teacher.dropout == {"albert": 0.3}.get(family, 0.15)
    assert Checkpoint(FIXTURES / family / "tagger").text_label_names is None


@every_family
def test_a_fine_tuned_classifier_of_each_family_brings_its_head_along(family):
    features, expected = expected_of(family, "classifier")
    teacher = load_teacher(family, "classifier")
    outputs = teacher(features)
    assert_states(outputs["hidden_states"], features, expected)
    np.testing.assert_allclose(outputs["logits"], expected["logits"], atol=1e-5)
    assert teacher.label_names == CLASSES
    assert teacher.dropout == {"albert": 0.3, "distilbert": 0.25}.get(family, 0.15)
    assert Checkpoint(FIXTURES / family / "classifier").label_names is None


@every_family
def test_heads_are_known_without_architectures_too(family, tmp_path):
    folder = copy_of(family, "classifier", tmp_path, architectures=None)
    checkpoint = Checkpoint(folder)
    assert (checkpoint.label_names, checkpoint.text_label_names) == (None, CLASSES)


@every_family
def test_a_classifier_without_the_layer_below_its_head_is_refused(family, tmp_path):
    def without_pooler(tensors):
        stem = Checkpoint(FIXTURES / family / "classifier").pooler
        return {name: t for name, t in tensors.items() if not name.startswith(f"{stem}.")}

    folder = copy_of(family, "classifier", tmp_path, without_pooler)
    with pytest.raises(InputError, match="no pooler below it"):
        TextTeacher.from_preset(folder)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_the_pooler_of_a_plain_encoder_is_loaded_where_the_family_has_one(family):
    features, expected = expected_of(family, "encoder")
    teacher = load_teacher(family, "encoder")
    pooled = teacher(features)["pooled_output"]
    np.testing.assert_allclose(pooled, expected["pooled_output"], atol=1e-5)


@pytest.mark.parametrize(
    ("family", "activation"),
    [("roberta", np.tanh), ("distilbert", lambda x: np.maximum(x, 0)), ("electra", None)],
)
def test_other_families_get_a_fresh_dense_layer_with_their_own_activation(family, activation):
    features, expected = expected_of(family, "encoder")
    teacher = load_teacher(family, "encoder")
    before = expected["hidden_state_2"][:, 0] @ teacher.pooler.kernel.numpy()
    activation = activation or (lambda x: np.array(get_activation("gelu")(x)))
    pooled = teacher(features)["pooled_output"]
    np.testing.assert_allclose(pooled, activation(before), atol=1e-5)


def masked_lm_logits(encoder, head, last_hidden_state):
    x = np.array(last_hidden_state) @ head["mlm_dense.kernel"] + head["mlm_dense.bias"]
    x = np.array(get_activation(masked_lm_activation(encoder.config))(x))
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    x = (x - mean) / np.sqrt(variance + encoder.config.layer_norm_epsilon)
    x = x * head["mlm_norm.scale"] + head["mlm_norm.bias"]
    return x @ encoder.token_embedding.embeddings.numpy().T + head["mlm_bias"]


@every_family
def test_the_masked_lm_head_of_each_family_agrees_with_pytorch_transformers(family):
    features, expected = expected_of(family, "masked_lm")
    checkpoint, encoder = load(family, "masked_lm")
    assert checkpoint.prefix == checkpoint.family.prefix
    states = encoder(features)
    assert_states(states, features, expected)
    logits = masked_lm_logits(encoder, load_masked_lm_head(checkpoint), states[-1])
    real = features["padding_mask"] == 1
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-4)
    for kind in ("encoder", "tagger", "classifier"):
        assert load_masked_lm_head(Checkpoint(FIXTURES / family / kind)) is None


def test_a_masked_lm_head_with_a_matrix_of_its_own_or_in_part_is_refused(tmp_path):
    def stored(decoder):
        return lambda tensors: {**tensors, "cls.predictions.decoder.weight": decoder}

    embedding = load_file(FIXTURES / "bert" / "masked_lm" / "model.safetensors")[
        "bert.embeddings.word_embeddings.weight"
    ]
    tied = copy_of("bert", "masked_lm", tmp_path / "tied", stored(embedding))
    assert load_masked_lm_head(Checkpoint(tied)) is not None
    untied = copy_of("bert", "masked_lm", tmp_path / "untied", stored(embedding + 1))
    with pytest.raises(InputError, match="output matrix of its own"):
        load_masked_lm_head(Checkpoint(untied))
    missing = "cls.predictions.transform.dense.bias"
    half = copy_of(
        "bert", "masked_lm", tmp_path, lambda tensors: tensors.pop(missing) is None or tensors
    )
    with pytest.raises(InputError, match=f"lacks '{missing}'"):
        load_masked_lm_head(Checkpoint(half))


@pytest.mark.parametrize("embedding_dim", [8, 16])
def test_shared_layers_are_counted_named_and_grouped_once(embedding_dim):
    config = EncoderConfig(
        **{**Checkpoint(FIXTURES / "albert" / "tagger").encoder_config.to_dict(),
           "embedding_dim": embedding_dim}
    )  # fmt: skip
    teacher = Teacher(config, num_classes=5)
    embeddings = (64 + 20 + 2 + 2) * embedding_dim + (embedding_dim + 1) * 16
    layer = 4 * (16 * 16 + 16) + 2 * 2 * 16 + (16 * 24 + 24) + (24 * 16 + 16)
    assert teacher.count_params() == embeddings + layer + 17 * 5
    assert list(teacher.layer_groups) == ["embedding", "layer_1", "head"]
    named = teacher.encoder.named_weights()
    assert {id(weight) for weight in named.values()} == {id(w) for w in teacher.encoder.weights}
    features, _ = expected_of("albert", "tagger")
    before = [np.array(state) for state in teacher(features)["hidden_states"]]
    named["layers.0.output.bias"].assign_add(np.linspace(-1, 1, 16))
    after = [np.array(state) for state in teacher(features)["hidden_states"]]
    assert len(after) == 4
    changed = [np.abs(one - two).max() > 1e-3 for one, two in zip(before, after, strict=True)]
    assert changed == [False, True, True, True]
    for layers in teacher.layer_groups.values():
        for one in layers:
            one.trainable = False
    assert teacher.trainable_weights == []


@pytest.mark.parametrize("key", ["num_hidden_groups", "inner_group_num"])
def test_several_groups_of_albert_layers_are_refused(key, tmp_path):
    folder = copy_of("albert", "encoder", tmp_path, **{key: 2})
    with pytest.raises(InputError, match=rf"config.json: {key} is 2; only 1 is known"):
        Checkpoint(folder)


def test_positions_of_roberta_begin_after_the_padding_id(tmp_path):
    config = Checkpoint(FIXTURES / "roberta" / "encoder").encoder_config
    assert (config.position_offset, config.max_length) == (2, 18)
    for value, reason in [("one", "pad_token_id is 'one'"), (30, "max_length is -11")]:
        folder = copy_of("roberta", "encoder", tmp_path / str(value), pad_token_id=value)
        with pytest.raises(InputError, match=reason):
            Checkpoint(folder)


def test_settings_of_older_versions_are_neither_lost_nor_added_to():
    config = EncoderConfig(vocabulary_size=9, hidden_dim=4, num_layers=1, num_heads=2)
    assert "shared_layers" not in config.to_dict()
    assert "project_embeddings" not in config.to_dict()
    shared = EncoderConfig(**{**config.to_dict(), "shared_layers": True})
    assert EncoderConfig(**shared.to_dict()).shared_layers
    with pytest.raises(InputError, match=r"family 'gpt'.*albert"):
        EncoderConfig(**{**config.to_dict(), "family": "gpt"})


def layers_of(family, kind):
    """The encoder of a fixture, and what stands above it as Keras layers."""
    if kind == "tagger":
        teacher = load_teacher(family, kind)
        return teacher.encoder, "tokens", {"head": teacher.head}
    if kind == "classifier":
        teacher = load_teacher(family, kind)
        return teacher.encoder, "texts", {"pooler": teacher.pooler, "head": teacher.head}
    checkpoint, encoder = load(family, kind)
    if kind == "masked_lm":
        head = load_masked_lm_head(checkpoint)
        return encoder, "masked_lm", masked_lm_layers(head, encoder.config.layer_norm_epsilon)
    if not checkpoint.family.pooler_in_encoder:
        return encoder, "encoder", {}
    return encoder, "encoder", {"pooler": load_teacher(family, kind).pooler}


def masked_lm_layers(head, epsilon):
    inputs, outputs = head["mlm_dense.kernel"].shape
    dense, norm = keras.layers.Dense(outputs), keras.layers.LayerNormalization(epsilon=epsilon)
    dense.build((None, inputs))
    norm.build((None, outputs))
    dense.set_weights([head["mlm_dense.kernel"], head["mlm_dense.bias"]])
    norm.set_weights([head["mlm_norm.scale"], head["mlm_norm.bias"]])
    return {"mlm_dense": dense, "mlm_norm": norm, "mlm_bias": head["mlm_bias"]}


def written(family, kind, folder):
    encoder, architecture, layers = layers_of(family, kind)
    names = {"tagger": LABELS, "classifier": CLASSES}.get(kind)
    write_checkpoint(
        folder,
        encoder,
        architecture=architecture,
        layers=layers,
        label_names=names,
        head_dropout=load_teacher(family, kind).dropout if names else None,
    )
    return encoder.config


# transformers' own files, which hold a pooler that no `...ForMaskedLM` or fine-tuned model reads.
def without_unread(tensors, family, kind):
    dropped = () if FAMILIES[family].pooler_in_encoder else ("pooler.",)
    return {name: value for name, value in tensors.items() if not name.startswith(dropped or "\0")}


@pytest.mark.parametrize("kind", KINDS)
@every_family
def test_what_is_written_is_tensor_by_tensor_what_transformers_had_written(family, kind, tmp_path):
    config = written(family, kind, tmp_path)
    source = FIXTURES / family / kind
    expected = without_unread(load_file(source / "model.safetensors"), family, kind)
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    settings, theirs = (
        json.loads((folder / "config.json").read_text()) for folder in (tmp_path, source)
    )
    for key in settings.keys() & theirs.keys():
        # Null is the dropout of the encoder, which we write out.
        assert settings[key] == theirs[key] or theirs[key] is None, key
    dropout = {"tagger": "head_dropout", "classifier": "text_head_dropout"}.get(kind)
    if dropout:
        key = getattr(FAMILIES[family], dropout) or FAMILIES[family].head_dropout
        assert settings[key] == load_teacher(family, kind).dropout
    assert settings["architectures"] == theirs["architectures"]
    assert Checkpoint(tmp_path).encoder_config == config


@pytest.mark.parametrize("kind", KINDS)
@every_family
def test_transformers_loads_what_is_written(family, kind, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    written(family, kind, tmp_path)
    model_class = {
        "encoder": transformers.AutoModel,
        "tagger": transformers.AutoModelForTokenClassification,
        "classifier": transformers.AutoModelForSequenceClassification,
        "masked_lm": transformers.AutoModelForMaskedLM,
    }[kind]
    model, report = model_class.from_pretrained(tmp_path, output_loading_info=True)
    missing = {name for name in report["missing_keys"] if not name.startswith("pooler.")}
    assert (missing, set(report["unexpected_keys"])) == (set(), set())
    features, expected = expected_of(family, kind)
    inputs = {"input_ids": "token_ids", "attention_mask": "padding_mask"}
    if FAMILIES[family].settings.get("num_segments"):
        inputs["token_type_ids"] = "segment_ids"
    inputs = {name: torch.tensor(features[key]).long() for name, key in inputs.items()}
    with torch.no_grad():
        outputs = model.eval()(**inputs, output_hidden_states=True)
    assert_states([state.numpy() for state in outputs.hidden_states], features, expected)
    if "logits" in expected:
        real = features["padding_mask"] == 1 if outputs.logits.ndim == 3 else slice(None)
        difference = outputs.logits.numpy() - expected["logits"]
        assert np.abs(difference[real]).max() < 1e-5


def tiny(**changes):
    return Encoder(
        EncoderConfig(
            **{"vocabulary_size": 9, "hidden_dim": 4, "num_layers": 1, "num_heads": 2, **changes}
        )
    )


def dense(inputs, outputs, **kwargs):
    layer = keras.layers.Dense(outputs, **kwargs)
    layer.build((None, inputs))
    return layer


def masked_lm(epsilon):
    head = {
        "mlm_dense.kernel": np.zeros((4, 4)),
        "mlm_dense.bias": np.zeros(4),
        "mlm_norm.scale": np.zeros(4),
        "mlm_norm.bias": np.zeros(4),
        "mlm_bias": np.zeros(9),
    }
    return masked_lm_layers(head, epsilon)


@pytest.mark.parametrize(
    ("changes", "arguments", "reason"),
    [
        ({}, {"architecture": "spans"}, "one of encoder, tokens, texts, masked_lm"),
        ({}, {"architecture": "tokens"}, r"must be \['head'\], received \[\]"),
        ({"family": "roberta", "position_offset": 2},
         {"architecture": "encoder", "layers": {"pooler": dense(4, 4)}}, r"must be \[\]"),
        ({}, {"architecture": "tokens", "layers": {"head": dense(5, 2)}},
         r"head must have weights .*\(4, 2\).* received .*\(5, 2\)"),
        ({}, {"architecture": "tokens", "layers": {"head": dense(4, 2)}, "label_names": ["O"]},
         "2 different names"),
        ({}, {"architecture": "tokens", "layers": {"head": dense(4, 2, use_bias=False)}},
         "head must have weights .*head.bias"),
        ({}, {"architecture": "texts",
              "layers": {"pooler": dense(4, 4, activation="relu"), "head": dense(4, 2)}},
         "pooler of family 'bert' must have the activation tanh, received relu"),
        ({}, {"architecture": "masked_lm", "layers": masked_lm(1e-3)},
         "encoder's epsilon 1e-12, received 0.001"),
        ({}, {"architecture": "masked_lm", "layers": {**masked_lm(1e-12), "mlm_bias": np.ones(8)}},
         r"mlm_bias must have weights .*\(9,\).*\(8,\)"),
        ({}, {"architecture": "encoder", "label_names": ["O"]}, "has no classes"),
        ({"family": "distilbert"}, {"architecture": "encoder"}, "no place for num_segments=2"),
        ({"num_segments": 0}, {"architecture": "encoder"}, "no place for num_segments=0"),
        ({}, {"architecture": "masked_lm",
              "layers": {**masked_lm(1e-12), "mlm_dense": dense(4, 4, activation="relu")}},
         "mlm_dense of family 'bert' must have the activation gelu, received relu"),
        ({"embedding_dim": 2}, {"architecture": "encoder"}, "no place for embedding_dim=2"),
        ({"family": "distilbert", "num_segments": 0, "layer_norm_epsilon": 1e-5},
         {"architecture": "encoder"}, "no place for layer_norm_epsilon"),
        ({"activation": "tanh"}, {"architecture": "encoder"}, "activation of checkpoints"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_and_nothing_is_left(
    changes, arguments, reason, tmp_path
):
    with pytest.raises(ValueError, match=reason):
        write_checkpoint(tmp_path / "new", tiny(**changes), **arguments)
    assert not (tmp_path / "new").exists()


def test_a_write_that_fails_leaves_no_config_json_behind(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, tiny(), architecture="encoder")
    Checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"holds a config.json.*overwrite=True"):
        write_checkpoint(tmp_path, tiny(num_layers=2), architecture="encoder")
    assert Checkpoint(tmp_path).encoder_config.num_layers == 1

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("xdistil.models.checkpoint_writer.write_tensors", fail)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, tiny(num_layers=2), architecture="encoder", overwrite=True)
    with pytest.raises(InputError, match=r"config.json: missing"):
        Checkpoint(tmp_path)


def test_a_teacher_of_shared_layers_keeps_the_promises_of_every_model(tmp_path):
    config = EncoderConfig(
        vocabulary_size=30, hidden_dim=8, num_layers=2, num_heads=2, max_length=12,
        intermediate_dim=20, embedding_dim=4, dropout=0.0, attention_dropout=0.0,
        initializer_range=0.3, family="albert", project_embeddings=True, shared_layers=True,
    )  # fmt: skip
    layer = 4 * (8 * 8 + 8) + 2 * 2 * 8 + (8 * 20 + 20) + (20 * 8 + 8)
    run_model_checks(
        lambda **kwargs: Teacher(config, num_classes=4, **kwargs),
        vocabulary_size=30,
        expected_parameters=(30 + 12 + 2 + 2) * 4 + (4 * 8 + 8) + layer + (8 * 4 + 4),
        expected_hidden_states=[8, 8, 8],
        folder=tmp_path,
        idle_weights=("key/bias",),  # adds the same to all scores of a query: softmax drops it
        logits_of_float64="float32",
    )
