"""Entities are read from tags by seqeval's rules, in Python and in the graph alike."""

import random

import pytest
import tensorflow as tf
from seqeval.metrics.sequence_labeling import get_entities

from xdistil.export.entities import decode_entities, decode_spans, split_tag
from xdistil.export.graph_entities import GraphEntities

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-PER", "S-LOC", "I-A-B", "B-A-B"]


def random_sentences(count: int) -> list[list[str]]:
    numbers = random.Random(3)
    return [numbers.choices(TAGS, k=numbers.randrange(9)) for _ in range(count)]


def test_spans_are_those_of_seqeval():
    for tags in random_sentences(2000):
        spans = [(span.label, span.first, span.last) for span in decode_spans(tags)]
        assert spans == get_entities(tags), tags


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["I-PER", "I-PER"], [("PER", 0, 1)]),
        (["B-PER", "B-PER"], [("PER", 0, 0), ("PER", 1, 1)]),
        (["B-PER", "I-LOC"], [("PER", 0, 0), ("LOC", 1, 1)]),
        (["B-PER", "O", "I-PER"], [("PER", 0, 0), ("PER", 2, 2)]),
        ([], []),
    ],
)
def test_spans_of_broken_sequences(tags, spans):
    assert [(span.label, span.first, span.last) for span in decode_spans(tags)] == spans


def test_a_tag_without_a_mark_is_inside_its_type():
    assert split_tag("Brand") == ("I", "Brand")
    assert [span.label for span in decode_spans(["Brand", "Brand", "O", "B"])] == ["Brand", "_"]


def test_an_entity_has_the_text_between_its_words_and_their_mean_score():
    text = "so Ada  Byron !"
    offsets = [(0, 2), (3, 6), (8, 13), (14, 15)]
    found = decode_entities(["O", "B-PER", "I-PER", "O"], [0.9, 0.5, 0.7, 0.9], offsets, text)
    assert [(entity.text, entity.start, entity.end) for entity in found] == [("Ada  Byron", 3, 13)]
    assert found[0].score == pytest.approx(0.6)


@pytest.mark.parametrize("tags", [TAGS, [*TAGS, "Brand", "B", "I", "B-"]], ids=["marked", "odd"])
def test_the_graph_finds_the_same_entities(tags):
    numbers = random.Random(5)
    sentences = [numbers.choices(tags, k=numbers.randrange(9)) for _ in range(1500)]
    scores = [[numbers.random() for _ in sentence] for sentence in sentences]
    classes = [[tags.index(tag) for tag in sentence] for sentence in sentences]
    found = GraphEntities(tags)(
        tf.ragged.constant(classes, tf.int32), tf.ragged.constant(scores, tf.float32)
    )
    columns = zip(*(column.to_list() for column in found), strict=True)
    for row, (firsts, lasts, labels, means) in enumerate(columns):
        offsets = [(index, index) for index in range(len(sentences[row]))]
        expected = decode_entities(sentences[row], scores[row], offsets, "")
        assert [(e.label, e.first_word, e.last_word) for e in expected] == [
            (label.decode(), first, last)
            for label, first, last in zip(labels, firsts, lasts, strict=True)
        ]
        assert means == pytest.approx([entity.score for entity in expected], abs=1e-6)


@pytest.mark.parametrize("rows", [0, 3])
def test_the_graph_finds_nothing_in_no_words(rows):
    empty = tf.RaggedTensor.from_row_lengths(tf.constant([], tf.int32), [0] * rows)
    found = GraphEntities(TAGS)(empty, empty.with_flat_values(tf.constant([], tf.float32)))
    assert [column.to_list() for column in found] == [[[]] * rows] * 4
