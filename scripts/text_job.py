"""What `run_classification.py` and `run_pairs.py` do between their flags and their reports."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from distillation_job import DistillationJob
from teacher_source import TeacherSource, open_teacher

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.augmentation import AugmentationSettings, Augmenter
from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import LabeledText
from xdistil.data.pos_tagging import pos_tagger_for
from xdistil.data.word_vectors import (
    read_word_vectors,
    vectors_matrix,
    word_counts,
    word_encoder,
)
from xdistil.distillation.losses import POOLED, RepresentationDistillation
from xdistil.distillation.recipes import RecipeSettings
from xdistil.distillation.run_settings import DistillationData
from xdistil.distillation.stages import Stage
from xdistil.distillation.student_settings import (
    SiameseStudentSettings,
    StudentSettings,
    TextStudentSettings,
)
from xdistil.distillation.targets import fingerprint
from xdistil.errors import InputError
from xdistil.metrics.speedup import random_pair_features
from xdistil.models import TextTeacher
from xdistil.tasks import Classification, PairClassification

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
_ALPHA = {"tang": 0.0}


class TextJob(DistillationJob):
    """A classifier of texts into a BiLSTM."""

    task_class: type[Classification] = Classification
    labeled_flag = "--labeled_per_class, or --augment,"

    def __init__(self, corpus: Any, config: Mapping[str, Any]):
        super().__init__(corpus, config)
        if FLAGS.augment:
            self.data = with_augmented(self.data, augmentation_settings(), FLAGS.augment_language)
        self.vectors: np.ndarray | None = None
        if FLAGS.vectors_file:
            self._read_vectors()

    def _read_vectors(self) -> None:
        """Gives the student words of its own: those of the text that the file has a vector of."""
        lower_case = FLAGS.vectors_lower_case
        rows = itertools.chain(self.data.train, self.data.transfer())
        texts = (text for row in rows for text in (row.text, row.text_pair or ""))
        vectors = read_word_vectors(FLAGS.vectors_file, word_counts(texts, lower_case))
        if FLAGS["embedding_dim"].present and FLAGS.embedding_dim != vectors.dim:
            raise InputError(
                f"--embedding_dim={FLAGS.embedding_dim}: the vectors of {FLAGS.vectors_file} have "
                f"{vectors.dim} numbers; leave the flag out."
            )
        encoder = word_encoder(vectors.words, lower_case, FLAGS.seq_len)
        logger.info("the student reads %d words that have a vector", len(vectors))
        self.student_task = self.task.with_encoder(encoder)
        self.vectors = vectors_matrix(vectors, encoder, FLAGS.seed)
        self.inputs["vectors"] = sha256_of_file(FLAGS.vectors_file)

    def open_teacher(self) -> TeacherSource:
        return open_teacher(self.corpus, TextTeacher, len(self.corpus.labels))

    def make_task(self, encoder: TextEncoder) -> Classification:
        return self.task_class(self.corpus.labels, encoder)

    def recipe_settings(self, common: Mapping[str, Any]) -> RecipeSettings:
        alpha = _ALPHA.get(FLAGS.recipe, 1.0) if FLAGS.alpha is None else FLAGS.alpha
        return RecipeSettings(
            teacher_layer=POOLED,
            representation_positions="texts",
            logits_positions=self.task.logits_positions,
            label_positions=self.task.label_positions,
            logit_target=FLAGS.logit_target,
            alpha=alpha,
            beta=FLAGS.beta,
            gamma=FLAGS.gamma,
            **common,
        )

    def student_settings(self) -> StudentSettings:
        return TextStudentSettings(**self._shape())

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
        if width not in (None, of_teacher) and any(
            isinstance(loss, RepresentationDistillation) for stage in stages for loss in stage.terms
        ):
            raise InputError(
                f"--representation_dim={width}: --recipe={FLAGS.recipe} holds it against the "
                f"teacher's {of_teacher}; leave it out, or take a recipe without representation."
            )


class PairJob(TextJob):
    """A classifier of pairs into a siamese BiLSTM, or one that reads both texts as one."""

    task_class = PairClassification

    def student_settings(self) -> StudentSettings:
        if FLAGS.student == "siamese":
            return SiameseStudentSettings(**self._shape())
        return super().student_settings()

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


def with_augmented(
    data: DistillationData, settings: AugmentationSettings, language: str | None
) -> DistillationData:
    """The text of a run with new rows, made of the labeled ones, behind its transfer text.

    Args:
        data: The text.
        settings: How rows are made.
        language: Whose tagger reads all texts; `None`: each text's own.
    """
    tagger = pos_tagger_for(language) if language else None

    def made() -> Iterator[LabeledText]:
        return Augmenter(settings, tagger).fit(data.train).augment(data.train)

    return dataclasses.replace(
        data,
        transfer=lambda: itertools.chain(data.transfer(), made()),
        transfer_size=data.transfer_size + sum(1 for _ in made()),
        fingerprint=fingerprint(data.fingerprint, dataclasses.asdict(settings), language),
        # The teacher never learns from these rows: another run's teacher will do.
        labeled_fingerprint=data.fingerprint,
    )
