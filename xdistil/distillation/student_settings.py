"""The shapes of students, and how each is built beside its teacher."""

import dataclasses

import keras
import numpy as np

from xdistil.distillation.seeds import derive_seed
from xdistil.models import BiLSTMStudent
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
        student = self._model(task, teacher, kept_token_ids)
        matrix = teacher.embedding_matrix()
        student.set_embeddings(
            compress_embeddings(
                matrix if kept_token_ids is None else matrix[kept_token_ids],
                self.embedding_dim,
                self.embedding_init,
                seed=derive_seed(seed, 0, "embeddings"),
            )
        )
        return student

    def _model(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None
    ) -> keras.Model:
        rows = teacher.vocabulary_size if kept_token_ids is None else len(kept_token_ids)
        return BiLSTMStudent(
            vocabulary_size=rows,
            num_classes=task.num_classes,
            embedding_dim=self.embedding_dim,
            hidden_dim=self.hidden_dim,
            representation_dim=teacher.hidden_dim,
            dropout=self.dropout,
            kept_token_ids=kept_token_ids,
            unknown_token_id=task.encoder.unk_id,
        )
