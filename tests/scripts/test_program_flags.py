"""What programs ask of flags that depend on each other and on the devices that are there."""

import errno
import importlib
import re
import types
from unittest import mock

import pytest
import tensorflow as tf
from absl import flags as absl_flags

from xdistil.errors import InputError


@pytest.fixture
def module(monkeypatch, repository):
    """Imports a module of flags that then reads `given`: name, default and, if given, value."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))

    def module(name, defaults, *command_line):
        values = absl_flags.FlagValues()
        kinds = {bool: "bool", int: "integer", float: "float", str: "string"}
        for flag, default in defaults.items():
            define = getattr(absl_flags, f"DEFINE_{kinds[type(default)]}")
            define(flag, default, "A flag.", flag_values=values)
        values(["program", *command_line])
        found = importlib.import_module(name)
        monkeypatch.setattr(found, "FLAGS", values)
        return found

    return module


BATCH = {"batch_size": 256, "micro_batch_size": 8, "smoke": False}


def test_steps_of_a_smoke_test_are_shared_out_evenly_over_any_number_of_devices(module):
    for replicas in (1, 3, 5):
        pretraining_flags = module("pretraining_flags", BATCH, "--smoke")
        pretraining_flags.fit_batch(replicas)
        assert pretraining_flags.FLAGS.batch_size == 2 * 8 * replicas


def test_a_batch_that_the_devices_cannot_share_is_refused(module):
    pretraining_flags = module("pretraining_flags", BATCH)
    pretraining_flags.fit_batch(4)
    with pytest.raises(InputError, match="256 is no multiple of --micro_batch_size=8 times 3 dev"):
        pretraining_flags.fit_batch(3)


DEVICES = {
    **{"strategy": "default", "logical_devices": 1, "jit_compile": "auto"},
    "deterministic_ops": False,
}


def test_operations_are_deterministic_where_that_is_asked_for(module, monkeypatch):
    asked = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: asked.append("enabled")
    )
    for given, expected in (((), []), (("--deterministic_ops",), ["enabled"])):
        module("device_flags", DEVICES, *given).prepare_devices()
        assert asked == expected


@pytest.mark.parametrize(("gpus", "replicas"), [(0, 1), (1, 1), (3, 3)])
def test_gpus_are_counted_where_there_are_any(module, monkeypatch, gpus, replicas):
    device_flags = module("device_flags", DEVICES, "--strategy=mirrored", "--jit_compile=false")
    found = {"CPU": [types.SimpleNamespace(name="CPU:0")]}
    found["GPU"] = [types.SimpleNamespace(name=f"GPU:{number}") for number in range(gpus)]
    monkeypatch.setattr(tf.config, "list_logical_devices", found.get)
    assert device_flags.count_replicas() == replicas
    if replicas == 1:
        device_flags.prepare_devices()
        return
    with pytest.raises(InputError, match="--jit_compile=false: several devices"):
        device_flags.prepare_devices()
    assert module("device_flags", DEVICES).count_replicas() == 1


IDLE = {
    **{"alpha_ce": 5.0, "temperature": 2.0, "masked_only": False},
    **{"student_init": "teacher", "fold_segments": True, "student_layers": "spread"},
}


@pytest.mark.parametrize(
    ("command_line", "told"),
    [
        (["--alpha_ce=0", "--temperature=3"], "--temperature is of the loss that --alpha_ce=0"),
        (["--alpha_ce=0", "--masked_only"], "--masked_only is of the loss"),
        (["--student_init=random", "--nofold_segments"], "--fold_segments is for"),
        (["--student_init=random", "--student_layers=first"], "--student_layers is for"),
        (["--student_init=random", "--student_layers=1,3"], "a random student is --num_layers"),
        (["--alpha_ce=0", "--temperature=2", "--nomasked_only"], None),
        (["--temperature=3", "--masked_only", "--nofold_segments", "--student_layers=1"], None),
    ],
)
def test_flags_of_pre_training_that_decide_nothing_are_refused(module, command_line, told):
    pretraining_flags = module("pretraining_flags", IDLE, *command_line)
    if told is None:
        pretraining_flags._refuse_idle()
        return
    with pytest.raises(InputError, match=told):
        pretraining_flags._refuse_idle()


def test_what_is_held_out_is_decided_by_the_data_seed(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    pretraining_job = importlib.import_module("pretraining_job")
    given = mock.MagicMock(seed=7, data_seed=2, jit_compile="true", dev_share=0.01, alpha_ce=1)
    given.configure_mock(max_examples=0, train_examples=0, dev_examples=0, min_length=5)
    given.configure_mock(mask_share=0.1, mask_smoothing=0.7, alpha_mlm=1, alpha_cos=1)
    given.checkpoint_minutes = 2
    monkeypatch.setattr(pretraining_job, "FLAGS", given)
    monkeypatch.setattr(
        pretraining_job, "write_pretraining_text", lambda *arguments, **_: arguments[3]
    )
    job = object.__new__(pretraining_job.PretrainingJob)
    job.encoder = None
    assert job._text(mock.MagicMock(), "hash").seed == 2
    settings = job._settings(mock.MagicMock())
    assert (settings.seed, settings.data_seed) == (7, 2)


@pytest.mark.parametrize(
    ("defined", "goes_on", "told"),
    [
        (BATCH, True, r"lower --micro_batch_size and give another --output_dir.* the same comm"),
        ({"batch_size": 1, "seq_len": 2}, False, r"lower --batch_size or --seq_len \(OOM when"),
        ({}, False, "take a device with more memory"),
    ],
)
def test_a_device_without_room_is_one_line_that_says_what_to_lower(
    module, monkeypatch, capsys, defined, goes_on, told
):
    def main(_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmany\nlines")

    with pytest.raises(SystemExit, match="2"):
        run_guarded(module("program", {"verbosity": -1, **defined}), monkeypatch, main, goes_on)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory on the device: ") and re.search(told, line), line


def test_a_full_disk_and_other_errors_of_tensorflow_are_not_taken_for_it(module, monkeypatch):
    program = module("program", {"verbosity": -1})
    for error in (
        tf.errors.ResourceExhaustedError(None, None, "a.txt; No space left on device"),
        tf.errors.InternalError(None, None, "OOM"),
    ):

        def main(_, error=error):
            raise error

        with pytest.raises(type(error)):
            run_guarded(program, monkeypatch, main)


def test_what_the_system_refuses_is_one_line(module, monkeypatch, capsys):
    program = module("program", {"verbosity": -1})

    def main(_):
        raise OSError(errno.ENAMETOOLONG, "File name too long", "runs/xxx")

    with pytest.raises(SystemExit, match="2"):
        run_guarded(program, monkeypatch, main)
    assert capsys.readouterr().err == "error: runs/xxx: File name too long\n"

    def nameless(_):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        run_guarded(program, monkeypatch, nameless)


def run_guarded(program, monkeypatch, main, goes_on=False):
    """`program.run` without the start of an absl program, loggers and handlers of signals."""
    start = types.SimpleNamespace(run=lambda guarded, flags_parser: guarded(["program"]))
    monkeypatch.setattr(program, "app", start)
    for name in ("logging", "signal", "absl_logging"):
        monkeypatch.setattr(program, name, mock.Mock())
    program.run(main, goes_on)
