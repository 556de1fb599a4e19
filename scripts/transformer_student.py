"""What the flags say of a transformer student, before its teacher is trained."""

import dataclasses
import re

from absl import flags
from student_plan import StudentPlan, cut_alike, layers_of
from teacher_source import TeacherSource, checkpoint_digest, encoder_of

from xdistil.distillation.transformer_settings import TransformerStudentSettings
from xdistil.errors import InputError
from xdistil.models import EncoderConfig
from xdistil.models.checkpoints import Checkpoint
from xdistil.models.encoder_student import EncoderStudent
from xdistil.models.layer_choice import FIRST, SPREAD, chosen_layers
from xdistil.models.presets import find_checkpoint

FLAGS = flags.FLAGS
_PRETRAINED, _FINETUNED = "pretrained", "finetuned"


def plan_transformer(source: TeacherSource, student_class: type[EncoderStudent]) -> StudentPlan:
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


def _from_checkpoint(source: TeacherSource, settings: TransformerStudentSettings) -> StudentPlan:
    folder = find_checkpoint(FLAGS.student_checkpoint)
    checkpoint = Checkpoint(folder)
    encoder = encoder_of(checkpoint, "student")
    own = not cut_alike(encoder, source.encoder)
    settings = dataclasses.replace(settings, checkpoint=str(folder))
    return _plan(
        settings,
        checkpoint.encoder_config,
        encoder=encoder if own else None,
        origin=f"--student_checkpoint={folder}",
        fingerprint=checkpoint_digest(folder),
    )


def _from_layers(source: TeacherSource, settings: TransformerStudentSettings) -> StudentPlan:
    layers = _chosen(source.num_layers)
    origin = FLAGS.student_layers_from or (_PRETRAINED if source.folder else _FINETUNED)
    if origin == _PRETRAINED and source.folder is None:
        raise InputError(
            "--student_layers_from=pretrained: --teacher=scratch was trained by nobody before; "
            "take finetuned."
        )
    config = dataclasses.replace(source.config, num_layers=len(layers))
    checkpoint = str(source.folder) if origin == _PRETRAINED else None
    return _plan(dataclasses.replace(settings, layers=layers, checkpoint=checkpoint), config)


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


def _fresh(source: TeacherSource, settings: TransformerStudentSettings) -> StudentPlan:
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
    return _plan(settings, config)


def _plan(settings: TransformerStudentSettings, config: EncoderConfig, **others) -> StudentPlan:
    return StudentPlan(
        settings,
        name=f"transformer ({layers_of(config)}, {config.hidden_dim})",
        layer_groups=settings.student_class.group_names(config),
        width=config.hidden_dim,
        depth=config.num_layers,
        heads=config.num_heads,
        **others,
    )
