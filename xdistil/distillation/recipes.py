"""The published recipes by name. A recipe is a list of stages and nothing more."""

from collections.abc import Callable

from xdistil.distillation.losses import HardDistillation
from xdistil.distillation.recipe_settings import LAYER_GROUPS, RecipeSettings
from xdistil.distillation.recipe_stages import (
    labels_loss,
    labels_stages,
    logits_loss,
    logits_then_labels,
    plain_stage,
    representation_loss,
    representation_stages,
    unfreeze,
    unfrozen_logits_and_labels,
)
from xdistil.distillation.stages import Stage
from xdistil.distillation.transformer_recipes import (
    distilbert_task,
    knowledge_distillation,
    many_hidden_states,
    patient_last,
    patient_skip,
)

__all__ = ["LAYER_GROUPS", "RECIPES", "RecipeSettings", "recipe"]


def _d1(settings: RecipeSettings) -> list[Stage]:
    losses = [labels_loss(settings), logits_loss(settings)]
    return [plain_stage(settings, "labels_logits", losses, "both")]


def _d2(settings: RecipeSettings) -> list[Stage]:
    losses = [labels_loss(settings), logits_loss(settings), representation_loss(settings)]
    return [plain_stage(settings, "labels_logits_representation", losses, "both")]


def _d31(settings: RecipeSettings) -> list[Stage]:
    return representation_stages(settings) + _d1(settings)


def _d32(settings: RecipeSettings) -> list[Stage]:
    return representation_stages(settings) + unfreeze(_d1(settings)[0], settings.layer_groups)


def _d41(settings: RecipeSettings) -> list[Stage]:
    return [*representation_stages(settings), *logits_then_labels(settings)]


def _d42(settings: RecipeSettings) -> list[Stage]:
    return [*representation_stages(settings), *unfrozen_logits_and_labels(settings)]


def _hard(settings: RecipeSettings) -> list[Stage]:
    loss = HardDistillation(settings.logits_positions)
    return [plain_stage(settings, "hard", [loss], "both")]


def _soft(settings: RecipeSettings) -> list[Stage]:
    return [
        *representation_stages(settings),
        plain_stage(settings, "logits", [logits_loss(settings)], "transfer"),
    ]


def _joint(settings: RecipeSettings) -> list[Stage]:
    losses = [labels_loss(settings), representation_loss(settings), logits_loss(settings)]
    alpha = 1.0 if settings.alpha is None else settings.alpha
    beta = 1.0 if settings.beta is None else settings.beta
    weights = (alpha, beta, settings.gamma)
    return [plain_stage(settings, "joint", losses, "both", weights)]


def _staged(settings: RecipeSettings) -> list[Stage]:
    # As D4.2, but head and dense layer learn together from the first.
    return [*representation_stages(settings), *unfrozen_logits_and_labels(settings, first=1)]


def _tang(settings: RecipeSettings) -> list[Stage]:
    alpha = settings.alpha or 0.0
    if alpha >= 1:
        raise ValueError(
            f"`alpha` of the recipe tang must be below 1, received {alpha}: with 1 it learns from "
            "labels alone, as the recipe labels does."
        )
    # The paper's term is the whole squared distance; `LogitsRegression` is half of it.
    losses, weights = [logits_loss(settings)], [2.0 * (1.0 - alpha)]
    if alpha:
        losses, weights = [labels_loss(settings), *losses], [alpha, *weights]
    stage = plain_stage(settings, "tang", losses, "both", weights)
    return [stage.with_settings(monitor="metric")]


#: Strategies of XtremeDistil (Table 3) and, from `labels` on, of text classification: distillation
#: with transfer data (arXiv:1910.01769) and, `tang`, task-specific BiLSTMs (arXiv:1903.12136);
#: then those of Patient KD (arXiv:1908.09355), of DistilBERT's task step (arXiv:1910.01108), and of
#: XtremeDistilTransformers (arXiv:2106.04563). D0 is D0-S on each language alone, a student each.
RECIPES: dict[str, Callable[[RecipeSettings], list[Stage]]] = {
    "D0": labels_stages,
    "D0-S": labels_stages,
    "D1": _d1,
    "D2": _d2,
    "D3.1": _d31,
    "D3.2": _d32,
    "D4.1": _d41,
    "D4.2": _d42,
    "labels": labels_stages,
    "hard": _hard,
    "soft": _soft,
    "joint": _joint,
    "staged": _staged,
    "tang": _tang,
    "kd": knowledge_distillation,
    "pkd_skip": patient_skip,
    "pkd_last": patient_last,
    "distilbert": distilbert_task,
    "hidden_states": many_hidden_states,
}


def recipe(name: str, settings: RecipeSettings) -> list[Stage]:
    """The stages of a published recipe.

    Args:
        name: One of `RECIPES`: `"D0"`, `"D0-S"`, `"D1"`, `"D2"`, `"D3.1"`, `"D3.2"`, `"D4.1"`,
            `"D4.2"`; for whole texts `"labels"`, `"hard"`, `"soft"`, `"joint"`, `"staged"`,
            `"tang"`; of all tasks `"kd"`, `"pkd_skip"`, `"pkd_last"`, `"distilbert"` and
            `"hidden_states"`, which are meant for transformer students (see `FINE_TUNING` of
            `xdistil.distillation.recipe_settings`).
        settings: What the recipe leaves open.

    Returns:
        The stages in order. Printing them with `format_stages` shows the whole plan.

    Raises:
        ValueError: If no recipe has that name, or it needs a setting that is missing.

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
