"""Transformer students as a user starts them: classification, pairs and tagging."""

import json
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from forked_programs import ForkedProgram
from text_programs import TINY, command, error_of, rows, run

from xdistil import load_predictor
from xdistil.data.encoding import TextEncoder
from xdistil.data.records import RecordStore
from xdistil.distillation.recipe_settings import FINE_TUNING
from xdistil.distillation.state import read_state
from xdistil.models import EncoderConfig, Teacher, TextTeacher
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.checkpoints import Checkpoint
from xdistil.models.encoder import Encoder
from xdistil.report.report import load_report
from xdistil.tasks import load

FIXTURES = Path(__file__).parents[1] / "fixtures"
# Flags of the command line's end win.
SMALL = [flag for flag in TINY if "hidden_dim=8" not in flag]
SMALL += ["--teacher_layers=2", "--teacher_epochs=2", "--epochs=1", "--student=transformer"]
SMALL += ["--learning_rate=5e-3"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for split in ("train", "dev", "test"):
        lines = ["\t".join(row) for row in rows(split, pairs=False)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    lines = (row[0] for row in rows("transfer", pairs=False))
    (folder / "transfer.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def patient(texts, tmp_path_factory):
    """Patient KD of the two lowest layers, by the paper's defaults."""
    folder = tmp_path_factory.mktemp("runs") / "patient"
    flags = [*SMALL, f"--data_dir={texts}", "--recipe=pkd_skip", "--student_layers=first"]
    flags += ["--num_layers=2", "--epochs=4", "--teacher_epochs=8"]
    done = run("classification", *flags, f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, flags


def test_patient_kd_learns_from_labeled_text_and_keeps_cls_alone(patient):
    folder, _ = patient
    report = load_report(folder)
    assert (report["recipe"], report["teacher_passes"]) == ("pkd_skip", 1)
    (history,) = folder.glob("stages/01-*/history.json")
    losses = [epoch["loss"] for epoch in json.loads(history.read_text())]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert report["student"]["name"] == "transformer (2 layers, 16)"
    arrays = RecordStore.open(folder / "teacher_targets" / "labeled").arrays
    assert {name: spec.per_position for name, spec in arrays.items()} == {
        "cls_states_1": False,
        "logits": False,
    }
    (stage,) = folder.glob("stages/01-*/stage.json")
    plan = json.loads(stage.read_text())
    assert plan["optimizer"]["schedule"] == "linear_warmup" and plan["optimizer"]["name"] == "adamw"
    assert [term["weight"] for term in plan["losses"]] == [0.5, 0.5, 100.0]


def test_the_student_is_there_as_a_model_a_saved_model_and_a_checkpoint_of_the_hub(patient):
    folder, _ = patient
    student = load(folder)
    assert student.model.num_layers == 2
    assert (folder / "export" / "saved_model" / "saved_model.pb").is_file()
    teacher = TextTeacher.from_preset(folder / "export" / "hub")
    assert teacher.label_names == student.task.class_names
    features = {"token_ids": np.array([[2, 9, 12, 3]], "int32")}
    np.testing.assert_allclose(
        teacher(features)["logits"], student.model(features)["logits"], atol=1e-6
    )


def test_the_same_command_goes_on_and_other_values_are_refused(patient):
    folder, flags = patient
    before = (folder / "student" / "model.safetensors").stat().st_mtime_ns
    assert run("classification", *flags, f"--output_dir={folder}").returncode == 0
    assert (folder / "student" / "model.safetensors").stat().st_mtime_ns == before
    wrong = run("classification", *flags, "--temperature=3", f"--output_dir={folder}")
    assert "temperature" in error_of(wrong)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_stopped_within_an_epoch_ends_in_the_same_student(patient, tmp_path, number):
    folder, flags = patient
    flags = [*flags, f"--reuse_from={folder}", "--noexport", f"--output_dir={tmp_path / 'run'}"]
    killed = number == signal.SIGKILL
    # At SIGTERM a checkpoint is written whether it is time for one or not.
    minutes = ["--checkpoint_minutes=0"] if killed else []
    process = ForkedProgram(command("classification", *flags, *minutes)[1:])
    stage = tmp_path / "run" / "stages" / "01-pkd_skip"
    process.wait_for(stage / ("state.safetensors" if killed else "history.json"))
    process.send_signal(number)
    assert process.wait() == (-number if killed else 128 + number)
    if not killed:
        told = process.stderr.decode().splitlines()[-1]
        assert told.startswith("stopped after a checkpoint: run the same command again")
    position = json.loads(read_state(stage / "state.safetensors")[1]["position"])
    assert position["epoch"] + position["step"] > 0 and not (stage / "done").exists()
    again = run("classification", *flags)
    assert again.returncode == 0, again.stderr[-3000:]
    name = "student/model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (folder / name).read_bytes()


def test_a_checkpoint_with_other_pieces_learns_from_whole_texts(patient, texts, tmp_path):
    folder, _ = patient
    own = [f"--student_checkpoint={folder / 'export' / 'hub'}", "--teacher_vocabulary=70"]
    flags = [*SMALL, f"--data_dir={texts}", *own, f"--output_dir={tmp_path / 'run'}", "--noexport"]
    done = run("classification", *flags, "--recipe=pkd_last", "--min_piece_count=1")
    assert done.returncode == 0, done.stderr[-3000:]
    # Counted are the student's own pieces.
    student = load(tmp_path / "run")
    kept = student.model.kept_token_ids
    assert len(kept) < len(student.task.encoder.vocabulary)
    (example,) = student.task.encode(student.task.unlabeled(["rain bread"]))
    assert set(example.token_ids.tolist()) <= set(kept.tolist())
    sizes = {
        role: len(load(tmp_path / "run" / role).task.encoder.vocabulary)
        for role in ("student", "teacher")
    }
    assert sizes["teacher"] <= 70 < sizes["student"]
    told = run("classification", *flags, "--recipe=kd", "--teacher_targets=online", "--overwrite")
    assert "the student's tokenizer cuts words otherwise" in error_of(told)
    told = run("classification", *flags, "--recipe=kd", "--student_layers_from=finetuned")
    assert "--student_layers_from wants --student_layers" in error_of(told)
    words = tagging(tmp_path)
    tagger = [flag for flag in flags if not flag.startswith(("--data_dir", "--output_dir"))]
    told = run("ner", *tagger, *words, "--recipe=D4.1", f"--output_dir={tmp_path / 'tags'}")
    assert "--recipe=D4.1 compares piece by piece (representation)" in error_of(told)


def test_a_student_goes_on_for_other_labels_without_a_teacher(patient, texts, tmp_path):
    folder, _ = patient
    for split in ("train", "dev", "test"):
        lines = (texts / f"{split}.tsv").read_text("utf-8")
        lines = lines.replace("\tfood", "\tplate").replace("\tweather", "\tsky")
        (tmp_path / f"{split}.tsv").write_text(lines, "utf-8")
    flags = ["--recipe=labels", "--seq_len=24", "--batch_size=16", "--learning_rate=5e-3"]
    flags += [f"--continue_from={folder}", f"--data_dir={tmp_path}", "--noexport"]
    done = run("classification", *flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "its head is left out" in done.stderr
    report = load_report(tmp_path / "run")
    assert report["teacher"] == {"name": "none", "parameters": 0, "test": None}
    assert (report["compression"], report["retention"], report["latency"]) == (None, None, [])
    assert set(report["stages"][0]["losses"]) == {"labels"}
    assert set(load(tmp_path / "run").task.class_names) == {"plate", "sky"}
    again = run("classification", *flags, f"--output_dir={tmp_path / 'run'}")
    assert again.returncode == 0, again.stderr[-3000:]
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "config.json").write_text('{"model": "x"}')
    for more, told in (
        (["--recipe=kd"], "give --teacher"),
        (["--hidden_dim=8"], "--hidden_dim is decided by --continue_from"),
        ([f"--continue_from={tmp_path}"], "no finished student here"),
        ([f"--continue_from={odd}"], "no finished student here"),
        ([f"--continue_from={folder / 'teacher'}"], "give --reuse_from its run"),
    ):
        wrong = run("classification", *flags, *more, f"--output_dir={tmp_path / 'other'}")
        assert told in error_of(wrong)


def tagging(tmp_path):
    """The same words as names of topics."""
    for split in ("train", "dev", "test", "transfer"):
        lines = []
        for text, *_ in rows(split, pairs=False):
            words = text.split()
            tags = ["O" if word in ("today", "again") else "B-THING" for word in words]
            lines.append(f"{text}\t{' '.join(tags)}" if split != "transfer" else text)
        (tmp_path / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return [
        *(f"--{split}_file={tmp_path / split}.tsv" for split in ("train", "dev", "test")),
        f"--transfer_file={tmp_path / 'transfer.tsv'}",
    ]


def test_a_narrow_tagger_learns_representations_through_a_projection(tmp_path):
    flags = [*SMALL, *tagging(tmp_path), "--num_layers=1", "--hidden_dim=8", "--num_heads=2"]
    flags += ["--embedding_dim=4", "--freeze_embeddings", f"--output_dir={tmp_path / 'run'}"]
    done = run("ner", *flags, "--recipe=D2", "--seed=3")
    assert done.returncode == 0, done.stderr[-3000:]
    (stage,) = load_report(tmp_path / "run")["stages"]
    assert set(stage["losses"]) == {"labels", "logits", "representation"}
    student = load(tmp_path / "run").model
    assert (student.hidden_dim, student.freeze_embeddings) == (8, True)
    hub = tmp_path / "run" / "export" / "hub"
    assert Checkpoint(hub).family.name == "electra"
    assert Teacher.from_preset(hub).count_params() == student.count_params()
    for flag in ("teacher_layer=1", "representation_loss=kl", "representation_epochs=2"):
        told = error_of(run("ner", *flags, "--recipe=pkd_skip", f"--{flag}"))
        assert f"--{flag.split('=')[0]} is not for --recipe=pkd_skip" in told
    hidden_states = [*flags, "--recipe=hidden_states"]
    told = error_of(run("ner", *hidden_states, "--attention_loss"))
    assert "--teacher_targets=online" in told
    for flag in ("teacher_layer=1", "representation_loss=cosine"):
        told = error_of(run("ner", *hidden_states, f"--{flag}"))
        assert f"--{flag.split('=')[0]} is not for --recipe=hidden_states" in told


#: A family's encoder, one row for each piece of its tokenizer in the fixtures.
FAMILIES = {
    "roberta": {"position_offset": 2, "layer_norm_epsilon": 1e-5, "num_segments": 1},
    "xlm-roberta": {"position_offset": 2, "layer_norm_epsilon": 1e-5, "num_segments": 1},
    "albert": {"embedding_dim": 8, "project_embeddings": True, "shared_layers": True},
    "electra": {"embedding_dim": 8},
}


def checkpoint_of(family, folder):
    """A folder as the hub has it, with random weights."""
    shutil.copytree(FIXTURES / "tokenizers" / family, folder)
    keras.utils.set_random_seed(5)
    pieces = TextEncoder.from_folder(folder, seq_len=24).vocabulary_size
    config = EncoderConfig(pieces, 16, 2, 2, max_length=32, family=family, **FAMILIES[family])
    write_checkpoint(folder, Encoder(config), architecture="encoder")
    return folder


@pytest.mark.parametrize(
    ("kind", "family", "flags", "losses"),
    [
        (
            "ner",
            "roberta",
            ["--recipe=D4.1", "--student_layers=first", "--num_layers=1"],
            ["representation", "logits", "labels"],
        ),
        (
            "ner",
            "electra",
            ["--recipe=pkd_last", "--student_layers=1,2", "--distil_transfer"],
            ["labels", "soft_targets", "patience"],
        ),
        (
            "classification",
            "albert",
            [
                "--recipe=hidden_states",
                "--attention_loss",
                "--teacher_targets=online",
                "--embedding_dim=8",
            ],
            ["hidden_states", "attentions", "logits", "labels"],
        ),
        (
            "pairs",
            "xlm-roberta",
            ["--recipe=distilbert", "--student_layers=2"],
            ["labels", "soft_targets"],
        ),
    ],
)
def test_teachers_of_every_family_teach_transformers_by_every_kind_of_recipe(
    kind, family, flags, losses, texts, tmp_path
):
    own = ["teacher", "epochs", "batch_size", "learning_rate"]
    common = [flag for flag in SMALL if not flag.startswith(tuple(f"--{name}" for name in own))]
    if kind == "ner":
        data = tagging(tmp_path)
    elif kind == "classification":
        data = [f"--data_dir={texts}", f"--transfer_file={texts / 'transfer.txt'}"]
    else:
        for split in ("train", "dev", "test"):
            lines = ["\t".join(row) for row in rows(split, pairs=True)]
            (tmp_path / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
        data = [f"--data_dir={tmp_path}"]
    # All but the length of the training is left to the defaults.
    teacher, out = checkpoint_of(family, tmp_path / family), tmp_path / "run"
    places = [f"--teacher={teacher}", f"--output_dir={out}"]
    flags = [*common, *data, *flags, "--teacher_epochs=1", "--epochs=1", *places]
    done = run(kind, *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    report = load_report(out)
    assert {name for stage in report["stages"] for name in stage["losses"]} == set(losses)
    (first,) = out.glob("stages/01-*/stage.json")
    plan = json.loads(first.read_text())
    expected = FINE_TUNING["optimizer"]
    assert {name: plan["optimizer"][name] for name in ("name", "learning_rate", "schedule")} == {
        "name": expected.name,
        "learning_rate": expected.learning_rate,
        "schedule": expected.schedule,
    }
    assert plan["batch_size"] == FINE_TUNING["batch_size"]
    # A fresh student of an ALBERT has layers of its own each.
    written = "electra" if family == "albert" else family
    assert Checkpoint(out / "export" / "hub").family.name == written
    runtime = "saved_model" if family == "electra" else "keras"
    text = ["rain", "today"] if kind == "pairs" else "rain today"
    (answer,) = load_predictor(out, runtime).predict([text])
    assert answer


def test_what_does_not_go_together_is_one_line(texts, patient, tmp_path):
    folder, _ = patient
    base = [*SMALL, f"--data_dir={texts}", f"--output_dir={tmp_path / 'run'}"]
    hub = folder / "export" / "hub"
    bilstm = [flag for flag in base if flag != "--student=transformer"]
    for flags, told in (
        ([*bilstm, "--recipe=pkd_skip"], "--student=transformer"),
        ([*bilstm, "--recipe=kd", "--num_layers=2"], "--num_layers is for --student=transformer"),
        ([*base, "--recipe=kd", "--pooling=max"], "--pooling is for BiLSTM students"),
        ([*base, "--recipe=labels", "--temperature=2"], "--temperature is for --recipe=kd"),
        ([*base, "--recipe=kd", "--logits_epochs=2"], "--logits_epochs is not for --recipe=kd"),
        ([*base, "--recipe=kd", "--alpha=1.5"], "from 0 to 1"),
        ([*base, "--recipe=kd", "--student_layers=top"], "expected first, spread, or numbers"),
        ([*base, "--recipe=kd", "--student_layers=0,2"], "counted from 1"),
        ([*base, "--recipe=kd", "--student_layers=1,2", "--num_layers=3"], "names 2"),
        (
            [*base, "--recipe=kd", "--student_layers=first", "--student_layers_from=pretrained"],
            "take finetuned",
        ),
        ([*base, "--recipe=kd", "--student_layers=first", "--num_layers=9"], "a teacher of 2"),
        ([*base, "--recipe=kd", f"--student_checkpoint={hub}", "--hidden_dim=8"], "--hidden_dim"),
        ([*base, "--recipe=pkd_last", "--num_layers=1"], "the student needs two"),
        ([*base, "--recipe=hidden_states", "--num_layers=3"], "has 3 layers, the teacher only 2"),
        ([*base, "--recipe=kd", "--hidden_dim=12"], "give num_heads"),
        ([*base, "--recipe=kd", "--hidden_dim=32"], "--embedding_init=random"),
    ):
        assert told in error_of(run("classification", *flags))
    assert not (tmp_path / "run").exists()
