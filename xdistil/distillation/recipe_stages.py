"""The stages that recipes are put together from."""

from collections.abc import Collection, Sequence

from xdistil.distillation.attention_distillation import AttentionDistillation
from xdistil.distillation.hidden_states_distillation import HiddenStatesDistillation
from xdistil.distillation.losses import (
    DistillationLoss,
    HardDistillation,
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)
from xdistil.distillation.recipe_settings import RecipeSettings
from xdistil.distillation.stages import Stage

_OF_REPRESENTATIONS = {
    RepresentationDistillation,
    HiddenStatesDistillation,
    AttentionDistillation,
}


def plain_stage(
    settings: RecipeSettings,
    name: str,
    losses: Sequence[DistillationLoss],
    data: str,
    weights: Sequence[float] | None = None,
) -> Stage:
    """A stage in which all layers learn, with the epochs of its kind of losses.

    Args:
        settings: What the recipe leaves open.
        name: Of the stage.
        losses: Its terms.
        data: `"transfer"`, `"labeled"` or `"both"`.
        weights: Of the terms; default: 1 each.
    """
    kinds = {type(loss) for loss in losses}
    if kinds & _OF_REPRESENTATIONS:
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


def unfreeze(stage: Stage, groups: Sequence[str]) -> list[Stage]:
    """The stage as sub-stages: the top group alone, then one group more each, top down."""
    return [
        stage.with_settings(name=f"{stage.name}_{groups[first]}", trainable=tuple(groups[first:]))
        for first in range(len(groups) - 1, -1, -1)
    ]


def representation_stages(settings: RecipeSettings) -> list[Stage]:
    """All layers but the head on the representation, at once or unfrozen one after the other."""
    return body_stages(settings, "representation", [representation_loss(settings)])


def body_stages(
    settings: RecipeSettings,
    name: str,
    losses: Sequence[DistillationLoss],
    leave_out: Collection[str] = (),
) -> list[Stage]:
    """All layers but the head, on transfer text, at once or unfrozen one after the other.

    Args:
        settings: What the recipe leaves open.
        name: Of the stage.
        losses: Its terms.
        leave_out: Groups besides the head that take no part in these losses, and so must not
            learn: weight decay would shrink them.
    """
    stage = plain_stage(settings, name, losses, "transfer")
    # The head takes no part in these losses.
    body = tuple(group for group in settings.layer_groups[:-1] if group not in leave_out)
    if settings.unfreeze_representation:
        return unfreeze(stage, body)
    return [stage.with_settings(trainable=body)]


def representation_loss(settings: RecipeSettings) -> RepresentationDistillation:
    """The representation against the teacher's layer that the settings name."""
    return RepresentationDistillation(
        settings.teacher_layer,
        settings.representation,
        settings.representation_positions,
        projection=settings.projection,
    )


def logits_loss(settings: RecipeSettings) -> LogitsRegression:
    """Raw logits against the teacher's."""
    return LogitsRegression(settings.logits_positions, target=settings.logit_target)


def labels_loss(settings: RecipeSettings) -> LabelCrossEntropy:
    """Cross-entropy against the gold labels."""
    return LabelCrossEntropy(positions=settings.label_positions)


def labels_stages(settings: RecipeSettings) -> list[Stage]:
    """One stage on labels alone: a recipe of its own, and the end of others."""
    return [plain_stage(settings, "labels", [labels_loss(settings)], "labeled")]


def logits_then_labels(settings: RecipeSettings) -> tuple[Stage, Stage]:
    """A stage on logits of transfer text, and one on labels."""
    (labels,) = labels_stages(settings)
    if settings.fresh_head:
        labels = labels.with_settings(reset=tuple(settings.layer_groups)[-1:])
    return plain_stage(settings, "logits", [logits_loss(settings)], "transfer"), labels


def unfrozen_logits_and_labels(settings: RecipeSettings, first: int = 0) -> list[Stage]:
    """Sub-stages on logits, then on labels; of each, those from `first` on."""
    logits, labels = (
        unfreeze(stage, settings.layer_groups)[first:] for stage in logits_then_labels(settings)
    )
    # A head that began anew goes on from there.
    return [*logits, labels[0], *(stage.with_settings(reset=()) for stage in labels[1:])]
