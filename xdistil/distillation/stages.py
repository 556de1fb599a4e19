"""A stage of a recipe as plain data, and the optimizer that it trains with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import keras

from xdistil.distillation.fused_optimizers import FusedAdadelta, FusedAdam, FusedAdamW
from xdistil.distillation.losses import DistillationLoss

Data = Literal["transfer", "labeled", "both"]
Schedule = Literal["cosine_restarts", "linear_warmup", "constant"]
_ADAM = ("beta_1", "beta_2", "epsilon")


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimizer and learning-rate schedule of a stage.

    Args:
        name: `"adam"`, `"adamw"` or `"adadelta"`.
        learning_rate: Peak learning rate.
        schedule: `"cosine_restarts"` from the peak to `minimum_learning_rate`, again and again;
            `"linear_warmup"` up over `warmup_fraction` of the steps, then down to 0;
            `"constant"`.
        minimum_learning_rate: Where the cosine ends.
        period_epochs: Length of the first cosine period. 0: as long as the stage has epochs.
        period_factor: Factor from one period's length to the next one's.
        peak_factor: Factor from one period's peak to the next one's.
        warmup_fraction: Share of the steps spent warming up, for `"linear_warmup"`.
        weight_decay: Decoupled weight decay, for `"adamw"`; none on biases and LayerNorm.
        clip_norm: Global norm that gradients are clipped to; 0 = never.
        rho: Decay rate of `"adadelta"`.
        beta_1: Decay rate of the first moment, for `"adam"` and `"adamw"`.
        beta_2: Decay rate of the second moment.
        epsilon: Added to the root of the second moment.

    Reference:
        The authors' settings: 1e-3 to 1e-8, period 50 epochs, doubled, peak x 0.97
        (XtremeDistil, arXiv:2004.05686).
    """

    name: Literal["adam", "adamw", "adadelta"] = "adam"
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine_restarts"
    minimum_learning_rate: float = 1e-8
    period_epochs: int = 50
    period_factor: float = 2.0
    peak_factor: float = 0.97
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    rho: float = 0.95
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def to_config(self) -> dict[str, Any]:
        """The settings as JSON-able data."""
        config = asdict(self)
        for name in _ADAM:
            # Left out where it is what it always was: stages are compared by their settings.
            if config[name] == getattr(OptimizerSettings, name):
                del config[name]
        return config

    def scaled(self, factor: float) -> "OptimizerSettings":
        """The same with another learning rate."""
        return replace(self, learning_rate=factor * self.learning_rate)

    def build(self, steps_per_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
        """The Keras optimizer for a stage of `epochs` times `steps_per_epoch` steps."""
        rate = self._schedule(steps_per_epoch, epochs)
        clip = {"global_clipnorm": self.clip_norm} if self.clip_norm else {}
        adam = {name: getattr(self, name) for name in _ADAM}
        if self.name == "adam":
            return FusedAdam(rate, **adam, **clip)
        if self.name == "adadelta":
            return FusedAdadelta(rate, rho=self.rho, **clip)
        optimizer = FusedAdamW(rate, weight_decay=self.weight_decay, **adam, **clip)
        optimizer.exclude_from_weight_decay(var_names=["bias", "layer_norm", "beta", "gamma"])
        return optimizer

    def _schedule(self, steps_per_epoch: int, epochs: int) -> Any:
        if self.schedule == "constant":
            return self.learning_rate
        steps = max(1, steps_per_epoch * epochs)
        if self.schedule == "linear_warmup":
            warmup = int(steps * self.warmup_fraction)
            return (
                keras.optimizers.schedules.PolynomialDecay(
                    self.learning_rate, decay_steps=steps, end_learning_rate=0.0
                )
                if not warmup
                else LinearWarmup(self.learning_rate, warmup, steps)
            )
        return keras.optimizers.schedules.CosineDecayRestarts(
            self.learning_rate,
            first_decay_steps=max(1, steps_per_epoch * (self.period_epochs or epochs)),
            t_mul=self.period_factor,
            m_mul=self.peak_factor,
            alpha=self.minimum_learning_rate / self.learning_rate,
        )


@keras.saving.register_keras_serializable(package="xdistil")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Up in a straight line from 0 to the peak, then down in a straight line to 0.

    Args:
        learning_rate: The peak.
        warmup_steps: Steps until the peak.
        total_steps: Steps until 0.

    Reference:
        Devlin et al. 2019, arXiv:1810.04805, appendix A.2.
    """

    def __init__(self, learning_rate: float, warmup_steps: int, total_steps: int):
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        up = step / float(max(1, self.warmup_steps))
        down = (self.total_steps - step) / float(max(1, self.total_steps - self.warmup_steps))
        return self.learning_rate * keras.ops.clip(keras.ops.minimum(up, down), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe: what is learned, from which data, by which layers.

    Args:
        name: Name in logs, the run directory and the report.
        losses: The terms, each with its weight: `((1.0, LabelCrossEntropy()),)`.
        data: `"transfer"` text, `"labeled"` sentences, or `"both"` mixed.
        trainable: Names of the student's layer groups that learn, `None` = all.
        epochs: Most epochs.
        batch_size: Sentences a step, over all replicas.
        optimizer: Optimizer and schedule; fresh at the start of each stage.
        patience: Epochs without a better dev score before the stage stops early; 0 = never.
        monitor: What dev is judged by: the stage's own `"loss"`, or the task's `"metric"`.
        reset: Names of layer groups that start afresh with this stage.
    """

    name: str
    losses: tuple[tuple[float, DistillationLoss], ...]
    data: Data = "transfer"
    trainable: tuple[str, ...] | None = None
    epochs: int = 80
    batch_size: int = 512
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    patience: int = 5
    monitor: Literal["loss", "metric"] = "loss"
    reset: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[DistillationLoss, ...]:
        return tuple(loss for _, loss in self.losses)

    @property
    def needs_teacher(self) -> bool:
        return bool(self.teacher_outputs)

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        """Names of the teacher's outputs, as in the records, that the losses read."""
        return tuple(sorted({name for loss in self.terms for name in loss.teacher_outputs}))

    def with_settings(self, **changes: Any) -> "Stage":
        """The same stage with other settings."""
        return replace(self, **changes)

    def to_config(self) -> dict[str, Any]:
        """The stage as JSON-able data: what `config.json` keeps."""
        config = asdict(replace(self, losses=())) | {"optimizer": self.optimizer.to_config()}
        config["losses"] = [
            {"weight": weight, "loss": type(loss).__name__, **loss.get_config()}
            for weight, loss in self.losses
        ]
        return config


def needed_teacher_outputs(stages: Sequence[Stage]) -> Mapping[str, tuple[str, ...]]:
    """What the stages read of the teacher, by kind of text.

    Returns:
        `{"transfer": names, "labeled": names}`: the names of the teacher's outputs that are read on
        that text, sorted: `hidden_states_7`, `logits`, `pooled_output`.
    """
    needs = {}
    for kind in ("transfer", "labeled"):
        readers = [stage for stage in stages if stage.data in (kind, "both")]
        needs[kind] = tuple(sorted({name for stage in readers for name in stage.teacher_outputs}))
    return needs


def format_stages(stages: Sequence[Stage]) -> str:
    """The whole plan as a table of text: a line per stage."""
    rows = [("   stage", "data", "losses", "learns", "epochs")]
    for number, stage in enumerate(stages, 1):
        losses = " + ".join(
            loss.name if weight == 1 else f"{weight:g}*{loss.name}" for weight, loss in stage.losses
        )
        learns = "all" if stage.trainable is None else ", ".join(stage.trainable)
        rows.append((f"{number:>2} {stage.name}", stage.data, losses, learns, str(stage.epochs)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
