"""The main job as a user starts it: one command, one line when something is wrong."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked_programs import ForkedProgram, as_text, run_forked

import xdistil
from xdistil.data.atomic_files import read_json
from xdistil.data.records import RecordStore
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.stage_directory import StageDirectory
from xdistil.errors import InputError

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "configs" / "sample"
TINY = [
    f"--data_dir={SAMPLE}",
    "--languages=en,ru",
    "--labeled_per_language=24",
    "--dev_per_language=12",
    "--transfer_sentences=150",
    "--teacher=scratch",
    "--teacher_layers=1",
    "--teacher_hidden_dim=16",
    "--teacher_heads=2",
    "--teacher_vocabulary=300",
    "--teacher_epochs=1",
    "--teacher_learning_rate=1e-3",
    "--seq_len=64",
    "--embedding_dim=8",
    "--hidden_dim=8",
    "--recipe=D4.1",
    "--epochs=2",
    "--batch_size=16",
    "--checkpoint_minutes=0",
    "--nomeasure_latency",
]


def command(*flags):
    return [sys.executable, str(ROOT / "scripts" / "run_ner.py"), *map(str, flags)]


def run(*flags):
    return as_text(run_forked(command(*flags)[1:]))


def start(*flags, **kwargs):
    return ForkedProgram(command(*flags)[1:], **kwargs)


def error_of(done):
    """The one line that a user sees."""
    return error_in(done.returncode, done.stderr)


def error_in(status, stderr):
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert status == 2, stderr[-2000:]
    assert len(lines) == 1 and "Traceback" not in stderr, stderr[-2000:]
    return lines[0]


@pytest.fixture
def good(tmp_path):
    """Flags of a run on files that are fine."""
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("Ada left Turin\tB-PER O B-LOC\n" * 4, "utf-8")
    return {
        "teacher": "scratch",
        "train_file": tmp_path / "train.tsv",
        "dev_file": tmp_path / "dev.tsv",
        "output_dir": tmp_path / "run",
    }


def flags_of(settings):
    return [f"--{name}={value}" for name, value in settings.items()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.tsv"),
        (b"Ada left Turin B-PER O B-LOC\n", "train.tsv:1"),
        (b"Ada left\tB-PER O\nAda left Turin\tB-PER O\n", "train.tsv:2"),
        (b"Ada left\tB-PER O\nAda \xff\tB-PER O\n", "train.tsv:2"),
        (b"Ada left\tB-PER MOVE\n", "train.tsv:1"),
    ],
    ids=["empty", "no tab", "numbers differ", "not UTF-8", "no BIO tag"],
)
def test_a_bad_line_is_named_by_file_and_number(good, content, message):
    good["train_file"].write_bytes(content)
    assert message in error_of(run(*flags_of(good)))
    assert not good["output_dir"].exists()


def test_a_missing_file_and_contradicting_flags_are_refused_before_anything_is_made(good):
    missing = {**good, "dev_file": "nowhere.tsv"}
    assert "nowhere.tsv: no such file" in error_of(run(*flags_of(missing)))
    assert "contradict" in error_of(run(*flags_of({**good, "data_dir": SAMPLE})))
    assert "bogus" in error_of(run(*flags_of(good), "--bogus"))
    for flag in ("--fresh_head", "--unfreeze_representation"):
        assert flag in error_of(run(*flags_of(good), flag, "--recipe=D0-S"))
    assert "--teacher_heads" in error_of(run(*flags_of(good), "--teacher=x", "--teacher_heads=2"))
    assert not good["output_dir"].exists()


def test_help_lists_the_flags_and_missing_ones_are_named_with_what_they_are():
    for name in ("ner", "classification", "pairs"):
        program = str(ROOT / "scripts" / f"run_{name}.py")
        done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True)
        assert done.returncode == 0
        assert {"--teacher:", "--recipe:", "--output_dir:"} <= set(done.stdout.split())
    line = error_of(run("--recipe=D1"))
    assert "--teacher: Folder or hub name" in line and "--output_dir: The run's" in line


def test_an_interrupt_is_one_line_that_says_how_to_go_on(tmp_path):
    process = start(*TINY, "--epochs=500", f"--output_dir={tmp_path / 'run'}")
    process.wait_for(tmp_path / "run" / "teacher" / "config.json")
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    printed = process.stderr.decode("utf-8")
    assert printed.splitlines()[-1] == (
        "interrupted: run the same command again, it goes on where it stopped"
    )
    assert "Traceback" not in printed


def test_a_label_outside_the_labels_file_is_refused(good, tmp_path):
    (tmp_path / "labels.tsv").write_text("O\nB-PER\nI-PER\n", "utf-8")
    done = run(*flags_of({**good, "labels_file": tmp_path / "labels.tsv"}))
    assert "train.tsv:1" in (line := error_of(done)) and "B-LOC" in line


@pytest.mark.parametrize(
    ("config", "message"),
    [({"model_type": "bert"}, "config.json"), ({"model_type": "mamba"}, "'mamba'")],
    ids=["incomplete", "unknown model type"],
)
def test_a_checkpoint_that_cannot_be_read_is_refused(good, tmp_path, config, message):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text(json.dumps(config), "utf-8")
    assert message in error_of(run(*flags_of({**good, "teacher": tmp_path / "teacher"})))
    assert not good["output_dir"].exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run, as a folder."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    # As a user does it, libraries and all.
    done = subprocess.run(
        command(*TINY, f"--output_dir={folder}"), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def report_of(folder):
    return json.loads((folder / "report.json").read_text("utf-8"))


def student_bytes(folder):
    return (folder / "student" / "model.safetensors").read_bytes()


def test_one_command_gives_student_export_report_and_table(whole):
    folder, done = whole
    report = report_of(folder)
    assert report["teacher_passes"] == 1
    assert set(report["student"]["test"]["per_language"]) == {"en", "ru"}
    assert [stage["name"] for stage in report["stages"]] == ["representation", "logits", "labels"]
    assert report["compression"] == pytest.approx(
        report["teacher"]["parameters"] / report["student"]["parameters"]
    )
    assert (folder / "export" / "saved_model" / "saved_model.pb").exists()
    assert "teacher" in done.stdout and "student" in done.stdout


def test_the_same_command_again_changes_nothing(whole):
    folder, _ = whole
    before, report = student_bytes(folder), report_of(folder)
    again = run(*TINY, f"--output_dir={folder}")
    assert again.returncode == 0 and student_bytes(folder) == before
    after = report_of(folder)
    assert after["peak_memory_bytes"] >= report["peak_memory_bytes"]
    for changing in ("seconds", "peak_memory_bytes"):
        del after[changing], report[changing]
    assert after == report
    assert set(report["truncation"]) == {"train", "dev", "test", "transfer"}


def test_another_configuration_in_the_directory_is_refused_by_name(whole):
    folder, _ = whole
    before = student_bytes(folder)
    message = error_of(run(*TINY, f"--output_dir={folder}", "--seed=5"))
    assert "seed was 0, is 5" in message and student_bytes(folder) == before


def test_teacher_and_targets_of_another_run_are_taken_over_only_where_they_are_the_same(
    whole, tmp_path
):
    source, _ = whole
    flags = [*TINY, f"--reuse_from={source}", f"--output_dir={tmp_path / 'run'}"]
    done = run(*flags, "--noexport")
    assert done.returncode == 0, done.stderr[-3000:]
    assert student_bytes(tmp_path / "run") == student_bytes(source)
    for name in ("teacher/model.safetensors", "teacher_targets/transfer/00000.logits.tfrecord"):
        assert os.path.samefile(source / name, tmp_path / "run" / name)
    for wrong in (["--seed=5", "--overwrite"], [f"--reuse_from={tmp_path / 'run'}", "--overwrite"]):
        message = error_of(run(*flags, *wrong))
        assert "was 0, is 5; labeled text" in message or "--output_dir itself" in message
        assert student_bytes(tmp_path / "run") == student_bytes(source)


def test_a_byte_that_flips_in_a_finished_run_is_noticed(whole, tmp_path):
    source, _ = whole
    run_directory = tmp_path / "run"
    shutil.copytree(source, run_directory)
    config = json.loads((run_directory / "config.json").read_text("utf-8"))

    sums = run_directory / "checksums.json"
    seal = sums.read_bytes()

    def begin_again():
        """What the same command does before it works, and reads of what is done."""
        with RunDirectory.open(run_directory, config["settings"], inputs=config["inputs"]) as held:
            held.clock.seconds()
        for name in ("teacher/key.json", "teacher/test.json", "student/test.json"):
            read_json(run_directory / name)
        read_json(run_directory / "records" / "kept_token_ids.json")
        for path in run_directory.rglob("manifest.jsonl"):
            RecordStore.open(path.parent)
        for path in run_directory.rglob("truncation.json"):
            read_json(path)
        for path in run_directory.glob("stages/*"):
            StageDirectory(path).done_record()

    begin_again()
    sums.write_bytes(seal)
    # Written anew by each call; logs; cards, in which people may write; a count that mends itself.
    free = ("report.json", "report.html", "run.log", "run.lock", "README.md", "teacher_runs.json")
    noticed = 0
    for path in sorted(run_directory.rglob("*")):
        if not path.is_file() or path.name in free:
            continue
        content = path.read_bytes()
        place = len(content) // 2
        flipped = bytes([content[place] ^ 1])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        with pytest.raises(InputError) as told:
            begin_again()
        named = path if path.name != "manifest.jsonl" else path.parent
        if not sums.exists():  # a call that goes on breaks the seal
            sums.write_bytes(seal)
        assert str(named) in str(told.value), path
        path.write_bytes(content)
        noticed += 1
    begin_again()
    assert noticed > 40


@pytest.mark.parametrize("way", ["two devices", "online, bfloat16 and pieces"])
def test_other_ways_to_train_end_in_a_report(way, whole, tmp_path):
    if way == "two devices":
        # Short: XLA compiles each bucket of lengths. The teacher is taken as it is: what
        # trains a student trains a teacher.
        xdistil.export_hub(xdistil.load(whole[0] / "teacher"), tmp_path / "teacher")
        flags = [flag for flag in TINY if not flag.startswith("--teacher")]
        flags += [f"--teacher={tmp_path / 'teacher'}", "--teacher_epochs=0", "--seq_len=16"]
        flags += ["--recipe=D1", "--strategy=mirrored", "--logical_devices=2"]
    else:
        flags = [*TINY, "--recipe=D2", "--teacher_targets=online"]
        flags += ["--precision=mixed_bfloat16", "--scheme=pieces", "--pad_to_seq_len"]
    done = run(*flags, "--epochs=1", "--noexport", f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr[-3000:]
    report = report_of(tmp_path / "run")
    per_language = report["student"]["test"]["per_language"]
    assert report["teacher_passes"] == 1 and set(per_language) == {"en", "ru"}
    assert len(report["stages"]) == 1


def test_a_teacher_that_runs_before_each_stage_gives_the_same_student(whole, tmp_path):
    source, _ = whole
    flags = [*TINY, f"--reuse_from={source}", "--teacher_targets=each_stage", "--noexport"]
    done = run(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert student_bytes(tmp_path / "run") == student_bytes(source)
    report = report_of(tmp_path / "run")
    taught = [stage["name"] for stage in report["stages"] if set(stage["losses"]) != {"labels"}]
    assert report["teacher_passes"] == len(taught) > 1


def test_d0_trains_and_exports_a_student_a_language(tmp_path):
    folder = tmp_path / "run"
    flags = ("--recipe=D0", "--epochs=1", "--export_inputs=ids")
    done = run(*TINY, *flags, f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    report = report_of(folder)
    assert [stage["name"] for stage in report["stages"]] == ["en/labels", "ru/labels"]
    english, russian = (student_bytes(folder / "languages" / language) for language in ("en", "ru"))
    assert english != russian
    for language in ("en", "ru"):
        exported = folder / "export" / language / "saved_model"
        assert {path.name for path in exported.glob("*.*")} >= {"saved_model.pb", "task.json"}


def test_d0_wants_the_same_languages_everywhere(good):
    train = ",".join(str(SAMPLE / language / "train.tsv.gz") for language in ("en", "ru"))
    files = {"train_file": train, "dev_file": SAMPLE / "en" / "dev.tsv.gz"}
    message = error_of(run(*flags_of({**good, **files}), "--recipe=D0", "--embedding_dim=8"))
    assert "(en, ru); dev has en" in message and not good["output_dir"].exists()


def test_a_run_killed_twice_ends_in_the_student_of_an_undisturbed_run(whole, tmp_path):
    reference, _ = whole
    folder = tmp_path / "run"
    for marker in ("stages/00-teacher/done", "stages/02-logits/state.safetensors"):
        process = start(*TINY, "--noexport", f"--output_dir={folder}")
        process.wait_for(folder / marker)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = run(*TINY, "--noexport", f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert student_bytes(folder) == student_bytes(reference)
    assert report_of(folder)["teacher_passes"] == 1


def test_no_room_on_the_disk_damages_nothing_and_the_command_goes_on_later(whole, tmp_path):
    reference, _ = whole
    folder = tmp_path / "run"
    # First there is no room for the teacher's checkpoint, then none for its targets.
    for size, file in ((60_000, "stages/00-teacher/"), (150_000, "teacher_targets/transfer/")):
        process = start(*TINY, f"--output_dir={folder}", file_size=size)
        message = error_in(process.wait(), process.stderr.decode("utf-8"))
        assert "cannot write" in message and file in message
    assert not list(folder.rglob("*.partial"))
    done = run(*TINY, "--noexport", f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert student_bytes(folder) == student_bytes(reference)


@pytest.mark.skipif(
    os.geteuid() == 0 and sys.platform != "linux",
    reason="root enters closed folders, and gives up that right on Linux alone",
)
def test_a_folder_that_is_closed_is_one_line_and_costs_nothing(whole, tmp_path):
    reference, _ = whole

    def refused(*flags):
        process = start(*TINY, "--noexport", *flags, unprivileged=True)
        return error_in(process.wait(), process.stderr.decode("utf-8"))

    parent = tmp_path / "parent"
    parent.mkdir()
    folder = parent / "run"
    for mode, told in ((0o500, "cannot write"), (0, "Permission denied")):
        parent.chmod(mode)
        assert told in (line := refused(f"--output_dir={folder}")) and str(folder) in line
    assert f"{folder}: Permission denied" in refused(
        f"--transfer_file={folder}", f"--output_dir={tmp_path / 'other'}"
    )
    parent.chmod(0o700)
    # Stopped in a stage; then its folder is closed.
    process = start(*TINY, "--noexport", f"--output_dir={folder}")
    process.wait_for(folder / "stages" / "02-logits" / "state.safetensors")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    closed = folder / "stages" / "02-logits"
    for path, mode, told in (
        (closed, 0o500, "cannot write"),
        (folder, 0o500, "cannot write"),
        (closed / "state.safetensors", 0, "cannot be read"),
    ):
        path.chmod(mode)
        line = refused(f"--output_dir={folder}")
        assert f"error: {path}" in line and f"{told}: Permission denied" in line
        assert "remove" not in line
        path.chmod(0o700)
    # Nor does it matter what times the files have: of another clock.
    for path in folder.rglob("*"):
        os.utime(path, (0, 2**31) if path.name < "m" else (2**31, 0))
    done = run(*TINY, "--noexport", f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert student_bytes(folder) == student_bytes(reference)


def test_locale_and_time_zone_decide_nothing(whole, tmp_path):
    reference, _ = whole
    folder = tmp_path / "run"
    # An encoding that is not UTF-8, and the day after.
    surroundings = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    surroundings |= {"PYTHONCOERCECLOCALE": "0", "TZ": "Pacific/Kiritimati"}
    done = subprocess.run(
        command(*TINY, "--noexport", f"--output_dir={folder}"),
        capture_output=True,
        env={**os.environ, **surroundings},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    assert student_bytes(folder) == student_bytes(reference)


def test_gzipped_columns_and_orphan_tags_are_read_with_a_warning(good, tmp_path):
    rows = "Ada\tI-PER\nleft\tO\nTurin\tB-LOC\n\n" * 4
    with gzip.open(tmp_path / "train.conll.gz", "wt", encoding="utf-8") as file:
        file.write(rows)
    wrong = {**good, "train_file": tmp_path / "train.conll.gz", "teacher_epochs": 0}
    done = run(*flags_of(wrong))
    # It stops at the contradiction, after the data was read and the warning was given.
    assert "--teacher_epochs" in error_of(done)
    assert "I-" in done.stderr and "train.conll.gz" in done.stderr
