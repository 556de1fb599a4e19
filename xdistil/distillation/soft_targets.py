"""Soft targets: the teacher's distribution over classes at a temperature."""

from typing import Any

import tensorflow as tf

from xdistil.distillation.losses import DistillationLoss, Positions, Tensors


class SoftTargets(DistillationLoss):
    """T² · KL(teacher ‖ student) of the class distributions, softened by a temperature: L_DS.

    The factor T² keeps the gradient's size about the same at any temperature.

    Args:
        temperature: T, above 0: logits are divided by it before the softmax.
        positions: `"texts"` (default), `"words"` or `"pieces"`, see `DistillationLoss`.
        name: Name of the term. Defaults to `"soft"`.

    Raises:
        ValueError: If `temperature` is not above 0.

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2
        - [Sun et al., 2019](https://arxiv.org/abs/1908.09355), section 3.1
    """

    def __init__(
        self, temperature: float = 2.0, positions: Positions = "texts", name: str = "soft"
    ):
        if not temperature > 0:
            raise ValueError(f"`temperature` must be above 0, received {temperature!r}.")
        super().__init__(positions, name)
        self.temperature = float(temperature)

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return ("logits",)

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        teacher, student = (
            tf.nn.log_softmax(tf.cast(outputs["logits"], tf.float32) / self.temperature, axis=-1)
            for outputs in (teacher_outputs, student_outputs)
        )
        divergence = tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
        return self.temperature**2 * divergence

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature, **super().get_config()}
