"""A small masked language model, its teacher, and steps of masked micro-batches for tests."""

import keras
import numpy as np
import tensorflow as tf

from xdistil.models.encoder import EncoderConfig
from xdistil.models.masked_lm import MaskedLM

VOCABULARY = 40


def tiny_masked_lm(seed: int = 1, layers: int = 2) -> MaskedLM:
    keras.utils.set_random_seed(seed)
    config = EncoderConfig(
        vocabulary_size=VOCABULARY,
        hidden_dim=16,
        num_layers=layers,
        num_heads=2,
        max_length=32,
        initializer_range=0.3,
        dropout=0.0,
        attention_dropout=0.0,
        family="distilbert",
        num_segments=0,
    )
    return MaskedLM(config)


def masked_rows(count: int, longest: int = 12, seed: int = 3) -> list[np.ndarray]:
    """Rows `(2, length)` of pieces and labels, every third piece to be predicted."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = random.integers(5, VOCABULARY, random.integers(4, longest + 1)).astype(np.int32)
        rows.append(np.stack([ids, np.where(random.random(len(ids)) < 0.35, ids, -1)]))
    return rows


def step_of(parts: list[list[np.ndarray]], lengths: list[int], rows: int, masked_only=False):
    """One step of micro-batches of `rows` rows, each padded to its own length."""
    shape = (len(parts), rows, max(lengths))
    ids, mask = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    labels = np.full(shape, -1, np.int32)
    for part, members in enumerate(parts):
        for row, (pieces, gold) in enumerate(members):
            ids[part, row, : len(pieces)] = pieces
            mask[part, row, : len(pieces)] = 1
            labels[part, row, : len(gold)] = gold
    features = {"token_ids": ids, "padding_mask": mask}
    widths = list(lengths)
    if masked_only:
        widths = [max(1, int((labels[part] >= 0).sum(-1).max())) for part in range(len(parts))]
        order = np.argsort(labels < 0, axis=-1, kind="stable")[..., : max(widths)]
        features["masked_positions"] = order.astype(np.int32)
        labels = np.take_along_axis(labels, order, axis=-1)
    features["widths"] = np.stack([lengths, widths], axis=1).astype(np.int32)
    return features, {"labels": labels}


def steps_dataset(steps) -> tf.data.Dataset:
    features, _ = steps[0]
    parts, rows = features["token_ids"].shape[:2]
    wide = tf.TensorSpec((parts, rows, None), tf.int32)
    signature = (dict.fromkeys(features, wide), {"labels": wide})
    signature[0]["widths"] = tf.TensorSpec((parts, 2), tf.int32)
    return tf.data.Dataset.from_generator(lambda: iter(steps), output_signature=signature)
