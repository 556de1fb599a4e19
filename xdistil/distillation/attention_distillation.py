"""A loss that holds attention maps of the student against the teacher's."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from xdistil.distillation.losses import ATTENTIONS, DistillationLoss, Tensors


class AttentionDistillation(DistillationLoss):
    """Mean squared error of attention weights, added up over pairs of layers with weight 1 each.

    The weights are those after the softmax, before dropout. At each real position the squares of
    all heads and all real positions attended to are averaged. Such maps grow with the square of
    the length and are not kept on the disk: the teacher runs in each step.

    Args:
        layers: Pairs of numbers of layers, the student's and the teacher's, from 1.
        name: Name of the term. Defaults to `"attentions"`.

    Raises:
        ValueError: There is no pair; once called, if head counts differ.

    Reference:
        [Mukherjee et al., 2021](https://arxiv.org/abs/2106.04563), section 3
    """

    def __init__(self, layers: Sequence[tuple[int, int]], name: str = "attentions"):
        if not layers:
            raise ValueError("AttentionDistillation needs at least one pair of `layers`.")
        super().__init__("pieces", name)
        self.layers = tuple((int(student), int(teacher)) for student, teacher in layers)

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return (ATTENTIONS,)

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        real = self._real(student_outputs, targets)  # (batch, keys)
        keys = tf.maximum(tf.reduce_sum(real, axis=-1), 1.0)
        total = 0.0
        for own, other in self.layers:
            student = student_outputs["attentions"][own - 1]
            teacher = teacher_outputs["attentions"][other - 1]
            if student.shape[1] != teacher.shape[1]:
                raise ValueError(
                    f"{self.name}: layer {own} of the student has {student.shape[1]} attention "
                    f"heads, layer {other} of the teacher {teacher.shape[1]}; attention maps can "
                    "be compared only where they agree."
                )
            squares = tf.square(tf.cast(student, tf.float32) - tf.cast(teacher, tf.float32))
            by_key = tf.reduce_mean(squares, axis=1)  # (batch, queries, keys)
            total += tf.reduce_sum(by_key * real[:, None], axis=-1) / keys[:, None]
        return total

    def _real(self, student_outputs: Tensors, targets: Tensors) -> tf.Tensor:
        """1 at real positions; without a mask all are."""
        if "padding_mask" in targets:
            return tf.cast(targets["padding_mask"], tf.float32)
        return tf.ones_like(student_outputs["attentions"][0][:, 0, 0], tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"layers": self.layers, "name": self.name}
