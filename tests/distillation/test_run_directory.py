"""A run's folder: the same run goes on, anything else is refused and left alone."""

import errno
import json
import logging
import os
import subprocess
import sys
import time

import pytest

from xdistil.data.checksums import write_checksums
from xdistil.distillation.phase_clock import PhaseClock
from xdistil.distillation.run_directory import RunDirectory, hash_files
from xdistil.distillation.workers import Workers, _digest
from xdistil.errors import InputError, StorageError

CONFIG = {"recipe": "D4.2", "seed": 7, "student": {"embedding_dim": 50, "layers": (1, 2)}}


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match=r"cannot be locked there: Function not implemented; mou"):
        RunDirectory.open(tmp_path / "run", CONFIG)


def test_the_log_says_how_a_run_ended(tmp_path):
    logger = logging.getLogger("xdistil.test_the_log_says_how_a_run_ended")
    logger.setLevel(logging.DEBUG)
    with pytest.raises(InputError), RunDirectory.open(tmp_path / "run", CONFIG) as directory:
        directory.log_to_file(logger)
        raise InputError("the loss is nan")
    told = (tmp_path / "run" / "run.log").read_text("utf-8")
    assert "ended: InputError: the loss is nan" in told and "Traceback" in told


def test_a_worker_waits_for_what_the_chief_wrote_and_says_where_it_does_not_show(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("xdistil.distillation.workers._SECONDS_TO_SHOW", 0.3)
    written = tmp_path / "config.json"
    written.write_text("new")
    digests = iter([1.0, _digest(written)] * 2)
    monkeypatch.setattr(Workers, "agree", lambda self, value: next(digests))
    worker = Workers(index=1, count=2)
    assert worker.chief_first(lambda: written.read_text(), written) == "new"
    written.write_text("old")
    with pytest.raises(InputError, match="does not see what the chief has written; put the run"):
        worker.chief_first(lambda: written.read_text(), written)


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_configuration_goes_on(tmp_path):
    with RunDirectory.open(tmp_path / "a" / "run", CONFIG) as run:
        run.stage(3, "logits").mark_done({"epochs": 4})
    with RunDirectory.open(tmp_path / "a" / "run", CONFIG) as run:
        assert run.stage(3, "logits").done_record() == {"epochs": 4}
        assert (run.path / "stages" / "03-logits" / "done").exists()


def test_the_configuration_is_written_with_versions_and_hashes(tmp_path):
    with RunDirectory.open(tmp_path, CONFIG, inputs={"train.tsv": "abc"}) as run:
        held = json.loads(run.config_path.read_text())
    assert held["settings"]["student"] == {"embedding_dim": 50, "layers": [1, 2]}
    assert held["inputs"] == {"train.tsv": "abc"}
    assert {"keras", "tensorflow", "xdistil"} <= set(held["versions"])


def test_another_configuration_is_refused_with_both_values(tmp_path):
    RunDirectory.open(tmp_path, CONFIG).close()
    before = files_of(tmp_path)
    other = {**CONFIG, "student": {"embedding_dim": 100, "layers": [1, 2]}, "new": None}
    with pytest.raises(InputError) as error:
        RunDirectory.open(tmp_path, other)
    assert "student.embedding_dim was 50, is 100" in str(error.value)
    assert "new was not set, is null" in str(error.value)
    assert "seed" not in str(error.value)
    assert "\n" not in str(error.value)
    assert files_of(tmp_path) == before


def test_other_inputs_are_refused(tmp_path):
    RunDirectory.open(tmp_path, CONFIG, inputs={"train.tsv": "abc"}).close()
    with pytest.raises(InputError, match=r'other inputs: train.tsv was "abc", is "abd"'):
        RunDirectory.open(tmp_path, CONFIG, inputs={"train.tsv": "abd"})


def test_settings_declared_irrelevant_may_differ(tmp_path):
    RunDirectory.open(tmp_path, CONFIG | {"progress": True}).close()
    options = {"irrelevant": ["progress", "student.layers"]}
    changed = CONFIG | {"progress": False, "student": {"embedding_dim": 50, "layers": 1}}
    RunDirectory.open(tmp_path, changed, **options).close()
    with pytest.raises(InputError, match=r"student\.embedding_dim"):
        RunDirectory.open(tmp_path, changed | {"student": {"embedding_dim": 1}}, **options)


def test_other_versions_only_warn(tmp_path):
    with RunDirectory.open(tmp_path, CONFIG) as run:
        held = json.loads(run.config_path.read_text())
        held["versions"]["keras"] = "0.0"
        run.write_json("config.json", held)
        assert run.version_warnings == []
    with RunDirectory.open(tmp_path, CONFIG) as run:
        assert len(run.version_warnings) == 1
        assert 'keras was "0.0"' in run.version_warnings[0]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_holds_something_else_is_refused(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        RunDirectory.open(tmp_path, CONFIG, overwrite=overwrite)
    assert files_of(tmp_path).keys() == {(tmp_path / "thesis.tex").relative_to(tmp_path)}


@pytest.mark.parametrize("content", ["{}", '{"model_type": "bert"}', "not json", "[]"])
def test_a_config_of_someone_else_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        RunDirectory.open(tmp_path, CONFIG, overwrite=True)
    assert (tmp_path / "config.json").read_text() == content


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RunDirectory.open(tmp_path / "run", CONFIG)


def test_overwrite_removes_what_a_run_made_and_nothing_else(tmp_path):
    with RunDirectory.open(tmp_path, CONFIG) as run:
        run.stage(1, "logits").mark_done()
        run.student.mkdir()
        (run.student / "model.safetensors").write_text("weights")
        run.clock.add("teacher", 5)
        (run.path / "notes.txt").write_text("mine")
    with RunDirectory.open(tmp_path, {"recipe": "D1"}, overwrite=True) as run:
        assert (run.path / "notes.txt").read_text() == "mine"
        assert not run.student.exists()
        assert not run.stage(1, "logits").is_done
        assert run.clock.seconds() == {}
    assert json.loads((tmp_path / "config.json").read_text())["settings"] == {"recipe": "D1"}


def test_a_run_killed_before_its_first_file_begins_anew(tmp_path):
    (tmp_path / "run.lock").write_text("1234\n")
    (tmp_path / ".config.json.partial").write_text('{"form')
    RunDirectory.open(tmp_path, CONFIG).close()


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_ends(tmp_path):
    first = RunDirectory.open(tmp_path, CONFIG)
    code = (
        "import sys\n"
        "from xdistil.distillation.run_directory import RunDirectory\n"
        "from xdistil.errors import InputError\n"
        "try:\n"
        "    RunDirectory.open(sys.argv[1], {}, overwrite=True)\n"
        "except InputError as error:\n"
        "    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    path = os.pathsep.join(["", *sys.path]).lstrip(os.pathsep)
    environment = os.environ | {"PYTHONPATH": path}
    second = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert second.returncode == 1
    assert f"another run is at work here (process {os.getpid()})" in second.stderr
    assert (tmp_path / "config.json").exists()
    first.close()
    RunDirectory.open(tmp_path, CONFIG).close()


def test_a_refused_configuration_does_not_keep_the_lock(tmp_path):
    RunDirectory.open(tmp_path, CONFIG).close()
    with pytest.raises(InputError):
        RunDirectory.open(tmp_path, {})
    RunDirectory.open(tmp_path, CONFIG).close()


def test_seconds_add_up_over_calls(tmp_path):
    with RunDirectory.open(tmp_path, CONFIG) as run:
        run.clock.add("teacher", 1.5)
        run.clock.add("targets", 2.0)
    with RunDirectory.open(tmp_path, CONFIG) as run:
        run.clock.add("teacher", 1.0)
        assert run.clock.seconds() == {"teacher": 2.5, "targets": 2.0}


def test_a_kill_loses_no_more_of_a_phase_than_one_flush(tmp_path):
    clock = PhaseClock(tmp_path / "progress.json", flush_seconds=0.02)
    began = time.monotonic()
    with clock.running("teacher"):
        while not clock.seconds():
            time.sleep(0.01)
        on_the_way = clock.seconds()["teacher"]
        time.sleep(0.05)
    took = time.monotonic() - began
    assert 0 < on_the_way < clock.seconds()["teacher"] <= took


def test_a_full_disk_is_told_for_what_the_body_wrote(tmp_path, monkeypatch):
    def full(path, value, **_):
        raise StorageError(f"{path}: no room")

    monkeypatch.setattr("xdistil.data.atomic_files.write_json", full)
    clock = PhaseClock(tmp_path / "progress.json")
    with pytest.raises(StorageError, match="targets: no room"), clock.running("targets"):
        raise StorageError("targets: no room")
    with pytest.raises(StorageError, match=r"progress\.json: no room"), clock.running("targets"):
        pass


def test_the_log_is_appended_to(tmp_path):
    logger = logging.getLogger("test_run_directory")
    for line in ("first", "second"):
        with RunDirectory.open(tmp_path, CONFIG) as run:
            run.log_to_file(logger)
            logger.warning(line)
    logger.warning("after the end")
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["first", "second"]


def test_a_stage_is_done_only_when_the_marker_is_whole(tmp_path, monkeypatch):
    with RunDirectory.open(tmp_path, CONFIG) as run:
        stage = run.stage(1, "logits")

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", full)
            with pytest.raises(StorageError, match="No space left on device"):
                stage.mark_done()
        assert not stage.is_done
        stage.mark_done()
        assert stage.is_done


def test_history_is_kept(tmp_path):
    with RunDirectory.open(tmp_path, CONFIG) as run:
        stage = run.stage(2, "labels")
        assert stage.history() == []
        stage.write_history([{"epoch": 1, "loss": 0.5}])
        assert run.stage(2, "labels").history() == [{"epoch": 1, "loss": 0.5}]


def test_a_full_disk_at_the_start_leaves_no_half_config(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError):
            RunDirectory.open(tmp_path / "run", CONFIG)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["run.lock"]
    RunDirectory.open(tmp_path / "run", CONFIG).close()


def test_hashes_follow_the_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    (tmp_path / "c").write_bytes(b"x" * 2_999_999 + b"y")
    a, b, c = hash_files([tmp_path / name for name in "abc"]).values()
    assert a == b != c
    with pytest.raises(InputError, match="nowhere"):
        hash_files([tmp_path / "nowhere"])


def test_overwriting_that_is_killed_half_way_can_be_given_again(tmp_path, monkeypatch):
    RunDirectory.open(tmp_path, CONFIG).close()
    (tmp_path / "notes.txt").write_text("mine", "utf-8")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xdistil.data.atomic_files.write_json", die)
        RunDirectory.open(tmp_path, {"recipe": "D1"}, overwrite=True)
    with RunDirectory.open(tmp_path, {"recipe": "D1"}, overwrite=True) as run:
        assert run.config["settings"] == {"recipe": "D1"}
    assert (tmp_path / "notes.txt").read_text("utf-8") == "mine"
    RunDirectory.open(tmp_path, {"recipe": "D1"}).close()


def test_a_changed_input_is_told_with_the_file_that_changed(tmp_path):
    RunDirectory.open(tmp_path, CONFIG, inputs={"text": "1"}, files={"a.tsv": "x"}).close()
    with pytest.raises(InputError, match=r"other inputs: .*\(changed: a.tsv\)"):
        RunDirectory.open(tmp_path, CONFIG, inputs={"text": "2"}, files={"a.tsv": "y"})
    RunDirectory.open(tmp_path, CONFIG, inputs={"text": "1"}, files={"moved.tsv": "x"}).close()


def sealed(tmp_path):
    """A finished run with a student, a log of D0, records and notes of its user."""
    with RunDirectory.open(tmp_path, CONFIG) as run:
        for name in ("student/model.bin", "export/latency.json", "languages/en/run.lock"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        write_checksums(tmp_path / "student", [tmp_path / "student" / "model.bin"])
        for name in ("notes.txt", "export/README.md", "records/manifest.jsonl"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        run.seal()
    return tmp_path


def test_a_sealed_run_names_what_was_changed_and_lets_be_what_may_change(tmp_path):
    run = sealed(tmp_path)
    for name in ("student/model.bin", "export/latency.json"):
        (run / name).write_text("y")
        with pytest.raises(InputError, match=f"{run / name}: is damaged"):
            RunDirectory.open(run, CONFIG)
        (run / name).write_text("x")
    for name in ("notes.txt", "export/README.md", "languages/en/run.lock"):
        (run / name).write_text("y")
    (run / "export" / "latency.json").unlink()  # to save room
    # Written over by what keeps checksums of its own.
    (run / "student" / "model.bin").write_text("newer")
    write_checksums(run / "student", [run / "student" / "model.bin"])
    RunDirectory.open(run, CONFIG).close()


def test_the_seal_is_broken_while_a_run_goes_on(tmp_path):
    run = sealed(tmp_path)
    with RunDirectory.open(run, CONFIG):
        (run / "export" / "latency.json").write_text("made anew, then killed")
    RunDirectory.open(run, CONFIG).close()
    (run / "student" / "model.bin").write_text("y")
    RunDirectory.open(run, CONFIG, overwrite=True).close()


def test_what_a_kill_left_half_written_stops_nobody(tmp_path):
    run = sealed(tmp_path)
    # Between the checksums of a model and its config.json; in the middle of a copy.
    write_checksums(run / "student", [], {"config.json": b"to come"})
    copy = run / ".teacher.partial"
    copy.mkdir()
    write_checksums(copy, [], {"model.safetensors": b"to come"})
    (copy / "model.safetensors").write_text("half")
    RunDirectory.open(run, CONFIG).close()
