"""A shallow masked language model made of some layers of a deep one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xdistil.errors import InputError
from xdistil.models.encoder import EncoderConfig
from xdistil.models.families import FAMILIES
from xdistil.models.layer_choice import name_in_source
from xdistil.models.masked_lm import MaskedLM

_STUDENT_FAMILY = "distilbert"
_WITHOUT_SEGMENTS = ("bert", _STUDENT_FAMILY)


def masked_lm_student(
    teacher: MaskedLM,
    layers: Sequence[int],
    *,
    from_teacher: bool = True,
    fold_segments: bool = True,
    dropout: float | None = None,
    **kwargs,
) -> MaskedLM:
    """A student of its teacher's width with fewer layers, as DistilBERT is made.

    The student of a BERT is of the family DistilBERT: no segments and no pooler. That of another
    family stays in it. Embeddings, their layer normalization, the chosen layers and the head are
    copies of the teacher's; nothing is shared.

    Args:
        teacher: What it is made of.
        layers: Numbers of the teacher's layers, from 1, ascending, such as those of
            `chosen_layers("spread", 12, 6)`.
        from_teacher: Whether it starts with the teacher's weights; else with random ones, the same
            shape.
        fold_segments: Whether a BERT's embedding of segment 0 is added to every position, so that
            the student's embeddings are the teacher's for a single text. The authors' code drops
            it.
        dropout: For every place that has one. None: the teacher's.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Raises:
        InputError: no layers, a layer that the teacher has not, or layers out of order.

    Example:

    ```python
    student = masked_lm_student(teacher, chosen_layers("spread", teacher.num_layers, 6))
    ```

    Reference:
        [Sanh et al., 2019](https://arxiv.org/abs/1910.01108), section 3
    """
    layers = list(layers)
    depth = teacher.num_layers
    if not layers or layers != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] <= depth:
        raise InputError(
            f"layers {', '.join(map(str, layers)) or 'none'} of a teacher of {depth}: give numbers "
            f"from 1 to {depth}, ascending"
        )
    config = student_config(teacher.encoder_config, len(layers))
    if dropout is not None:
        config = dataclasses.replace(config, dropout=dropout, attention_dropout=dropout)
    student = MaskedLM(config, **kwargs)
    if from_teacher:
        _copy(teacher, student, layers, fold_segments)
    return student


def student_config(config: EncoderConfig, num_layers: int) -> EncoderConfig:
    """What the student of a teacher is made of.

    Args:
        config: The teacher's settings.
        num_layers: The student's layers.
    """
    changes: dict = {"num_layers": num_layers}
    if config.family in _WITHOUT_SEGMENTS:
        # DistilBERT's layer normalization has one epsilon, which no config.json names.
        epsilon = FAMILIES[_STUDENT_FAMILY].defaults["layer_norm_epsilon"]
        changes |= {
            "family": _STUDENT_FAMILY,
            "num_segments": 0,
            "layer_norm_epsilon": epsilon,
        }
    return dataclasses.replace(config, **changes)


def _copy(teacher: MaskedLM, student: MaskedLM, layers: Sequence[int], fold_segments: bool) -> None:
    given = teacher.encoder.named_weights()
    if teacher.encoder_config.shared_layers:
        layers = [1]  # all of them are this one
    for name, variable in student.encoder.named_weights().items():
        variable.assign(given[name_in_source(name, layers)])
    segments = given.get("embeddings.segment")
    if fold_segments and segments is not None and student.encoder.segment_embedding is None:
        positions = student.encoder.position_embedding.position_embeddings
        positions.assign(positions + segments[0])
    student.head.mlm_dense.set_weights(teacher.head.mlm_dense.get_weights())
    student.head.mlm_norm.set_weights(teacher.head.mlm_norm.get_weights())
    student.head.mlm_bias.assign(teacher.head.mlm_bias)
