"""A finished student that learns on, from other text or for other labels."""

import dataclasses

import keras
import numpy as np

from xdistil.tasks import Task, TrainedModel


@dataclasses.dataclass(frozen=True)
class ContinuedStudentSettings:
    """Takes a finished student in place of a new one.

    Where the labels are the same ones, in whatever order, the head goes on as well; other labels
    get a fresh head on the student's body.

    Args:
        student: The finished student, of any kind.
        origin: Where it lies, for the model card.

    Attributes:
        min_piece_count: 0: its vocabulary was pruned when it was made.
    """

    student: TrainedModel = dataclasses.field(compare=False, repr=False)
    origin: str
    min_piece_count: int = dataclasses.field(default=0, init=False)

    def keeps_head(self, task: Task) -> bool:
        """Whether the student's head was trained for the labels of a task."""
        return sorted(self.student.task.class_names) == sorted(task.class_names)

    def build(
        self, task: Task, teacher: keras.Model, kept_token_ids: np.ndarray | None, seed: int
    ) -> keras.Model:
        """A copy of the student, with a head for the task's labels.

        Args:
            task: What it is to do, over the student's own pieces.
            teacher: Not looked at.
            kept_token_ids: Not looked at.
            seed: Not looked at; a fresh head takes the global one.
        """
        before = self.student.model
        config = {
            **before.get_config(),
            "num_classes": task.num_classes,
            # The precision of this run, not the one that the student was trained in.
            "dtype": keras.config.dtype_policy().name,
        }
        if "label_names" in config:
            config["label_names"] = list(task.class_names)
        model = type(before).from_config(config)
        groups = before.layer_groups
        for name, layers in model.layer_groups.items():
            if name == "head":
                continue
            for layer, old in zip(layers, groups[name], strict=True):
                layer.set_weights(old.get_weights())
        if self.keeps_head(task):
            names = self.student.task.class_names
            rows = [names.index(name) for name in task.class_names]
            model.head.set_weights([weight[..., rows] for weight in before.head.get_weights()])
        return model
