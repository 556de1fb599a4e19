"""An exported classifier stands alone and says what the Keras runtime says."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from classifier_fixtures import LABELS, PAIR_LABELS

from xdistil.data.encoding import TextEncoder
from xdistil.errors import InputError
from xdistil.export.classifier_saved_model import ClassifierModule, export_classifier

KEYS = {
    "label": tf.string,
    "score": tf.float32,
    "probabilities": tf.float32,
    "unseen_words": tf.int32,
}

FRESH_PROCESS = """
import json, sys
import tensorflow as tf
import tensorflow_text

for folder, columns in json.loads(sys.stdin.read()):
    signatures = tf.saved_model.load(folder).signatures
    found = signatures["serving_default"](**{k: tf.constant(v) for k, v in columns.items()})
    names = signatures["labels"]()["labels"].numpy().tolist()
    print(json.dumps({
        "labels": [name.decode() for name in names],
        "label": [name.decode() for name in found["label"].numpy().tolist()],
        "probabilities": found["probabilities"].numpy().tolist(),
    }))
for package in ("xdistil", "transformers", "tokenizers", "keras_hub"):
    assert package not in sys.modules, package
"""


@pytest.fixture(scope="module")
def classify(classifier_folder):
    model = tf.saved_model.load(str(classifier_folder))
    # The functions live as long as the model does.
    yield model.signatures["serving_default"]


@pytest.fixture(scope="module")
def classify_pairs(pair_classifier_folder):
    model = tf.saved_model.load(str(pair_classifier_folder))
    yield model.signatures["serving_default"]


def expected_of(trained, inputs):
    task = trained.task
    examples = list(task.encode(task.unlabeled(inputs)))
    unseen = [int((example.word_positions < 0).sum()) for example in examples]
    return task.probabilities(trained.inference, examples), unseen


def assert_says(found, trained, inputs):
    probabilities, unseen = expected_of(trained, inputs)
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(found["score"], probabilities.max(-1), atol=1e-5)
    labels = [label.decode() for label in found["label"].numpy()]
    assert labels == trained.predict(inputs)
    assert found["unseen_words"].numpy().tolist() == unseen
    assert len(set(labels)) >= 3


def test_texts_get_the_labels_that_keras_gives_blank_ones_too(classifier, classify, sentences):
    assert_says(classify(text=tf.constant(sentences)), classifier, sentences)


def test_pairs_get_the_labels_that_keras_gives(pair_classifier, classify_pairs, pairs):
    first, second = zip(*pairs, strict=True)
    found = classify_pairs(text=tf.constant(first), text_pair=tf.constant(second))
    assert_says(found, pair_classifier, pairs)


def test_which_text_comes_first_is_seen(classify_pairs):
    def probabilities(first, second):
        texts = {"text": tf.constant([first]), "text_pair": tf.constant([second])}
        return classify_pairs(**texts)["probabilities"].numpy()

    one, other = "Ada wrote to London", "Анна живёт в Киеве"
    assert np.abs(probabilities(one, other) - probabilities(other, one)).max() > 1e-3


def test_a_fresh_process_needs_tensorflow_alone(request, sentences, pairs, tmp_path):
    first, second = zip(*pairs, strict=True)
    cases = {
        "classifier": ({"text": sentences}, sentences, LABELS),
        "pair_classifier": ({"text": first, "text_pair": second}, pairs, PAIR_LABELS),
    }
    folders = {name: str(request.getfixturevalue(f"{name}_folder")) for name in cases}
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS],
        input=json.dumps([(folders[name], case[0]) for name, case in cases.items()]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line, (name, (_, inputs, labels)) in zip(
        done.stdout.splitlines(), cases.items(), strict=True
    ):
        found, trained = json.loads(line), request.getfixturevalue(name)
        assert found["labels"] == list(labels)
        assert found["label"] == trained.predict(inputs)
        expected, _ = expected_of(trained, inputs)
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_outputs_have_a_row_for_each_text_also_for_none(classify, classify_pairs, rows):
    texts = tf.constant(["Ada wrote"] * rows, tf.string)
    for found, classes in (
        (classify(text=texts), len(LABELS)),
        (classify_pairs(text=texts, text_pair=texts), len(PAIR_LABELS)),
    ):
        assert {name: tensor.dtype for name, tensor in found.items()} == KEYS
        shapes = {name: tensor.shape.as_list() for name, tensor in found.items()}
        assert shapes == {
            name: [rows, classes] if name == "probabilities" else [rows] for name in KEYS
        }


@pytest.mark.parametrize("counts", [(3, 1), (1, 3), (2, 3), (0, 1)])
def test_texts_without_a_second_text_are_refused(classify_pairs, counts):
    first, second = (tf.constant(["Ada wrote"] * count, tf.string) for count in counts)
    with pytest.raises(tf.errors.InvalidArgumentError, match="each text needs a second one"):
        classify_pairs(text=first, text_pair=second)


def test_a_text_is_the_same_alone_and_among_others(classify, sentences):
    together = classify(text=tf.constant(sentences))["probabilities"].numpy()
    for row in range(0, len(sentences), 5):
        alone = classify(text=tf.constant([sentences[row]]))["probabilities"].numpy()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_invalid_bytes_are_read_as_python_replaces_them(classify):
    raw = [b"Ada \xff wrote", b"\xc3 \xe2\x82 London", b"\xf0\x9f\x98"]
    replaced = [text.decode("utf-8", errors="replace") for text in raw]
    found, expected = classify(text=tf.constant(raw)), classify(text=tf.constant(replaced))
    np.testing.assert_array_equal(found["probabilities"], expected["probabilities"])


def test_words_beyond_the_longest_input_are_counted(classify):
    found = classify(text=tf.constant(["a " * 62, "a " * 63, "a " * 200, "\u200b a", ""]))
    assert found["unseen_words"].numpy().tolist() == [0, 1, 138, 1, 0]


def test_xla_says_the_same(classifier, sentences):
    some = sentences[:6]
    compiled = tf.function(ClassifierModule(classifier, jit_compile=True).classify, autograph=False)
    found = compiled(tf.constant(some))
    np.testing.assert_allclose(found["probabilities"], expected_of(classifier, some)[0], atol=1e-5)


def test_the_folder_holds_labels_tokenizer_and_card(classifier, classifier_folder):
    assert (classifier_folder / "labels.tsv").read_text("utf-8").split() == list(LABELS)
    encoder = classifier.task.encoder
    kept = TextEncoder.from_folder(classifier_folder, encoder.seq_len)
    assert kept.vocabulary == encoder.vocabulary
    card = (classifier_folder / "README.md").read_text("utf-8")
    assert "größe" in card and "tf.saved_model.load" in card


@pytest.mark.parametrize("folder", ["classifier_folder", "pair_classifier_folder"])
def test_the_example_of_the_card_runs(request, folder):
    path = request.getfixturevalue(folder)
    card = (path / "README.md").read_text("utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace("this folder", str(path))
    exec(compile(code, "README.md", "exec"), {})


def test_a_folder_that_is_there_is_kept_unless_told(classifier, classifier_folder):
    before = (classifier_folder / "saved_model.pb").read_bytes()
    with pytest.raises(InputError, match="there already"):
        export_classifier(classifier, classifier_folder)
    assert (classifier_folder / "saved_model.pb").read_bytes() == before


@pytest.mark.parametrize(
    ("folder", "inputs"),
    [
        ("saved_model", {"serving_default": {"text"}, "words": {"words"}}),
        ("classifier_folder", {"serving_default": {"text"}, "labels": set()}),
        ("pair_classifier_folder", {"serving_default": {"text", "text_pair"}, "labels": set()}),
    ],
)
def test_one_function_exports_every_task(request, folder, inputs):
    signatures = tf.saved_model.load(str(request.getfixturevalue(folder))).signatures
    found = {name: set(one.structured_input_signature[1]) for name, one in signatures.items()}
    assert found == inputs
