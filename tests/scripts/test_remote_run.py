"""A whole run whose data and run directory lie on another file system than this machine's."""

import re
import shutil

import pytest
from forked_programs import as_text, run_forked
from test_run_ner import SAMPLE, TINY, command, run

from xdistil.report.report import load_report

# TensorFlow's file system in memory lasts as long as its process: data and run go in and come out.
PROGRAM = """
import pathlib, runpy, sys
from xdistil.data.paths import as_path, copy_tree
script, inside, outside, *flags = sys.argv[1:]
for place in inside.split(","):
    local, remote = place.split("=")
    copy_tree(as_path(local), as_path(remote))
sys.path.insert(0, str(pathlib.Path(script).parent))
sys.argv = [script, *flags]
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as ended:
    status = ended.code
copy_tree(as_path("ram:///run"), as_path(outside))
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


def run_in_memory(tmp_path, inside):
    (tmp_path / "program.py").write_text(PROGRAM)
    script, *flags = command(*TINY)[1:]
    flags = [flag for flag in flags if not flag.startswith("--data_dir")]
    flags += ["--data_dir=ram:///data", "--output_dir=ram:///run"]
    places = ",".join(f"{local}={remote}" for local, remote in inside.items())
    program = [tmp_path / "program.py", script, places, tmp_path / "out", *flags]
    done = as_text(run_forked(program))
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()[-1].split()) == 1 + 3
    return tmp_path / "out"


def files_of(folder):
    """Names of all files; those of events hold time and process."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(folder))) for path in files}


def test_a_run_elsewhere_leaves_what_a_run_here_does(here, tmp_path):
    out = run_in_memory(tmp_path, {SAMPLE: "ram:///data"})
    assert files_of(out) == files_of(here) - {"run.lock"}
    name = "student/model.safetensors"
    assert (out / name).read_bytes() == (here / name).read_bytes()
    assert load_report(out)["student"] == load_report(here)["student"]


def test_a_run_that_was_begun_goes_on_there(here, tmp_path):
    begun = tmp_path / "begun"
    shutil.copytree(here, begun)
    for name in ("student", "export", "stages/03-labels"):
        shutil.rmtree(begun / name)
    for name in ("report.json", "report.html", "checksums.json"):
        (begun / name).unlink()
    out = run_in_memory(tmp_path, {SAMPLE: "ram:///data", begun: "ram:///run"})
    name = "student/model.safetensors"
    assert (out / name).read_bytes() == (here / name).read_bytes()
    assert load_report(out)["teacher_passes"] == 1
