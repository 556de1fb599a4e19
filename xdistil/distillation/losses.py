"""The losses of distillation: one object per objective, a value and a weight per position.

Every loss here is a `keras.distillation.DistillationLoss`. What it adds is `values` and
`position_weights`: `xdistil.Distiller` multiplies the two, sums over all replicas and divides once
by the global sum of weights, so that a loss is the same number at any padding, batch size and split
over devices. (`keras.distillation.Distiller` hands its losses neither features nor labels: inside
it the losses on teacher outputs count padding too, and `LabelCrossEntropy` has nothing to read.)
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

Positions = Literal["pieces", "words", "labeled"]
Tensors = Mapping[str, Any]

REPRESENTATION_KINDS = ("mse", "kl", "cosine", "keras_kld")
_CLIP = 1e-7


class DistillationLoss(keras.distillation.DistillationLoss):
    """Base of the losses: a value per position and the weight of that position.

    Args:
        positions: Which positions count. `"pieces"`: every real word piece, [CLS] and [SEP] too.
            `"words"`: the first piece of each word. `"labeled"`: where there is a gold label.
        name: Name of the term in logs, `history` and `report.json`.
    """

    #: Key of the teacher's outputs that the loss reads, or `None` where it reads none.
    needs_teacher: str | None = None

    def __init__(self, positions: Positions, name: str):
        self.positions = positions
        self.name = name

    def position_weights(self, features: Tensors, targets: Tensors) -> tf.Tensor:
        """Weights of the positions: 1 where the loss counts, else 0.

        Args:
            features: The batch's features, each `(batch_size, length)`.
            targets: The batch's targets; `labels` of shape `(batch_size, length)`, -1 = none.

        Returns:
            float32 tensor `(batch_size, length)`.
        """
        if self.positions == "labeled":
            return tf.cast(targets["labels"] >= 0, tf.float32)
        key = "padding_mask" if self.positions == "pieces" else "word_starts"
        return tf.cast(features[key], tf.float32)

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        """The loss at each position, padding included: float32 `(batch_size, length)`."""
        raise TypeError(f"{type(self).__name__} has to define `values`.")

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> tf.Tensor:
        """Weighted mean as a scalar: the interface of `keras.distillation`.

        Args:
            teacher_outputs: Outputs of the teacher, `logits` and `hidden_states`.
            student_outputs: Outputs of the student.
            **kwargs: `features` and `targets`; without features every position counts.
        """
        targets = kwargs.get("targets") or {}
        values = self.values(teacher_outputs, student_outputs, targets)
        features = kwargs.get("features")
        if features is None:
            return tf.reduce_mean(values)
        weights = self.position_weights(features, targets)
        return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Teacher and student differ in structure by design, so nothing is compared here."""

    def get_config(self) -> dict[str, Any]:
        return {"positions": self.positions, "name": self.name}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self.get_config().items()))))

    def __repr__(self) -> str:
        config = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({config})"


class LabelCrossEntropy(DistillationLoss):
    """Cross-entropy against the gold labels: L_CE.

    Args:
        name: Name of the term. Defaults to `"labels"`.

    Reference:
        XtremeDistil, arXiv:2004.05686, section 3.2.
    """

    def __init__(self, name: str = "labels"):
        super().__init__("labeled", name)

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        logits = tf.cast(student_outputs["logits"], tf.float32)
        labels = tf.maximum(targets["labels"], 0)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


class LogitsRegression(DistillationLoss):
    """Half the squared distance between raw logits: L_LL = 1/2 ||r_s(x) - logit_t(x)||^2.

    No temperature and no softmax. The sum runs over classes, the mean over positions.

    Args:
        positions: `"words"` (default; where a tag is read) or `"pieces"`, see `DistillationLoss`.
        name: Name of the term. Defaults to `"logits"`.

    Reference:
        XtremeDistil, arXiv:2004.05686, section 3.2.
    """

    needs_teacher = "logits"

    def __init__(self, positions: Positions = "words", name: str = "logits"):
        super().__init__(positions, name)

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        teacher = tf.cast(teacher_outputs["logits"], tf.float32)
        student = tf.cast(student_outputs["logits"], tf.float32)
        return 0.5 * tf.reduce_sum(tf.square(student - teacher), axis=-1)


class RepresentationDistillation(DistillationLoss):
    """Distance between the student's representation and a hidden state of the teacher: L_RL.

    Args:
        layer: Index of the teacher's hidden state; 0 is the embeddings' output.
        kind: `"mse"` mean squared error over the feature axis (default); `"kl"` KL divergence of
            the softmax over the feature axis; `"cosine"` 1 - cosine similarity; `"keras_kld"` the
            published code's form, KLD of the raw values clipped to [1e-7, 1], for comparison only:
            its gradient vanishes wherever a value leaves that interval.
        positions: `"pieces"` (default) or `"words"`.
        name: Name of the term. Defaults to `"representation"`.

    Raises:
        ValueError: If `kind` is not one of the four.

    Reference:
        XtremeDistil, arXiv:2004.05686, section 3.2, Table 8.
    """

    needs_teacher = "hidden_states"

    def __init__(
        self,
        layer: int,
        kind: str = "mse",
        positions: Positions = "pieces",
        name: str = "representation",
    ):
        if kind not in REPRESENTATION_KINDS:
            raise ValueError(f"`kind` must be one of {REPRESENTATION_KINDS}, received {kind!r}.")
        super().__init__(positions, name)
        self.layer = layer
        self.kind = kind

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        teacher = tf.cast(teacher_outputs["hidden_states"][self.layer], tf.float32)
        student = tf.cast(student_outputs["representation"], tf.float32)
        if self.kind == "mse":
            return tf.reduce_mean(tf.square(student - teacher), axis=-1)
        if self.kind == "cosine":
            similarity = tf.math.l2_normalize(student, -1) * tf.math.l2_normalize(teacher, -1)
            return 1.0 - tf.reduce_sum(similarity, axis=-1)
        if self.kind == "kl":
            log_teacher = tf.nn.log_softmax(teacher, axis=-1)
            log_student = tf.nn.log_softmax(student, axis=-1)
            return tf.reduce_sum(tf.exp(log_teacher) * (log_teacher - log_student), axis=-1)
        teacher = tf.clip_by_value(teacher, _CLIP, 1.0)
        student = tf.clip_by_value(student, _CLIP, 1.0)
        return tf.reduce_sum(teacher * tf.math.log(teacher / student), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "kind": self.kind,
            "positions": self.positions,
            "name": self.name,
        }


def teacher_layers(losses: Sequence[DistillationLoss]) -> tuple[int, ...]:
    """Indices of the teacher's hidden states that the losses read, ascending."""
    return tuple(sorted({loss.layer for loss in losses if hasattr(loss, "layer")}))
