"""Several worker processes on one machine: the same student as one process, also after a kill."""

import shutil
import signal
import time

import numpy as np
import pytest
import safetensors.numpy
from benchmark_devices import cluster
from forked_programs import ForkedProgram, as_text, run_forked
from text_programs import ROOT, TINY, error_of, rows

from xdistil.report.report import load_report

SMALL = [flag for flag in TINY if "epochs" not in flag]
# A teacher that varies little, and no dropout, whose masks differ between devices.
SMALL += ["--teacher_epochs=1", "--epochs=3", "--dropout=0", "--teacher_dropout=0"]
SMALL += ["--learning_rate=1e-2", "--batch_size=8", "--recipe=joint", "--noexport"]
PROGRAM = str(ROOT / "scripts" / "run_classification.py")


def weights_of(folder):
    return safetensors.numpy.load_file(folder / "student" / "model.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "dev", "test", "transfer"):
        found = list(rows(split, pairs=False))
        lines = [row[0] if split == "transfer" else "\t".join(row) for row in found]
        suffix = "txt" if split == "transfer" else "tsv"
        (folder / f"{split}.{suffix}").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def flags(data, folder):
    return [
        *(PROGRAM, *SMALL, f"--data_dir={data}", f"--transfer_file={data / 'transfer.txt'}"),
        f"--output_dir={folder}",
    ]


def test_a_worker_that_was_killed_and_started_again_goes_on(data, tmp_path):
    alone = as_text(run_forked(flags(data, tmp_path / "alone")))
    assert alone.returncode == 0, alone.stderr[-3000:]
    folder = tmp_path / "shared"
    command = [*flags(data, folder), "--strategy=multi_worker", "--checkpoint_minutes=0"]
    environment = [{"TF_CONFIG": config} for config in cluster(2)]
    workers = [ForkedProgram(command, env=env) for env in environment]
    # One while the teacher's outputs are written, the chief in the middle of a stage.
    for number, end, made in (
        (1, signal.SIGTERM, "teacher_targets"),
        (0, signal.SIGKILL, "stages/01-joint/state.safetensors"),
    ):
        workers[number].wait_for(folder / made)
        workers[number].send_signal(end)
        assert workers[number].wait() == (128 + end if end == signal.SIGTERM else -end)
        workers[number] = ForkedProgram(command, env=environment[number])
    chief, other = workers
    deadline = time.monotonic() + 300
    while "joint: goes on at epoch" not in (told := chief.stderr.decode()):
        assert chief.poll() is None and time.monotonic() < deadline, told[-3000:]
        time.sleep(0.05)
    assert b"a worker is gone (" in other.stderr
    assert (folder / "workers" / "1" / "run.log").is_file()
    assert chief.wait() == 0, chief.stderr.decode()[-3000:]
    assert other.wait() == 0, other.stderr.decode()[-3000:]
    # The chief alone reports.
    assert "Student and report are in" in chief.stdout.decode() and not other.stdout
    check_the_same_student(tmp_path / "alone", folder)
    # Finished: the workers have nothing to do.
    chief, other = (ForkedProgram(command, env=env) for env in environment)
    assert (chief.wait(), other.wait()) == (0, 0)
    assert "joint: epoch" not in chief.stderr.decode()
    # One process alone goes on with what several began.
    for name in ("stages/01-joint/done", "stages/01-joint/final.safetensors", "checksums.json"):
        (folder / name).unlink()
    for name in ("report.json", "report.html"):
        (folder / name).unlink()
    shutil.rmtree(folder / "student")
    done = as_text(run_forked(flags(data, folder)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'strategy was "multi_worker" when this run began, is "default"' in done.stderr
    check_the_same_student(tmp_path / "alone", folder)


def check_the_same_student(alone, shared):
    one, two = weights_of(alone), weights_of(shared)
    size = max(np.abs(values).max() for values in one.values())
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-4 * size, err_msg=name)
    reports = [load_report(path) for path in (alone, shared)]
    assert reports[0]["student"]["test"] == reports[1]["student"]["test"]
    assert reports[1]["truncation"] == reports[0]["truncation"]
    assert reports[1]["teacher_passes"] == 1


def test_what_tf_config_lacks_is_one_line(data, tmp_path):
    good = cluster(2)[0]
    for config in ("", "{", "[]", good.replace('"index": 0', '"index": 2'), '{"cluster": {}}'):
        done = as_text(
            run_forked(
                [*flags(data, tmp_path / "run"), "--strategy=multi_worker"],
                env={"TF_CONFIG": config},
            )
        )
        assert "wants the environment variable TF_CONFIG" in error_of(done)
    assert not (tmp_path / "run").exists()
