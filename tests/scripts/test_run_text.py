"""Classification and pairs as a user starts them, on a few rows of our own."""

import json
import signal
import subprocess

import numpy as np
import pytest
from forked_programs import ForkedProgram
from text_programs import TINY, WORDS, command, error_of, rows, run

from xdistil.report.report import load_report

LANGUAGES = ("ha", "sw")


@pytest.fixture(scope="module", params=["classification", "pairs"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory, kind):
    folder = tmp_path_factory.mktemp(kind)
    for language in LANGUAGES:
        (folder / language).mkdir()
    for split in ("train", "dev", "test"):
        lines = ["\t".join(row) for row in rows(split, kind == "pairs")]
        half = len(lines) // 2
        for language, part in zip(LANGUAGES, (lines[:half], lines[half:]), strict=True):
            (folder / language / f"{split}.tsv").write_text("\n".join(part) + "\n", "utf-8")
    lines = ("\t".join(row[:-1]) for row in rows("transfer", kind == "pairs"))
    (folder / "transfer.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    words = {word for topic in WORDS.values() for word in topic} | {"today", "again"}
    draw = np.random.default_rng(5)
    lines = (f"{w} {' '.join(f'{x:.3f}' for x in draw.normal(size=12))}" for w in sorted(words))
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(kind, data, tmp_path_factory):
    """A whole run, with the report's export: of texts in the teacher's pieces on transfer text, of
    pairs in words of the student's own on augmented text."""
    folder = tmp_path_factory.mktemp("runs") / kind
    flags = [*TINY, f"--data_dir={data}"]
    if kind == "classification":
        flags += [f"--transfer_file={data / 'transfer.tsv'}", "--embedding_dim=8"]
        flags += ["--recipe=soft", "--epochs=20", "--learning_rate=1e-2"]
    else:
        flags += [f"--vectors_file={data / 'vectors.txt'}", "--augment", "--augment_iterations=6"]
        flags += ["--channels=2", "--epochs=4"]
    done = run(kind, *flags, f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, flags


def test_a_run_reports_accuracy_and_one_teacher_pass(finished, kind):
    folder, _ = finished
    report = load_report(folder / "report.json")
    assert report["task"] == ("pair_classification" if kind == "pairs" else "classification")
    assert report["teacher_passes"] == 1
    scores = report["student"]["test"]
    assert {name: row["support"] for name, row in scores["per_language"].items()} == dict.fromkeys(
        LANGUAGES, 12
    )
    assert {"accuracy", "f1_macro"} <= scores.keys()
    if kind == "classification":  # chance is a half: teacher and student have learnt something
        assert min(report[role]["test"]["accuracy"] for role in ("teacher", "student")) > 0.8
    (stage, *_) = sorted((folder / "stages").glob("01-*"))
    losses = [epoch["loss"] for epoch in json.loads((stage / "history.json").read_text())]
    assert losses[-1] < losses[0]
    assert report["compression"] > 0
    assert (folder / "export" / "saved_model" / "saved_model.pb").is_file()


def times_of(folder):
    """When each file was written that took work; manifests are only opened again."""
    parts = ("stages", "records", "teacher_targets", "teacher", "student", "export")
    files = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    files = [path for path in files if path.name != "manifest.jsonl"]
    assert len(files) > 10
    return {path: path.stat().st_mtime_ns for path in files}


def test_the_same_command_does_nothing_anew_and_another_is_refused(finished, kind):
    folder, flags = finished
    before = times_of(folder)
    report = load_report(folder / "report.json")
    assert run(kind, *flags, f"--output_dir={folder}").returncode == 0
    assert times_of(folder) == before
    assert load_report(folder / "report.json")["truncation"] == report["truncation"]
    if kind == "classification":
        wrong = run(kind, *flags, "--hidden_dim=4", f"--output_dir={folder}")
        assert "hidden_dim" in error_of(wrong) and "--reuse_from" in error_of(wrong)


@pytest.mark.parametrize("kind", ["pairs"], indirect=True)
def test_pairs_learn_by_adadelta_from_the_vectors_and_the_config_says_so(finished):
    folder, _ = finished
    settings = json.loads((folder / "config.json").read_text())["settings"]
    assert (settings["learning_rate"], settings["embedding_dim"]) == (1.0, 12)
    (stage,) = (folder / "stages").glob("01-*/stage.json")
    optimizer = json.loads(stage.read_text())["optimizer"]
    assert (optimizer["name"], optimizer["learning_rate"]) == ("adadelta", 1.0)
    assert optimizer["schedule"] == "constant"


@pytest.mark.parametrize("kind", ["pairs"], indirect=True)
def test_a_run_that_was_killed_ends_in_the_same_student(finished, kind, tmp_path):
    folder, flags = finished
    flags = [*flags, "--checkpoint_minutes=0", f"--output_dir={tmp_path / 'run'}"]
    process = ForkedProgram(command(kind, *flags)[1:])
    process.wait_for(tmp_path / "run" / "stages" / "01-tang" / "state.safetensors")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "run" / "student" / "config.json").exists()
    # In a process of its own, with a hash seed of its own.
    again = subprocess.run(command(kind, *flags), capture_output=True, timeout=400)
    assert again.returncode == 0, again.stderr[-3000:]
    names = ("student/model.safetensors", "teacher/model.safetensors")
    for name in names:
        assert (tmp_path / "run" / name).read_bytes() == (folder / name).read_bytes()
    assert load_report(tmp_path / "run" / "report.json")["teacher_passes"] == 1


@pytest.mark.parametrize("kind", ["classification"], indirect=True)
def test_a_smoke_run_of_the_whole_recipe_is_small_also_with_words_of_its_own(data, kind, tmp_path):
    flags = ["--smoke", "--teacher=scratch", f"--data_dir={data}", "--nomeasure_latency"]
    flags += [f"--transfer_file={data / 'transfer.tsv'}"]
    flags += [f"--vectors_file={data / 'vectors.txt'}", "--channels=2"]
    done = run(kind, *flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr[-3000:]
    pieces = {
        role: json.loads((tmp_path / "run" / role / "tokenizer.json").read_text("utf-8"))
        for role in ("student", "teacher")
    }
    continued = {
        role: any(piece.startswith("##") for piece in tokenizer["model"]["vocab"])
        for role, tokenizer in pieces.items()
    }
    assert continued == {"student": False, "teacher": True}
    assert "storm" in pieces["student"]["model"]["vocab"]
    report = load_report(tmp_path / "run" / "report.json")
    assert report["teacher_passes"] == 1 and len(report["stages"]) == 7
    assert report["student"]["parameters"] < report["teacher"]["parameters"]


@pytest.mark.parametrize("kind", ["pairs"], indirect=True)
def test_augmented_rows_stand_in_for_transfer_text(finished):
    folder, _ = finished
    made = load_report(folder / "report.json")["truncation"]["transfer"]["sentences"]
    assert 64 <= made <= 64 * 6


@pytest.mark.parametrize("kind", ["classification"], indirect=True)
def test_bad_input_is_one_line_with_its_place(data, kind, tmp_path):
    good = [*TINY, f"--data_dir={data}", f"--output_dir={tmp_path / 'run'}", "--embedding_dim=8"]
    others = "pairs" if kind == "classification" else "classification"
    assert "ha/train.tsv:1" in error_of(run(others, *good))
    for off in ((), ("--noaugment", "--augment_only", "--augment_language=en")):
        assert "--transfer_file" in error_of(run(kind, *good, "--recipe=hard", *off))
    assert "--alpha" in error_of(run(kind, *good, "--recipe=hard", "--alpha=0.5"))
    assert "--augment_mask" in error_of(run(kind, *good, "--augment_mask=0.5"))
    idle = ("--augment", "--augment_words=teacher", "--augment_pos=0")
    assert "--augment_pos=0" in error_of(run(kind, *good, *idle))
    smoke = error_of(run(kind, *good, "--smoke", "--teacher_epochs=0", "--recipe=labels"))
    assert "--teacher_epochs" in smoke
    files = f"--transfer_file={data / 'transfer.tsv'}"
    both = run(kind, *good, "--augment", "--augment_only", files, "--recipe=labels")
    assert "--augment_only" in error_of(both) and "does not learn from the new" in both.stderr
    ragged = tmp_path / "vectors.txt"
    ragged.write_text("rain 1 2 3\nsun 1 2\n", "utf-8")
    assert "vectors.txt:2" in error_of(
        run(kind, *good, f"--vectors_file={ragged}", "--recipe=labels")
    )
    assert not (tmp_path / "run").exists()
