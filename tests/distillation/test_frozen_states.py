"""Stages above frozen layers read what those give from the disk, and end where others end."""

import dataclasses
import itertools
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tiny_models import (
    CLASSES,
    LAYER,
    VOCABULARY,
    pointwise_student,
    sentences,
    tiny_student,
    tiny_teacher,
)

from xdistil.data.examples import EncodedExample
from xdistil.data.records import write_records
from xdistil.distillation.frozen_states import FROZEN, FrozenStates
from xdistil.distillation.losses import (
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)
from xdistil.distillation.run_directory import StageDirectory
from xdistil.distillation.stage_trainer import StageData, StageSettings, StageTrainer
from xdistil.distillation.stages import OptimizerSettings, Stage
from xdistil.distillation.targets import compute_targets
from xdistil.models.bilstm_text import BiLSTMTextStudent

LENGTHS = (6, 10)
OF_TAGGER = (
    (1.0, LabelCrossEntropy()),
    (1.0, LogitsRegression()),
    (1.0, RepresentationDistillation(LAYER)),
)
OF_TEXTS = ((1.0, LabelCrossEntropy(positions="labeled_texts")),)


def examples(count, seed, of_texts=False):
    for ids in sentences(count, seed=seed):
        starts = np.zeros(len(ids), np.uint8)
        starts[1:-1] = 1
        labels = np.full(len(ids), -1, np.int32)
        labels[0 if of_texts else slice(1, -1)] = ids[0 if of_texts else slice(1, -1)] % CLASSES
        yield EncodedExample(ids, starts, np.flatnonzero(starts).astype(np.int32), labels)


@pytest.fixture(scope="module")
def of_tagger(tmp_path_factory):
    folder, teacher = tmp_path_factory.mktemp("stores"), tiny_teacher()

    def store(name, seed, count):
        return compute_targets(
            folder / name,
            list(examples(count, seed)),
            teacher=teacher,
            text=name,
            outputs=("logits", f"hidden_states_{LAYER}"),
            lengths=LENGTHS,
            shard_size=16,
        )

    return StageData([store("train", 1, 40)], [store("dev", 2, 12)], LENGTHS)


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    stores = [
        write_records(folder / name, examples(count, seed, of_texts=True), key=name, shard_size=16)
        for name, seed, count in (("train", 1, 40), ("dev", 2, 12))
    ]
    return StageData(stores[:1], stores[1:], LENGTHS)


def text_student(dropout=0.0):
    keras.utils.set_random_seed(2)
    return BiLSTMTextStudent(
        vocabulary_size=VOCABULARY,
        num_classes=CLASSES,
        embedding_dim=6,
        hidden_dim=8,
        representation_dim=16,
        dropout=dropout,
        pooling="max",
        boundary_token_ids=(7,),
    )


def a_stage(**changes):
    settings = {
        "losses": OF_TAGGER,
        "data": "labeled",
        "trainable": ("dense", "head"),
        "epochs": 3,
        "batch_size": 8,
        "patience": 0,
        "optimizer": OptimizerSettings(learning_rate=0.02, period_epochs=0),
    }
    return Stage("test", **(settings | changes))


def trained(folder, data, stage, student, **settings):
    better = itertools.count(1)
    trainer = StageTrainer(
        *(stage, 1, student, data, StageDirectory(folder), StageSettings(7, **settings)),
        score=lambda: float(next(better)),
    )
    record = trainer.run()
    assert not (folder / FROZEN).exists()
    return student.get_weights(), record


@pytest.mark.parametrize("monitor", ["metric", "loss"])
@pytest.mark.parametrize("kind", ["tagger", "texts"])
def test_a_stage_ends_where_it_ends_without(kind, monitor, request, tmp_path, monkeypatch):
    data = request.getfixturevalue(f"of_{kind}")
    make = tiny_student if kind == "tagger" else text_student
    stage = a_stage(losses=OF_TAGGER if kind == "tagger" else OF_TEXTS, monitor=monitor)
    expected, plain = trained(tmp_path / "plain", data, stage, make(), frozen_states_bytes=0)
    begun = make().get_weights()
    student = make()
    # No step may run the recurrence.
    run = type(student)._run_bilstm
    calls = []

    def counted(self, embedded, features, training):
        calls.append(training)
        return run(self, embedded, features, training)

    monkeypatch.setattr(type(student), "_run_bilstm", counted)
    found, record = trained(tmp_path / "frozen", data, stage, student)
    assert calls and not any(calls)
    for old, one, other in zip(begun, expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=3e-3)
        assert np.array_equal(old, one) == np.array_equal(old, other)
    assert record["losses"] == pytest.approx(plain["losses"], rel=5e-3)
    assert record["steps"] == plain["steps"]


def test_a_killed_stage_goes_on_from_the_states_it_has(of_tagger, tmp_path, monkeypatch):
    from xdistil.distillation import stage_trainer

    expected, _ = trained(tmp_path / "whole", of_tagger, a_stage(), tiny_student(dropout=0.3))
    original = stage_trainer.StepWatch.on_train_batch_end
    with monkeypatch.context() as patch:

        def die_in_the_second_epoch(self, batch, logs=None):
            original(self, batch, logs)
            if self.position.steps_done == 8:
                raise KeyboardInterrupt

        patch.setattr(stage_trainer.StepWatch, "on_train_batch_end", die_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            trained(
                tmp_path / "killed",
                of_tagger,
                a_stage(),
                tiny_student(dropout=0.3),
                checkpoint_seconds=0,
            )
    assert (tmp_path / "killed" / FROZEN).exists()
    found, _ = trained(tmp_path / "killed", of_tagger, a_stage(), tiny_student(dropout=0.3))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changes, most_bytes",
    [
        ({"epochs": 1}, 1 << 30),
        ({"trainable": None}, 1 << 30),
        ({"trainable": ("bilstm", "dense", "head")}, 1 << 30),
        ({}, 1000),
    ],
)
def test_states_are_kept_only_where_that_pays(of_tagger, tmp_path, changes, most_bytes):
    stage = a_stage(**changes)
    args = (stage, tmp_path, of_tagger, most_bytes)
    assert FrozenStates.of_stage(tiny_student(), *args) is None
    assert FrozenStates.of_stage(pointwise_student(), a_stage(), *args[1:3], 1 << 30) is None
    assert FrozenStates.of_stage(tiny_student(), a_stage(), *args[1:3], 1 << 30) is not None


def test_states_of_other_weights_are_refused(of_tagger, tmp_path):
    frozen = FrozenStates(tiny_student(), a_stage(), tmp_path, LENGTHS)
    stores = frozen.data(of_tagger).train
    assert set(stores[0].arrays) == {"logits", f"hidden_states_{LAYER}", FROZEN}
    other = dataclasses.replace(frozen, student=tiny_student(seed=3))
    assert other._fingerprint() != frozen._fingerprint()
