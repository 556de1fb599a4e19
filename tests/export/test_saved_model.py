"""The exported SavedModel stands alone and says what the Keras runtime says."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from xdistil.data.encoding import TextEncoder
from xdistil.errors import InputError, StorageError
from xdistil.export.classifier_saved_model import export_classifier
from xdistil.export.keras_tagger import KerasTagger
from xdistil.export.predictor import load_predictor
from xdistil.export.tagger_saved_model import TaggerModule, export_tagger

KEYS = {
    "n_words": tf.int32,
    "words": tf.string,
    "tags": tf.string,
    "tag_scores": tf.float32,
    "n_entities": tf.int32,
    "entity_start": tf.int32,
    "entity_end": tf.int32,
    "entity_first_word": tf.int32,
    "entity_last_word": tf.int32,
    "entity_label": tf.string,
    "entity_text": tf.string,
    "entity_score": tf.float32,
}

FRESH_PROCESS = """
import json, sys
import tensorflow as tf
import tensorflow_text

lines = json.loads(sys.stdin.read())
tag = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
found = {name: values.numpy().tolist() for name, values in tag(text=tf.constant(lines)).items()}
for package in ("xdistil", "transformers", "tokenizers", "keras_hub"):
    assert package not in sys.modules, package
rows = []
for row in range(len(lines)):
    words, entities = found["n_words"][row], found["n_entities"][row]
    rows.append({
        "tags": [tag.decode() for tag in found["tags"][row][:words]],
        "offsets": [found["entity_start"][row][:entities], found["entity_end"][row][:entities]],
    })
print(json.dumps(rows))
"""


def assert_same(results, expected):
    for one, other in zip(results, expected, strict=True):
        assert (one.text, one.words, one.tags) == (other.text, other.words, other.tags)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        for a, b in zip(one.entities, other.entities, strict=True):
            assert (a.label, a.start, a.end, a.text) == (b.label, b.start, b.end, b.text)
            assert (a.first_word, a.last_word) == (b.first_word, b.last_word)
            assert a.score == pytest.approx(b.score, abs=1e-5)


@pytest.fixture(scope="module")
def signatures(saved_model):
    model = tf.saved_model.load(str(saved_model))
    # The functions live as long as the model does.
    yield model.signatures


def test_it_says_what_keras_says_of_text_and_of_words(trained, saved_model, sentences):
    in_graph, in_keras = load_predictor(saved_model, batch_size=16), KerasTagger(trained, 16)
    expected = list(in_keras.predict(sentences))
    assert len({tag for result in expected for tag in result.tags}) >= 5
    assert_same(list(in_graph.predict(sentences)), expected)
    words = [sentence.split() for sentence in sentences]
    assert_same(list(in_graph.predict(words)), list(in_keras.predict(words)))


def test_words_that_hold_spaces_or_are_empty_stay_words(trained, saved_model):
    words = [["New York", "a\u00a0b", "", "x"], ["", "", "y", ""]]
    found = list(load_predictor(saved_model).predict(words))
    assert [len(result.tags) for result in found] == [4, 4]
    assert_same(found, list(KerasTagger(trained).predict(words)))


def test_a_fresh_process_needs_tensorflow_alone(trained, saved_model, sentences, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(saved_model)],
        input=json.dumps(sentences),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for row, expected in zip(
        json.loads(done.stdout), KerasTagger(trained).predict(sentences), strict=True
    ):
        assert row["tags"] == list(expected.tags)
        offsets = [[e.start for e in expected.entities], [e.end for e in expected.entities]]
        assert row["offsets"] == offsets


def test_outputs_have_the_documented_names_types_and_padding(signatures):
    found = signatures["serving_default"](text=tf.constant(["Ada wrote to London .", "", " \t "]))
    assert {name: tensor.dtype for name, tensor in found.items()} == KEYS
    assert found["n_words"].numpy().tolist() == [5, 0, 0]
    assert found["words"].numpy()[1].tolist() == [b""] * 5
    assert found["tags"].numpy()[2].tolist() == [b""] * 5
    assert set(found["tag_scores"].numpy()[1]) == {0.0}
    assert set(found["entity_start"].numpy()[1].tolist()) <= {-1}
    assert found["n_entities"].numpy()[1:].tolist() == [0, 0]


@pytest.mark.parametrize("rows", [0, 3])
def test_no_strings_and_no_words_give_empty_outputs(signatures, rows):
    found = signatures["words"](words=tf.zeros([rows, 0], tf.string))
    assert {name: tensor.shape.as_list() for name, tensor in found.items()} == {
        name: [rows] if name.startswith("n_") else [rows, 0] for name in KEYS
    }
    if rows == 0:
        found = signatures["serving_default"](text=tf.constant([], tf.string))
        assert found["tags"].shape.as_list() == [0, 0]


def test_words_beyond_seq_len_are_outside_with_score_0(trained, saved_model):
    text = " ".join(["London"] * 200)
    (found,) = load_predictor(saved_model).predict([text])
    assert len(found.tags) == 200
    assert found.scores[0] > 0
    assert set(found.tags[64:]) == {"O"}
    assert set(found.scores[64:]) == {0.0}


def test_classes_that_are_no_tags_are_outside(make_trained, encoders, sentences):
    trained = make_trained(encoders["cased"], "pieces")
    text = tf.constant(sentences)
    found = tf.function(TaggerModule(trained).tag_text, autograph=False)(text)
    for row, expected in enumerate(KerasTagger(trained).predict(sentences)):
        tags = found["tags"][row, : found["n_words"][row]].numpy().tolist()
        assert tuple(tag.decode() for tag in tags) == expected.tags
        assert set(expected.tags) <= set(trained.task.labels)
        assert found["n_entities"][row] == len(expected.entities)


def test_the_folder_holds_labels_tokenizer_and_card(trained, saved_model):
    assert (saved_model / "labels.tsv").read_text().split() == list(trained.task.labels)
    seq_len = trained.task.encoder.seq_len
    assert (
        TextEncoder.from_folder(saved_model, seq_len).vocabulary == trained.task.encoder.vocabulary
    )
    card = (saved_model / "README.md").read_text()
    assert "B-PER" in card and "tf.saved_model.load" in card


def test_the_example_of_the_card_runs(saved_model, tmp_path):
    card = (saved_model / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace("this folder", str(saved_model))
    exec(compile(code, "README.md", "exec"), {})


def test_a_folder_that_is_there_is_kept_unless_told(trained, saved_model):
    before = (saved_model / "saved_model.pb").read_bytes()
    with pytest.raises(InputError, match="there already"):
        export_tagger(trained, saved_model)
    assert (saved_model / "saved_model.pb").read_bytes() == before


@pytest.mark.parametrize(
    ("model", "export"), [("trained", export_tagger), ("classifier", export_classifier)]
)
def test_a_full_disk_leaves_what_was_there_and_nothing_half_written(
    model, export, request, tmp_path, monkeypatch
):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("old")

    def fail(module, path, signatures):
        os.makedirs(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(StorageError, match="No space left"):
        export(request.getfixturevalue(model), folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (folder / "old").read_text() == "old"
