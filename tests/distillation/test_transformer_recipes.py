"""The recipes of the papers on transformer students, stage by stage."""

import dataclasses

import pytest

from xdistil.distillation.attention_distillation import AttentionDistillation
from xdistil.distillation.hidden_states_distillation import (
    HiddenStatesDistillation,
    PatientDistillation,
)
from xdistil.distillation.losses import LabelCrossEntropy
from xdistil.distillation.recipe_settings import FINE_TUNING
from xdistil.distillation.recipes import RecipeSettings, recipe
from xdistil.distillation.soft_targets import SoftTargets
from xdistil.distillation.stages import needed_teacher_outputs

GROUPS = ("embedding", "layer_1", "layer_2", "layer_3", "pooler", "head")
TEXTS = RecipeSettings(
    teacher_layer="pooled_output",
    representation_positions="texts",
    logits_positions="texts",
    label_positions="labeled_texts",
    layer_groups=GROUPS,
    depths=(3, 12),
    **FINE_TUNING,
)
TAGS = dataclasses.replace(
    TEXTS,
    teacher_layer=7,
    representation_positions="pieces",
    logits_positions="words",
    label_positions="labeled",
)


def only(name, settings=TEXTS, **changes):
    (stage,) = recipe(name, dataclasses.replace(settings, **changes))
    return stage


def test_kd_weighs_soft_targets_by_alpha_against_labels_and_reads_the_labeled_text():
    stage = only("kd", alpha=0.2, temperature=5.0)
    labels = LabelCrossEntropy(positions="labeled_texts")
    assert stage.losses == ((0.8, labels), (0.2, SoftTargets(5.0, "texts")))
    assert (stage.data, stage.monitor, stage.trainable) == ("labeled", "metric", None)
    assert only("kd", distil_transfer=True).data == "both"
    assert only("kd", alpha=0.0).losses == ((1.0, labels),)
    assert only("kd", alpha=1.0).losses == ((1.0, SoftTargets(10.0, "texts")),)
    with pytest.raises(ValueError, match=r"from 0 to 1, received 1\.5"):
        only("kd", alpha=1.5)


def test_patience_is_added_to_kd_with_beta_on_the_papers_layers():
    stage = only("pkd_skip", alpha=0.7, beta=500.0)
    patience = stage.losses[2]
    assert [weight for weight, _ in stage.losses] == [pytest.approx(0.3), 0.7, 500.0]
    assert patience[1] == PatientDistillation(((1, 4), (2, 8)))
    assert needed_teacher_outputs([stage])["labeled"] == ("cls_states_4", "cls_states_8", "logits")
    last = only("pkd_last", normalize_patience=False, patience_reduction="mean")
    assert last.losses[2] == (100.0, PatientDistillation(((1, 10), (2, 11)), False, "mean"))
    tags = only("pkd_skip", TAGS, projection=(384, 768)).terms
    assert tags[2] == PatientDistillation(
        ((1, 4), (2, 8)), positions="words", projection=(384, 768)
    )
    with pytest.raises(ValueError, match="at least two layers"):
        only("pkd_last", depths=(1, 12))
    with pytest.raises(ValueError, match="`depths`"):
        only("pkd_last", depths=None)


def test_the_task_step_of_distilbert_is_half_and_half_at_temperature_2():
    stage = only("distilbert", TAGS)
    assert stage.losses == ((0.5, LabelCrossEntropy()), (0.5, SoftTargets(2.0, "words")))


def test_they_train_as_their_papers_do():
    stage = only("kd")
    assert (stage.batch_size, stage.epochs, stage.patience) == (32, 4, 0)
    optimizer = stage.optimizer
    assert (optimizer.name, optimizer.learning_rate) == ("adamw", 5e-5)
    assert (optimizer.schedule, optimizer.warmup_fraction) == ("linear_warmup", 0.1)


def test_hidden_states_come_first_then_logits_then_labels_unfrozen_from_the_top():
    stages = recipe("hidden_states", dataclasses.replace(TEXTS, representation_epochs=9))
    assert stages[0].terms == (HiddenStatesDistillation(((0, 9), (1, 10), (2, 11), (3, 12))),)
    assert (stages[0].data, stages[0].trainable, stages[0].epochs) == ("transfer", GROUPS[:-2], 9)
    unfrozen = [GROUPS[first:] for first in range(5, -1, -1)]
    assert [stage.trainable for stage in stages[1:]] == unfrozen * 2
    assert [stage.data for stage in stages[1:]] == ["transfer"] * 6 + ["labeled"] * 6
    # The pooler, which no hidden state reads, learns with the logits first.
    gradual = recipe("hidden_states", dataclasses.replace(TEXTS, unfreeze_representation=True))
    assert [stage.trainable for stage in gradual[:4]] == [GROUPS[i:4] for i in (3, 2, 1, 0)]
    settings = dataclasses.replace(TAGS, attentions=True, projection=(4, 6))
    hidden, attentions = recipe("hidden_states", settings)[0].terms
    assert hidden.projection == (4, 6)
    assert attentions == AttentionDistillation(((1, 10), (2, 11), (3, 12)))


def test_d42_of_a_transformer_unfreezes_layer_by_layer_with_a_projection():
    stages = recipe("D4.2", dataclasses.replace(TAGS, projection=(4, 6)))
    assert stages[0].terms[0].projection == (4, 6)
    assert [stage.name for stage in stages[1:4]] == [
        "logits_head",
        "logits_pooler",
        "logits_layer_3",
    ]
