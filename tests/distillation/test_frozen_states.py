"""Stages above frozen layers read what those give from the disk, and end where others end."""

import functools
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
    LENGTHS,
    VOCABULARY,
    pointwise_student,
    sentences,
    tagged_data,
    tagged_example,
    tiny_student,
)

from xdistil.data.record_batches import iterate_batches, iterate_examples
from xdistil.data.records import RecordStore, write_records
from xdistil.distillation import frozen_states, stage_trainer
from xdistil.distillation.frozen_states import FROZEN, FrozenStates, trains_upper_layers
from xdistil.distillation.hidden_states_distillation import HiddenStatesDistillation
from xdistil.distillation.losses import (
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)
from xdistil.distillation.stage_data import StageData, StageSettings
from xdistil.distillation.stage_directory import StageDirectory
from xdistil.distillation.stage_trainer import StageTrainer
from xdistil.distillation.stages import OptimizerSettings, Stage
from xdistil.errors import StorageError
from xdistil.models import EncoderConfig
from xdistil.models.bilstm_text import BiLSTMTextStudent
from xdistil.models.transformer import TransformerStudent
from xdistil.models.transformer_text import TransformerTextStudent

OF_TAGGER = (
    (1.0, LabelCrossEntropy()),
    (1.0, LogitsRegression()),
    (1.0, RepresentationDistillation(LAYER)),
)
OF_TEXTS = ((1.0, LabelCrossEntropy(positions="labeled_texts")),)


def examples(count, seed):
    return [tagged_example(ids) for ids in sentences(count, seed=seed)]


@pytest.fixture(scope="module")
def of_tagger(tmp_path_factory):
    return tagged_data(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")

    def store(name, seed, count):
        found = examples(count, seed)
        for example in found:
            example.labels[:] = -1
            example.labels[0] = example.token_ids[0] % CLASSES
        return write_records(folder / name, found, key=name, shard_size=16)

    return StageData([store("train", 1, 40)], [store("dev", 2, 12)], LENGTHS)


def text_student(dropout=0.0):
    settings = tiny_student(dropout=dropout).get_config()
    keras.utils.set_random_seed(2)
    return BiLSTMTextStudent(**settings, pooling="max", boundary_token_ids=(7,))


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
    """Weights, the stage's record, and what is left in the folder of frozen states."""
    better = itertools.count(1)
    trainer = StageTrainer(
        *(stage, 1, student, data, StageDirectory(folder), StageSettings(7, **settings)),
        score=lambda: float(next(better)),
        frozen_folder=folder / "shared",
    )
    record = trainer.run()
    return student.get_weights(), record, sorted((folder / "shared").glob("*"))


def transformer(text, dropout=0.0):
    keras.utils.set_random_seed(2)
    config = EncoderConfig(
        vocabulary_size=VOCABULARY - 1,
        hidden_dim=16,
        num_layers=1,
        num_heads=2,
        max_length=16,
        dropout=dropout,
    )
    kept = {"kept_token_ids": range(VOCABULARY - 1), "unknown_token_id": 1}
    kind = TransformerTextStudent if text else TransformerStudent
    return kind(config, num_classes=CLASSES, **kept)


KINDS = {
    "tagger": ("of_tagger", OF_TAGGER, ("dense", "head"), tiny_student),
    "texts": ("of_texts", OF_TEXTS, ("dense", "head"), text_student),
    "transformer": ("of_tagger", OF_TAGGER[:2], ("head",), functools.partial(transformer, False)),
    "transformer of texts": (
        *("of_texts", OF_TEXTS, ("pooler", "head")),
        functools.partial(transformer, True),
    ),
}


@pytest.mark.parametrize("monitor", ["metric", "loss"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_ends_where_it_ends_without(kind, monitor, request, tmp_path, monkeypatch):
    data, losses, trainable, make = KINDS[kind]
    data = request.getfixturevalue(data)
    # Dropout above is active, below it never is: else the two ways would differ by far.
    stage = a_stage(losses=losses, trainable=trainable, monitor=monitor)
    expected, plain, none = trained(
        *(tmp_path / "plain", data, stage, make(dropout=0.3)), reuse_frozen=False
    )
    student = make(dropout=0.3)
    begun, calls = student.get_weights(), []
    below = type(student).states_below

    def watched(self, features):
        calls.append(features["token_ids"].shape[0])
        return below(self, features)

    monkeypatch.setattr(type(student), "states_below", watched)
    monkeypatch.setattr(type(student), "call", None)
    found, record, kept = trained(tmp_path / "kept", data, stage, student)
    # Traced for the states, whose batches have any size, and to evaluate loss on dev.
    assert set(calls) == ({None} if monitor == "metric" else {None, 8})
    assert (len(kept), none) == (1, [])
    changed = 0
    for old, one, other in zip(begun, expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
        assert np.array_equal(old, one) == np.array_equal(old, other)
        changed += not np.array_equal(old, one)
    assert changed == 2 * len(trainable)
    assert record["losses"] == pytest.approx(plain["losses"], rel=1e-4)
    assert record["steps"] == plain["steps"]


def test_a_stage_killed_in_its_second_epoch_ends_in_the_same_bits(of_tagger, tmp_path, monkeypatch):
    expected, _, _ = trained(tmp_path / "whole", of_tagger, a_stage(), tiny_student(dropout=0.3))
    original = stage_trainer.StepWatch.on_train_batch_end
    with monkeypatch.context() as patch:

        def die_in_the_second_epoch(self, batch, logs=None):
            original(self, batch, logs)
            if self.position.steps_done == 10:
                raise KeyboardInterrupt

        patch.setattr(stage_trainer.StepWatch, "on_train_batch_end", die_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            trained(
                *(tmp_path / "killed", of_tagger, a_stage(), tiny_student(dropout=0.3)),
                checkpoint_seconds=0,
            )
    (kept,) = (tmp_path / "killed" / "shared").glob("*")
    # What lies there is damaged as well: it is computed again, from weights of the checkpoint.
    (kept / "manifest.jsonl").write_bytes(b"?")
    found, _, _ = trained(tmp_path / "killed", of_tagger, a_stage(), tiny_student(dropout=0.3))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_states_are_shared_by_stages_and_go_with_what_they_were_made_of(of_tagger, tmp_path):
    folder, student = tmp_path / "states", tiny_student()
    (store,) = FrozenStates(student, folder, LENGTHS).beside(of_tagger.train)
    assert set(store.arrays) == {"logits", f"hidden_states_{LAYER}", FROZEN}
    # Teacher outputs are not copied.
    assert {path.name.split(".")[1] for path in folder.rglob("*.tfrecord")} == {FROZEN, "tokens"}
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tfrecord")}
    student.head.set_weights([weight + 1 for weight in student.head.get_weights()])
    FrozenStates(student, folder, LENGTHS).beside(of_tagger.train)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.tfrecord")} == times
    student.bilstm.set_weights([weight + 1 for weight in student.bilstm.get_weights()])
    FrozenStates(student, folder, LENGTHS).beside(of_tagger.train)
    assert len(list(folder.iterdir())) == 1
    assert not set(times) & set(folder.rglob("*.tfrecord"))


def test_states_stand_at_their_examples(of_tagger, tmp_path):
    student = tiny_student()
    stores = FrozenStates(student, tmp_path, LENGTHS).beside(of_tagger.train)
    for batch in iterate_batches(stores, lengths=LENGTHS, batch_size=8, arrays=(FROZEN,), seed=1):
        features, targets = batch
        real = features["padding_mask"].astype(bool)
        expected = student.states_below(features).numpy()
        np.testing.assert_allclose(targets[FROZEN][real], expected[real], atol=1e-3)
    plain = examples(40, 1)
    for one, other in zip(plain, iterate_examples(stores[0]), strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.word_positions, other.word_positions)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("fault", ["small disk", "full disk"])
def test_where_there_is_no_room_training_goes_on_without(fault, of_tagger, tmp_path, monkeypatch):
    def full(*_, **__):
        raise StorageError("no space left")

    if fault == "full disk":
        monkeypatch.setattr(frozen_states, "write_records", full)
    else:
        monkeypatch.setattr(frozen_states, "free_bytes", lambda _: 100)
    _, record, kept = trained(tmp_path, of_tagger, a_stage(), tiny_student())
    assert (record["epochs"], kept) == (3, [])


def test_layers_are_left_out_only_where_nothing_of_them_is_wanted():
    losses = [loss for _, loss in OF_TAGGER]
    above = trains_upper_layers
    assert above(tiny_student(), ("head",), losses) and above(text_student(), ("dense",), losses)
    assert not above(tiny_student(), None, losses)
    assert not above(tiny_student(), ("bilstm", "dense", "head"), losses)
    assert not above(pointwise_student(), ("head",), losses)
    assert not above(tiny_student(), ("head",), [*losses, HiddenStatesDistillation([(1, 1)])])


def test_stores_of_other_examples_are_not_put_side_by_side(of_tagger, of_texts):
    (one,), (other,) = of_tagger.train, of_texts.train
    with pytest.raises(ValueError, match="other examples"):
        RecordStore.open(one.folder).beside(of_tagger.dev[0])
    with pytest.raises(ValueError, match="in both"):
        one.beside(RecordStore.open(one.folder))
    assert other.arrays == {}
