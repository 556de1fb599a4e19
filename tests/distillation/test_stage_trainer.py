"""A stage goes on after any interruption, and ends in the same bits."""

import dataclasses
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
from tiny_models import (
    LAYER,
    LENGTHS,
    PointwiseStudent,
    pointwise_student,
    sentences,
    tagged_data,
    tagged_example,
    tiny_student,
    tiny_teacher,
)

from xdistil.data.batching import sized
from xdistil.data.records import write_records
from xdistil.distillation.distiller import Distiller
from xdistil.distillation.losses import (
    LabelCrossEntropy,
    LogitsRegression,
    RepresentationDistillation,
)
from xdistil.distillation.progress import Progress
from xdistil.distillation.stage_data import StageData, StageSettings
from xdistil.distillation.stage_directory import StageDirectory
from xdistil.distillation.stage_trainer import StageTrainer
from xdistil.distillation.stages import OptimizerSettings, Stage
from xdistil.distillation.state import read_state
from xdistil.distillation.stopping import STOP, Stopped
from xdistil.errors import InputError

LOSSES = ((1.0, LabelCrossEntropy()), (1.0, LogitsRegression()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tagged_data(tmp_path_factory.mktemp("stores"))


def stage(**changes):
    settings = {
        "losses": LOSSES,
        "data": "labeled",
        "epochs": 3,
        "batch_size": 8,
        "patience": 0,
        "optimizer": OptimizerSettings(learning_rate=0.02, period_epochs=0),
    }
    return Stage("test", **(settings | changes))


def trainer(
    folder, data, the_stage=None, score=lambda: 0.5, seconds=1e9, make=pointwise_student, **kwargs
):
    student = make(dropout=0.3)
    settings = StageSettings(seed=7, checkpoint_seconds=seconds)
    directory = StageDirectory(folder)
    return StageTrainer(
        the_stage or stage(), 1, student, data, directory, settings, score, **kwargs
    )


def test_one_trace_serves_all_epochs_and_lengths(data, tmp_path, monkeypatch):
    traced = []
    call = PointwiseStudent.call

    def counted(self, features, training=False):
        traced.append(training)
        return call(self, features, training)

    monkeypatch.setattr(PointwiseStudent, "call", counted)
    trainer(tmp_path, data, stage(epochs=5, monitor="loss")).run()
    # A call runs in Python only while it is traced: once for steps, once for dev's loss.
    assert sorted(traced) == [False, True]


@pytest.mark.parametrize("make", [pointwise_student, tiny_student])
def test_dev_is_scored_whole_however_many_steps_a_call_takes(data, tmp_path, make):
    trained = trainer(tmp_path, data, stage(epochs=1, batch_size=2, monitor="loss"), make=make)
    assert data.steps(2, data.dev) > 4
    trained.run()
    (epoch,) = trained.directory.history()
    alone = Distiller(trained.model, [loss for _, loss in LOSSES])
    alone.compile(run_eagerly=True)
    dev = trained._batches(data.dev, shuffle=False)
    scores = alone.evaluate(dev, verbose=0, return_dict=True)
    assert {f"dev_{name}": pytest.approx(value) for name, value in scores.items()} == {
        name: value for name, value in epoch.items() if name.startswith("dev_")
    }


class Killed(Exception):
    """Stands for kill -9: nothing that the trainer could do comes after it."""


def kill_after(looks, monkeypatch):
    from xdistil.distillation import stage_trainer

    taken = {"looks": 0}
    original = stage_trainer.StepWatch.on_train_batch_end

    def counted(self, batch, logs=None):
        original(self, batch, logs)
        taken["looks"] += 1
        if taken["looks"] == looks:
            raise Killed

    monkeypatch.setattr(stage_trainer.StepWatch, "on_train_batch_end", counted)


def test_a_stage_killed_anywhere_ends_in_the_same_bits(data, tmp_path, monkeypatch):
    reference = trainer(tmp_path / "whole", data, make=tiny_student)
    whole = reference.run()
    assert reference.steps == 6  # taken as four and two
    # Within the first epoch, within the second, at the second's end, within the third.
    for looks in (1, 2, 1, 1):
        with monkeypatch.context() as patch:
            kill_after(looks, patch)
            with pytest.raises(Killed):
                # A checkpoint whenever it looks: the kill falls into the middle of an epoch.
                trainer(tmp_path / "killed", data, seconds=0.0, make=tiny_student).run()
    again = trainer(tmp_path / "killed", data, make=tiny_student)
    resumed = again.run()
    for old, new in zip(reference.model.weights, again.model.weights, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    assert resumed["losses"] == whole["losses"]
    assert resumed["steps"] == whole["steps"] == 3 * reference.steps


def test_a_stop_costs_a_few_steps_and_no_bit(data, tmp_path, monkeypatch):
    reference = trainer(tmp_path / "whole", data, make=tiny_student)
    reference.run()
    stopped = trainer(tmp_path / "stopped", data, make=tiny_student)
    advance = Progress.advance

    def ask(*args):
        advance(*args)
        assert STOP.make()

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Progress, "advance", ask)
        stopped.run()
    _, metadata = read_state(stopped.directory.checkpoint)
    assert json.loads(metadata["position"])["step"] == 4
    again = trainer(tmp_path / "stopped", data, make=tiny_student)
    again.run()
    for old, new in zip(reference.model.weights, again.model.weights, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())


def test_a_stop_after_the_last_step_is_heard_all_the_same():
    with pytest.raises(Stopped), STOP.heard():
        assert STOP.make()
    assert not STOP.make()  # nobody trains
    with STOP.heard():
        STOP.obey()


def test_a_finished_stage_is_taken_over_without_training(data, tmp_path, monkeypatch):
    first = trainer(tmp_path, data)
    record = first.run()
    kill_after(1, monkeypatch)
    second = trainer(tmp_path, data)
    assert second.run() == record
    for old, new in zip(first.model.weights, second.model.weights, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())


def test_the_best_epoch_on_dev_is_kept_and_patience_ends_the_stage(data, tmp_path):
    scores = iter([0.2, 0.1, 0.9, 0.5, 0.4, 0.3, 0.9, 0.9])
    record = trainer(
        tmp_path,
        data,
        stage(epochs=6, patience=2, monitor="metric"),
        score=lambda: next(scores),
    ).run()
    assert (record["epochs"], record["best_epoch"]) == (4, 2)


def test_a_stage_that_only_harms_hands_on_what_it_was_given(data, tmp_path):
    scores = iter([0.8, 0.1, 0.2, 0.3, 0.8])
    made = trainer(tmp_path, data, stage(monitor="metric"), score=lambda: next(scores))
    before = made.model.get_weights()
    assert made.run()["best_epoch"] == 0
    trainable = made.model.trainable_variables
    after = dict(zip([w.path for w in made.model.weights], made.model.get_weights(), strict=True))
    given = dict(zip([w.path for w in made.model.weights], before, strict=True))
    assert all(np.array_equal(given[w.path], after[w.path]) for w in trainable)


def test_each_stage_has_an_order_and_a_dropout_of_its_own(data, tmp_path):
    weights = []
    for number in (1, 2):
        student = pointwise_student(dropout=0.3)
        StageTrainer(
            stage(epochs=1),
            number,
            student,
            data,
            StageDirectory(tmp_path / str(number)),
            StageSettings(seed=7),
            lambda: 0.0,
        ).run()
        weights.append(student.get_weights())
    assert any(not np.array_equal(a, b) for a, b in zip(*weights, strict=True))


def test_groups_that_do_not_learn_stay_and_reset_groups_begin_anew(data, tmp_path):
    heads = []
    for number, shift in enumerate((0.0, 5.0)):
        made = trainer(
            tmp_path / str(number), data, stage(trainable=("head",), reset=("head",), epochs=1)
        )
        model = made.model
        (head,) = model.layer_groups["head"]
        head.set_weights([weight + shift for weight in head.get_weights()])
        before = model.get_weights()
        made.run()
        frozen = len(before) - len(head.weights)
        after = model.get_weights()
        assert all(
            np.array_equal(*pair) for pair in zip(before[:frozen], after[:frozen], strict=True)
        )
        heads.append(head.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*heads, strict=True))


def test_the_teacher_online_ends_where_its_targets_end(data, tmp_path):
    the_stage = stage(losses=((1.0, RepresentationDistillation(LAYER)),), epochs=2)
    stored = trainer(tmp_path / "disk", data, the_stage).run()
    online = trainer(tmp_path / "online", data, the_stage, teacher=tiny_teacher()).run()
    assert online["losses"]["representation"] == pytest.approx(
        stored["losses"]["representation"], rel=2e-3
    )


def test_a_loss_that_turns_nan_stops_with_stage_epoch_and_step(data, tmp_path):
    optimizer = OptimizerSettings(learning_rate=1e30, schedule="constant")
    with pytest.raises(InputError, match=r"stage test: the loss is .*epoch 1, step \d"):
        trainer(tmp_path, data, stage(optimizer=optimizer)).run()


@pytest.mark.parametrize("schedule", ["constant", "cosine_restarts"])
def test_a_stage_goes_on_from_its_last_good_checkpoint_at_a_lower_rate(schedule, data, tmp_path):
    optimizer = OptimizerSettings(learning_rate=0.02, schedule=schedule, period_epochs=0)
    the_stage = stage(optimizer=optimizer)
    broken = trainer(tmp_path, data, the_stage)
    read = broken.train_batches

    def spoilt(epoch, first_step):
        batches = read(epoch, first_step)
        if epoch == 0:
            return batches

        def spoil(features, targets):
            return features, {**targets, "logits": targets["logits"] * np.float16("nan")}

        return sized(batches.map(spoil), broken.steps)

    broken.train_batches = spoilt
    checkpoint = tmp_path / "state.safetensors"
    with pytest.raises(InputError, match=rf"test: .* nan at epoch 2, step 1; .*{checkpoint}"):
        broken.run()
    assert json.loads(read_state(checkpoint)[1]["position"])["epoch"] == 1
    settings = dataclasses.replace(broken.settings, learning_rate_factor=0.25)
    slower = StageTrainer(
        *(the_stage, 1, pointwise_student(dropout=0.3), data, StageDirectory(tmp_path), settings),
        lambda: 0.5,
    )
    rates = []
    save = slower.save

    def noted(distiller, position):
        rates.append(float(distiller.optimizer.learning_rate))
        save(distiller, position)

    slower.save = noted
    record = slower.run()
    assert (record["epochs"], record["learning_rate_factor"]) == (3, 0.25)
    # Two thirds down the cosine, and at its end up again, at 0.97 of the peak.
    full = [0.02, 0.02] if schedule == "constant" else [0.005, 0.97 * 0.02]
    np.testing.assert_allclose(rates, 0.25 * np.array(full), atol=1e-6)


@pytest.mark.parametrize(("epochs", "step"), [(3, 4), (1, 6)])
def test_gradients_that_float16_always_leaves_out_stop_the_stage(epochs, step, data, tmp_path):
    class Spoilt(Distiller):
        def _losses_and_gradients(self, *args):
            sums, gradients = super()._losses_and_gradients(*args)
            return sums, [gradient * float("nan") for gradient in gradients]

    def make(dropout):
        keras.config.set_dtype_policy("mixed_float16")
        try:
            return pointwise_student(dropout=dropout)
        finally:
            keras.config.set_dtype_policy("float32")

    made = trainer(tmp_path, data, stage(epochs=epochs), make=make)
    made.distiller_class = Spoilt
    # From 2^15 down to a half, or by the end of the stage.
    with pytest.raises(InputError, match=rf"beyond float16 at epoch {epochs}, step {step}; "):
        made.run()
    assert made.directory.done_record() is None


@pytest.mark.parametrize("loss", [float("nan"), 2e6])
def test_a_loss_on_dev_beyond_all_bounds_stops_the_stage_that_caused_it(loss, data, tmp_path):
    made = trainer(tmp_path, data, stage(epochs=1, monitor="loss"))
    made.dev_scores = lambda distiller: {"dev_loss": loss}
    with pytest.raises(InputError, match=r"stage test: the loss is (nan|20\d{5}\.)"):
        made.run()
    assert not made.directory.best.exists() and made.directory.done_record() is None


def test_an_epoch_whose_history_was_not_written_is_in_it_at_last(data, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StageDirectory, "write_history", die)
        trainer(tmp_path, data, stage(epochs=1)).run()
    trainer(tmp_path, data, stage(epochs=1)).run()
    assert [epoch["epoch"] for epoch in StageDirectory(tmp_path).history()] == [1]


def test_a_folder_of_another_stage_is_refused(data, tmp_path):
    trainer(tmp_path, data, stage(epochs=1)).run()
    with pytest.raises(InputError, match="epochs"):
        trainer(tmp_path, data, stage(epochs=2)).run()


def test_events_hold_the_scalars_of_every_epoch(data, tmp_path):
    trainer(tmp_path / "stage", data, events=tmp_path / "events").run()
    found = {}
    for path in sorted((tmp_path / "events" / "stage").iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found[event.step, value.tag] = float(tf.make_ndarray(value.tensor))
    history = StageDirectory(tmp_path / "stage").history()
    assert found[3, "labels"] == pytest.approx(history[2]["labels"])
    assert len(found) == sum(len(epoch) - 1 for epoch in history)


def test_stores_without_teacher_outputs_serve_labels_alone(tmp_path):
    examples = [tagged_example(ids) for ids in sentences(20)]
    store = write_records(tmp_path / "store", examples, key="k")
    the_stage = stage(losses=LOSSES[:1], monitor="metric", epochs=1)
    record = trainer(tmp_path / "stage", StageData([store], [], LENGTHS), the_stage).run()
    assert set(record["losses"]) == {"labels"}
