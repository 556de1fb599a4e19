"""A whole run whose data and run directory lie on another file system than this machine's."""

import re
import shutil

import pytest
from forked_programs import as_text, run_forked
from test_run_ner import ROOT, SAMPLE, TINY, run

import xdistil
from xdistil.report.report import load_report

WEIGHTS = "student/model.safetensors"
# TensorFlow's file system in memory lasts as long as its process: data and run go in and come out.
PROGRAM = """
import pathlib, runpy, sys
from xdistil.data.paths import as_path, copy_tree
script, inside, outside, *flags = sys.argv[1:]
for place in inside.split(","):
    local, remote = place.split("=")
    if pathlib.Path(local).is_dir():
        copy_tree(as_path(local), as_path(remote))
    else:
        as_path(remote).write_bytes(pathlib.Path(local).read_bytes())
sys.path.insert(0, str(pathlib.Path(script).parent))
sys.argv = [script, *flags]
status = 0
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as ended:
    status = ended.code
if as_path("ram:///run").is_dir():
    copy_tree(as_path("ram:///run"), as_path(outside))
if as_path("ram:///run/export").is_dir():
    from xdistil import load_predictor
    (answer,) = load_predictor("ram:///run", "saved_model").predict(["Ada left Turin"])
    print("tags", *answer.tags)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "run"
    done = run(*TINY, f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def run_in_memory(tmp_path, inside, flags, program="run_ner", status=0):
    """Files and folders go in, the program runs, what is in ram:///run comes out."""
    (tmp_path / "program.py").write_text(PROGRAM)
    places = ",".join(f"{local}={remote}" for local, remote in inside.items())
    script = ROOT / "scripts" / f"{program}.py"
    given = [tmp_path / "program.py", script, places, tmp_path / "out", *map(str, flags)]
    done = as_text(run_forked(given))
    assert done.returncode == status, done.stderr[-3000:]
    return tmp_path / "out", done.stderr if status else done.stdout


def train_in_memory(tmp_path, inside, *more):
    flags = [flag for flag in TINY if not flag.startswith("--data_dir")]
    flags += ["--data_dir=ram:///data", "--output_dir=ram:///run", *more]
    out, said = run_in_memory(tmp_path, {SAMPLE: "ram:///data", **inside}, flags)
    assert len(said.splitlines()[-1].split()) == 1 + 3
    return out


def files_of(folder):
    """Names of all files; those of events hold time and process."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(folder))) for path in files}


def test_a_run_elsewhere_leaves_what_a_run_here_does(here, tmp_path):
    out = train_in_memory(tmp_path, {})
    assert files_of(out) == files_of(here) - {"run.lock"}
    assert (out / WEIGHTS).read_bytes() == (here / WEIGHTS).read_bytes()
    assert load_report(out)["student"] == load_report(here)["student"]


def test_a_run_that_was_begun_goes_on_there(here, tmp_path):
    begun = tmp_path / "begun"
    shutil.copytree(here, begun)
    for name in ("student", "export", "stages/03-labels"):
        shutil.rmtree(begun / name)
    for name in ("report.json", "report.html", "checksums.json"):
        (begun / name).unlink()
    out = train_in_memory(tmp_path, {begun: "ram:///run"})
    assert (out / WEIGHTS).read_bytes() == (here / WEIGHTS).read_bytes()
    assert load_report(out)["teacher_passes"] == 1


def test_another_runs_teacher_is_taken_over_from_there(here, tmp_path):
    out = train_in_memory(tmp_path, {here: "ram:///other"}, "--reuse_from=ram:///other")
    assert (out / WEIGHTS).read_bytes() == (here / WEIGHTS).read_bytes()
    assert not (out / "stages" / "00-teacher").exists()


def test_what_is_made_of_a_run_there_is_what_is_made_of_it_here(here, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Ada left Turin\nIt rains\n", encoding="utf-8")

    def make(program, model, *flags):
        inside = {here: "ram:///model", text: "ram:///text.txt", SAMPLE: "ram:///data"}
        out, said = run_in_memory(tmp_path, inside, [f"--model={model}", *flags], program)
        return out, said

    _, there = make("predict", "ram:///model", "--input=ram:///text.txt")
    assert there == make("predict", here, f"--input={text}")[1] and "Ada" in there
    make("predict", "ram:///model", "--input=ram:///text.txt", "--output=ram:///run/tags.tsv")
    assert (tmp_path / "out" / "tags.tsv").read_text("utf-8") == there
    languages = "--languages=en"
    make(
        "evaluate", "ram:///model", "--data_dir=ram:///data", languages, "--json=ram:///run/s.json"
    )
    make("evaluate", here, f"--data_dir={SAMPLE}", languages, f"--json={tmp_path / 's.json'}")
    assert (tmp_path / "out" / "s.json").read_bytes() == (tmp_path / "s.json").read_bytes()
    out, _ = make("export", "ram:///model", "--formats=onnx", "--output_dir=ram:///run")
    make("export", here, "--formats=onnx", f"--output_dir={tmp_path / 'exported'}")
    exported = tmp_path / "exported"
    assert files_of(out) >= files_of(exported) > set()
    (model,) = (path.relative_to(exported) for path in exported.rglob("*.onnx"))
    assert (out / model).read_bytes() == (exported / model).read_bytes()


def test_a_checkpoint_and_text_there_are_pre_trained_on(here, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"w{i % 7} w{i % 5} w{i % 3} rains\n" for i in range(90)), "utf-8")
    checkpoint = tmp_path / "teacher"
    xdistil.export_hub(xdistil.load(here / "teacher"), checkpoint)
    flags = ["--train=teacher", "--smoke", "--seq_len=16", "--min_length=4", "--dev_share=0.3"]
    inside = {checkpoint: "ram:///teacher", text: "ram:///text.txt"}
    there = ["--teacher=ram:///teacher", "--text_file=ram:///*.txt", "--output_dir=ram:///run"]
    out, _ = run_in_memory(tmp_path, inside, [*flags, *there], "run_pretraining")
    flags += [f"--teacher={checkpoint}", f"--text_file={text}", f"--output_dir={tmp_path / 'one'}"]
    run_in_memory(tmp_path, inside, flags, "run_pretraining")
    name = "teacher/model.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_a_fault_is_named_by_the_path_that_was_given(here, tmp_path):
    flags = ["--train=teacher", "--teacher=ram:///model", "--text_file=ram:///model/labels.tsv"]
    flags.append("--output_dir=ram:///run")
    inside = {here / "teacher": "ram:///model"}
    _, said = run_in_memory(tmp_path, inside, flags, "run_pretraining", status=2)
    assert "error: ram:///model: a model in the format of xdistil" in said
