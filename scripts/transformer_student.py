"""What the flags say of a transformer student, before its teacher is trained."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from absl import flags
from teacher_source import TeacherSource

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.encoding import TextEncoder
from xdistil.distillation.stages import Stage
from xdistil.distillation.transformer_settings import TransformerStudentSettings
from xdistil.errors import InputError
from xdistil.models import EncoderConfig
from xdistil.models.checkpoints import Checkpoint
from xdistil.models.encoder_student import EncoderStudent
from xdistil.models.layer_choice import FIRST, SPREAD, chosen_layers
from xdistil.models.presets import find_checkpoint

FLAGS = flags.FLAGS
_PRETRAINED, _FINETUNED = "pretrained", "finetuned"
# Losses on these compare whole texts, however each model cuts them.
_WHOLE_TEXTS = ("texts", "labeled_texts")


@dataclasses.dataclass(frozen=True)
class TransformerPlan:
    """A transformer student that is yet to be built.

    Args:
        settings: How it is built.
        config: Its encoder, all pieces kept.
        encoder: From words to its own word pieces; `None`: it reads the teacher's.
        fingerprint: Changes with the checkpoint that it begins as; `None` where it has none of its
            own.
    """

    settings: TransformerStudentSettings
    config: EncoderConfig
    encoder: TextEncoder | None = None
    fingerprint: str | None = None

    def recipe_settings(self, source: TeacherSource, whole_texts: bool) -> dict[str, Any]:
        """What recipes need to know of it, as fields of `RecipeSettings`.

        Args:
            source: The teacher.
            whole_texts: Whether the task gives one answer a text.
        """
        widths = (self.config.hidden_dim, source.hidden_dim)
        # Pieces of its own stand beside none of the teacher's: what is left to compare is [CLS].
        own = {"hidden_positions": "texts"} if self.encoder is not None and whole_texts else {}
        return {
            "layer_groups": self.settings.student_class.group_names(self.config),
            "projection": widths if widths[0] != widths[1] else None,
            "depths": (self.config.num_layers, source.num_layers),
            **own,
        }

    def check(self, source: TeacherSource, stages: Sequence[Stage]) -> None:
        """Refuses, before the teacher is trained, what would fail only after.

        Raises:
            InputError: Student, teacher and recipe do not go together.
        """
        if FLAGS.attention_loss and self.config.num_heads != source.config.num_heads:
            raise InputError(
                f"--attention_loss: the student has {self.config.num_heads} attention heads, the "
                f"teacher {source.config.num_heads}; give the same number, or leave it out."
            )
        if self.encoder is not None:
            self._check_own_pieces(stages)

    def _check_own_pieces(self, stages: Sequence[Stage]) -> None:
        where = f"--student_checkpoint={FLAGS.student_checkpoint}: its tokenizer cuts words "
        where += "otherwise than the teacher's"
        if FLAGS.teacher_targets == "online":
            raise InputError(
                f"{where}, so the teacher cannot run in each step; leave --teacher_targets=online "
                "out."
            )
        for loss in (loss for stage in stages for loss in stage.terms):
            if loss.teacher_outputs and loss.positions not in _WHOLE_TEXTS:
                raise InputError(
                    f"{where}, and --recipe={FLAGS.recipe} compares piece by piece "
                    f"({loss.name}); give a checkpoint with the teacher's tokenizer, or a recipe "
                    "on labels alone."
                )

    def student_name(self) -> str:
        """The student in the report."""
        config = self.config
        return f"transformer ({config.num_layers} layers, {config.hidden_dim})"


def plan_transformer(source: TeacherSource, student_class: type[EncoderStudent]) -> TransformerPlan:
    """The student that the flags name.

    Args:
        source: The teacher.
        student_class: `TransformerStudent` or `TransformerTextStudent`.

    Raises:
        InputError: A checkpoint cannot be read, or flags contradict it.
    """
    settings = TransformerStudentSettings(
        student_class,
        dropout=FLAGS.dropout if FLAGS["dropout"].present else None,
        freeze_embeddings=FLAGS.freeze_embeddings,
        min_piece_count=FLAGS.min_piece_count,
    )
    if FLAGS.student_checkpoint:
        return _from_checkpoint(source, settings)
    if FLAGS.student_layers:
        return _from_layers(source, settings)
    return _fresh(source, settings)


def _from_checkpoint(
    source: TeacherSource, settings: TransformerStudentSettings
) -> TransformerPlan:
    folder = find_checkpoint(FLAGS.student_checkpoint)
    config = Checkpoint(folder).encoder_config
    encoder = TextEncoder.from_folder(folder, seq_len=FLAGS.seq_len)
    if config.max_length < FLAGS.seq_len:
        raise InputError(
            f"--seq_len={FLAGS.seq_len}: the student {folder} reads at most {config.max_length} "
            "word pieces; lower --seq_len."
        )
    if encoder.vocabulary_size > config.vocabulary_size:
        raise InputError(
            f"{folder}: its tokenizer has {encoder.vocabulary_size} word pieces, its model only "
            f"{config.vocabulary_size} embeddings; put the tokenizer of this checkpoint beside it."
        )
    own = _rules(encoder) != _rules(source.encoder)
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json"])
    digest = hashlib.sha256("".join(sha256_of_file(path) for path in files).encode())
    settings = dataclasses.replace(settings, checkpoint=str(folder), own_words=own)
    return TransformerPlan(settings, config, encoder if own else None, digest.hexdigest())


def _rules(encoder: TextEncoder) -> list[Any]:
    """All that decides how a tokenizer cuts text."""
    parts = json.loads(encoder.tokenizer.to_str())
    names = ("normalizer", "pre_tokenizer", "model", "post_processor", "added_tokens")
    return [parts.get(name) for name in names]


def _from_layers(source: TeacherSource, settings: TransformerStudentSettings) -> TransformerPlan:
    layers = _chosen(source.num_layers)
    origin = FLAGS.student_layers_from or (_PRETRAINED if source.folder else _FINETUNED)
    if origin == _PRETRAINED and source.folder is None:
        raise InputError(
            "--student_layers_from=pretrained: --teacher=scratch was trained by nobody before; "
            "take finetuned."
        )
    config = dataclasses.replace(source.config, num_layers=len(layers))
    checkpoint = str(source.folder) if origin == _PRETRAINED else None
    return TransformerPlan(
        dataclasses.replace(settings, layers=layers, checkpoint=checkpoint), config
    )


def _chosen(depth: int) -> tuple[int, ...]:
    """The teacher's layers that --student_layers names."""
    given = FLAGS.student_layers
    if given in (FIRST, SPREAD):
        return chosen_layers(given, depth, FLAGS.num_layers or max(1, depth // 2))
    if not re.fullmatch(r"\d+(,\d+)*", given):
        raise InputError(
            f"--student_layers={given}: expected {FIRST}, {SPREAD}, or numbers such as 1,3,5."
        )
    layers = tuple(map(int, given.split(",")))
    if not all(1 <= layer <= depth for layer in layers):
        raise InputError(
            f"--student_layers={given}: the teacher has layers 1 to {depth}, counted from 1."
        )
    if FLAGS.num_layers not in (None, len(layers)):
        raise InputError(f"--num_layers={FLAGS.num_layers}: --student_layers names {len(layers)}.")
    return layers


def _fresh(source: TeacherSource, settings: TransformerStudentSettings) -> TransformerPlan:
    sizes = {
        name: FLAGS[name].value if FLAGS[name].present else None
        for name in ("hidden_dim", "num_heads", "intermediate_dim", "embedding_dim")
    }
    settings = dataclasses.replace(
        settings,
        num_layers=FLAGS.num_layers or max(1, source.num_layers // 2),
        embedding_init=FLAGS.embedding_init,
        **sizes,
    )
    try:
        config = settings.fresh_config(source.config)
    except InputError as error:
        raise InputError(f"--hidden_dim or --num_heads: {error}") from None
    if FLAGS.embedding_init != "random" and config.embedding_dim > source.embedding_dim:
        raise InputError(
            f"--embedding_dim={config.embedding_dim} (default: --hidden_dim): "
            f"--embedding_init={FLAGS.embedding_init} gives at most the teacher's "
            f"{source.embedding_dim}; lower it, or --embedding_init=random."
        )
    return TransformerPlan(settings, config)
