"""A small teacher, a small student and batches for tests."""

import keras
import numpy as np

from xdistil.data.examples import EncodedExample
from xdistil.distillation.stage_data import StageData
from xdistil.distillation.targets import compute_targets
from xdistil.models import BiLSTMStudent, EncoderConfig, Teacher

VOCABULARY, CLASSES, LAYER = 40, 5, 2
#: Of the buckets of `tagged_data`.
LENGTHS = (6, 10)


def tiny_teacher(seed: int = 1) -> Teacher:
    keras.utils.set_random_seed(seed)
    config = EncoderConfig(
        vocabulary_size=VOCABULARY,
        hidden_dim=16,
        num_layers=2,
        num_heads=2,
        max_length=32,
        initializer_range=0.3,
    )
    return Teacher(config, num_classes=CLASSES)


def tiny_student(seed: int = 2, dropout: float = 0.0, **kwargs) -> BiLSTMStudent:
    keras.utils.set_random_seed(seed)
    return BiLSTMStudent(
        vocabulary_size=VOCABULARY,
        num_classes=CLASSES,
        embedding_dim=6,
        hidden_dim=8,
        representation_dim=16,
        dropout=dropout,
        **kwargs,
    )


class PointwiseStudent(keras.Model):
    """Reads each piece by itself: what a stage does around a student, without a recurrence whose
    compilation takes most of a test's time."""

    def __init__(self, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.dropout = dropout
        self.embedding = keras.layers.Embedding(VOCABULARY, 8, name="embedding")
        self.dropped = keras.layers.Dropout(dropout)
        self.dense = keras.layers.Dense(16, activation="gelu", name="dense")
        self.head = keras.layers.Dense(CLASSES, name="head")
        self.layer_groups = {
            name: (getattr(self, name),) for name in ("embedding", "dense", "head")
        }
        self.build()

    def build(self, input_shape=None):
        self.embedding.build((None, None))
        self.dense.build((None, None, 8))
        self.head.build((None, None, 16))
        self.built = True

    def call(self, features, training=False):
        dense = self.dense(self.dropped(self.embedding(features["token_ids"]), training=training))
        return {"logits": self.head(dense), "representation": dense}

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}


def pointwise_student(seed: int = 2, dropout: float = 0.0) -> PointwiseStudent:
    keras.utils.set_random_seed(seed)
    return PointwiseStudent(dropout)


def sentences(count: int, seed: int = 3, longest: int = 9) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [
        random.integers(5, VOCABULARY, size=random.integers(3, longest + 1)).astype(np.int32)
        for _ in range(count)
    ]


def tagged_example(ids: np.ndarray) -> EncodedExample:
    """A sentence of words of one piece, each with a label that its piece decides."""
    starts = np.zeros(len(ids), np.uint8)
    starts[1:-1] = 1
    labels = np.full(len(ids), -1, np.int32)
    labels[1:-1] = ids[1:-1] % CLASSES
    return EncodedExample(ids, starts, np.arange(1, len(ids) - 1, dtype=np.int32), labels)


def tagged_data(folder) -> StageData:
    """Train and dev with a teacher's logits and hidden states, as stages read them."""
    teacher = tiny_teacher()
    train, dev = (
        compute_targets(
            folder / name,
            [tagged_example(ids) for ids in sentences(count, seed=seed)],
            teacher=teacher,
            text=name,
            outputs=("logits", f"hidden_states_{LAYER}"),
            lengths=LENGTHS,
            shard_size=16,
        )
        for name, seed, count in (("train", 1, 40), ("dev", 2, 12))
    )
    return StageData([train], [dev], LENGTHS)


def padded_batch(rows: list[np.ndarray], length: int, empty_rows: int = 0):
    """Features and targets of sentences; labels are a function of the pieces."""
    shape = (len(rows) + empty_rows, length)
    features = {
        name: np.zeros(shape, np.int32)
        for name in ("token_ids", "segment_ids", "padding_mask", "word_starts")
    }
    labels = np.full(shape, -1, np.int32)
    for row, ids in enumerate(rows):
        features["token_ids"][row, : len(ids)] = ids
        features["padding_mask"][row, : len(ids)] = 1
        features["word_starts"][row, 1 : len(ids) - 1] = 1
        labels[row, 1 : len(ids) - 1] = ids[1:-1] % CLASSES
    return features, {"labels": labels}
