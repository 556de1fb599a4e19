"""What `run_classification.py` and `run_pairs.py` do between their flags and their reports."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from distillation_job import DistillationJob
from teacher_source import TeacherSource, open_teacher

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.augmentation import AugmentationSettings
from xdistil.data.encoding import TextEncoder
from xdistil.data.piece_arrays import frame_of
from xdistil.data.word_vectors import (
    read_word_vectors,
    vectors_matrix,
    word_encoder,
    words_with_vectors,
)
from xdistil.distillation.augmented_data import with_augmented
from xdistil.distillation.losses import POOLED, RepresentationDistillation
from xdistil.distillation.recipes import RecipeSettings, recipe
from xdistil.distillation.stages import Stage
from xdistil.distillation.student_settings import (
    SiameseStudentSettings,
    StudentSettings,
    TextStudentSettings,
)
from xdistil.errors import InputError
from xdistil.metrics.speedup import random_pair_features
from xdistil.models import TextTeacher, TransformerTextStudent
from xdistil.tasks import Classification, PairClassification

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
# f of arXiv:1903.12136.
_PAIR_WIDTH = 200


class TextJob(DistillationJob):
    """A classifier of texts into a smaller one."""

    task_class: type[Classification] = Classification
    transformer_class = TransformerTextStudent
    more_text = "--labeled_per_class, so that the rest of train becomes it, or --augment"

    def __init__(self, corpus: Any, config: Mapping[str, Any]):
        super().__init__(corpus, config)
        if FLAGS.augment:
            self.data = with_augmented(
                self.data,
                augmentation_settings(),
                language=FLAGS.augment_language,
                only=FLAGS.augment_only,
                encoder=self.task.encoder if FLAGS.augment_words == "teacher" else None,
            )
        self.vectors: np.ndarray | None = None
        if FLAGS.vectors_file:
            self._read_vectors()

    def _read_vectors(self) -> None:
        """Gives the student words of its own: those of the text that the file has a vector of."""
        lower_case = FLAGS.vectors_lower_case
        rows = itertools.chain(self.data.train, self.data.transfer())
        texts = (text for row in rows for text in (row.text, row.text_pair or ""))
        words = words_with_vectors(FLAGS.vectors_file, texts, lower_case)
        vectors = read_word_vectors(FLAGS.vectors_file, words)
        if vectors.duplicates:
            logger.warning(
                "%s: %d lines hold a word again; the first vector of each was taken",
                FLAGS.vectors_file,
                vectors.duplicates,
            )
        if FLAGS["embedding_dim"].present and FLAGS.embedding_dim != vectors.dim:
            raise InputError(
                f"--embedding_dim={FLAGS.embedding_dim}: the vectors of {FLAGS.vectors_file} have "
                f"{vectors.dim} numbers; leave the flag out."
            )
        encoder = word_encoder(vectors.words, lower_case, FLAGS.seq_len)
        logger.info("the student reads %d words that have a vector", len(vectors))
        self.student_task = self.task.with_encoder(encoder)
        self.config["embedding_dim"] = vectors.dim
        self.vectors = vectors_matrix(vectors, encoder, FLAGS.seed)
        self.inputs["vectors"] = sha256_of_file(FLAGS.vectors_file)

    def open_teacher(self) -> TeacherSource:
        return open_teacher(self.corpus, TextTeacher, len(self.corpus.labels))

    def make_task(self, encoder: TextEncoder) -> Classification:
        return self.task_class(self.corpus.labels, encoder)

    def recipe_settings(self, common: Mapping[str, Any]) -> RecipeSettings:
        return RecipeSettings(
            teacher_layer=POOLED,
            representation_positions="texts",
            logits_positions=self.task.logits_positions,
            label_positions=self.task.label_positions,
            logit_target=FLAGS.logit_target,
            gamma=FLAGS.gamma,
            **common,
        )

    def student_settings(self) -> StudentSettings:
        return TextStudentSettings(**self._shape())

    @property
    def holds_representation(self) -> bool:
        """Whether a stage holds the dense layer against the teacher's pooled output."""
        stages = recipe(FLAGS.recipe, RecipeSettings(teacher_layer=POOLED))
        return any(
            isinstance(loss, RepresentationDistillation) for stage in stages for loss in stage.terms
        )

    def _shape(self) -> dict[str, Any]:
        optional = {"pooling": FLAGS.pooling, "activation": FLAGS.activation}
        return {
            "embedding_dim": self.embedding_dim,
            "vectors": self.vectors,
            "hidden_dim": FLAGS.hidden_dim,
            "dropout": FLAGS.dropout,
            "embedding_init": FLAGS.embedding_init,
            "min_piece_count": FLAGS.min_piece_count,
            "representation_dim": FLAGS.representation_dim,
            "channels": FLAGS.channels,
            **{name: value for name, value in optional.items() if value is not None},
        }

    def student_name(self) -> str:
        return f"BiLSTM ({self.embedding_dim}, {FLAGS.hidden_dim})"

    @property
    def embedding_dim(self) -> int:
        """Width of an embedding channel."""
        return FLAGS.embedding_dim if self.vectors is None else self.vectors.shape[1]

    def check(self, stages: Sequence[Stage]) -> None:
        super().check(stages)
        width = FLAGS.representation_dim
        of_teacher = self.source.hidden_dim
        if width not in (None, of_teacher) and self.holds_representation:
            raise InputError(
                f"--representation_dim={width}: --recipe={FLAGS.recipe} holds it against the "
                f"teacher's {of_teacher}; leave it out, or take a recipe without representation."
            )


class PairJob(TextJob):
    """A classifier of pairs into a siamese BiLSTM, or a model that reads both texts as one."""

    task_class = PairClassification

    def student_settings(self) -> StudentSettings:
        shape = self._shape()
        if not self.holds_representation:
            shape["representation_dim"] = shape["representation_dim"] or _PAIR_WIDTH
        if FLAGS.student != "siamese":
            return TextStudentSettings(**shape)
        if self.holds_representation:
            # ReLU could not follow the pooled output, which lies between -1 and 1.
            shape.setdefault("activation", TextStudentSettings.activation)
        return SiameseStudentSettings(**shape)

    def check(self, stages: Sequence[Stage]) -> None:
        super().check(stages)
        for task in filter(None, (self.task, self.student_task)):
            self._check_encoder(task.encoder)

    def _check_encoder(self, encoder: TextEncoder) -> None:
        frame = frame_of(encoder.tokenizer, 2, encoder.cls_id, encoder.sep_id)
        if encoder.seq_len < frame.size + 2:
            raise InputError(
                f"--seq_len={encoder.seq_len}: a pair needs at least {frame.size + 2}, special "
                "tokens and a piece of each text."
            )
        if FLAGS.student == "siamese" and frame.text_segments != (0, 1):
            raise InputError(
                f"--student=siamese: the tokenizer of {FLAGS.teacher} gives both texts of a pair "
                "one segment, so that nothing tells them apart; take --student=bilstm."
            )

    def student_name(self) -> str:
        name = super().student_name()
        return f"siamese {name}" if FLAGS.student == "siamese" else name

    def features(
        self, encoder: TextEncoder, batch_size: int, sequence_length: int
    ) -> dict[str, np.ndarray]:
        return random_pair_features(
            encoder.vocabulary_size,
            batch_size=batch_size,
            sequence_length=sequence_length,
            boundary_token_ids=(encoder.cls_id, encoder.sep_id),
        )


def augmentation_settings() -> AugmentationSettings:
    """What the flags say of augmentation."""
    return AugmentationSettings(
        mask=FLAGS.augment_mask,
        pos=FLAGS.augment_pos,
        ngram=FLAGS.augment_ngram,
        iterations=FLAGS.augment_iterations,
        seed=FLAGS.seed,
    )
