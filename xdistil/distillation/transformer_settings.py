"""The shape of a transformer student, and what it begins with."""

import dataclasses
import os

import numpy as np

from xdistil.distillation.seeds import derive_seed
from xdistil.errors import InputError
from xdistil.models import EncoderConfig
from xdistil.models.embeddings import compress_embeddings
from xdistil.models.encoder_student import EncoderStudent
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.tasks import Task


@dataclasses.dataclass(frozen=True)
class TransformerStudentSettings:
    """Shape of a transformer student, see `TransformerStudent` and `TransformerTextStudent`.

    It begins with layers of a larger model (`layers`), which is a `checkpoint` or, without one, the
    fine-tuned teacher; with the whole of a `checkpoint`; or, with neither, fresh: then only its
    word-piece embeddings are taken from the teacher's. The head is always a fresh one.

    Args:
        student_class: `TransformerStudent` or `TransformerTextStudent`.
        num_layers: Of a fresh student. Others have as many as are taken.
        hidden_dim: Width of a fresh student; None: the teacher's.
        num_heads: Attention heads of a fresh student; None: heads as wide as the teacher's.
        intermediate_dim: Of a fresh student; None: `4 · hidden_dim`.
        embedding_dim: Of a fresh student, projected to `hidden_dim` where it differs; None:
            `hidden_dim`.
        dropout: At every place that has one; None: what the checkpoint or teacher has.
        embedding_init: Of a fresh student: `"svd"` of the teacher's matrix, `"pca"`, `"random"`.
        freeze_embeddings: Whether the word-piece embedding never learns.
        min_piece_count: Pieces seen fewer times in train and transfer text have no row of their
            own; 0 keeps the whole vocabulary.
        checkpoint: Folder in the hub's format.
        layers: Numbers of the layers to take, from 1.
    """

    student_class: type[EncoderStudent]
    num_layers: int = 3
    hidden_dim: int | None = None
    num_heads: int | None = None
    intermediate_dim: int | None = None
    embedding_dim: int | None = None
    dropout: float | None = None
    embedding_init: str = "svd"
    freeze_embeddings: bool = False
    min_piece_count: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    layers: tuple[int, ...] | None = None

    def build(
        self, task: Task, teacher: EncoderWithHead, kept_token_ids: np.ndarray | None, seed: int
    ) -> EncoderStudent:
        """A student that has learnt nothing yet.

        Args:
            task: What it is to do, over the student's own pieces.
            teacher: The fine-tuned teacher.
            kept_token_ids: Ids of the pieces that get an embedding row; `None`: all.
            seed: Of the run.

        Raises:
            InputError: The checkpoint cannot be read, or the layers do not fit.
        """
        source = self._source(task, teacher)
        if source is None:
            config = self.fresh_config(teacher.encoder_config)
            student = self._make(config, task, kept_token_ids, teacher.dropout)
            student.set_embeddings(self._embeddings(teacher, kept_token_ids, seed))
            return student
        layers = self.layers or tuple(range(1, source.num_layers + 1))
        config = dataclasses.replace(source.encoder_config, num_layers=len(layers))
        student = self._make(config, task, kept_token_ids, source.dropout)
        student.take_layers(source, layers)
        return student

    def _source(self, task: Task, teacher: EncoderWithHead) -> EncoderWithHead | None:
        """The model whose layers are taken."""
        if self.checkpoint is not None:
            return self.student_class.from_preset(
                self.checkpoint, num_classes=task.num_classes, fresh_head=True
            )
        return teacher if self.layers else None

    def _make(
        self,
        config: EncoderConfig,
        task: Task,
        kept_token_ids: np.ndarray | None,
        head_dropout: float,
    ) -> EncoderStudent:
        changes = {}
        if kept_token_ids is not None:
            changes["vocabulary_size"] = len(kept_token_ids)
        if self.dropout is not None:
            changes |= {"dropout": self.dropout, "attention_dropout": self.dropout}
        return self.student_class(
            dataclasses.replace(config, **changes),
            num_classes=task.num_classes,
            dropout=head_dropout if self.dropout is None else self.dropout,
            label_names=task.class_names,
            freeze_embeddings=self.freeze_embeddings,
            kept_token_ids=kept_token_ids,
            unknown_token_id=task.encoder.unk_id,
        )

    def fresh_config(self, teacher: EncoderConfig) -> EncoderConfig:
        """The encoder of a fresh student.

        It is a BERT, whatever the teacher is, and with narrower embeddings an ELECTRA, which is
        what BERT with a projection of its embeddings is called: other programs can read it then.

        Args:
            teacher: Of the teacher, for what is left open.

        Raises:
            InputError: The heads do not divide the width.
        """
        width = self.hidden_dim or teacher.hidden_dim
        heads = self.num_heads
        if heads is None:
            width_of_head = teacher.hidden_dim // teacher.num_heads
            heads, rest = divmod(width, width_of_head)
            if rest:
                raise InputError(
                    f"a student {width} wide cannot have heads of {width_of_head} as the teacher "
                    "has; give num_heads"
                )
        embedding_dim = self.embedding_dim or width
        return EncoderConfig(
            vocabulary_size=teacher.vocabulary_size,
            hidden_dim=width,
            num_layers=self.num_layers,
            num_heads=heads,
            intermediate_dim=self.intermediate_dim,
            max_length=teacher.max_length,
            dropout=teacher.dropout,
            attention_dropout=teacher.attention_dropout,
            embedding_dim=embedding_dim,
            family="bert" if embedding_dim == width else "electra",
        )

    def _embeddings(
        self, teacher: EncoderWithHead, kept_token_ids: np.ndarray | None, seed: int
    ) -> np.ndarray:
        matrix = teacher.embedding_matrix()
        return compress_embeddings(
            matrix if kept_token_ids is None else matrix[kept_token_ids],
            self.embedding_dim or self.hidden_dim or teacher.hidden_dim,
            self.embedding_init,
            seed=derive_seed(seed, 0, "embeddings"),
        )
