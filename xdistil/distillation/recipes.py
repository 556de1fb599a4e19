"""The published recipes by name. A recipe is a list of stages and nothing more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdistil.distillation.losses import (
    DistillationLoss,
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
            the paper; Table 8 says that it hardly matters.
        representation: `"mse"`, `"kl"`, `"cosine"` or `"keras_kld"`.
        logits_positions: Where logits are matched: `"words"` (first pieces) or `"pieces"`.
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

    teacher_layer: int
    representation: str = "mse"
    logits_positions: str = "words"
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
    settings: RecipeSettings, name: str, losses: Sequence[DistillationLoss], data: str
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
        losses=tuple((1.0, loss) for loss in losses),
        data=data,
        epochs=epochs,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        patience=settings.patience,
        monitor="metric" if LabelCrossEntropy in kinds else "loss",
    )


def _unfreeze(stage: Stage, groups: Sequence[str]) -> list[Stage]:
    """The stage as sub-stages: the top group alone, then one group more each, top down."""
    return [
        stage.with_settings(name=f"{stage.name}_{groups[first]}", trainable=tuple(groups[first:]))
        for first in range(len(groups) - 1, -1, -1)
    ]


def _representation_stages(settings: RecipeSettings) -> list[Stage]:
    loss = RepresentationDistillation(settings.teacher_layer, settings.representation)
    stage = _stage(settings, "representation", [loss], "transfer")
    # The head takes no part in this loss.
    body = tuple(settings.layer_groups)[:-1]
    if settings.unfreeze_representation:
        return _unfreeze(stage, body)
    return [stage.with_settings(trainable=body)]


def _logits(settings: RecipeSettings) -> LogitsRegression:
    return LogitsRegression(settings.logits_positions)


def _labels_only(settings: RecipeSettings) -> list[Stage]:
    return [_stage(settings, "labels", [LabelCrossEntropy()], "labeled")]


def _d1(settings: RecipeSettings) -> list[Stage]:
    losses = [LabelCrossEntropy(), _logits(settings)]
    return [_stage(settings, "labels_logits", losses, "both")]


def _d2(settings: RecipeSettings) -> list[Stage]:
    representation = RepresentationDistillation(settings.teacher_layer, settings.representation)
    losses = [LabelCrossEntropy(), _logits(settings), representation]
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
    logits, labels = _logits_then_labels(settings)
    first, *rest = _unfreeze(labels, settings.layer_groups)
    return [
        *_representation_stages(settings),
        *_unfreeze(logits, settings.layer_groups),
        first,
        # A head that began anew goes on from there.
        *(stage.with_settings(reset=()) for stage in rest),
    ]


#: The strategies of XtremeDistil, Table 3. D0 is D0-S on each language alone, a student each.
RECIPES: dict[str, Callable[[RecipeSettings], list[Stage]]] = {
    "D0": _labels_only,
    "D0-S": _labels_only,
    "D1": _d1,
    "D2": _d2,
    "D3.1": _d31,
    "D3.2": _d32,
    "D4.1": _d41,
    "D4.2": _d42,
}


def recipe(name: str, settings: RecipeSettings) -> list[Stage]:
    """The stages of a published recipe.

    Args:
        name: One of `RECIPES`: `"D0"`, `"D0-S"`, `"D1"`, `"D2"`, `"D3.1"`, `"D3.2"`, `"D4.1"`,
            `"D4.2"` (the default of the scripts).
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
