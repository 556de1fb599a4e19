"""Tagging: labels on first pieces, tags on words, scores that no padding changes."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from tagger_fixtures import SENTENCES, encoders, make_trained, trained

from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.models.inference import BatchedInference
from xdistil.tasks import Tagging

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
