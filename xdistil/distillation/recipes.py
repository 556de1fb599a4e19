"""The published recipes by name. A recipe is a list of stages and nothing more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdistil.distillation.losses import (
    DistillationLoss,
    HardDistillation,
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)
from xdistil.distillation.stages import OptimizerSettings, Stage

#: Layer groups of a student, from the input to the output.
LAYER_GROUPS = ("embedding", "bilstm", "dense", "head")


@dataclass(frozen=True)
class RecipeSettings:
    """What a recipe leaves open.

    Args:
        teacher_layer: Index of the teacher's hidden state for representation loss. 6 or 7 of 12 in
            the paper; Table 8 says that it hardly matters. For whole texts `"pooled_output"`.
        representation: `"mse"`, `"kl"`, `"cosine"` or `"keras_kld"`.
        logits_positions: Where logits are matched: `"words"` (first pieces), `"pieces"`, or
            `"texts"` (one output a text).
        label_positions: Where gold labels stand: `"labeled"`, or `"labeled_texts"`.
        representation_positions: Where representations are matched: `"pieces"`, `"words"` or
            `"texts"`.
        logit_target: `"logits"` or `"log_odds"`, see `LogitsRegression`.
        alpha: Weight of the labels, in `joint` and `tang`; `None`: 1 in `joint`, and 0 in `tang`,
            as its paper has it.
        beta: Weight of the representation, in `joint`.
        gamma: Weight of the logits, in `joint`.
        representation_epochs: Most epochs of a stage with representation loss.
        logits_epochs: Most epochs of each stage with logits loss.
        labels_epochs: Most epochs of each stage on labels alone.
        batch_size: Sentences a step.
        patience: Early stopping, see `Stage`.
        optimizer: Optimizer and schedule of every stage.
        layer_groups: Layer groups of the student, bottom to top; unfreezing runs from the end.
        unfreeze_representation: Unfreezes gradually in the representation stage too, as in the
            paper's Algorithm 1. Off: all layers learn there at once, as in the authors' code.
        fresh_head: Starts the labels stage with a new head, as the authors' first code does.
    """

    teacher_layer: int | str
    representation: str = "mse"
    logits_positions: str = "words"
    label_positions: str = "labeled"
    representation_positions: str = "pieces"
    logit_target: str = "logits"
    alpha: float | None = None
    beta: float = 1.0
    gamma: float = 1.0
    representation_epochs: int = 80
    logits_epochs: int = 80
    labels_epochs: int = 80
    batch_size: int = 512
    patience: int = 5
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    layer_groups: Sequence[str] = LAYER_GROUPS
    unfreeze_representation: bool = False
    fresh_head: bool = False


def _stage(
    settings: RecipeSettings,
    name: str,
    losses: Sequence[DistillationLoss],
    data: str,
    weights: Sequence[float] | None = None,
) -> Stage:
    kinds = {type(loss) for loss in losses}
    if RepresentationDistillation in kinds:
        epochs = settings.representation_epochs
    elif LogitsRegression in kinds:
        epochs = settings.logits_epochs
    else:
        epochs = settings.labels_epochs
    # A student whose head has not learned yet has no F1 to speak of: such a stage is judged by its
    # own loss on dev. Where labels take part, the metric that is reported decides.
    return Stage(
        name=name,
        losses=tuple(zip(weights or [1.0] * len(losses), losses, strict=True)),
        data=data,
        epochs=epochs,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        patience=settings.patience,
        monitor="metric" if kinds & {LabelCrossEntropy, HardDistillation} else "loss",
    )


def _unfreeze(stage: Stage, groups: Sequence[str]) -> list[Stage]:
    """The stage as sub-stages: the top group alone, then one group more each, top down."""
    return [
        stage.with_settings(name=f"{stage.name}_{groups[first]}", trainable=tuple(groups[first:]))
        for first in range(len(groups) - 1, -1, -1)
    ]


def _representation_stages(settings: RecipeSettings) -> list[Stage]:
    loss = _representation(settings)
    stage = _stage(settings, "representation", [loss], "transfer")
    # The head takes no part in this loss.
    body = tuple(settings.layer_groups)[:-1]
    if settings.unfreeze_representation:
        return _unfreeze(stage, body)
    return [stage.with_settings(trainable=body)]


def _representation(settings: RecipeSettings) -> RepresentationDistillation:
    return RepresentationDistillation(
        settings.teacher_layer, settings.representation, settings.representation_positions
    )


def _logits(settings: RecipeSettings) -> LogitsRegression:
    return LogitsRegression(settings.logits_positions, target=settings.logit_target)


def _gold(settings: RecipeSettings) -> LabelCrossEntropy:
    return LabelCrossEntropy(positions=settings.label_positions)


def _labels_only(settings: RecipeSettings) -> list[Stage]:
    return [_stage(settings, "labels", [_gold(settings)], "labeled")]


def _d1(settings: RecipeSettings) -> list[Stage]:
    losses = [_gold(settings), _logits(settings)]
    return [_stage(settings, "labels_logits", losses, "both")]


def _d2(settings: RecipeSettings) -> list[Stage]:
    losses = [_gold(settings), _logits(settings), _representation(settings)]
    return [_stage(settings, "labels_logits_representation", losses, "both")]


def _d31(settings: RecipeSettings) -> list[Stage]:
    return _representation_stages(settings) + _d1(settings)


def _d32(settings: RecipeSettings) -> list[Stage]:
    return _representation_stages(settings) + _unfreeze(_d1(settings)[0], settings.layer_groups)


def _logits_then_labels(settings: RecipeSettings) -> tuple[Stage, Stage]:
    (labels,) = _labels_only(settings)
    if settings.fresh_head:
        labels = labels.with_settings(reset=tuple(settings.layer_groups)[-1:])
    return _stage(settings, "logits", [_logits(settings)], "transfer"), labels


def _d41(settings: RecipeSettings) -> list[Stage]:
    return [*_representation_stages(settings), *_logits_then_labels(settings)]


def _d42(settings: RecipeSettings) -> list[Stage]:
    return [*_representation_stages(settings), *_unfrozen_logits_and_labels(settings)]


def _unfrozen_logits_and_labels(settings: RecipeSettings, first: int = 0) -> list[Stage]:
    """Sub-stages on logits, then on labels; of each, those from `first` on."""
    logits, labels = (
        _unfreeze(stage, settings.layer_groups)[first:] for stage in _logits_then_labels(settings)
    )
    # A head that began anew goes on from there.
    return [*logits, labels[0], *(stage.with_settings(reset=()) for stage in labels[1:])]


def _hard(settings: RecipeSettings) -> list[Stage]:
    loss = HardDistillation(settings.logits_positions)
    return [_stage(settings, "hard", [loss], "both")]


def _soft(settings: RecipeSettings) -> list[Stage]:
    return [
        *_representation_stages(settings),
        _stage(settings, "logits", [_logits(settings)], "transfer"),
    ]


def _joint(settings: RecipeSettings) -> list[Stage]:
    losses = [_gold(settings), _representation(settings), _logits(settings)]
    alpha = 1.0 if settings.alpha is None else settings.alpha
    weights = (alpha, settings.beta, settings.gamma)
    return [_stage(settings, "joint", losses, "both", weights)]


def _staged(settings: RecipeSettings) -> list[Stage]:
    # As D4.2, but head and dense layer learn together from the first.
    return [*_representation_stages(settings), *_unfrozen_logits_and_labels(settings, first=1)]


def _tang(settings: RecipeSettings) -> list[Stage]:
    alpha = settings.alpha or 0.0
    if alpha >= 1:
        raise ValueError(
            f"`alpha` of the recipe tang must be below 1, received {alpha}: with 1 it learns from "
            "labels alone, as the recipe labels does."
        )
    # The paper's term is the whole squared distance; `LogitsRegression` is half of it.
    losses, weights = [_logits(settings)], [2.0 * (1.0 - alpha)]
    if alpha:
        losses, weights = [_gold(settings), *losses], [alpha, *weights]
    stage = _stage(settings, "tang", losses, "both", weights)
    return [stage.with_settings(monitor="metric")]


#: Strategies of XtremeDistil (Table 3) and, from `labels` on, of text classification: distillation
#: with transfer data (arXiv:1910.01769) and, `tang`, task-specific BiLSTMs (arXiv:1903.12136). D0
#: is D0-S on each language alone, a student each.
RECIPES: dict[str, Callable[[RecipeSettings], list[Stage]]] = {
    "D0": _labels_only,
    "D0-S": _labels_only,
    "D1": _d1,
    "D2": _d2,
    "D3.1": _d31,
    "D3.2": _d32,
    "D4.1": _d41,
    "D4.2": _d42,
    "labels": _labels_only,
    "hard": _hard,
    "soft": _soft,
    "joint": _joint,
    "staged": _staged,
    "tang": _tang,
}


def recipe(name: str, settings: RecipeSettings) -> list[Stage]:
    """The stages of a published recipe.

    Args:
        name: One of `RECIPES`: `"D0"`, `"D0-S"`, `"D1"`, `"D2"`, `"D3.1"`, `"D3.2"`, `"D4.1"`,
            `"D4.2"`; for whole texts `"labels"`, `"hard"`, `"soft"`, `"joint"`, `"staged"`,
            `"tang"`.
        settings: What the recipe leaves open.

    Returns:
        The stages in order. Printing them with `format_stages` shows the whole plan.

    Raises:
        ValueError: If no recipe has that name.

    Example:
        ```python
        stages = xdistil.recipe("D4.2", xdistil.RecipeSettings(teacher_layer=7))
        print(xdistil.format_stages(stages))
        ```

    Reference:
        XtremeDistil, arXiv:2004.05686, Table 3 and Algorithm 1.
    """
    if name not in RECIPES:
        raise ValueError(f"No recipe is named {name!r}; there are {', '.join(RECIPES)}.")
    return RECIPES[name](settings)
