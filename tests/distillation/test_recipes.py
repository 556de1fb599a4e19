"""The published strategies, stage by stage."""

import dataclasses

import pytest

from xdistil.distillation.losses import HardDistillation
from xdistil.distillation.recipes import LAYER_GROUPS, RECIPES, RecipeSettings, recipe
from xdistil.distillation.stages import format_stages, needed_teacher_outputs

SETTINGS = RecipeSettings(teacher_layer=7, representation_epochs=3, logits_epochs=2, depths=(3, 12))
ALL = ("embedding", "bilstm", "dense", "head")


def plan(name, **changes):
    settings = RecipeSettings(teacher_layer=7, **changes)
    return [
        (tuple(loss.name for loss in stage.terms), stage.data, stage.trainable)
        for stage in recipe(name, settings)
    ]


def test_d42_is_nine_sub_stages_unfrozen_from_the_top():
    assert plan("D4.2") == [
        (("representation",), "transfer", ALL[:3]),
        (("logits",), "transfer", ALL[3:]),
        (("logits",), "transfer", ALL[2:]),
        (("logits",), "transfer", ALL[1:]),
        (("logits",), "transfer", ALL),
        (("labels",), "labeled", ALL[3:]),
        (("labels",), "labeled", ALL[2:]),
        (("labels",), "labeled", ALL[1:]),
        (("labels",), "labeled", ALL),
    ]


def test_the_other_strategies_are_those_of_table_3():
    body = ALL[:3]
    assert plan("D0-S") == [(("labels",), "labeled", None)]
    assert plan("D1") == [(("labels", "logits"), "both", None)]
    assert plan("D2") == [(("labels", "logits", "representation"), "both", None)]
    assert plan("D3.1") == [(("representation",), "transfer", body), *plan("D1")]
    assert [learns for _, _, learns in plan("D3.2")] == [
        body,
        ALL[3:],
        ALL[2:],
        ALL[1:],
        ALL,
    ]
    assert plan("D4.1") == [
        (("representation",), "transfer", body),
        (("logits",), "transfer", None),
        (("labels",), "labeled", None),
    ]


def test_algorithm_1_unfreezes_in_the_representation_stage_too():
    stages = plan("D4.2", unfreeze_representation=True)
    assert [learns for losses, _, learns in stages if losses == ("representation",)] == [
        ("dense",),
        ("bilstm", "dense"),
        body := ("embedding", "bilstm", "dense"),
    ]
    assert body == ALL[:3]


def test_the_first_code_starts_the_labels_with_a_fresh_head():
    stages = recipe("D4.2", RecipeSettings(teacher_layer=7, fresh_head=True))
    assert [stage.name for stage in stages if stage.reset] == ["labels_head"]


def test_epochs_follow_the_kind_of_stage():
    epochs = {stage.name: stage.epochs for stage in recipe("D4.1", SETTINGS)}
    assert epochs == {"representation": 3, "logits": 2, "labels": 80}


def test_dev_decides_by_the_metric_where_labels_take_part_else_by_the_loss():
    monitors = {stage.name: stage.monitor for stage in recipe("D4.1", SETTINGS)}
    assert monitors == {"representation": "loss", "logits": "loss", "labels": "metric"}


def test_a_recipe_says_what_it_reads_of_the_teacher():
    assert needed_teacher_outputs(recipe("D4.2", SETTINGS)) == {
        "transfer": ("hidden_states_7", "logits"),
        "labeled": (),
    }
    assert needed_teacher_outputs(recipe("D2", SETTINGS))["labeled"] == (
        "hidden_states_7",
        "logits",
    )
    assert needed_teacher_outputs(recipe("D0-S", SETTINGS))["transfer"] == ()


TEXTS = RecipeSettings(
    teacher_layer="pooled_output",
    representation_positions="texts",
    logits_positions="texts",
    label_positions="labeled_texts",
    representation_epochs=3,
    logits_epochs=2,
    alpha=0.25,
    beta=2.0,
    gamma=3.0,
)


def test_staged_unfreezes_the_dense_layer_with_the_head_then_the_bilstm_then_the_embedding():
    stages = recipe("staged", TEXTS)
    assert [(stage.name, stage.data, stage.trainable) for stage in stages] == [
        ("representation", "transfer", ("embedding", "bilstm", "dense")),
        *(
            (f"{kind}_{group}", data, LAYER_GROUPS[first:])
            for kind, data in (("logits", "transfer"), ("labels", "labeled"))
            for first, group in ((2, "dense"), (1, "bilstm"), (0, "embedding"))
        ),
    ]


@pytest.mark.parametrize("name", ["staged", "D4.2"])
def test_a_fresh_head_begins_anew_once(name):
    stages = recipe(name, dataclasses.replace(TEXTS, fresh_head=True))
    reset = [stage.name for stage in stages if stage.reset]
    assert reset == ["labels_dense" if name == "staged" else "labels_head"]


def test_hard_soft_and_joint_read_what_the_paper_says():
    (hard,), (joint,) = recipe("hard", TEXTS), recipe("joint", TEXTS)
    assert (hard.data, joint.data) == ("both", "both")
    assert hard.losses == ((1.0, HardDistillation()),)
    assert [(weight, loss.name) for weight, loss in joint.losses] == [
        (0.25, "labels"),
        (2.0, "representation"),
        (3.0, "logits"),
    ]
    (unweighted,) = recipe("joint", dataclasses.replace(TEXTS, alpha=None))
    assert unweighted.losses[0][0] == 1.0
    soft = recipe("soft", TEXTS)
    assert [(stage.name, stage.data) for stage in soft] == [
        ("representation", "transfer"),
        ("logits", "transfer"),
    ]
    assert needed_teacher_outputs(soft)["transfer"] == ("logits", "pooled_output")
    assert needed_teacher_outputs([hard])["labeled"] == ("logits",)


def test_tang_weighs_labels_against_the_whole_squared_distance_of_logits():
    (stage,) = recipe("tang", TEXTS)
    assert [(weight, loss.name) for weight, loss in stage.losses] == [
        (0.25, "labels"),
        (1.5, "logits"),  # 0.75 of the whole distance is 1.5 halves
    ]
    for alpha in (0.0, None):  # None: the paper's
        (only_logits,) = recipe("tang", dataclasses.replace(TEXTS, alpha=alpha))
        assert [(weight, loss.name) for weight, loss in only_logits.losses] == [(2.0, "logits")]
    with pytest.raises(ValueError, match="`alpha` of the recipe tang must be below 1"):
        recipe("tang", dataclasses.replace(TEXTS, alpha=1.0))
    assert (stage.monitor, stage.data) == ("metric", "both")


def test_printing_a_recipe_shows_every_stage_and_config_is_plain_data():
    for name in RECIPES:
        stages = recipe(name, SETTINGS)
        text = format_stages(stages)
        assert all(stage.name in text for stage in stages)
        assert all(stage.to_config()["losses"] for stage in stages)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'D5'.*D4\.2"):
        recipe("D5", SETTINGS)
