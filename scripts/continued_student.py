"""The finished student that --continue_from names, and what stands in for a teacher without one."""

import hashlib
import json
import logging

from absl import flags
from student_plan import StudentPlan, cut_alike, layers_of
from teacher_source import TeacherSource, check_seq_len

from xdistil.data.encoding import TextEncoder
from xdistil.distillation.continued_settings import ContinuedStudentSettings
from xdistil.distillation.recipes import LAYER_GROUPS
from xdistil.errors import InputError
from xdistil.models.encoder_student import EncoderStudent
from xdistil.tasks import Task, TrainedModel, load

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")


class ContinuedStudent:
    """A finished student, and how it reads text in this run.

    Raises:
        InputError: There is none, or it reads fewer pieces than --seq_len.
    """

    def __init__(self):
        self.origin = f"--continue_from={FLAGS.continue_from}"
        self.trained: TrainedModel = load(FLAGS.continue_from)
        self.model = self.trained.model
        self.is_transformer = isinstance(self.model, EncoderStudent)
        if self.is_transformer:
            longest = self.model.encoder_config.max_length
            check_seq_len(longest, f"student {FLAGS.continue_from}")
        old = self.trained.task.encoder
        self.encoder = TextEncoder(
            old.tokenizer, FLAGS.seq_len, special_tokens=old.special_tokens, config=old.config
        )

    def stand_in(self) -> TeacherSource:
        """A teacher for recipes that read none: it lends its pieces, and is never run."""
        return TeacherSource(self.encoder, 0, 0, self._width, "none", lambda: self.model)

    @property
    def _width(self) -> int:
        model = self.model
        return model.hidden_dim if self.is_transformer else model.representation_dim

    def plan(self, source: TeacherSource, task: Task) -> StudentPlan:
        """The student as one that is yet to be built.

        Args:
            source: The teacher, or the stand-in.
            task: Over its pieces.

        Raises:
            InputError: The student was trained for another kind of task.
        """
        held = self.trained.task
        if held.name != task.name:
            raise InputError(
                f"{self.origin}: its student does {held.name}, this program {task.name}."
            )
        own = not cut_alike(self.encoder, source.encoder)
        settings = ContinuedStudentSettings(self.trained, str(FLAGS.continue_from))
        if not settings.keeps_head(task):
            logger.warning(
                "%s: its head is left out, a fresh one is trained: it has the labels %s, the data "
                "%s",
                *(self.origin, ", ".join(held.class_names), ", ".join(task.class_names)),
            )
        shared = {
            "settings": settings,
            "width": self._width,
            "encoder": self.encoder if own else None,
            "origin": self.origin,
            "fingerprint": self._fingerprint(),
        }
        if not self.is_transformer:
            kind = "siamese BiLSTM" if FLAGS.student == "siamese" else "BiLSTM"
            sizes = f"({self.model.embedding_dim}, {self.model.hidden_dim})"
            return StudentPlan(name=f"{kind} {sizes}", layer_groups=LAYER_GROUPS, **shared)
        config = self.model.encoder_config
        return StudentPlan(
            name=f"transformer ({layers_of(config)}, {config.hidden_dim})",
            layer_groups=type(self.model).group_names(config),
            depth=config.num_layers,
            heads=config.num_heads,
            **shared,
        )

    def _fingerprint(self) -> str:
        parts = [self.model.get_config(), self.trained.task.class_names, self.encoder.fingerprint]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
        for array in self.model.get_weights():
            digest.update(array.tobytes())
        return digest.hexdigest()
