"""Exports to ONNX and LiteRT give what Keras gives, for every task, batch and length."""

import dataclasses
import functools
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from tagger_fixtures import HOSTILE, SENTENCES

from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.export.keras_runtime import keras_predictor
from xdistil.export.litert_export import export_litert
from xdistil.export.onnx_export import export_onnx
from xdistil.export.onnx_session import OnnxSession
from xdistil.export.parity import check_parity
from xdistil.export.predictor import load_predictor
from xdistil.export.session_export import in_float32
from xdistil.export.session_runtime import open_session
from xdistil.metrics import count_parameters
from xdistil.models import (
    BiLSTMStudent,
    BiLSTMTextStudent,
    EncoderConfig,
    SiameseBiLSTMStudent,
    TransformerStudent,
    TransformerTextStudent,
)
from xdistil.tasks import Classification, PairClassification, Tagging, TrainedModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
from xdistil.export.onnx_model import onnx_model  # noqa: E402  it wants the package

TOKENIZERS = Path(__file__).parents[1] / "fixtures" / "tokenizers"
EXPORTERS = {"onnx": export_onnx, "litert": export_litert}
FILES = {"onnx": "model.onnx", "litert": "model.tflite"}
SIZES = {"embedding_dim": 6, "hidden_dim": 8, "representation_dim": 10}
FAMILIES = {
    "bert": {},
    "distilbert": {"num_segments": 0},
    "roberta": {"position_offset": 2, "num_segments": 1},
    "albert": {"embedding_dim": 4, "shared_layers": True},
    "electra": {"embedding_dim": 4, "activation": "relu"},
}


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.from_folder(TOKENIZERS / "electra", 48)


def build(model, task_class, encoder):
    """A trained model with weights of a size that makes mistakes show."""
    numbers = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(numbers.normal(scale=0.4, size=weight.shape))
    names = ("O", "B-X", "I-X", "B-Y")[: model.num_classes]
    return TrainedModel(model, task_class(Labels(names), encoder))


def bilstm(model_class, encoder, **settings):
    return model_class(encoder.vocabulary_size, 4, **SIZES, **settings)


def transformer(model_class, family, encoder):
    config = EncoderConfig(
        vocabulary_size=encoder.vocabulary_size,
        family=family,
        hidden_dim=8,
        num_layers=2,
        num_heads=2,
        max_length=48,
    )
    return model_class(dataclasses.replace(config, **FAMILIES[family]), 4)


def features_of(trained, rows, length):
    """Padded rows of one or two texts; one is empty."""
    encoder, numbers = trained.task.encoder, np.random.default_rng(rows)
    ids = numbers.integers(0, encoder.vocabulary_size, (rows, length), np.int32)
    mask, segments = np.ones((rows, length), np.int32), np.zeros((rows, length), np.int32)
    if length > 6:
        ids[:, 0], ids[:, [3, 6]] = encoder.cls_id, encoder.sep_id
        segments[:, 4:7] = mask[:, 7:] = 0
        segments[:, 4:7] = isinstance(trained.task, PairClassification)
        mask[::2, 7:] = 1
    if rows > 3:
        mask[2] = 0
    return {"token_ids": ids, "padding_mask": mask, "segment_ids": segments}


def assert_same_logits(session, trained, shapes=((4, 11), (1, 1))):
    for rows, length in shapes:
        features = features_of(trained, rows, length)
        expected = np.asarray(trained.model(features, training=False)["logits"])
        found = session(features)["logits"]
        assert found.shape == expected.shape
        real = features["padding_mask"].astype(bool)
        real = real if expected.ndim == 3 else real.any(axis=1)
        np.testing.assert_allclose(found[real], expected[real], rtol=1e-4, atol=1e-5)


def kinds_of_models(encoder):
    """A model of each kind, by name, with its task."""
    boundaries = {"boundary_token_ids": (encoder.cls_id, encoder.sep_id)}
    kept = np.arange(0, encoder.vocabulary_size, 3)
    pruned = {"channels": 2, "kept_token_ids": kept, "unknown_token_id": 3}
    texts = functools.partial(bilstm, BiLSTMTextStudent, encoder)
    of_family = functools.partial(transformer, encoder=encoder)
    return {
        "texts max": lambda: (texts(pooling="max"), Classification),
        "texts last": lambda: (texts(pooling="last", **boundaries), Classification),
        "pruned": lambda: (BiLSTMStudent(len(kept), 4, **SIZES, **pruned), Tagging),
        "bert": lambda: (of_family(TransformerStudent, "bert"), Tagging),
        "bert texts": lambda: (of_family(TransformerTextStudent, "bert"), Classification),
        "albert": lambda: (of_family(TransformerStudent, "albert"), Tagging),
        "electra pairs": lambda: (of_family(TransformerTextStudent, "electra"), PairClassification),
    }


KINDS = ("texts max", "texts last", "pruned", "bert texts", "albert", "electra pairs")


@pytest.mark.parametrize("kind", KINDS)
def test_litert_gives_the_logits_of_every_kind_of_model(encoder, tmp_path, kind):
    model, task_class = kinds_of_models(encoder)[kind]()
    trained = build(model, task_class, encoder)
    session = open_session(export_litert(trained, tmp_path / "model"))
    assert_same_logits(session, trained, ((4, 11), (1, 7)))


@pytest.mark.parametrize("form", EXPORTERS)
@pytest.mark.parametrize("kind", ["texts max", "bert"])
def test_eight_bits_leave_texts_and_transformers_their_answers(encoder, tmp_path, form, kind):
    model, task_class = kinds_of_models(encoder)[kind]()
    trained = build(model, task_class, encoder)
    if kind == "bert":  # as small as the weights of real ones
        for weight in model.trainable_weights:
            weight.assign(0.25 * weight)
    session = open_session(EXPORTERS[form](trained, tmp_path / "model", precision="int8"))
    features = features_of(trained, 8, 11)
    expected = np.asarray(trained.model(features, training=False)["logits"])
    real = features["padding_mask"].astype(bool)
    real = real if expected.ndim == 3 else real.any(axis=1)
    apart = np.abs(session(features)["logits"] - expected)[real].mean()
    assert 0 < apart < 0.25 * np.std(expected[real], axis=0).mean()


def open_onnx(trained, tmp_path):
    onnx.save(onnx_model(trained), tmp_path / "model.onnx")
    return OnnxSession(tmp_path / "model.onnx")


@pytest.mark.parametrize("pooling", ["max", "last"])
@pytest.mark.parametrize("boundaries", [False, True])
def test_onnx_gives_the_logits_of_text_students(encoder, tmp_path, pooling, boundaries):
    ids = (encoder.cls_id, encoder.sep_id) if boundaries else ()
    for activation in ("gelu_tanh", "silu"):
        model = bilstm(
            BiLSTMTextStudent,
            encoder,
            pooling=pooling,
            activation=activation,
            boundary_token_ids=ids,
        )
        trained = build(model, Classification, encoder)
        assert_same_logits(open_onnx(trained, tmp_path), trained)


@pytest.mark.parametrize("pooling", ["max", "last"])
def test_onnx_gives_the_logits_of_siamese_students(encoder, tmp_path, pooling):
    ids = (encoder.cls_id, encoder.sep_id)
    model = bilstm(SiameseBiLSTMStudent, encoder, boundary_token_ids=ids, pooling=pooling)
    trained = build(model, PairClassification, encoder)
    assert_same_logits(open_onnx(trained, tmp_path), trained)


def test_onnx_gives_the_logits_of_taggers_with_pruned_pieces_and_two_channels(encoder, tmp_path):
    kept = np.arange(0, encoder.vocabulary_size, 3)
    model = BiLSTMStudent(
        len(kept), 4, **SIZES, channels=2, kept_token_ids=kept, unknown_token_id=3
    )
    trained = build(model, Tagging, encoder)
    assert_same_logits(open_onnx(trained, tmp_path), trained)


@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_gives_the_logits_of_transformers(encoder, tmp_path, family):
    for model_class, task_class in (
        (TransformerStudent, Tagging),
        (TransformerTextStudent, PairClassification),
    ):
        trained = build(transformer(model_class, family, encoder), task_class, encoder)
        assert_same_logits(open_onnx(trained, tmp_path), trained, shapes=[(4, 11)])


def test_onnx_holds_shared_layers_once(encoder):
    trained = build(transformer(TransformerStudent, "albert", encoder), Tagging, encoder)
    held = sum(np.prod(part.dims) for part in onnx_model(trained).graph.initializer)
    assert held < 1.02 * count_parameters(trained.model) + 100


def test_a_model_of_mixed_precision_is_exported_in_float32(encoder, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = bilstm(BiLSTMStudent, encoder)
    finally:
        keras.config.set_dtype_policy("float32")
    trained = build(model, Tagging, encoder)
    single = in_float32(trained)
    assert single.model.dtype_policy.name == "float32"
    assert_same_logits(open_session(export_onnx(trained, tmp_path / "onnx")), single)
    assert in_float32(single) is single


def test_pairs_of_a_tokenizer_without_segments_are_exported(tmp_path):
    encoder = TextEncoder.from_folder(TOKENIZERS / "roberta", 48)
    model = transformer(TransformerTextStudent, "bert", encoder)
    assert model.encoder_config.num_segments == 2
    folder = export_onnx(build(model, PairClassification, encoder), tmp_path / "pairs")
    found = list(load_predictor(folder).predict([("One text", "another")]))
    assert found[0].label in ("O", "B-X", "I-X", "B-Y")


def test_the_pieces_scheme_is_served(encoder, tmp_path):
    model = BiLSTMStudent(encoder.vocabulary_size, 3 + 4, **SIZES)
    task = Tagging(Labels(("O", "B-X", "I-X")), encoder, scheme="pieces")
    folder = export_onnx(TrainedModel(model, task), tmp_path / "pieces")
    (found,) = load_predictor(folder).predict(["Ada lives in Turin"])
    assert set(found.tags) <= {"O", "B-X", "I-X"}


@pytest.mark.parametrize("form", EXPORTERS)
@pytest.mark.parametrize("rows, length", [(0, 5), (2, 0), (0, 0)])
def test_an_empty_batch_is_answered_by_an_empty_one(exports, trained, form, rows, length):
    session = open_session(exports / form / "tagger")
    shape = (rows, length)
    found = session(dict.fromkeys(("token_ids", "padding_mask"), np.zeros(shape, np.int32)))
    assert found["logits"].shape == (*shape, trained.task.num_classes)


def test_a_bilstm_is_one_fused_node(trained):
    kinds = [node.op_type for node in onnx_model(trained).graph.node]
    assert kinds.count("LSTM") == 1
    assert not {"Loop", "Scan", "If"} & set(kinds)


@pytest.fixture(scope="module")
def transformer_tagger(encoder):
    return build(transformer(TransformerStudent, "bert", encoder), Tagging, encoder)


@pytest.fixture(scope="module")
def exports(trained, pair_classifier, transformer_tagger, tmp_path_factory):
    """Every format of a tagger, a siamese classifier and a transformer."""
    folder = tmp_path_factory.mktemp("exports")
    models = {"tagger": trained, "pairs": pair_classifier, "transformer": transformer_tagger}
    for form, export in EXPORTERS.items():
        for name, model in models.items():
            export(model, folder / form / name)
        export(trained, folder / form / "int8", precision="int8")
    export_onnx(pair_classifier, folder / "onnx" / "pairs_int8", precision="int8")
    return folder


@pytest.mark.parametrize("form", EXPORTERS)
@pytest.mark.parametrize("name", ["tagger", "transformer", "pairs"])
def test_the_lines_of_the_model_card_run_and_say_what_predict_says(exports, form, name):
    folder = exports / form / name
    card = (folder / "README.md").read_text(encoding="utf-8")
    _, prepare, call = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    known: dict = {}
    exec((prepare + call).replace("this folder", str(folder)), known)
    found = known["probabilities"] if form == "onnx" else known["found"]["probabilities"]
    (given,) = known["given"]
    (expected,) = load_predictor(folder).predict(
        [tuple(map(" ".join, given)) if name == "pairs" else " ".join(given)]
    )
    best = found[0].argmax(-1)
    if name == "pairs":
        assert expected.label == load_predictor(folder).labels[best]
        return
    first = [known["pieces"][0].word_ids.index(word) for word in range(len(given))]
    labels = (folder / "labels.tsv").read_text(encoding="utf-8").split("\n")
    assert [labels[best[place]] for place in first] == list(expected.tags)


@pytest.mark.parametrize("form", EXPORTERS)
def test_taggers_tag_text_as_in_keras(exports, trained, transformer_tagger, form):
    inputs = [*SENTENCES, *HOSTILE, ("Ada", "lives", "in", "", "Turin"), ()]
    for name, model in (("tagger", trained), ("transformer", transformer_tagger)):
        found = list(load_predictor(exports / form / name).predict(inputs))
        expected = list(keras_predictor(model).predict(inputs))
        assert [one.tags for one in found] == [one.tags for one in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


@pytest.mark.parametrize("form", EXPORTERS)
def test_pairs_are_classified_as_in_keras(exports, pair_classifier, pairs, form):
    found = list(load_predictor(exports / form / "pairs", form).predict(pairs))
    expected = list(keras_predictor(pair_classifier).predict(pairs))
    assert [one.label for one in found] == [one.label for one in expected]
    assert len({one.label for one in found}) > 1


@pytest.mark.parametrize("form", EXPORTERS)
def test_any_batch_and_length_gives_the_logits_of_keras(exports, transformer_tagger, form):
    shapes = ((1, 1), (4, 11), (3, 48))
    assert_same_logits(open_session(exports / form / "transformer"), transformer_tagger, shapes)


@pytest.mark.parametrize("form", EXPORTERS)
def test_eight_bits_are_smaller_and_nearly_the_same(exports, trained, form):
    files = [exports / form / name / FILES[form] for name in ("tagger", "int8")]
    assert files[1].stat().st_size < 0.7 * files[0].stat().st_size
    expected, found = (list(load_predictor(file.parent).predict(SENTENCES)) for file in files)
    pairs = [
        (a, b)
        for one, other in zip(expected, found, strict=True)
        for a, b in zip(one.tags, other.tags, strict=True)
    ]
    assert np.mean([a == b for a, b in pairs]) > 0.9
    assert len({a for a, _ in pairs}) > 2


def test_eight_bits_leave_pairs_their_texts(exports, pairs):
    expected, found = (
        [list(one.probabilities.values()) for one in load_predictor(folder).predict(pairs)]
        for folder in (exports / "onnx" / "pairs", exports / "onnx" / "pairs_int8")
    )
    difference = np.abs(np.subtract(expected, found)).mean()
    assert difference < 0.2 * np.std(expected, axis=0).mean()


@pytest.mark.parametrize(
    "precision, change, message",
    [
        ("float32", lambda logits: logits + 1e-2, "of the largest away"),
        ("int8", lambda logits: np.zeros_like(logits) + logits.mean(axis=(0, 1)), "take float32"),
        ("int8", lambda logits: logits * np.nan, "no numbers"),
        ("float32", lambda logits: logits + 1e-6, None),
        ("int8", lambda logits: logits + 1e-2, None),
    ],
)
def test_an_export_is_held_against_its_model(trained, tmp_path, precision, change, message):
    def session(features):
        return {"logits": change(np.asarray(trained.model(features)["logits"]))}

    if message is None:
        check_parity(session, trained, precision, tmp_path)
        return
    with pytest.raises(InputError, match=f"{tmp_path}: .*{message}"):
        check_parity(session, trained, precision, tmp_path)


@pytest.mark.parametrize("form", EXPORTERS)
def test_the_model_card_says_how_it_is_called(exports, form):
    card = (exports / form / "pairs" / "README.md").read_text(encoding="utf-8")
    assert FILES[form] in card
    assert "segment_ids" in card
    code = card.split("```python\n")[2].split("```")[0]
    compile(code, "card", "exec")


@pytest.mark.parametrize("form", EXPORTERS)
def test_what_was_exported_is_not_replaced_unasked(exports, trained, form):
    with pytest.raises(InputError, match="is there already"):
        EXPORTERS[form](trained, exports / form / "tagger")
    with pytest.raises(ValueError, match="precision"):
        EXPORTERS[form](trained, exports / form / "other", precision="int4")
    assert not (exports / form / "other").exists()


def test_a_model_that_computes_something_else_is_not_written(encoder, tmp_path, monkeypatch):
    trained = build(bilstm(BiLSTMStudent, encoder), Tagging, encoder)
    real = trained.model.call
    monkeypatch.setattr(
        type(trained.model),
        "call",
        lambda self, features, training=False: keras.tree.map_structure(
            lambda value: value + 0.01, real(features)
        ),
    )
    with pytest.raises(InputError, match="away from"):
        export_onnx(trained, tmp_path / "tagger")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", EXPORTERS)
@pytest.mark.parametrize(
    "name, content, message",
    [
        ("model", b"", "not an? .* model, a damaged one, or .* export it again"),
        ("model", b"\x08\x01\x12\x03abc", "not an? .* model, a damaged one, or .* export it again"),
        ("labels.tsv", b"O\nB-PER\n", "labels.tsv: names O, B-PER; the model's are O, "),
        ("task.json", b"{}", "task.json: missing, or not of the format"),
    ],
)
def test_a_damaged_export_is_refused(exports, tmp_path, form, name, content, message):
    folder = tmp_path / "copy"
    shutil.copytree(exports / form / "tagger", folder)
    path = folder / (FILES[form] if name == "model" else name)
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path}: is damaged: its checksum"):
        load_predictor(folder)
    (folder / "checksums.json").unlink()  # as whoever changes a file on purpose would
    with pytest.raises(InputError, match=message):
        load_predictor(folder)


def test_a_run_is_served_in_the_runtime_that_is_asked_for(exports, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(exports / "onnx" / "tagger", run / "export" / "onnx")
    shutil.copytree(exports / "litert" / "int8", run / "export" / "litert_int8")
    for runtime in ("onnx", "litert"):
        tags = next(load_predictor(run, runtime).predict([SENTENCES[0]])).tags
        assert len(tags) == len(SENTENCES[0].split())
    (run / "student").mkdir()
    (run / "student" / "config.json").touch()
    with pytest.raises(InputError, match=r"no SavedModel in it: .*scripts/export\.py"):
        load_predictor(run, "saved_model")
    with pytest.raises(InputError, match="it runs with --runtime=onnx only"):
        load_predictor(run / "export" / "onnx", "litert")


def test_an_onnx_file_of_others_is_refused(exports, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(exports / "onnx" / "tagger", folder)
    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "model.onnx")
    (folder / "checksums.json").unlink()  # as whoever changes a file on purpose would
    with pytest.raises(InputError, match="no model that xdistil exported"):
        load_predictor(folder)


@pytest.mark.parametrize("form", EXPORTERS)
def test_labels_in_another_order_are_refused(exports, tmp_path, form):
    folder = tmp_path / "copy"
    shutil.copytree(exports / form / "tagger", folder)
    lines = (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "labels.tsv").write_text("\n".join([*lines[1:], lines[0]]) + "\n", encoding="utf-8")
    (folder / "checksums.json").unlink()  # as whoever changes a file on purpose would
    with pytest.raises(InputError, match="put the file of its export back"):
        load_predictor(folder)


def test_task_and_labels_are_plain_files(exports, trained):
    for form in EXPORTERS:
        folder = exports / form / "tagger"
        settings = json.loads((folder / "task.json").read_text())
        assert settings["seq_len"] == trained.task.encoder.seq_len
        assert settings["class_names"] == list(trained.task.class_names)
        assert Labels.from_file(folder / "labels.tsv").names == trained.task.labels.names


def test_a_folder_of_an_export_is_no_model_to_train_on(exports):
    with pytest.raises(InputError, match=r"an export, which xdistil\.load_predictor opens"):
        TrainedModel.load(exports / "onnx" / "tagger")
