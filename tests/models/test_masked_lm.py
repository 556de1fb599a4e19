"""The masked language model against PyTorch's transformers, and students made of its layers."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from xdistil.errors import InputError
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.encoder import EncoderConfig
from xdistil.models.layer_choice import chosen_layers
from xdistil.models.masked_lm import MaskedLM
from xdistil.models.masked_lm_student import masked_lm_student
from xdistil.models.pooler import make_pooler
from xdistil.models.text_teacher import TextTeacher

FIXTURES = Path(__file__).parent.parent / "fixtures" / "checkpoints"
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert")
TINY = EncoderConfig(
    vocabulary_size=30,
    hidden_dim=8,
    num_layers=5,
    num_heads=2,
    max_length=12,
    intermediate_dim=20,
    initializer_range=0.5,
)


def expected_of(family):
    """Inputs, and what transformers made of them; written by make_checkpoints.py."""
    arrays = dict(np.load(FIXTURES / family / "masked_lm" / "expected.npz"))
    names = ("token_ids", "padding_mask", "segment_ids")
    return {name: arrays.pop(name) for name in names}, arrays


def tiny(seed=1, **changes):
    keras.utils.set_random_seed(seed)
    model = MaskedLM(dataclasses.replace(TINY, **changes))
    model.head.mlm_bias.assign(np.linspace(-1, 1, TINY.vocabulary_size))
    return model


def features(rows=3, length=7, seed=0):
    token_ids = np.random.default_rng(seed).integers(5, 30, (rows, length)).astype("int32")
    token_ids[1, 4:] = 0
    return {"token_ids": token_ids, "padding_mask": (token_ids > 0).astype("int32")}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_agrees_with_transformers_at_each_position(family):
    inputs, expected = expected_of(family)
    outputs = MaskedLM.from_preset(FIXTURES / family / "masked_lm")(inputs)
    real = inputs["padding_mask"] == 1
    np.testing.assert_allclose(
        np.array(outputs["logits"])[real], expected["logits"][real], rtol=1e-4, atol=2e-5
    )
    last = expected[f"hidden_state_{len(outputs['hidden_states']) - 1}"]
    np.testing.assert_allclose(
        np.array(outputs["representation"])[real], last[real], rtol=1e-4, atol=2e-5
    )


def test_logits_at_masked_positions_are_those_of_all_positions():
    model, inputs = tiny(), features()
    positions = np.array([[1, 5], [2, 0], [6, 6]], "int32")
    every = np.array(model(inputs)["logits"])
    listed = model({**inputs, "masked_positions": positions})
    assert listed["logits"].shape == (3, 2, 30)
    assert listed["representation"].shape == (3, 7, 8)
    for row, places in enumerate(positions):
        np.testing.assert_allclose(listed["logits"][row], every[row, places], atol=1e-5)


def test_padding_changes_no_logits():
    model, inputs = tiny(), features()
    wide = {name: np.pad(value, ((0, 0), (0, 4))) for name, value in inputs.items()}
    real = inputs["padding_mask"] == 1
    narrow_logits = np.array(model(inputs)["logits"])[real]
    wide_logits = np.array(model(wide)["logits"])[:, :7][real]
    np.testing.assert_allclose(narrow_logits, wide_logits, atol=1e-5)


def test_the_embedding_is_the_output_matrix_and_is_there_once():
    model = tiny()
    assert len(model.weights) == len(model.encoder.weights) + 5
    before = np.array(model(features())["logits"])
    table = model.encoder.token_embedding.embeddings
    changed = np.array(table)
    changed[29] += np.arange(8)
    table.assign(changed)
    inputs = features()
    inputs["token_ids"][inputs["token_ids"] == 29] = 28
    after = np.array(model(inputs)["logits"])
    rows = (features()["token_ids"] != 29).all(1)
    assert rows.any()
    # Where the piece is not read, only its own logit changes.
    assert np.abs(after[rows] - before[rows])[..., 29].max() > 1e-3
    np.testing.assert_allclose(after[rows][..., :29], before[rows][..., :29], atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_under_mixed_precision(policy):
    outputs = MaskedLM(TINY, dtype=policy)(features())
    assert outputs["logits"].dtype == "float32"
    assert (
        outputs["representation"].dtype == keras.mixed_precision.DTypePolicy(policy).compute_dtype
    )


def test_a_checkpoint_without_a_head_gets_a_fresh_one_and_the_log_says_so(caplog):
    model = MaskedLM.from_preset(FIXTURES / "plain")
    assert "no masked-LM head, it gets a fresh one" in caplog.text and model.has_fresh_head
    assert not np.array(model.head.mlm_bias).any()
    with pytest.raises(InputError, match="no masked-LM head"):
        MaskedLM.from_preset(FIXTURES / "plain", need_head=True)


def test_a_model_survives_its_config_and_its_checkpoint(tmp_path):
    model = tiny(num_segments=0, family="distilbert")
    write_checkpoint(tmp_path, model.encoder, architecture="masked_lm", layers=model.head_layers)
    again = MaskedLM.from_preset(tmp_path, dropout=0.0, need_head=True)
    np.testing.assert_array_equal(again(features())["logits"], model(features())["logits"])
    copy = MaskedLM.from_config(model.get_config())
    assert copy.encoder_config == model.encoder_config


def test_the_pooler_of_an_encoder_goes_along(tmp_path, caplog):
    first = tiny(num_segments=2)
    pooler = make_pooler(first.encoder_config)
    write_checkpoint(
        tmp_path / "first", first.encoder, architecture="encoder", layers={"pooler": pooler}
    )
    model = MaskedLM.from_preset(tmp_path / "first")
    assert not any("pooler" in weight.path for weight in model.weights)
    write_checkpoint(
        tmp_path / "second", model.encoder, architecture="masked_lm", layers=model.head_layers
    )
    again = MaskedLM.from_preset(tmp_path / "second", need_head=True)
    np.testing.assert_array_equal(again.head_layers["pooler"].kernel, pooler.kernel)
    caplog.clear()
    classifier = TextTeacher.from_preset(tmp_path / "second", num_classes=2)
    assert "pooler" not in caplog.text
    for found, expected in zip(classifier.pooler.weights, pooler.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("depth", "size", "layers"),
    [(12, 6, (1, 3, 5, 8, 10, 12)), (6, 3, (1, 3, 6)), (5, 5, (1, 2, 3, 4, 5)), (6, 1, (1,))],
)
def test_a_student_takes_evenly_spread_layers(depth, size, layers):
    assert chosen_layers("spread", depth, size) == layers


@pytest.mark.parametrize("segments", [0, 1, 2])
def test_a_student_of_all_layers_computes_what_its_teacher_does(segments):
    teacher = tiny(num_segments=segments)
    student = masked_lm_student(teacher, range(1, 6))
    assert (student.encoder_config.family, student.encoder_config.num_segments) == ("distilbert", 0)
    np.testing.assert_allclose(
        student(features())["logits"], teacher(features())["logits"], atol=1e-4
    )


def test_without_the_fold_the_student_lacks_segment_zero_as_in_the_code():
    teacher = tiny()
    student = masked_lm_student(teacher, range(1, 6), fold_segments=False)
    for name in ("embeddings.token", "embeddings.position", "embeddings.norm.scale"):
        np.testing.assert_array_equal(
            student.encoder.named_weights()[name], teacher.encoder.named_weights()[name]
        )
    gap = np.array(student(features())["logits"]) - teacher(features())["logits"]
    assert np.abs(gap).max() > 1e-2


def test_a_student_has_the_chosen_layers_and_shares_nothing():
    teacher = tiny()
    student = masked_lm_student(teacher, (1, 3, 5))
    ours, theirs = student.encoder.named_weights(), teacher.encoder.named_weights()
    for mine, chosen in ((0, 0), (1, 2), (2, 4)):
        name = "layers.{}.attention.value.kernel"
        np.testing.assert_array_equal(ours[name.format(mine)], theirs[name.format(chosen)])
    before = np.array(teacher.head.mlm_dense.kernel)
    student.head.mlm_dense.kernel.assign(before * 0)
    np.testing.assert_array_equal(teacher.head.mlm_dense.kernel, before)


def test_a_random_student_has_the_shape_alone():
    teacher = tiny()
    student = masked_lm_student(teacher, (1, 5), from_teacher=False)
    assert student.num_layers == 2
    kernel = "layers.0.intermediate.kernel"
    ours, theirs = (m.encoder.named_weights()[kernel] for m in (student, teacher))
    assert np.abs(np.array(ours) - theirs).max() > 0.1


@pytest.mark.parametrize("family", ["roberta", "electra", "albert"])
def test_students_of_other_families_stay_in_them(family, tmp_path):
    inputs, _ = expected_of(family)
    teacher = MaskedLM.from_preset(FIXTURES / family / "masked_lm")
    whole = masked_lm_student(teacher, range(1, teacher.num_layers + 1))
    np.testing.assert_allclose(whole(inputs)["logits"], teacher(inputs)["logits"], atol=1e-5)
    student = masked_lm_student(teacher, (2,))
    write_checkpoint(
        tmp_path, student.encoder, architecture="masked_lm", layers=student.head_layers
    )
    again = MaskedLM.from_preset(tmp_path, need_head=True)
    assert (again.encoder_config.family, again.num_layers) == (family, 1)
    np.testing.assert_array_equal(again(inputs)["logits"], student(inputs)["logits"])


@pytest.mark.parametrize("layers", [(), (0, 1), (1, 6), (3, 2), (2, 2)])
def test_layers_that_the_teacher_has_not_are_refused(layers):
    with pytest.raises(InputError, match="teacher of 5"):
        masked_lm_student(tiny(), layers)
