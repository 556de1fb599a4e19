"""The shapes of students, and how each is built beside its teacher."""

import dataclasses
from typing import Any

import keras
import numpy as np

from xdistil.distillation.seeds import derive_seed
from xdistil.models import BiLSTMStudent, BiLSTMTextStudent, SiameseBiLSTMStudent
from xdistil.models.embeddings import compress_embeddings
from xdistil.tasks import Task


@dataclasses.dataclass(frozen=True)
class StudentSettings:
    """Shape of the BiLSTM student, see `BiLSTMStudent`.

    Args:
        embedding_dim: E.
        hidden_dim: H, a direction.
        dropout: Between the layers.
        embedding_init: `"svd"` of the fine-tuned teacher's matrix, `"pca"` or `"random"`.
        min_piece_count: Pieces seen fewer times in train and transfer text have no row of their
            own; 0 keeps the teacher's whole vocabulary.
    """

    embedding_dim: int = 50
    hidden_dim: int = 200
    dropout: float = 0.2
    embedding_init: str = "svd"
    min_piece_count: int = 1

    def build(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None, seed: int
    ) -> keras.Model:
        """A fresh student, its embeddings taken from the teacher's.

        Args:
            task: What it is to do, over the student's own pieces.
            teacher: The fine-tuned teacher.
            kept_token_ids: Ids of the pieces that get an embedding row; `None`: all.
            seed: Of the run.
        """
        student = self.make(task, teacher, kept_token_ids)
        student.set_embeddings(self.embeddings(teacher, kept_token_ids, seed))
        return student

    def make(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None
    ) -> keras.Model:
        """The student with random weights."""
        return BiLSTMStudent(
            **self.common(task, teacher, kept_token_ids),
            representation_dim=teacher.hidden_dim,
        )

    def common(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None
    ) -> dict[str, Any]:
        """Arguments that every student takes."""
        everything = task.encoder.vocabulary_size if self.own_words else teacher.vocabulary_size
        return {
            "vocabulary_size": everything if kept_token_ids is None else len(kept_token_ids),
            "num_classes": task.num_classes,
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "dropout": self.dropout,
            "kept_token_ids": kept_token_ids,
            "unknown_token_id": task.encoder.unk_id,
        }

    @property
    def own_words(self) -> bool:
        """Whether the student reads words of its own, not the teacher's pieces."""
        return False

    def embeddings(
        self, teacher: keras.Model, kept_token_ids: np.ndarray | None, seed: int
    ) -> np.ndarray:
        """The rows that the embedding starts from."""
        matrix = teacher.embedding_matrix()
        return compress_embeddings(
            matrix if kept_token_ids is None else matrix[kept_token_ids],
            self.embedding_dim,
            self.embedding_init,
            seed=derive_seed(seed, 0, "embeddings"),
        )


@dataclasses.dataclass(frozen=True)
class TextStudentSettings(StudentSettings):
    """Shape of the BiLSTM student of texts, see `BiLSTMTextStudent`; beside those of
    `StudentSettings`:

    Args:
        representation_dim: Width of the dense layer; `None`: the teacher's, which losses on the
            representation want.
        pooling: `"max"` or `"last"`.
        activation: Of the dense layer.
        channels: 2: a static embedding beside the one that learns.
        vectors: Rows for the student's own words, float32 `(words, embedding_dim)`, in the order
            of its encoder (see `xdistil.data.word_vectors`); `None`: it reads the teacher's pieces.
    """

    representation_dim: int | None = None
    pooling: str = "max"
    activation: str = "gelu_tanh"
    channels: int = 1
    vectors: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def own_words(self) -> bool:
        return self.vectors is not None

    def make(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None
    ) -> keras.Model:
        encoder = task.encoder
        # Among words of its own [CLS] and [SEP] are none; among the teacher's pieces they are read,
        # as XtremeDistil's students do. Between two texts they tell where the second begins.
        boundary = (encoder.cls_id, encoder.sep_id) if self.own_words and not task.pairs else ()
        common = self.common(task, teacher, kept_token_ids)
        return BiLSTMTextStudent(**common, boundary_token_ids=boundary)

    def common(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None
    ) -> dict[str, Any]:
        return {
            **super().common(task, teacher, kept_token_ids),
            "representation_dim": self.representation_dim or teacher.hidden_dim,
            "pooling": self.pooling,
            "activation": self.activation,
            "channels": self.channels,
        }

    def embeddings(
        self, teacher: keras.Model, kept_token_ids: np.ndarray | None, seed: int
    ) -> np.ndarray:
        if self.vectors is not None:
            return self.vectors
        return super().embeddings(teacher, kept_token_ids, seed)


@dataclasses.dataclass(frozen=True)
class SiameseStudentSettings(TextStudentSettings):
    """Shape of the siamese student of pairs, see `SiameseBiLSTMStudent`."""

    pooling: str = "last"
    activation: str = "relu"

    def make(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None
    ) -> keras.Model:
        encoder = task.encoder
        return SiameseBiLSTMStudent(
            **self.common(task, teacher, kept_token_ids),
            boundary_token_ids=(encoder.cls_id, encoder.sep_id),
        )
