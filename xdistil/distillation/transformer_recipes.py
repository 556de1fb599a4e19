"""Recipes of the papers on transformer students: soft targets, patience, many hidden states."""

from collections.abc import Sequence

from xdistil.distillation.attention_distillation import AttentionDistillation
from xdistil.distillation.hidden_states_distillation import (
    HiddenStatesDistillation,
    PatientDistillation,
    top_pairs,
)
from xdistil.distillation.losses import DistillationLoss
from xdistil.distillation.recipe_settings import RecipeSettings
from xdistil.distillation.recipe_stages import (
    body_stages,
    labels_loss,
    plain_stage,
    unfrozen_logits_and_labels,
)
from xdistil.distillation.soft_defaults import (
    ALPHA,
    BETA,
    TEMPERATURE,
    TEMPERATURE_OF_DISTILBERT,
)
from xdistil.distillation.soft_targets import SoftTargets
from xdistil.distillation.stages import Stage
from xdistil.models.layer_choice import last_layers, skip_layers
from xdistil.models.text_teacher import TextTeacher


def knowledge_distillation(settings: RecipeSettings) -> list[Stage]:
    """`kd`: (1 - alpha) L_CE + alpha L_DS."""
    return _weighted_sum(settings, "kd", TEMPERATURE)


def distilbert_task(settings: RecipeSettings) -> list[Stage]:
    """`distilbert`: the same as `kd`, at the temperature of DistilBERT's second distillation."""
    return _weighted_sum(settings, "distilbert", TEMPERATURE_OF_DISTILBERT)


def patient_skip(settings: RecipeSettings) -> list[Stage]:
    """`pkd_skip`: (1 - alpha) L_CE + alpha L_DS + beta L_PT on every few layers of the teacher."""
    student, teacher = _depths(settings)
    return _patient(settings, "pkd_skip", skip_layers(teacher, student))


def patient_last(settings: RecipeSettings) -> list[Stage]:
    """`pkd_last`: the same on the teacher's layers just below its top."""
    student, teacher = _depths(settings)
    return _patient(settings, "pkd_last", last_layers(teacher, student))


def _patient(settings: RecipeSettings, name: str, teacher_layers: Sequence[int]) -> list[Stage]:
    if not teacher_layers:
        raise ValueError(f"{name} needs a student of at least two layers: it teaches all but one.")
    loss = PatientDistillation(
        tuple(enumerate(teacher_layers, start=1)),
        settings.normalize_patience,
        settings.patience_reduction,
        settings.logits_positions,
        settings.projection,
    )
    beta = BETA if settings.beta is None else settings.beta
    return _weighted_sum(settings, name, TEMPERATURE, [(beta, loss)])


def _weighted_sum(
    settings: RecipeSettings,
    name: str,
    temperature: float,
    others: Sequence[tuple[float, DistillationLoss]] = (),
) -> list[Stage]:
    alpha = ALPHA if settings.alpha is None else settings.alpha
    if not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` of the recipe {name} must be from 0 to 1, received {alpha}.")
    if settings.temperature is not None:
        temperature = settings.temperature
    soft = SoftTargets(temperature, settings.logits_positions)
    terms = [(1.0 - alpha, labels_loss(settings)), (alpha, soft), *others]
    weights, losses = zip(*((weight, loss) for weight, loss in terms if weight), strict=True)
    data = "both" if settings.distil_transfer else "labeled"
    stage = plain_stage(settings, name, losses, data, weights)
    return [stage.with_settings(monitor="metric")]


def many_hidden_states(settings: RecipeSettings) -> list[Stage]:
    """`hidden_states`: all hidden states against the teacher's uppermost; then logits; then labels.

    The last two unfreeze from the top, as D4.2 does.
    """
    student, teacher = _depths(settings)
    pairs = top_pairs(student + 1, teacher + 1)
    losses: list[DistillationLoss] = [
        HiddenStatesDistillation(pairs, settings.hidden_positions, settings.projection)
    ]
    if settings.attentions:
        losses.append(AttentionDistillation(pairs[1:]))
    # No hidden state reads what stands above the last layer.
    stages = body_stages(settings, "hidden_states", losses, TextTeacher.groups_below_head)
    return [*stages, *unfrozen_logits_and_labels(settings)]


def _depths(settings: RecipeSettings) -> tuple[int, int]:
    if settings.depths is None:
        raise ValueError("The recipe compares layers: give the `depths` of student and teacher.")
    return settings.depths
