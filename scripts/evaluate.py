"""Scores a model on labeled files, by language.

python scripts/evaluate.py --model=runs/quickstart --data_dir=data --languages=de,en
python scripts/evaluate.py --model=tagger --test_file=test.tsv --json=scores.json

Of a tagger: precision, recall and F1 of entities. Of a classifier of texts or of pairs: accuracy
and macro F1; its files hold no other labels than the model's.
"""

import logging
from collections.abc import Iterator
from typing import Any

import program
from absl import flags
from scoring import Scoring, scoring_of

from xdistil.data.atomic_files import write_json
from xdistil.data.corpus_files import CorpusFiles
from xdistil.data.paths import as_path
from xdistil.data.readers import expand_files
from xdistil.errors import InputError
from xdistil.export.find_model import RUNTIMES
from xdistil.export.predictor import load_predictor

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")

flags.DEFINE_string(
    "model", None, "Run directory, folder of a student, or of an export.", required=True
)
flags.DEFINE_list("test_file", [], "Labeled files to score on, globs too, comma-separated.")
flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with <language>/test.tsv[.gz]; of a classifier also with test.tsv itself, and .csv.",
)
flags.DEFINE_list("languages", [], "Languages (folders of --data_dir) to take; empty = all.")
flags.DEFINE_string(
    "labels_file",
    None,
    "A label a line: what numbers for labels stand for, counted from 0. Default of a classifier: "
    "labels.tsv beside the test file of --data_dir; without either, files hold names.",
)
flags.DEFINE_string("json", None, "Write the scores to this file too.")
flags.DEFINE_integer("batch_size", 128, "Inputs that the model gets at once.", lower_bound=1)
flags.DEFINE_enum(
    "runtime",
    None,
    RUNTIMES,
    "Default: what --model is; of a run, its student in Keras. int8: --model=RUN/export/onnx_int8.",
)


def main(_: list[str]) -> None:
    # The model is slow to load: a wrong path is told at once.
    files = _files()
    predictor = load_predictor(FLAGS.model, FLAGS.runtime, batch_size=FLAGS.batch_size)
    scoring = scoring_of(predictor)
    report = scoring.kind.new_report()
    examples = list(_examples(scoring, files, report))
    for line in scoring.warnings(report):
        logger.warning("%s", line)
    unseen = predictor.unseen_words()
    results = unseen.count(predictor.predict(map(scoring.input_of, examples)))
    scores = scoring.scores(examples, results)
    for line in unseen.warnings():
        logger.warning("%s", line)
    print(scoring.table(scores))
    if FLAGS.json:
        write_json(FLAGS.json, scores)


def _files() -> CorpusFiles:
    if bool(FLAGS.test_file) == bool(FLAGS.data_dir):
        raise InputError("give either --test_file or --data_dir (with --languages)")
    if FLAGS.languages and not FLAGS.data_dir:
        raise InputError("--languages names folders of --data_dir, which is missing")
    if FLAGS.test_file:
        expand_files(FLAGS.test_file)
    elif not as_path(FLAGS.data_dir).is_dir():
        raise InputError(f"{FLAGS.data_dir}: no such folder: give one with files to score on")
    return CorpusFiles(
        data_dir=FLAGS.data_dir,
        languages=FLAGS.languages,
        test=FLAGS.test_file,
        labels=FLAGS.labels_file,
    )


def _examples(scoring: Scoring, files: CorpusFiles, report: Any) -> Iterator[Any]:
    suffixes = scoring.kind.suffixes
    labels = scoring.labels(files.labels_file(suffixes))
    for path, language in files.of_split("test", suffixes):
        yield from scoring.kind.labeled(path, labels, language, report)


if __name__ == "__main__":
    program.run(main)
