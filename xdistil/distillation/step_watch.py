"""What happens after each call of TensorFlow: after a step of a stage, or a few."""

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.distillation.distiller import Distiller
from xdistil.distillation.progress import Progress
from xdistil.distillation.stopping import STOP
from xdistil.errors import InputError
from xdistil.models.embedding_student import EmbeddingStudent

if TYPE_CHECKING:
    from xdistil.distillation.stage_trainer import StageTrainer


@dataclasses.dataclass
class Position:
    """Where training stands; kept in each checkpoint."""

    epoch: int = 0
    step: int = 0
    best_score: float | None = None
    best_epoch: int = -1
    seconds: float = 0.0
    steps_done: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


# Steps of a small student that are taken in one call of TensorFlow: a call costs a millisecond or
# two, and such a step takes ten to forty.
_STEPS_AT_ONCE = 4


def steps_at_once(model: keras.Model, teacher: keras.Model | None = None) -> int:
    """How many steps of `model` are taken before `StepWatch` looks at them.

    One where a step takes long: of a transformer, with a teacher beside it, on several devices.
    """
    alone = teacher is None and tf.distribute.get_strategy().num_replicas_in_sync == 1
    return _STEPS_AT_ONCE if alone and isinstance(model, EmbeddingStudent) else 1


# After so many steps several workers agree whether to write a checkpoint.
_STEPS_TO_ASK = 10


# Each loss is a mean over positions, of teacher outputs that float16 holds: none that learns is as
# large, but after steps that were too long it may be, and still be finite.
_ABSURD = 1e6


def refuse_if_lost(
    trainer: "StageTrainer", distiller: Distiller, loss: float, position: Position
) -> None:
    """Ends the run at a loss of NaN or infinity or beyond all bounds, or at such gradients.

    In float16 these change nothing: the step is left out, and the loss scaled less from there on.

    Raises:
        InputError: The loss is not finite, or above a million; no scale is small enough for the
            gradients any more; or the stage is over and each of its steps was left out.
    """
    ends = (position.epoch + 1, position.step) == (trainer.stage.epochs, trainer.steps)
    what = f"the loss is {loss}"
    if np.isfinite(loss) and loss <= _ABSURD:
        if not distiller.overflows and (not ends or distiller.steps_taken > 0):
            return
        what = "the gradients are NaN or beyond float16"
    factor = trainer.settings.learning_rate_factor / 2
    path = trainer.directory.checkpoint
    held = f"its last good checkpoint, {path}" if path.exists() else "its beginning"
    if position.steps_done <= _STEPS_AT_ONCE:
        what += " (so early it may be no matter of the rate: are there NaN in the weights given?)"
    raise InputError(
        f"stage {trainer.stage.name}: {what} at epoch {position.epoch + 1}, step {position.step}; "
        f"the same command with --learning_rate_factor={factor:g} goes on from {held}; or give a "
        "lower learning rate and another output directory"
    )


class StepWatch(keras.callbacks.Callback):
    """Counts steps, shows progress, writes checkpoints within an epoch.

    Args:
        trainer: The `StageTrainer` whose epoch this is.
        distiller: What it trains.
        position: Where the stage stands; counted up here.
        metric_values: Values of the metrics' variables at the start of a broken epoch's rest.
        progress: The bar.
    """

    def __init__(
        self,
        trainer: "StageTrainer",
        distiller: Distiller,
        position: Position,
        metric_values: list[np.ndarray] | None,
        progress: Progress,
    ):
        super().__init__()
        self.trainer = trainer
        self.distiller = distiller
        self.position = position
        self.metric_values = metric_values
        self.progress = progress
        self.clock = time.monotonic()
        self.saved = self.clock

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.metric_values is None:
            return
        variables = [v for metric in self.distiller.metrics for v in metric.variables]
        for variable, value in zip(variables, self.metric_values, strict=True):
            variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        taken = min(self.distiller.steps_per_execution, self.trainer.steps - self.position.step)
        self.position.step += taken
        self.position.steps_done += taken
        loss = float((logs or {}).get("loss", 0.0))
        refuse_if_lost(self.trainer, self.distiller, loss, self.position)
        self.progress.advance(taken, loss)
        if STOP.is_made or self._checkpoint_is_due():
            self.stop_clock()
            self.trainer.save(self.distiller, self.position)
            self.saved = time.monotonic()
        STOP.obey()

    def _checkpoint_is_due(self) -> bool:
        due = time.monotonic() - self.saved > self.trainer.settings.checkpoint_seconds
        workers = self.trainer.workers
        if workers.count == 1:
            return due
        # All read the variables of a checkpoint together; to ask each step would cost its time.
        return self.position.step % _STEPS_TO_ASK == 0 and workers.agree_that(due)

    def stop_clock(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self.clock
        self.clock = now
