"""Pre-training as a user starts it: a teacher's masked LM, then a student, killed and resumed."""

import gzip
import json
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from benchmark_devices import cluster
from forked_programs import ForkedProgram, as_text, run_forked

from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import TaggedSentence
from xdistil.distillation.state import read_state
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.encoder import EncoderConfig
from xdistil.models.masked_lm import MaskedLM
from xdistil.models.teacher import Teacher
from xdistil.report.pretraining_report import load_pretraining_report

ROOT = Path(__file__).parents[2]
PROGRAM = str(ROOT / "scripts" / "run_pretraining.py")
WORDS = [a + b for a in ("ba", "de", "fi", "go") for b in ("ka", "le", "mi", "no")]
TINY = [
    *("--seq_len=16", "--min_length=6", "--batch_size=16", "--micro_batch_size=8"),
    *("--dev_share=0.15", "--learning_rate=1e-2", "--seed=3"),
]


def run(*flags):
    return as_text(run_forked([PROGRAM, *map(str, flags)]))


def error_of(done):
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr[-2000:]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    return lines[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Text in which each word tells the next, in a plain file and a gzipped one, and a checkpoint
    without a masked-LM head."""
    folder = tmp_path_factory.mktemp("text")
    draw = np.random.default_rng(0)
    lines = []
    for _ in range(200):
        first, size = draw.integers(16), draw.integers(3, 16)
        lines.append(" ".join(WORDS[(first + 3 * i) % 16] for i in range(size)))
    (folder / "a.txt").write_text("\n".join(lines[:100]) + "\n", "utf-8")
    with gzip.open(folder / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[100:]) + "\n")
    encoder = train_wordpiece((TaggedSentence(tuple(line.split())) for line in lines), 80)
    encoder.save(folder / "plain")
    keras.utils.set_random_seed(0)
    config = EncoderConfig(
        vocabulary_size=encoder.vocabulary_size,
        hidden_dim=16,
        num_layers=3,
        num_heads=2,
        max_length=16,
        initializer_range=0.1,
    )
    write_checkpoint(folder / "plain", MaskedLM(config).encoder, architecture="encoder")
    return folder


@pytest.fixture(scope="module")
def teacher_run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    flags = [*TINY, "--train=teacher", f"--teacher={data / 'plain'}", "--epochs=8"]
    done = run(*flags, f"--text_file={data}/*.txt*", f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "it gets a fresh one of random weights" in done.stderr
    return folder


@pytest.fixture(scope="module")
def student_flags(data, teacher_run):
    teacher = f"--teacher={teacher_run / 'teacher'}"
    return [*TINY, teacher, f"--text_file={data}/*.txt*", "--epochs=2", "--num_layers=2"]


@pytest.fixture(scope="module")
def student_run(student_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "student"
    done = run(*student_flags, f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_masked_language_modeling_lowers_the_teachers_perplexity(teacher_run):
    report = load_pretraining_report(teacher_run)
    assert report["perplexity_before"] > 30
    assert report["perplexity"] < 0.5 * report["perplexity_before"]
    assert report["perplexity"] == min(epoch["dev_perplexity"] for epoch in report["epochs"])
    assert [epoch["epoch"] for epoch in report["epochs"]] == list(range(1, 9))
    assert report["pieces_per_second"] > 0 and report["text"]["held_out_examples"] > 0
    assert "held-out perplexity" in (teacher_run / "run.log").read_text("utf-8")


def test_the_student_begins_near_its_teacher_and_the_report_tells_every_term(student_run):
    report = load_pretraining_report(student_run)
    assert report["layers"] == [1, 3]
    assert report["teacher"]["parameters"] > report["parameters"]
    # A student of random weights would begin at the size of the vocabulary, above 30.
    assert report["perplexity_before"] < 1.3 * report["teacher"]["perplexity"]
    assert report["perplexity"] <= report["perplexity_before"]
    for epoch in report["epochs"]:
        total = 5 * epoch["ce"] + 2 * epoch["mlm"] + epoch["cos"]
        assert epoch["loss"] == pytest.approx(total, rel=1e-5)


def test_what_was_trained_is_a_checkpoint_that_the_other_programs_read(teacher_run, student_run):
    student = MaskedLM.from_preset(student_run / "student", need_head=True)
    assert (student.encoder_config.family, student.num_layers) == ("distilbert", 2)
    # As a teacher to fine-tune, its masked-LM head left aside.
    tagger = Teacher.from_preset(student_run / "student", labels=["O", "B-X"])
    for name, weight in tagger.encoder.named_weights().items():
        np.testing.assert_array_equal(weight, student.encoder.named_weights()[name])
    tokenizers = [
        json.loads((folder / "tokenizer.json").read_text("utf-8"))
        for folder in (teacher_run / "teacher", student_run / "student")
    ]
    assert tokenizers[0] == tokenizers[1]
    # DistilBERT has no segments; transformers is told.
    names = json.loads((student_run / "student" / "tokenizer_config.json").read_text("utf-8"))
    assert names["model_input_names"] == ["input_ids", "attention_mask"]


def test_a_run_killed_in_the_middle_of_an_epoch_ends_in_the_same_bytes(
    student_flags, student_run, tmp_path
):
    folder = tmp_path / "run"
    flags = [*student_flags, "--checkpoint_minutes=0", f"--output_dir={folder}"]
    process = ForkedProgram([PROGRAM, *flags])
    state = folder / "stages" / "01-distillation" / "state.safetensors"
    process.wait_for(state)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    position = json.loads(read_state(state)[1]["position"])
    assert (position["epoch"], position["step"] > 0) == (0, True)
    again = run(*flags)
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"goes on at epoch 1, step {position['step']}" in again.stderr
    for name in ("student/model.safetensors", "student/config.json"):
        assert (folder / name).read_bytes() == (student_run / name).read_bytes()
    one, two = (load_pretraining_report(path) for path in (folder, student_run))
    assert one["epochs"] == two["epochs"] and one["steps"] == two["steps"]


@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker"])
def test_two_devices_end_in_the_student_of_one(student_flags, tmp_path, strategy):
    # Dropout differs between devices; nothing else does.
    flags = [*student_flags, "--dropout=0", "--epochs=2", "--student_init=random"]
    done = run(*flags, f"--output_dir={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr[-3000:]
    command = [PROGRAM, *flags, f"--strategy={strategy}", f"--output_dir={tmp_path / 'two'}"]
    if strategy == "mirrored":
        processes = [ForkedProgram([*command, "--logical_devices=2"])]
    else:
        processes = [ForkedProgram(command, env={"TF_CONFIG": config}) for config in cluster(2)]
    for process in processes:
        assert process.wait() == 0, process.stderr.decode()[-3000:]
    weights, reports = [], []
    for name in ("one", "two"):
        model = MaskedLM.from_preset(tmp_path / name / "student", need_head=True)
        weights.append(model.get_weights())
        reports.append(load_pretraining_report(tmp_path / name))
    one, two = reports
    assert two["steps"] == one["steps"] > 5
    assert two["perplexity"] < 0.99 * two["perplexity_before"]
    assert two["perplexity"] == pytest.approx(one["perplexity"], rel=1e-4)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_same_command_does_nothing_anew_and_another_is_refused(student_flags, student_run):
    files = [*(student_run / "student").iterdir(), *(student_run / "stages").rglob("*.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in files}
    report = load_pretraining_report(student_run)
    assert run(*student_flags, f"--output_dir={student_run}").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert load_pretraining_report(student_run)["epochs"] == report["epochs"]
    other = run(*student_flags, "--alpha_cos=0", f"--output_dir={student_run}")
    assert "alpha_cos was 1.0, is 0.0" in error_of(other)


def test_without_softened_pieces_a_random_student_needs_no_head(data, tmp_path):
    flags = [*TINY, f"--teacher={data / 'plain'}", f"--text_file={data / 'a.txt'}", "--smoke"]
    flags += ["--alpha_ce=0", "--student_init=random", "--num_layers=1"]
    done = run(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr[-3000:]
    report = load_pretraining_report(tmp_path / "run")
    assert set(report["epochs"][0]) & {"ce", "mlm", "cos"} == {"mlm", "cos"}
    assert report["layers"] is None and report["text"]["examples"] <= 64
    # Its head is none that was trained: what it says of held-out text means nothing.
    assert report["teacher"]["perplexity"] is None
    assert "no masked-LM head of its own" in (tmp_path / "run" / "run.log").read_text("utf-8")
    assert "teacher: perplexity -;" in done.stdout


def test_bad_flags_and_text_are_one_line(data, tmp_path):
    good = [*TINY, f"--teacher={data / 'plain'}", f"--text_file={data / 'a.txt'}"]
    good += [f"--output_dir={tmp_path / 'run'}"]
    assert "no masked-LM head" in error_of(run(*good, "--overwrite"))
    assert not (tmp_path / "run").exists()  # told before anything is written
    for flags, words in (
        (["--num_layers=4"], "the teacher has 3"),
        (["--student_layers=0,3"], "from 1 to 3"),
        (["--student_layers=1,2", "--num_layers=2"], "one of the two"),
        (["--student_layers=last"], "expected spread, first, or whole numbers"),
        (["--train=teacher", "--alpha_ce=1"], "--alpha_ce is for a student"),
        (["--alpha_ce=0", "--alpha_mlm=0", "--alpha_cos=0"], "nothing to learn"),
        (["--seq_len=64"], "reads at most 16"),
        (["--min_length=17"], "--min_length=17"),
        (["--batch_size=12"], "--batch_size=12 is no multiple of --micro_batch_size=8"),
        (["--text_file=nowhere/*.txt"], "nowhere"),
        (["--strategy=mirrored", "--logical_devices=3"], "--micro_batch_size=8 times 3 devices"),
    ):
        assert words in error_of(run(*good, *flags))
    assert not (tmp_path / "run").exists()
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"baka\n\xff\n")
    out = f"--output_dir={tmp_path / 'bad'}"
    train = ["--train=teacher", f"--text_file={bad}", out]
    assert "bad.txt:2: invalid UTF-8" in error_of(run(*good, *train))


def test_a_checkpoint_that_does_not_fit_is_told_before_the_text_is_read(data, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(data / "plain", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    flags = [*TINY, "--train=teacher", f"--teacher={folder}", f"--text_file={data / 'a.txt'}"]
    assert "the weights lack 'encoder.layer.3" in error_of(
        run(*flags, f"--output_dir={tmp_path / 'run'}")
    )
    assert not (tmp_path / "run" / "records").exists()


def test_the_same_content_is_not_learned_from_and_held_out(data, tmp_path):
    (tmp_path / "copy.txt").write_bytes((data / "a.txt").read_bytes())
    flags = ["--train=teacher", f"--teacher={data / 'plain'}", "--seq_len=16", "--smoke"]
    flags += [f"--text_file={data / 'a.txt'}", f"--output_dir={tmp_path / 'run'}"]
    for path, told in (
        (data / "a.txt", "a.txt: held out by --dev_file, and learned from by --text_file"),
        (tmp_path / "copy.txt", "copy.txt: held out by --dev_file, and learned from as"),
    ):
        assert told in error_of(run(*flags, f"--dev_file={path}"))
    assert not (tmp_path / "run").exists()
