"""Which layers of a deep model a shallow one begins with, or is held against."""

import re
from collections.abc import Sequence

from xdistil.errors import InputError

FIRST, SPREAD = "first", "spread"


def chosen_layers(rule: str, teacher_layers: int, student_layers: int) -> tuple[int, ...]:
    """The teacher's layers that a student begins with.

    Args:
        rule: `"first"`: the lowest ones, as Patient KD. `"spread"`: evenly, the lowest and the
            highest among them, as DistilBERT, which takes 1, 3, 5, 8, 10, 12 of 12.
        teacher_layers: How many the teacher has.
        student_layers: How many are wanted.

    Returns:
        Numbers of layers, from 1, ascending.

    Raises:
        InputError: The rule is unknown, or the student has more layers than the teacher.

    Reference:
        - [Sun et al., 2019](https://arxiv.org/abs/1908.09355), section 4.2
        - DistilBERT's code, which counts from 0: 0, 2, 4, 7, 9, 11
    """
    _check_depths(teacher_layers, student_layers)
    if rule == FIRST:
        return tuple(range(1, student_layers + 1))
    if rule != SPREAD:
        raise InputError(f"layers by the rule {rule!r}: expected {FIRST} or {SPREAD}")
    if student_layers == 1:
        return (1,)
    gap = (teacher_layers - 1) / (student_layers - 1)
    return tuple(1 + round(gap * index) for index in range(student_layers))


def name_in_source(name: str, layers: Sequence[int]) -> str:
    """The neutral name that a student's weight has in the model whose layers it takes.

    Args:
        name: Such as `layers.0.attention.query.kernel`; names outside of layers stay as they are.
        layers: The source's layers, from 1, in the order that they have in the student.
    """
    match = re.match(r"layers\.(\d+)\.(.*)", name)
    return name if match is None else f"layers.{layers[int(match[1])] - 1}.{match[2]}"


def skip_layers(teacher_layers: int, student_layers: int) -> tuple[int, ...]:
    """PKD-Skip: every (teacher / student)-th layer, one for each student layer but the last.

    12 layers to 6 give 2, 4, 6, 8, 10; to 3 they give 4, 8. Where the depths do not divide, the
    numbers are rounded down.

    Args:
        teacher_layers: How many the teacher has.
        student_layers: How many the student has.

    Returns:
        The teacher's layers, from 1, that the student's layers 1, 2, ... are held against.

    Raises:
        InputError: The student has more layers than the teacher.

    Reference:
        [Sun et al., 2019](https://arxiv.org/abs/1908.09355), section 3.2
    """
    _check_depths(teacher_layers, student_layers)
    return tuple(layer * teacher_layers // student_layers for layer in range(1, student_layers))


def last_layers(teacher_layers: int, student_layers: int) -> tuple[int, ...]:
    """PKD-Last: the layers just below the teacher's top, one for each student layer but the last.

    12 layers to 6 give 7, 8, 9, 10, 11; to 3 they give 10, 11.

    Args:
        teacher_layers: How many the teacher has.
        student_layers: How many the student has.

    Returns:
        The teacher's layers, from 1, that the student's layers 1, 2, ... are held against.

    Raises:
        InputError: The student has more layers than the teacher.

    Reference:
        [Sun et al., 2019](https://arxiv.org/abs/1908.09355), section 3.2
    """
    _check_depths(teacher_layers, student_layers)
    return tuple(range(teacher_layers - student_layers + 1, teacher_layers))


def _check_depths(teacher_layers: int, student_layers: int) -> None:
    if not 1 <= student_layers <= teacher_layers:
        raise InputError(
            f"a student of {student_layers} layers beside a teacher of {teacher_layers}: give 1 "
            f"to {teacher_layers}"
        )
