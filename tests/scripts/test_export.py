"""scripts/export.py writes the formats that it is asked for beside a finished student."""

import pytest
from forked_programs import as_text, run_forked
from tagger_fixtures import SENTENCES

from xdistil.errors import InputError
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
    assert [row[:2] for row in rows] == [["onnx", "float32"], ["onnx", "int8"]]
    assert float(rows[1][2]) < float(rows[0][2])
    found, expected = (
        [one.tags for one in load_predictor(run_directory, runtime).predict(SENTENCES)]
        for runtime in ("onnx", "keras")
    )
    assert found == expected
    coarse = load_predictor(run_directory / "export" / "onnx_int8").predict(SENTENCES)
    assert [len(one.tags) for one in coarse] == [len(tags) for tags in expected]
    again = export(f"--model={run_directory}", "--formats=onnx")
    assert again.returncode == 2
    assert "export/onnx: there already; give --overwrite" in again.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--formats=onnx,torch"], "--formats=onnx,torch: expected some of saved_model, onnx"),
        (["--formats="], "--formats=: expected some of"),
        (["--formats=onnx", "--precisions=int4"], "--precisions=int4: expected some of float32"),
        (["--formats=onnx,saved_model", "--precisions=int8"], "a SavedModel is in float32; add"),
        (["--formats=onnx", "--inputs=ids"], "--inputs: is for SavedModels"),
        ([], "give --formats"),
    ],
)
def test_unknown_formats_are_refused(export, run_directory, arguments, message):
    done = export(f"--model={run_directory}", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_outside_a_run_a_folder_must_be_given(export, run_directory, tmp_path):
    done = export(f"--model={run_directory / 'student'}", "--formats=onnx")
    assert done.returncode == 2
    assert "is a model and no run" in done.stderr
    student, output = run_directory / "student", tmp_path / "served"
    done = export(f"--model={student}", "--formats=onnx", f"--output_dir={output}")
    assert done.returncode == 0, done.stderr
    assert (output / "onnx" / "model.onnx").is_file()
    done = export(
        f"--model={tmp_path / 'typo'}", "--formats=onnx", f"--output_dir={tmp_path / 'x'}"
    )
    assert done.returncode == 2
    assert "typo: no such folder" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_run_of_several_languages_gets_an_export_each(export, trained, tmp_path):
    for language in ("de", "es"):
        trained.save(tmp_path / "run" / "languages" / language / "student")
    done = export(f"--model={tmp_path / 'run'}", "--formats=onnx")
    assert done.returncode == 0, done.stderr
    for language in ("de", "es"):
        folder = tmp_path / "run" / "export" / language / "onnx"
        assert len(list(load_predictor(folder).predict(SENTENCES))) == len(SENTENCES)
    with pytest.raises(InputError, match=r"an ONNX model for each language \(de, es\)"):
        load_predictor(tmp_path / "run", "onnx")
