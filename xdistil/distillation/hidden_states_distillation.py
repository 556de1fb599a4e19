"""Losses that hold hidden states of the student against some of the teacher's, layer by layer."""

from collections.abc import Sequence
from typing import Any, Literal

import tensorflow as tf

from xdistil.distillation.losses import CLS, DistillationLoss, Positions, Tensors

#: Layer of the student, and layer of the teacher that it is held against; 0 = embeddings.
LayerPairs = Sequence[tuple[int, int]]
Reduction = Literal["sum", "mean"]


class HiddenStatePairs(DistillationLoss):
    """Base of the losses on pairs of hidden states.

    Args:
        layers: Pairs of indices of hidden states, the student's and the teacher's; 0 = embeddings.
        positions: `"texts"` reads the first position of each text ([CLS]) alone; `"words"`,
            `"pieces"`: see `DistillationLoss`.
        projection: `(student's width, teacher's width)`: each hidden state of the student goes
            through a linear map of its own that is learnt with the loss and is no part of the
            student. None: the widths are the same.
        name: Name of the term.

    Raises:
        ValueError: There is no pair.
    """

    def __init__(
        self,
        layers: LayerPairs,
        positions: Positions,
        projection: tuple[int, int] | None,
        name: str,
    ):
        if not layers:
            raise ValueError(f"{type(self).__name__} needs at least one pair of `layers`.")
        super().__init__(positions, name)
        self.layers = tuple((int(student), int(teacher)) for student, teacher in layers)
        self.projection = None if projection is None else tuple(int(width) for width in projection)

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        stem = CLS if self.positions == "texts" else "hidden_states_"
        return tuple(sorted({f"{stem}{teacher}" for _, teacher in self.layers}))

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        if self.projection is None:
            return {}
        return {f"layer_{student}": self.projection for student, _ in self.layers}

    def project(self, student_outputs: Tensors, projections: Tensors) -> Tensors:
        if self.projection is None:
            return student_outputs
        states = dict(enumerate(student_outputs["hidden_states"]))
        for student in {student for student, _ in self.layers}:
            states[student] = projections[f"layer_{student}"](states[student])
        return {**student_outputs, "hidden_states": states}

    def state_pairs(
        self, teacher_outputs: Tensors, student_outputs: Tensors
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Of each pair the student's and the teacher's state, float32 `(..., width)`."""
        pairs = []
        for own, other in self.layers:
            student = student_outputs["hidden_states"][own]
            if self.positions != "texts":
                teacher = teacher_outputs["hidden_states"][other]
            else:
                student = student[:, 0]
                # Records hold [CLS] alone; a teacher that runs now gives every position.
                teacher = teacher_outputs.get(f"{CLS}{other}")
                if teacher is None:
                    teacher = teacher_outputs["hidden_states"][other][:, 0]
            if student.shape[-1] != teacher.shape[-1]:
                raise ValueError(
                    f"{self.name}: hidden state {own} of the student is {student.shape[-1]} wide, "
                    f"{other} of the teacher {teacher.shape[-1]}: give "
                    f"`projection=({student.shape[-1]}, {teacher.shape[-1]})`."
                )
            pairs.append((tf.cast(student, tf.float32), tf.cast(teacher, tf.float32)))
        return pairs

    def get_config(self) -> dict[str, Any]:
        return {
            "layers": self.layers,
            "positions": self.positions,
            "projection": self.projection,
            "name": self.name,
        }


class PatientDistillation(HiddenStatePairs):
    """Squared distances of normalised hidden states of several layers: L_PT of Patient KD.

    Of whole texts on [CLS], as in the paper; of tagged words on each word's first piece.

    Args:
        layers: Pairs of indices of hidden states, the student's and the teacher's; 0 = embeddings.
            The paper's maps are `xdistil.models.layer_choice.skip_layers` and `last_layers`.
        normalize: Whether each hidden state is divided by its length (default).
        reduction: `"sum"` over layers and features, the paper's, whose weight is β (default).
            `"mean"` over both, as the authors' code: its β is layers · width times as large.
        positions: `"texts"` (default), `"words"` or `"pieces"`.
        projection: Widths of a learnt linear map each, see `HiddenStatePairs`.
        name: Name of the term. Defaults to `"patience"`.

    Raises:
        ValueError: There is no pair, or `reduction` is not one of the two.

    Reference:
        [Sun et al., 2019](https://arxiv.org/abs/1908.09355), equation 7
    """

    def __init__(
        self,
        layers: LayerPairs,
        normalize: bool = True,
        reduction: Reduction = "sum",
        positions: Positions = "texts",
        projection: tuple[int, int] | None = None,
        name: str = "patience",
    ):
        if reduction not in ("sum", "mean"):
            raise ValueError(f"`reduction` must be sum or mean, received {reduction!r}.")
        super().__init__(layers, positions, projection, name)
        self.normalize = bool(normalize)
        self.reduction = reduction

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        distances = []
        for student, teacher in self.state_pairs(teacher_outputs, student_outputs):
            if self.normalize:
                student, teacher = (tf.math.l2_normalize(x, -1) for x in (student, teacher))
            squares = tf.square(student - teacher)
            reduce = tf.reduce_sum if self.reduction == "sum" else tf.reduce_mean
            distances.append(reduce(squares, axis=-1))
        total = tf.add_n(distances)
        return total if self.reduction == "sum" else total / len(distances)

    def get_config(self) -> dict[str, Any]:
        own = {"normalize": self.normalize, "reduction": self.reduction}
        return {**super().get_config(), **own}


class HiddenStatesDistillation(HiddenStatePairs):
    """Mean squared error of hidden states, added up over pairs of layers with weight 1 each.

    Args:
        layers: Pairs of indices of hidden states, the student's and the teacher's; 0 =
            embeddings. `top_pairs` gives those of XtremeDistilTransformers.
        positions: `"pieces"` (default), `"words"` or `"texts"` ([CLS] alone).
        projection: Widths of a learnt linear map each, see `HiddenStatePairs`.
        name: Name of the term. Defaults to `"hidden_states"`.

    Raises:
        ValueError: There is no pair.

    Reference:
        [Mukherjee et al., 2021](https://arxiv.org/abs/2106.04563), section 3
    """

    def __init__(
        self,
        layers: LayerPairs,
        positions: Positions = "pieces",
        projection: tuple[int, int] | None = None,
        name: str = "hidden_states",
    ):
        super().__init__(layers, positions, projection, name)

    def values(
        self, teacher_outputs: Tensors, student_outputs: Tensors, targets: Tensors
    ) -> tf.Tensor:
        pairs = self.state_pairs(teacher_outputs, student_outputs)
        return tf.add_n(
            [tf.reduce_mean(tf.square(student - teacher), axis=-1) for student, teacher in pairs]
        )


def top_pairs(student_states: int, teacher_states: int) -> tuple[tuple[int, int], ...]:
    """Every hidden state of a student beside as many of the teacher's uppermost ones.

    Args:
        student_states: Hidden states of the student: layers + 1.
        teacher_states: Those of the teacher.

    Returns:
        Pairs of indices: `(0, teacher_states - student_states)` to the last of both.

    Raises:
        ValueError: The student has more of them.
    """
    below = teacher_states - student_states
    if below < 0:
        raise ValueError(
            f"A student of {student_states} hidden states beside a teacher of {teacher_states}: "
            "it must not have more."
        )
    return tuple((index, index + below) for index in range(student_states))
