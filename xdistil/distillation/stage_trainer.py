"""Trains one stage, so that a kill at any moment costs minutes and changes no bit of the result."""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.data.atomic_files import read_json, write_json
from xdistil.data.batching import sized
from xdistil.data.paths import AnyPath, remove_tree
from xdistil.data.record_batches import Share, read_batches
from xdistil.data.records import RecordStore
from xdistil.distillation.distiller import Distiller
from xdistil.distillation.events import write_events
from xdistil.distillation.frozen_states import (
    FROZEN,
    FrozenStates,
    UpperLayers,
    as_features,
    trains_upper_layers,
)
from xdistil.distillation.progress import Progress
from xdistil.distillation.projections import Projections, projection_layers
from xdistil.distillation.seeds import derive_seed, seed_dropout
from xdistil.distillation.stage_data import StageData, StageSettings
from xdistil.distillation.stage_directory import StageDirectory
from xdistil.distillation.stages import Stage
from xdistil.distillation.state import collect_variables, load_state, save_state
from xdistil.distillation.step_watch import Position, StepWatch, refuse_if_lost, steps_at_once
from xdistil.distillation.stopping import STOP
from xdistil.distillation.workers import Workers
from xdistil.errors import InputError

logger = logging.getLogger("xdistil")


class StageTrainer:
    """Trains a model through one stage, with checkpoints, early stopping and selection on dev.

    Args:
        stage: The stage.
        number: Its place in the recipe, from 1; part of the seed.
        model: The student (or the teacher, while it is fine-tuned); changed in place.
        data: What the stage reads.
        directory: Where its state lies.
        settings: How to train.
        score: The task's metric of the model on dev, higher is better.
        teacher: Runs in each step where the records hold no outputs of it (`online`).
        events: Folder for TensorBoard's events; `None` writes none.
        progress: Makes the progress bar.
        projections: Those of the run; default: fresh ones.
        frozen_folder: Where what frozen layers give is kept, for this stage and those after it;
            `None`: in the stage's own directory.

    Raises:
        InputError: If a loss turns NaN; the last good checkpoint is named.
        Stopped: If `STOP` was asked for; its checkpoint is written.
    """

    #: What takes the steps; a subclass may read batches of another form.
    distiller_class: type[Distiller] = Distiller

    def __init__(
        self,
        stage: Stage,
        number: int,
        model: keras.Model,
        data: StageData,
        directory: StageDirectory,
        settings: StageSettings,
        score: Callable[[], float],
        teacher: keras.Model | None = None,
        events: AnyPath | None = None,
        progress: Callable[[int, str], Progress] = Progress,
        projections: Projections | None = None,
        frozen_folder: AnyPath | None = None,
    ):
        self.workers = Workers.current()
        self.stage = stage
        self.number = number
        self.model = model
        self.data = data
        self.directory = directory
        self.settings = settings
        self.score = score
        self.teacher = teacher if stage.needs_teacher else None
        self.events = events
        self._progress_class = progress
        self._optimizer = stage.optimizer.scaled(settings.learning_rate_factor)
        self.projections = projections or Projections(settings.seed)
        self._projection_layers = projection_layers(self.projections.of(stage.terms))
        self.weights = collect_variables(model, projections=self._projection_layers)
        self.frozen_folder = frozen_folder or directory.path / FROZEN
        # The student without its frozen layers, where these can be left out.
        leaves_out = trains_upper_layers(model, stage.trainable, stage.terms)
        self._upper = UpperLayers(model) if leaves_out else None
        self._train = list(data.train)
        self.steps = data.steps(stage.batch_size)

    def run(self) -> dict[str, Any]:
        """Trains until the stage is done, or takes over what was done before.

        Returns:
            The stage's entry in report.json: `name`, `losses`, `dev_metric`, `epochs`, `steps`,
            `seconds`, `examples_per_second`. The model holds the weights of the best epoch on dev.
        """
        self.workers.in_chief(self._check_plan)
        if self.workers.agree_that(self.directory.is_done):
            self.workers.wait_for_file(self.directory.done)
            self._load(self.directory.final)
            return self.directory.done_record()
        self._freeze()
        distiller = self._compile()
        position, metric_values = self._resume(distiller)
        self._keep_frozen_states(position)
        with self._progress(position) as progress, STOP.heard(by=self.workers.count):
            while position.epoch < self.stage.epochs and not self._exhausted(position):
                self._train_epoch(distiller, position, metric_values, progress)
                metric_values = None
                STOP.obey()
        return self._finish(position)

    def _load(self, path: AnyPath) -> None:
        self.workers.wait_for_file(path)
        load_state(path, self.weights)

    def _save_weights(self, path: AnyPath) -> None:
        save_state(path, self.weights, write=self.workers.is_chief)

    def _agreed_score(self) -> float:
        return self.workers.agree(float(self.score()))

    def _check_plan(self) -> None:
        path = self.directory.path / "stage.json"
        plan = json.loads(json.dumps(self.stage.to_config()))
        if (held := read_json(path)) is None:
            write_json(path, plan)
        elif held != plan:
            names = ", ".join(name for name in plan if plan[name] != held.get(name))
            raise InputError(
                f"{self.directory.path}: holds a stage of other settings ({names}); give another "
                "run directory"
            )

    def _freeze(self) -> None:
        groups = self.model.layer_groups
        learning = groups if self.stage.trainable is None else self.stage.trainable
        unknown = set(learning) - set(groups)
        if unknown:
            raise ValueError(f"{self.stage.name}: no layer groups {unknown}; there are {[*groups]}")
        for name, layers in groups.items():
            for layer in layers:
                layer.trainable = name in learning

    def _keep_frozen_states(self, position: Position) -> None:
        # Not by the epochs that are left: a run that goes on reads what it read before.
        wanted = self._upper is not None and self.settings.reuse_frozen and self.stage.epochs > 1
        # Several workers would all write them; each runs the frozen layers on its rows alone.
        if not wanted or self.workers.count > 1:
            remove_tree(self.frozen_folder, ignore_errors=True)
            return
        places = (self.frozen_folder, self.data.lengths, self.directory.path / "frozen.json")
        begun = time.monotonic()
        self._train = FrozenStates(self.model, *places).beside(self.data.train)
        position.seconds += time.monotonic() - begun

    def _compile(self) -> Distiller:
        distiller = self.distiller_class(
            self.model if self._upper is None else self._upper,
            self.stage.terms,
            [weight for weight, _ in self.stage.losses],
            teacher=self.teacher,
            projections=self.projections,
        )
        distiller.compile(
            optimizer=self._optimizer.build(self.steps, self.stage.epochs),
            jit_compile=self.settings.jit_compile,
            steps_per_execution=steps_at_once(self.model, self.teacher),
        )
        return distiller

    def _state(self, distiller: Distiller) -> dict[str, keras.Variable]:
        return collect_variables(
            self.model,
            optimizer=distiller.optimizer,
            metrics=distiller.metrics,
            projections=self._projection_layers,
        )

    def _resume(self, distiller: Distiller) -> tuple[Position, list[np.ndarray] | None]:
        if not self.workers.agree_that(self.directory.checkpoint.exists()):
            self._reset_groups()
            return self._beginning(), None
        self.workers.wait_for_file(self.directory.checkpoint)
        metadata = load_state(self.directory.checkpoint, self._state(distiller))
        if self.stage.optimizer.schedule == "constant":  # a variable of the checkpoint
            distiller.optimizer.learning_rate = self._optimizer.learning_rate
        position = Position(**json.loads(metadata["position"]))
        logger.info(
            "%s: goes on at epoch %d, step %d", self.stage.name, position.epoch + 1, position.step
        )
        # `fit` resets metrics when it begins; the running means of a broken epoch come back after.
        values = [v.numpy() for metric in distiller.metrics for v in metric.variables]
        return position, values if position.step else None

    def _beginning(self) -> Position:
        # What the stage was given is a candidate as well: a stage never lowers the metric on dev.
        # (A loss of the stage's own says nothing of what it was given.)
        if self.stage.monitor == "loss" or self.stage.reset:
            return Position()
        self._save_weights(self.directory.best)
        return Position(best_score=self._agreed_score())

    def _reset_groups(self) -> None:
        if not self.stage.reset:
            return
        keras.utils.set_random_seed(derive_seed(self.settings.seed, self.number, "reset"))
        fresh = type(self.model).from_config(self.model.get_config())
        for group in self.stage.reset:
            old = self.model.layer_groups[group]
            for layer, new in zip(old, fresh.layer_groups[group], strict=True):
                layer.set_weights(new.get_weights())

    def _exhausted(self, position: Position) -> bool:
        patience = self.stage.patience
        return patience > 0 and position.epoch - 1 - position.best_epoch >= patience

    def _train_epoch(
        self,
        distiller: Distiller,
        position: Position,
        metric_values: list[np.ndarray] | None,
        progress: Progress,
    ) -> None:
        if position.step == 0:
            seed_dropout(self.model, self.settings.seed, self.number, position.epoch)
        watch = StepWatch(self, distiller, position, metric_values, progress)
        # Stopped after the last step, before dev was scored: then no step is left to take, and the
        # metrics hold what the checkpoint brought.
        if position.step < self.steps:
            distiller.fit(
                self.train_batches(position.epoch, position.step),
                epochs=1,
                steps_per_epoch=self._steps_if_dealt(self.steps - position.step),
                shuffle=False,
                verbose=0,
                callbacks=[watch],
            )
        watch.stop_clock()
        logs = {name: float(v) for name, v in distiller.get_metrics_result().items()}
        # After the last step only dev's loss shows what that step did.
        logs |= self.dev_scores(distiller)
        refuse_if_lost(self, distiller, sum(logs.values()), position)
        position.epoch += 1
        position.step = 0
        self._select(position, logs)
        position.history.append({"epoch": position.epoch, **logs})
        self.save(distiller, position)
        if self.workers.is_chief:
            self.directory.write_history(position.history)
        if self.workers.is_chief and self.events is not None:
            write_events(self.events / self.directory.name, position.epoch, logs)
        progress.say(self._line(position, logs))
        logger.debug("%s", self._line(position, logs))  # for run.log

    def dev_scores(self, distiller: Distiller) -> dict[str, float]:
        """What an epoch is judged by; names begin with `dev_`."""
        if self.stage.monitor == "metric":
            return {"dev_metric": self._agreed_score()}
        dev = self._batches(self.data.dev, shuffle=False)
        steps = self._steps_if_dealt(self.data.steps(self.stage.batch_size, self.data.dev))
        losses = distiller.evaluate(dev, steps=steps, verbose=0, return_dict=True)
        return {f"dev_{name}": float(value) for name, value in losses.items()}

    def selection_score(self, logs: dict[str, float]) -> float:
        """Of an epoch; the best one's weights are kept."""
        return logs["dev_metric"] if self.stage.monitor == "metric" else -logs["dev_loss"]

    def _select(self, position: Position, logs: dict[str, float]) -> None:
        score = self.selection_score(logs)
        if position.best_score is None or score > position.best_score:
            position.best_score = score
            position.best_epoch = position.epoch - 1
            # Written before the checkpoint: a kill between the two repeats the epoch, which ends
            # in these very weights again.
            self._save_weights(self.directory.best)

    def _finish(self, position: Position) -> dict[str, Any]:
        if self.workers.agree_that(self.directory.best.exists()):
            self._load(self.directory.best)
        self._save_weights(self.directory.final)
        # Again, for a stage killed between its last checkpoint and its history.
        if self.workers.is_chief:
            self.directory.write_history(position.history)
        best = position.history[position.best_epoch] if position.best_epoch >= 0 else {}
        record = {
            "name": self.stage.name,
            "losses": {loss.name: best.get(loss.name) for loss in self.stage.terms},
            "dev_metric": self._agreed_score(),
            "epochs": position.epoch,
            "best_epoch": position.best_epoch + 1,
            "steps": position.steps_done,
            "seconds": position.seconds,
            "examples_per_second": (
                self.data.examples * position.epoch / position.seconds if position.seconds else 0.0
            ),
        }
        if self._optimizer != self.stage.optimizer:
            record["learning_rate_factor"] = self.settings.learning_rate_factor
        if self.workers.is_chief:
            self.directory.mark_done(record)
            for path in (self.directory.checkpoint, self.directory.best):
                path.unlink(missing_ok=True)
        remove_tree(self.directory.path / FROZEN, ignore_errors=True)
        return record

    def train_batches(self, epoch: int, first_step: int) -> tf.data.Dataset:
        """The steps of an epoch, from `first_step` on."""
        return self._batches(self._train, True, epoch, first_step)

    def _batches(
        self, stores: Sequence[RecordStore], shuffle: bool, epoch: int = 0, first: int = 0
    ) -> Any:
        arrays = () if self.teacher is not None else self.stage.teacher_outputs
        kept = all(FROZEN in store.arrays for store in stores)

        def read(share: Share | None) -> tf.data.Dataset:
            batches = read_batches(
                stores,
                lengths=self.data.lengths,
                batch_size=self.stage.batch_size,
                arrays=(*arrays, FROZEN) if kept else arrays,
                shuffle=shuffle,
                seed=derive_seed(self.settings.seed, self.number, "order"),
                epoch=epoch,
                first_batch=first,
                share=share,
            )
            return batches.map(as_features) if kept else batches

        return self.dealt(read, self.data.steps(self.stage.batch_size, stores) - first)

    def dealt(self, read: Callable[[Share | None], tf.data.Dataset], steps: int) -> Any:
        """Batches for `fit`: all rows, or those of this worker's devices.

        Args:
            read: Gives the batches, or a share of each.
            steps: How many there are.
        """
        if self.workers.count == 1:
            return sized(read(None), steps)
        strategy = tf.distribute.get_strategy()
        devices = strategy.num_replicas_in_sync // self.workers.count
        share = Share(self.workers.index * devices, devices, strategy.num_replicas_in_sync)
        return strategy.distribute_datasets_from_function(lambda _: read(share))

    def _steps_if_dealt(self, steps: int) -> int | None:
        # A dataset of one worker knows its size; one of several does not.
        return None if self.workers.count == 1 else steps

    def save(self, distiller: Distiller, position: Position) -> None:
        """Writes the checkpoint, unless the weights hold NaN."""
        # A step may have left NaN that only the next loss would show: such a state is not kept.
        if not all(np.isfinite(v.numpy()).all() for v in distiller.learnt_variables):
            return
        metadata = {"position": json.dumps(dataclasses.asdict(position))}
        path, writes = self.directory.checkpoint, self.workers.is_chief
        save_state(path, self._state(distiller), metadata, write=writes)

    def _progress(self, position: Position) -> Progress:
        progress = self._progress_class(self.steps * self.stage.epochs, self.stage.name)
        progress.start_at(position.epoch * self.steps + position.step)
        return progress

    def _line(self, position: Position, logs: dict[str, float]) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
        return f"{self.stage.name}: epoch {position.epoch}/{self.stage.epochs}: {scores}"
