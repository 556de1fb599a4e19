"""scripts/export.py writes the formats that it is asked for beside a finished student."""

import pytest
from forked_programs import as_text, run_forked
from tagger_fixtures import SENTENCES

from xdistil.export.predictor import load_predictor


@pytest.fixture(scope="module")
def export(repository):
    def run(*arguments):
        return as_text(run_forked(["scripts/export.py", *arguments], cwd=repository))

    return run


@pytest.fixture(scope="module")
def run_directory(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    trained.save(folder / "student")
    return folder


def test_the_exports_lie_in_the_run_and_answer_as_its_student(export, run_directory):
    done = export(f"--model={run_directory}", "--formats=onnx", "--precisions=float32,int8")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[1:]] == [["onnx", "float32"], ["onnx", "int8"]]
    assert float(rows[2][2]) < float(rows[1][2])
    found, expected = (
        [one.tags for one in load_predictor(run_directory, runtime).predict(SENTENCES)]
        for runtime in ("onnx", "keras")
    )
    assert found == expected
    again = export(f"--model={run_directory}", "--formats=onnx")
    assert again.returncode == 2
    assert "export/onnx: there already; give --overwrite" in again.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--formats=onnx,torch"], "--formats=onnx,torch: expected some of saved_model, onnx"),
        (["--formats="], "--formats=: expected some of"),
        (["--precisions=int4"], "--precisions=int4: expected some of float32, int8"),
        (["--precisions=int8"], "a SavedModel is in float32"),
    ],
)
def test_unknown_formats_are_refused(export, run_directory, arguments, message):
    done = export(f"--model={run_directory}", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_outside_a_run_a_folder_must_be_given(export, run_directory, tmp_path):
    done = export(f"--model={run_directory / 'student'}", "--formats=onnx")
    assert done.returncode == 2
    assert "no finished run; give --output_dir" in done.stderr
    student, output = run_directory / "student", tmp_path / "served"
    done = export(f"--model={student}", "--formats=onnx", f"--output_dir={output}")
    assert done.returncode == 0, done.stderr
    assert (output / "onnx" / "model.onnx").is_file()
