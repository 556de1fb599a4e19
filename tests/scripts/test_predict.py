"""scripts/predict.py answers lines in order, and says in one line what is wrong."""

import json
import os
import subprocess
import sys

import pytest
from classifier_fixtures import LABELS, PAIR_LABELS
from forked_programs import run_forked

from xdistil.export.predictor import load_predictor

LINES = (
    "Ada wrote to London .",
    "",
    "Die Straße nach Köln",
    "   ",
    "東京 に 住む 👍🏽 .",
    "x" * 200,
)


@pytest.fixture(scope="module")
def predict(repository):
    def run(*arguments, stdin=b"", anew=False):
        if anew:  # nothing that the program needs is there already
            return subprocess.run(
                [sys.executable, "scripts/predict.py", *map(str, arguments)],
                input=stdin,
                capture_output=True,
                cwd=repository,
                env={**os.environ, "PYTHONIOENCODING": "ascii"},
                check=False,
            )
        return run_forked(
            ["scripts/predict.py", *arguments],
            stdin=stdin,
            cwd=repository,
            env={"PYTHONIOENCODING": "ascii"},
        )

    return run


def assert_refused(done, message):
    assert done.returncode == 2, done.stderr
    (line,) = [row for row in done.stderr.decode().splitlines() if row.startswith("error: ")]
    assert message in line
    assert b"Traceback" not in done.stderr


def test_standard_input_gives_a_line_for_a_line(predict, saved_model):
    text = "".join(f"{line}\n" for line in LINES).encode()
    done = predict(f"--model={saved_model}", "--batch_size=2", stdin=text, anew=True)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.decode().split("\n")[:-1]
    expected = load_predictor(saved_model).predict(LINES)
    assert rows == [result.format("tsv")[:-1] for result in expected]
    assert [row == "" for row in rows] == [not line.strip() for line in LINES]


def test_a_run_directory_tags_a_file_as_json_lines(predict, trained, tmp_path):
    trained.save(tmp_path / "run" / "student")
    text, output = tmp_path / "text.txt", tmp_path / "tags.jsonl"
    text.write_text("\r\n".join(LINES), encoding="utf-8")
    done = predict(
        *(f"--model={tmp_path / 'run'}", f"--input={text}", f"--output={output}"),
        "--format=jsonl",
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(row) for row in output.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == list(LINES)
    tags = [list(result.tags) for result in load_predictor(tmp_path / "run").predict(LINES)]
    assert [row["tags"] for row in rows] == tags
    for row in rows:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tags.jsonl", "text.txt"]


def test_invalid_utf8_is_told_with_its_line_and_writes_no_file(predict, saved_model, tmp_path):
    output = tmp_path / "tags.tsv"
    output.write_text("before")
    done = predict(f"--model={saved_model}", f"--output={output}", stdin=b"good\nb\xe9d\n")
    assert_refused(done, "standard input:2: invalid UTF-8")
    assert output.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["tags.tsv"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--input=nowhere.txt", "nowhere.txt: no such file"),
        ("--output=nowhere/tags.tsv", "folder does not exist"),
        ("--model=nowhere", "nowhere: no such folder"),
        ("--format=xml", "--format"),
    ],
)
def test_bad_flags_are_told_before_the_model_is_loaded(predict, saved_model, flag, message):
    assert_refused(predict(f"--model={saved_model}", flag, stdin=b"a\n"), message)


def test_a_classifier_labels_a_text_a_line(predict, classifier_folder):
    text = "".join(f"{line}\n" for line in LINES).encode()
    done = predict(f"--model={classifier_folder}", "--batch_size=2", stdin=text)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.decode().split("\n")[:-1]
    expected = load_predictor(classifier_folder).predict(LINES)
    assert rows == [result.format("tsv")[:-1] for result in expected]
    assert [row == "" for row in rows] == [not line.strip() for line in LINES]
    assert rows[2].split("\t")[0] == LINES[2] and rows[2].split("\t")[1] in LABELS


def test_a_run_directory_labels_pairs_as_json_lines(predict, pair_classifier, tmp_path):
    pair_classifier.save(tmp_path / "run" / "student")
    text, output = tmp_path / "pairs.tsv", tmp_path / "labels.jsonl"
    pairs = [("Ada wrote to London .", "Ada wrote"), ("", ""), ("東京 に", "👍🏽"), ("Köln", "")]
    text.write_text("".join(f"{a}\t{b}\n" if a else "\n" for a, b in pairs), encoding="utf-8")
    done = predict(
        *(f"--model={tmp_path / 'run'}", f"--input={text}", f"--output={output}"),
        "--format=jsonl",
        anew=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(row) for row in output.read_text(encoding="utf-8").splitlines()]
    assert [(row["text"], row["text_pair"]) for row in rows] == pairs
    expected = load_predictor(tmp_path / "run").predict(pairs)
    assert [row["label"] for row in rows] == [result.label for result in expected]
    assert rows[1]["label"] is None and rows[3]["label"] in PAIR_LABELS
    assert set(rows[0]["probabilities"]) == set(PAIR_LABELS)


@pytest.mark.parametrize(
    ("model", "lines", "message"),
    [
        ("classifier_folder", "good\na text\tlabel\n", "standard input:2: 2 columns"),
        ("pair_classifier_folder", "a\tb\n\na text\n", "standard input:3: 1 column in the line"),
    ],
)
def test_a_wrong_number_of_columns_is_told_with_its_line(predict, request, model, lines, message):
    done = predict(f"--model={request.getfixturevalue(model)}", stdin=lines.encode())
    assert_refused(done, message)


def test_a_classifier_has_no_tags_to_write_as_columns(predict, classifier_folder):
    done = predict(f"--model={classifier_folder}", "--format=conll", stdin=b"a\n")
    assert_refused(done, "--format=conll: the model")
    assert b"tsv or jsonl" in done.stderr and not done.stdout
