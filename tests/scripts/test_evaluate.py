"""scripts/evaluate.py gives the scores of the metrics room, from either runtime."""

import json
import re

import pytest
from classifier_fixtures import LABELS, PAIR_LABELS
from forked_programs import as_text, run_forked

from xdistil.data.readers import read_folder
from xdistil.data.text_readers import read_labeled_text
from xdistil.export.predictor import load_predictor
from xdistil.metrics.classification import classification_scores
from xdistil.metrics.spans import span_scores

DATA = {
    "de": "Die Straße nach Köln\tO O O B-LOC\nJürgen fährt\tB-PER O\n",
    "es": "José vive en Córdoba\tB-PER O O B-LOC\n",
    "und": "London " * 80 + "\t" + "B-LOC " * 80 + "\n",
}


@pytest.fixture(scope="module")
def evaluate(repository):
    def run(*arguments):
        return as_text(run_forked(["scripts/evaluate.py", *arguments], cwd=repository))

    return run


@pytest.fixture
def data_dir(tmp_path):
    for language, rows in DATA.items():
        folder = tmp_path / "data" / language
        folder.mkdir(parents=True)
        text = "".join(
            "\t".join(part.strip() for part in row.split("\t")) + "\n" for row in rows.splitlines()
        )
        (folder / "test.tsv").write_text(text, encoding="utf-8")
    return tmp_path / "data"


def test_it_prints_a_line_a_language_and_writes_the_same_scores(
    evaluate, saved_model, data_dir, tmp_path
):
    path = tmp_path / "scores.json"
    done = evaluate(f"--model={saved_model}", f"--data_dir={data_dir}", f"--json={path}")
    assert done.returncode == 0, done.stderr
    sentences = list(read_folder(data_dir, (), "test"))
    results = load_predictor(saved_model).predict([s.words for s in sentences])
    expected = span_scores(
        [s.tags for s in sentences], [r.tags for r in results], [s.language for s in sentences]
    )
    assert json.loads(path.read_text()) == json.loads(json.dumps(expected))
    assert expected["per_language"]["und"]["support"] == 80  # truncated words count as well
    assert re.search(r"^\d+ words in 1 sentences were not seen", done.stderr, re.MULTILINE)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["language", "de", "es", "und", "mean", "micro"]
    assert rows[1][3] == f"{100 * expected['per_language']['de']['f1']:.2f}"


def test_tagged_files_are_scored_too(evaluate, saved_model, data_dir):
    done = evaluate(f"--model={saved_model}", f"--test_file={data_dir}/d?/test.tsv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[0] == "de"


def test_numbers_for_tags_are_read_by_the_labels_file(evaluate, saved_model, tmp_path):
    rows = {"named.jsonl": ["O", "B-PER", "B-LOC"], "numbered.jsonl": [0, 2, 1]}
    for name, tags in rows.items():
        row = {"tokens": ["und", "Jürgen", "Köln"], "ner_tags": tags, "language": "de"}
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    labels = tmp_path / "labels.tsv"
    labels.write_text("O\nB-LOC\nB-PER\n")
    refused = evaluate(f"--model={saved_model}", f"--test_file={tmp_path / 'numbered.jsonl'}")
    assert refused.returncode == 2 and "give a labels file" in refused.stderr
    printed = []
    for name in rows:
        flags = [f"--test_file={tmp_path / name}", f"--labels_file={labels}"]
        done = evaluate(f"--model={saved_model}", *flags)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1] and "de " in printed[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "either --test_file or --data_dir"),
        (["--test_file=nowhere.tsv"], "nowhere.tsv"),
        (["--test_file=setup.py"], "setup.py:1"),
        (["--test_file=x.tsv", "--languages=de"], "--languages"),
    ],
)
def test_bad_input_is_one_line_and_status_2(evaluate, saved_model, flags, message):
    done = evaluate(f"--model={saved_model}", *flags)
    assert done.returncode == 2, done.stderr
    (line,) = [row for row in done.stderr.splitlines() if row.startswith("error: ")]
    assert message in line


TEXTS = {
    "de": "Jürgen fährt über Weißenfels\tgröße\nDie Straße nach Köln\tplace\nlang\tplace\n",
    "en": "Ada wrote to London\tnothing\nwho lived\tweather\n",
}


@pytest.fixture
def text_dir(tmp_path):
    for language, rows in TEXTS.items():
        folder = tmp_path / "texts" / language
        folder.mkdir(parents=True)
        (folder / "test.tsv").write_text(rows, encoding="utf-8")
    return tmp_path / "texts"


def expected_scores(model, files, labels, pairs=False):
    texts = list(read_labeled_text(files, pairs=pairs))
    inputs = [(text.text, text.text_pair) if pairs else text.text for text in texts]
    predicted = [result.label for result in load_predictor(model).predict(inputs)]
    return classification_scores(
        [text.label for text in texts],
        predicted,
        [text.language for text in texts],
        labels=labels,
    )


def test_a_classifier_is_scored_by_language(evaluate, classifier_folder, text_dir, tmp_path):
    path = tmp_path / "scores.json"
    done = evaluate(f"--model={classifier_folder}", f"--data_dir={text_dir}", f"--json={path}")
    assert done.returncode == 0, done.stderr
    expected = expected_scores(classifier_folder, f"{text_dir}/*/test.tsv", LABELS)
    assert json.loads(path.read_text()) == expected
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["language", "de", "en", "all"]
    assert rows[1][1:] == [
        f"{100 * expected['per_language']['de']['accuracy']:.2f}",
        f"{100 * expected['per_language']['de']['f1_macro']:.2f}",
        "3",
    ]
    assert rows[-1][1] == f"{100 * expected['accuracy']:.2f}"


def test_pairs_of_a_run_are_scored_too(evaluate, pair_classifier, tmp_path):
    pair_classifier.save(tmp_path / "run" / "student")
    file, path = tmp_path / "pairs.csv", tmp_path / "scores.json"
    file.write_text(
        'premise,hypothesis,label\n"Ada lives, in Turin",Ada lives,follows\nKöln,lang,neither\n',
        encoding="utf-8",
    )
    done = evaluate(f"--model={tmp_path / 'run'}", f"--test_file={file}", f"--json={path}")
    assert done.returncode == 0, done.stderr
    expected = expected_scores(tmp_path / "run", file, PAIR_LABELS, pairs=True)
    assert json.loads(path.read_text()) == expected


def test_numbers_for_labels_count_the_labels_file_and_nothing_else(
    evaluate, classifier_folder, text_dir, tmp_path
):
    rows = (text_dir / "de" / "test.tsv").read_text("utf-8")
    by_name = evaluate(f"--model={classifier_folder}", f"--data_dir={text_dir}", "--languages=de")
    names = sorted(LABELS, reverse=True)
    for index, name in enumerate(names):
        rows = rows.replace(f"\t{name}\n", f"\t{index}\n")
    (tmp_path / "test.tsv").write_text(rows, "utf-8")
    refused = evaluate(f"--model={classifier_folder}", f"--data_dir={tmp_path}")
    assert refused.returncode == 2 and "test.tsv:1: the label" in refused.stderr
    assert "--labels_file" in refused.stderr
    (tmp_path / "labels.tsv").write_text("\n".join(names), "utf-8")
    by_number = evaluate(f"--model={classifier_folder}", f"--data_dir={tmp_path}")
    numbers = [done.stdout.splitlines()[1].split()[1:] for done in (by_name, by_number)]
    assert numbers[0] == numbers[1] and numbers[0][2] == "3"


def test_labels_that_the_model_does_not_know_are_told(evaluate, classifier_folder, tmp_path):
    test, labels = tmp_path / "test.tsv", tmp_path / "others.txt"
    test.write_text("lang\tplace\nkurz\tsport\n", "utf-8")
    labels.write_text("place\nsport\n")
    of_file = [f"--model={classifier_folder}", f"--test_file={test}"]
    for flags, message in (
        (of_file, f"{test}:2: the label 'sport' is not one of weather, größe"),
        (
            [*of_file, f"--labels_file={labels}"],
            f"{labels}: the label 'sport' is not one of the model's",
        ),
    ):
        done = evaluate(*flags)
        assert done.returncode == 2, done.stderr
        (line,) = [row for row in done.stderr.splitlines() if row.startswith("error: ")]
        assert message in line
