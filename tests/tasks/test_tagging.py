"""Tagging: labels on first pieces, tags on words, scores that no padding changes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from tagger_fixtures import SENTENCES, encoders, make_trained, trained

import xdistil
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.models.inference import BatchedInference
from xdistil.tasks import Tagging, TrainedModel

__all__ = ["encoders", "make_trained", "trained"]


def tagged(words, tags, language="en"):
    return TaggedSentence(tuple(words.split()), tuple(tags.split()), language)


@pytest.fixture
def task(trained):
    return trained.task


def test_a_word_carries_its_label_on_its_first_piece_alone(task):
    sentence = tagged("Lovelaceberg Londonwrote", "B-PER O")
    (example,) = task.encode([sentence])
    labeled = np.flatnonzero(example.labels >= 0)
    assert labeled.tolist() == example.word_positions.tolist()
    assert [task.labels[i] for i in example.labels[labeled]] == ["B-PER", "O"]
    assert len(example.token_ids) > 4, "the words should have several pieces"


def test_the_pieces_scheme_labels_every_position(task):
    pieces = Tagging(task.labels, task.encoder, scheme="pieces")
    (example,) = pieces.encode([tagged("Lovelaceberg Londonwrote", "B-PER O")])
    names = [pieces.class_names[i] for i in example.labels]
    assert names[0] == "[CLS]" and names[-1] == "[SEP]"
    assert names[1] == "B-PER" and names.count("X") == len(names) - 4
    assert pieces.num_classes == len(task.labels) + 4


def test_words_that_were_truncated_or_have_no_piece_are_tagged_O(task):
    words = ["Ada"] * task.encoder.seq_len + ["\u200b", "London"]
    (example,) = task.encode([TaggedSentence(tuple(words))])
    inside = np.full(len(example.token_ids), task.labels.index("B-LOC"))
    tags = task.decode(example, inside)
    assert len(tags) == len(words)
    seen = example.word_positions >= 0
    assert set(np.array(tags)[seen]) == {"B-LOC"} and set(np.array(tags)[~seen]) == {"O"}


def test_buckets_and_batch_sizes_change_neither_logits_nor_scores(trained):
    texts = [TaggedSentence(tuple(s.split()), None, "xx") for s in SENTENCES] * 3
    examples = list(trained.task.encode(texts))
    longest = max(len(example.token_ids) for example in examples)
    one_by_one = [
        BatchedInference(trained.model, [len(example.token_ids)]).run([example])[0]["logits"]
        for example in examples[: len(SENTENCES)]
    ]
    gold = [
        TaggedSentence(text.words, ("O",) * (len(text.words) - 1) + ("B-LOC",), "xx")
        for text in texts
    ]
    scores = []
    for lengths, tokens, jit in (
        ([longest], 4096, False),
        ([8, 16, longest + 30], 60, False),
        ([16, longest], 128, True),
    ):
        run = BatchedInference(trained.model, lengths, tokens_per_batch=tokens, jit_compile=jit)
        for alone, batched in zip(one_by_one, run(examples), strict=False):
            # These random weights give logits of about 20; float32 holds 7 digits of them.
            scale = np.abs(alone).max()
            np.testing.assert_allclose(alone / scale, batched["logits"] / scale, atol=1e-6)
        scores.append(trained.task.evaluate(run, examples, gold))
    assert scores[0] == scores[1] == scores[2]


def test_tags_and_words_that_differ_in_number_are_refused(task):
    with pytest.raises(InputError, match="2 words and 1 tags"):
        list(task.encode([tagged("Ada left", "O")]))


def test_labels_without_an_O_are_refused(task):
    with pytest.raises(InputError, match="no O"):
        Tagging(Labels(["B-PER", "I-PER"]), task.encoder)


def test_a_saved_model_folder_gives_the_same_tags(trained, tmp_path):
    trained.save(tmp_path / "model", facts={"Teacher": "none"})
    again = xdistil.load(tmp_path / "model")
    words = [sentence.split() for sentence in SENTENCES]
    assert again.predict(words) == trained.predict(words)
    assert again.task.labels == trained.task.labels
    assert "| Teacher | none |" in (tmp_path / "model" / "README.md").read_text("utf-8")


def test_a_run_directory_stands_for_its_student(trained, tmp_path):
    trained.save(tmp_path / "student")
    assert xdistil.load(tmp_path).predict([["Ada"]]) == trained.predict([["Ada"]])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "cannot be read as JSON"),
        ("config.json", "{}", "not the configuration of an xdistil model"),
        ("model.safetensors", "", "cannot be read"),
        ("labels.tsv", "O\nB-X\n", "shape"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(trained, tmp_path, file, content, message):
    trained.save(tmp_path / "model")
    (tmp_path / "model" / file).write_text(content, "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        TrainedModel.load(tmp_path / "model")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_no_class_outside_the_known_models_is_ever_built(trained, tmp_path):
    trained.save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["model"]["class_name"] = "os.system"
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(InputError, match="unknown model class"):
        TrainedModel.load(tmp_path / "model")


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(InputError, match="no finished model"):
        xdistil.load(tmp_path)
