"""What `run_ner.py` does between its flags and its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from distillation_job import DistillationJob
from teacher_source import TeacherSource, open_teacher

from xdistil.data.encoding import TextEncoder
from xdistil.distillation.losses import teacher_layers
from xdistil.distillation.per_language import distil_per_language, shared_languages
from xdistil.distillation.recipes import RecipeSettings
from xdistil.distillation.run_settings import RunResult
from xdistil.distillation.runner import DistillationRun
from xdistil.distillation.stages import Stage
from xdistil.distillation.student_settings import StudentSettings
from xdistil.errors import InputError
from xdistil.models import Teacher, TransformerStudent
from xdistil.tasks import Tagging
from xdistil.tasks.tagging import PIECE_CLASSES

FLAGS = flags.FLAGS


class TaggingJob(DistillationJob):
    """A tagger into a smaller one."""

    transformer_class = TransformerStudent

    def open_teacher(self) -> TeacherSource:
        labels = self.corpus.labels
        extra = len(PIECE_CLASSES) if FLAGS.scheme == "pieces" else 0
        return open_teacher(self.corpus, Teacher, len(labels) + extra)

    def make_task(self, encoder: TextEncoder) -> Tagging:
        return Tagging(self.corpus.labels, encoder, FLAGS.scheme)

    def recipe_settings(self, common: Mapping[str, Any]) -> RecipeSettings:
        layer = FLAGS.teacher_layer
        if layer is None:
            layer = self.source.num_layers // 2 + 1
        return RecipeSettings(teacher_layer=layer, logits_positions=FLAGS.scheme, **common)

    def student_settings(self) -> StudentSettings:
        return StudentSettings(
            embedding_dim=FLAGS.embedding_dim,
            hidden_dim=FLAGS.hidden_dim,
            dropout=FLAGS.dropout,
            embedding_init=FLAGS.embedding_init,
            min_piece_count=FLAGS.min_piece_count,
        )

    def student_name(self) -> str:
        return f"BiLSTM ({FLAGS.embedding_dim}, {FLAGS.hidden_dim})"

    def check(self, stages: Sequence[Stage]) -> None:
        for layer in {layer for stage in stages for layer in teacher_layers(stage.terms)}:
            if not 0 <= layer <= self.source.num_layers:
                raise InputError(
                    f"--teacher_layer={layer}: the teacher has hidden states 0 to "
                    f"{self.source.num_layers}."
                )
        if FLAGS.recipe == "D0":
            shared_languages(self.corpus)
        super().check(stages)

    def distil(self, job: DistillationRun) -> RunResult:
        return distil_per_language(job) if FLAGS.recipe == "D0" else job.run()
