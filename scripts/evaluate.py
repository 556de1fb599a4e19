"""Scores a tagger on tagged sentences: precision, recall and F1 of entities, by language.

python scripts/evaluate.py --model=runs/quickstart --data_dir=data --languages=de,en
python scripts/evaluate.py --model=tagger --test_file=test.tsv --json=scores.json
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import shared_flags
from absl import flags

from xdistil.data.atomic_files import write_json
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.data.read_report import ReadReport
from xdistil.data.readers import read_folder, read_tagged
from xdistil.errors import InputError
from xdistil.export.predictor import RUNTIMES, load_predictor
from xdistil.export.tagged_result import UnseenWords

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")

flags.DEFINE_string(
    "model", None, "Run directory, folder of a student, or SavedModel.", required=True
)
flags.DEFINE_list("test_file", [], "Tagged sentences: files, globs too, comma-separated.")
flags.DEFINE_string("data_dir", None, "Folder with <language>/test.tsv[.gz].")
flags.DEFINE_list("languages", [], "Languages (folders of --data_dir) to take; empty = all.")
flags.DEFINE_string(
    "labels_file", None, "A label a line: what numbers for tags stand for, counted from 0."
)
flags.DEFINE_string("json", None, "Write the scores to this file too.")
flags.DEFINE_integer("batch_size", 128, "Sentences that the model gets at once.", lower_bound=1)
flags.DEFINE_enum(
    "runtime", None, RUNTIMES, "Default: what --model is; of a run, its student in Keras."
)

_SCORES = ("precision", "recall", "f1")


def main(_: list[str]) -> None:
    report = ReadReport()
    sentences = list(_sentences(report))
    for line in report.warnings():
        logger.warning("%s", line)
    predictor = load_predictor(FLAGS.model, FLAGS.runtime, batch_size=FLAGS.batch_size)
    unseen = UnseenWords()
    results = unseen.count(predictor.predict(s.words for s in sentences))
    predicted = [result.tags for result in results]
    for line in unseen.warnings():
        logger.warning("%s", line)
    # seqeval, behind it, is slow to import.
    from xdistil.metrics.spans import span_scores

    scores = span_scores(
        [sentence.tags for sentence in sentences],
        predicted,
        [sentence.language for sentence in sentences],
    )
    print(scores_table(scores))
    if FLAGS.json:
        write_json(FLAGS.json, scores)


def _sentences(report: ReadReport) -> Iterator[TaggedSentence]:
    if bool(FLAGS.test_file) == bool(FLAGS.data_dir):
        raise InputError("give either --test_file or --data_dir (with --languages)")
    if FLAGS.languages and not FLAGS.data_dir:
        raise InputError("--languages names folders of --data_dir, which is missing")
    labels = Labels.from_file(FLAGS.labels_file) if FLAGS.labels_file else None
    if FLAGS.test_file:
        return read_tagged(FLAGS.test_file, labels=labels, report=report)
    return read_folder(FLAGS.data_dir, FLAGS.languages, "test", labels=labels, report=report)


def scores_table(scores: Mapping[str, Any]) -> str:
    """The scores in percent: a line a language, their mean, and all spans pooled."""
    languages = scores["per_language"]
    rows = [(name, *_percent(row), f"{row['support']:,}") for name, row in languages.items()]
    micro = scores["micro"]
    rows.append(("mean", *_percent(scores), f"variance {1e4 * scores['f1_variance']:.2f}"))
    rows.append(("micro", *_percent(micro), f"{micro['support']:,}"))
    width = max(8, *(len(row[0]) for row in rows))
    header = ("language", "precision", "recall", "F1", "entities")
    return "\n".join(
        f"{name:{width}}  {precision:>9}  {recall:>9}  {f1:>9}  {support:>9}"
        for name, precision, recall, f1, support in (header, *rows)
    )


def _percent(row: Mapping[str, float]) -> list[str]:
    return [f"{100 * row[name]:.2f}" for name in _SCORES]


if __name__ == "__main__":
    shared_flags.run(main)
