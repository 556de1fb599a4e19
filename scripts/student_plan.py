"""What a run knows of its student before the teacher is trained."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from absl import flags
from teacher_source import TeacherSource
from transformer_flags import HIDDEN_STATES, PATIENT_RECIPES

from xdistil.data.encoding import TextEncoder
from xdistil.data.piece_arrays import frame_of
from xdistil.distillation.continued_settings import ContinuedStudentSettings
from xdistil.distillation.stages import Stage
from xdistil.distillation.transformer_settings import TransformerStudentSettings
from xdistil.errors import InputError
from xdistil.models import EncoderConfig

FLAGS = flags.FLAGS
# Losses on these compare whole texts, however each model cuts them.
_WHOLE_TEXTS = ("texts", "labeled_texts")


@dataclasses.dataclass(frozen=True)
class StudentPlan:
    """A student that is yet to be built: a transformer, or a finished one that goes on.

    Args:
        settings: How it is built.
        name: In the report.
        layer_groups: Its layer groups, bottom to top.
        width: Of its representation.
        depth: Its transformer layers; `None`: it is no transformer.
        heads: Their attention heads.
        encoder: From words to its own word pieces; `None`: it reads the teacher's.
        origin: The flag that it comes from, for errors.
        fingerprint: Changes with the weights that it begins with; `None` where these are the
            teacher's or none.
    """

    settings: TransformerStudentSettings | ContinuedStudentSettings
    name: str
    layer_groups: Sequence[str]
    width: int
    depth: int | None = None
    heads: int | None = None
    encoder: TextEncoder | None = None
    origin: str = ""
    fingerprint: str | None = None

    def recipe_settings(self, source: TeacherSource, whole_texts: bool) -> dict[str, Any]:
        """What recipes need to know of it, as fields of `RecipeSettings`.

        Args:
            source: The teacher.
            whole_texts: Whether the task gives one answer a text.

        Raises:
            InputError: The recipe compares layers that there are not.
        """
        if FLAGS.recipe in PATIENT_RECIPES and (self.depth or 0) < 2:
            raise InputError(
                f"--recipe={FLAGS.recipe} teaches all layers but the last: the student needs two."
            )
        compares = FLAGS.recipe in (*PATIENT_RECIPES, HIDDEN_STATES)
        if compares and (self.depth or 0) > source.num_layers > 0:
            raise InputError(
                f"--recipe={FLAGS.recipe}: the student has {self.depth} layers, the teacher only "
                f"{source.num_layers}."
            )
        # Pieces of its own stand beside none of the teacher's: what is left to compare is [CLS].
        own = {"hidden_positions": "texts"} if self.encoder is not None and whole_texts else {}
        return {
            "layer_groups": self.layer_groups,
            # Many hidden states go through a map each, patience only where it cannot do without.
            "projection": (self.width, source.hidden_dim)
            if FLAGS.recipe == HIDDEN_STATES or self.width != source.hidden_dim
            else None,
            "depths": None if self.depth is None else (self.depth, source.num_layers),
            **own,
        }

    def check(self, source: TeacherSource, stages: Sequence[Stage]) -> None:
        """Refuses what would fail only after the teacher was trained.

        Raises:
            InputError: Student, teacher and recipe do not go together.
        """
        if FLAGS.attention_loss and self.heads != source.num_heads:
            raise InputError(
                f"--attention_loss: the student has {self.heads} attention heads, the teacher "
                f"{source.num_heads}; give the same number, or leave it out."
            )
        if self.encoder is not None:
            self._check_own_pieces(stages)

    def _check_own_pieces(self, stages: Sequence[Stage]) -> None:
        where = f"{self.origin}: the student's tokenizer cuts words otherwise than the teacher's"
        if FLAGS.teacher_targets == "online":
            raise InputError(
                f"{where}, so the teacher cannot run in each step; leave --teacher_targets=online "
                "out."
            )
        for loss in (loss for stage in stages for loss in stage.terms):
            if loss.teacher_outputs and loss.positions not in _WHOLE_TEXTS:
                raise InputError(
                    f"{where}, and --recipe={FLAGS.recipe} compares piece by piece "
                    f"({loss.name}); give a student with the teacher's tokenizer, or a recipe on "
                    "labels alone."
                )


def layers_of(config: EncoderConfig) -> str:
    """Its number of layers, in words."""
    return f"{config.num_layers} layer{'s' * (config.num_layers != 1)}"


def cut_alike(first: TextEncoder, second: TextEncoder) -> bool:
    """Whether two encoders give the same ids for every text."""
    return _rules(first) == _rules(second)


def _rules(encoder: TextEncoder) -> list[Any]:
    """All that decides the ids of words that are given one by one."""
    tokenizer = encoder.tokenizer
    parts = json.loads(tokenizer.to_str())
    # What stands in the file for offsets, for whole texts and for special tokens written out in
    # them decides nothing here, and differs between files of one tokenizer.
    frames = [frame_of(tokenizer, texts, encoder.cls_id, encoder.sep_id) for texts in (1, 2)]
    added = [token for token in parts["added_tokens"] if not token["special"]]
    model = {name: value for name, value in parts["model"].items() if value not in (None, "")}
    return [
        parts["normalizer"],
        _without_offsets(parts["pre_tokenizer"]),
        model,
        added,
        frames,
        encoder.special_ids,
    ]


def _without_offsets(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_offsets(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {name: _without_offsets(one) for name, one in part.items() if name != "trim_offsets"}
