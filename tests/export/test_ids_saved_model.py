"""An export that takes token ids serves every tokenizer, and says what Keras says."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from classifier_fixtures import LABELS, PAIR_LABELS
from tagger_fixtures import build_trained

from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.export.ids_saved_model import export_ids
from xdistil.export.keras_runtime import keras_predictor
from xdistil.export.predictor import load_predictor
from xdistil.export.saved_model import export_saved_model
from xdistil.models import EncoderConfig, TextTeacher
from xdistil.tasks import Classification, PairClassification, TrainedModel

TOKENIZERS = Path(__file__).parents[1] / "fixtures" / "tokenizers"
TINY = {"hidden_dim": 8, "num_layers": 1, "num_heads": 2, "max_length": 64, "activation": "gelu"}
SETTINGS = {
    "roberta": {"position_offset": 2, "num_segments": 1},
    "xlm-roberta": {"position_offset": 2, "num_segments": 1},
    "albert": {"embedding_dim": 4, "shared_layers": True},
}


def text_teacher(family, task_class, names):
    """A classifier of a family with its own tokenizer and random weights."""
    encoder = TextEncoder.from_folder(TOKENIZERS / family, 48)
    config = EncoderConfig(
        vocabulary_size=encoder.vocabulary_size, family=family, **TINY, **SETTINGS[family]
    )
    config = dataclasses.replace(config, initializer_range=0.5)
    keras.utils.set_random_seed(4)
    model = TextTeacher(config, len(names))
    return TrainedModel(model, task_class(Labels(names), encoder))


def tagger(family):
    return build_trained(TextEncoder.from_folder(TOKENIZERS / family, 48))


@pytest.fixture(scope="module")
def roberta_tagger():
    return tagger("roberta")


@pytest.fixture(scope="module")
def roberta_folder(roberta_tagger, tmp_path_factory):
    return export_ids(roberta_tagger, tmp_path_factory.mktemp("ids") / "roberta")


@pytest.fixture(scope="module")
def albert_pairs():
    return text_teacher("albert", PairClassification, PAIR_LABELS)


@pytest.fixture(scope="module")
def albert_folder(albert_pairs, tmp_path_factory):
    return export_ids(albert_pairs, tmp_path_factory.mktemp("ids") / "albert")


def inputs_of(folder):
    signatures = tf.saved_model.load(str(folder)).signatures
    return {name: set(one.structured_input_signature[1]) for name, one in signatures.items()}


def assert_same_tags(folder, trained, inputs):
    found = list(load_predictor(folder).predict(inputs))
    expected = list(keras_predictor(trained).predict(inputs))
    assert [(one.words, one.tags) for one in found] == [(one.words, one.tags) for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        assert [e.text for e in one.entities] == [e.text for e in other.entities]
    assert len({tag for one in found for tag in one.tags}) >= 3


def assert_same_labels(folder, trained, inputs):
    found = list(load_predictor(folder).predict(inputs))
    expected = list(keras_predictor(trained).predict(inputs))
    assert [one.label for one in found] == [one.label for one in expected]
    assert [one.unseen_words for one in found] == [one.unseen_words for one in expected]
    probabilities = [
        [list((one.probabilities or {}).values()) for one in results]
        for results in (found, expected)
    ]
    for one, other in zip(*probabilities, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    answered = [row for row in probabilities[0] if row]
    assert np.ptp(answered, axis=0).max() > 0.05


def test_a_tagger_with_a_byte_level_tokenizer_is_served(roberta_tagger, roberta_folder, sentences):
    assert_same_tags(roberta_folder, roberta_tagger, sentences)
    assert_same_tags(roberta_folder, roberta_tagger, [one.split() for one in sentences[:14]])
    assert inputs_of(roberta_folder) == {
        "serving_default": {"token_ids", "padding_mask"},
        "labels": set(),
    }


def test_a_classifier_of_texts_is_served(sentences, tmp_path):
    trained = text_teacher("xlm-roberta", Classification, LABELS)
    folder = export_ids(trained, tmp_path / "model")
    assert_same_labels(folder, trained, sentences)


def test_pairs_are_served_with_segments_where_the_family_has_them(
    albert_pairs, albert_folder, pairs, tmp_path
):
    assert_same_labels(albert_folder, albert_pairs, pairs)
    with_segments = {"token_ids", "padding_mask", "segment_ids"}
    assert inputs_of(albert_folder)["serving_default"] == with_segments
    trained = text_teacher("roberta", PairClassification, PAIR_LABELS)
    folder = export_ids(trained, tmp_path / "model")
    assert_same_labels(folder, trained, pairs[:20])
    assert inputs_of(folder)["serving_default"] == {"token_ids", "padding_mask"}


def test_segments_are_read(albert_pairs, albert_folder):
    model = tf.saved_model.load(str(albert_folder))
    ids = tf.constant([[2, 20, 21, 3, 22, 3]])
    ones = tf.ones_like(ids)
    call = model.signatures["serving_default"]
    found = [
        call(token_ids=ids, padding_mask=ones, segment_ids=segments)["logits"].numpy()
        for segments in (0 * ones, tf.constant([[0, 0, 0, 0, 1, 1]]))
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_word_pieces_are_served_by_ids_where_that_is_asked_for(pair_classifier, pairs, tmp_path):
    folder = export_saved_model(pair_classifier, tmp_path / "model", inputs="ids")
    assert_same_labels(folder, pair_classifier, pairs[:40])
    assert "segment_ids" in inputs_of(folder)["serving_default"]


def test_a_tokenizer_that_fits_no_graph_is_exported_by_ids_with_a_warning(
    roberta_tagger, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("xdistil"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="xdistil"):
        folder = export_saved_model(roberta_tagger, tmp_path / "model")
    (record,) = caplog.records
    assert "model is BPE" in record.message and "takes token ids" in record.message
    assert "\n" not in record.message
    assert "token_ids" in inputs_of(folder)["serving_default"]


def test_text_is_refused_for_such_a_tokenizer_and_what_to_do_told(roberta_tagger, tmp_path):
    with pytest.raises(InputError, match=r'model is BPE.*inputs="ids"') as refusal:
        export_saved_model(roberta_tagger, tmp_path / "model", inputs="text")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "model").exists()
    with pytest.raises(ValueError, match="`inputs` must be one of"):
        export_saved_model(roberta_tagger, tmp_path / "model", inputs="words")


def test_the_graph_needs_tensorflow_alone(roberta_folder):
    graph = (roberta_folder / "saved_model.pb").read_bytes()
    assert b"PartitionedCall" in graph
    assert not any(op in graph for op in (b"Wordpiece", b"Sentencepiece", b"NormalizeUTF8"))


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_batches_of_any_size_are_answered(roberta_folder, rows, length):
    model = tf.saved_model.load(str(roberta_folder))
    shape = (rows, length)
    ids = tf.ones(shape, tf.int32)
    found = model.signatures["serving_default"](token_ids=ids, padding_mask=ids)
    assert found["logits"].shape == found["probabilities"].shape == (*shape, 7)
    np.testing.assert_allclose(tf.reduce_sum(found["probabilities"], -1), np.ones(shape), 1e-5)
    labels = [name.decode() for name in model.signatures["labels"]()["labels"].numpy()]
    assert labels == [*load_predictor(roberta_folder).labels]


def test_padding_of_the_client_changes_nothing(roberta_folder):
    model = tf.saved_model.load(str(roberta_folder))
    call = model.signatures["serving_default"]
    short = call(token_ids=[[0, 7, 9, 2]], padding_mask=[[1, 1, 1, 1]])["logits"]
    long = call(token_ids=[[0, 7, 9, 2, 1, 5]], padding_mask=[[1, 1, 1, 1, 0, 0]])["logits"]
    np.testing.assert_allclose(short, long[:, :4], atol=1e-5)


@pytest.mark.parametrize("folder", ["roberta_folder", "albert_folder"])
def test_the_example_of_the_card_runs(request, folder, capsys):
    path = request.getfixturevalue(folder)
    card = (path / "README.md").read_text("utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace("this folder", str(path))
    exec(compile(code, "README.md", "exec"), {})
    assert "Result(" in capsys.readouterr().out
    assert "takes token ids" in card and "tensorflow-text" not in card
    assert ("segment_ids" in card) == (folder == "albert_folder")


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("task.json", None, "task.json: missing"),
        ("task.json", {"format": "other"}, "task.json: missing, or not of the format"),
        ("task.json", {"name": "parsing"}, "its task is 'parsing'"),
        ("task.json", {"seq_len": "long"}, "its seq_len 'long'"),
        ("labels.tsv", "O\nB-PER\n", "labels.tsv: names O, B-PER; the model's are"),
        ("tokenizer.json", None, "no tokenizer"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(roberta_folder, tmp_path, file, change, reason):
    shutil.copytree(roberta_folder, tmp_path / "copy")
    path = tmp_path / "copy" / file
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=rf"{file}: is (damaged|missing)"):
        load_predictor(tmp_path / "copy")
    (tmp_path / "copy" / "checksums.json").unlink()  # as whoever changes a file on purpose would
    with pytest.raises(InputError, match=reason) as refusal:
        load_predictor(tmp_path / "copy")
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_there_is_kept_unless_told(roberta_tagger, roberta_folder):
    before = (roberta_folder / "saved_model.pb").read_bytes()
    with pytest.raises(InputError, match="there already"):
        export_ids(roberta_tagger, roberta_folder)
    assert (roberta_folder / "saved_model.pb").read_bytes() == before
