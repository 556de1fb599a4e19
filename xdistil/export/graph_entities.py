"""`decode_entities` as TensorFlow ops, for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from xdistil.export.entities import split_tag


class EntitySpans(NamedTuple):
    """The entities of a batch of sentences, in order.

    Args:
        first_words: ragged int32 `(batch, entities)`, the index of each entity's first word.
        last_words: ragged int32, the index of its last word (included).
        labels: ragged string, its type.
        scores: ragged float32, the mean of its words' scores.
    """

    first_words: tf.RaggedTensor
    last_words: tf.RaggedTensor
    labels: tf.RaggedTensor
    scores: tf.RaggedTensor


class GraphEntities(tf.Module):
    """Finds entities in classes of words, by the rules of `decode_spans`.

    Args:
        tags: the tags in the order of their classes.
    """

    def __init__(self, tags: Sequence[str]):
        super().__init__(name="graph_entities")
        parts = [split_tag(tag) for tag in tags]
        names = sorted({name for _, name in parts})
        self._inside = tf.constant([mark != "O" for mark, _ in parts])
        self._begins = tf.constant([mark in "BS" for mark, _ in parts])
        self._ends = tf.constant([mark in "OES" for mark, _ in parts])
        self._types = tf.constant([names.index(name) for _, name in parts], tf.int32)
        self._names = tf.constant(names)

    def __call__(self, classes: tf.RaggedTensor, scores: tf.RaggedTensor) -> EntitySpans:
        """Finds the entities.

        Args:
            classes: ragged int32 `(batch, words)`, the class of each word's tag.
            scores: ragged float32 `(batch, words)`, its probability.
        """
        flat = classes.flat_values
        rows = classes.value_rowids()
        inside = tf.gather(self._inside, flat)
        types = tf.gather(self._types, flat)
        continues = (rows[1:] == rows[:-1]) & (types[1:] == types[:-1])
        continues &= ~tf.gather(self._ends, flat[:-1]) & ~tf.gather(self._begins, flat[1:])
        # The first word of the batch continues nothing; an empty batch has no first word.
        starts = inside & ~tf.concat([tf.zeros_like(inside[:1]), continues], 0)
        lasts = inside & ~tf.concat([continues & inside[1:], tf.zeros_like(inside[:1])], 0)
        entity = tf.boolean_mask(tf.cumsum(tf.cast(starts, tf.int32)) - 1, inside)
        mean = tf.math.segment_mean(tf.boolean_mask(scores.flat_values, inside), entity)

        column = tf.ragged.range(tf.cast(classes.row_lengths(), tf.int32))
        first = tf.ragged.boolean_mask(column, classes.with_flat_values(starts))
        last = tf.ragged.boolean_mask(column, classes.with_flat_values(lasts))
        labels = tf.gather(self._names, tf.boolean_mask(types, starts))
        return EntitySpans(
            first, last, first.with_flat_values(labels), first.with_flat_values(mean)
        )
