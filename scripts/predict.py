"""Tags or classifies a text file or standard input, line by line, in order.

python scripts/predict.py --model=runs/quickstart --input=text.txt --output=tagged.tsv
echo "Ada lives in Turin" | python scripts/predict.py --model=runs/quickstart --format=jsonl

What a line holds depends on the model: of a tagger a sentence, of a classifier a text, of a
classifier of pairs two texts with a tab between. A blank line is answered by a blank line.
"""

import contextlib
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import program
from absl import flags

from xdistil.data.atomic_files import replacing
from xdistil.data.lines import decode_line, numbered_lines
from xdistil.data.paths import as_path, is_remote
from xdistil.errors import InputError
from xdistil.export.find_model import RUNTIMES
from xdistil.export.predictor import Predictor, load_predictor
from xdistil.export.tagged_result import FORMATS

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")

flags.DEFINE_string(
    "model", None, "Run directory, folder of a student, or of an export.", required=True
)
flags.DEFINE_string(
    "input",
    "-",
    "A sentence or text a line, of pairs two texts with a tab between; gzip too; - is standard "
    "input.",
)
flags.DEFINE_string("output", "-", "Where the answers go; - is standard output.")
flags.DEFINE_enum(
    "format",
    "tsv",
    FORMATS,
    "tsv: words, a tab, tags; of a classifier: the text or two texts, a tab, the label. "
    "conll: a word and its tag a line; of taggers alone. "
    "jsonl: words, tags, entities; of a classifier: label, score, and the probability of each.",
)
flags.DEFINE_integer("batch_size", 128, "Lines that the model gets at once.", lower_bound=1)
flags.DEFINE_enum(
    "runtime",
    None,
    RUNTIMES,
    "Default: what --model is; of a run, its student in Keras. int8: --model=RUN/export/onnx_int8.",
)

_STANDARD = "-"


#: A line with its place, `file:line`.
Line = tuple[str, str]


def main(_: list[str]) -> None:
    _check_output(FLAGS.output)
    lines = _lines(FLAGS.input)
    # The first line is read before the model, which is slow to load: a wrong path is told at once.
    first = list(itertools.islice(lines, 1))
    predictor = load_predictor(FLAGS.model, FLAGS.runtime, batch_size=FLAGS.batch_size)
    _check_format(predictor)
    inputs = (predictor.parse_line(*line) for line in itertools.chain(first, lines))
    unseen = predictor.unseen_words()
    with _opened(FLAGS.output) as output:
        for result in unseen.count(predictor.predict(inputs)):
            output.write(result.format(FLAGS.format))
    for line in unseen.warnings():
        logger.warning("%s", line)


def _lines(path: str) -> Iterator[Line]:
    if path == _STANDARD:
        for number, raw in enumerate(sys.stdin.buffer, start=1):
            yield decode_line(raw, "standard input", number), f"standard input:{number}"
    else:
        for number, line in numbered_lines(path):
            yield line, f"{path}:{number}"


def _check_format(predictor: Predictor[Any]) -> None:
    if FLAGS.format not in predictor.formats:
        raise InputError(
            f"--format={FLAGS.format}: the model {FLAGS.model} gives no tags of words: expected "
            f"{' or '.join(predictor.formats)}"
        )


def _check_output(path: str) -> None:
    if path == _STANDARD:
        return
    if not is_remote(path) and not Path(path).absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist: make it first")
    if as_path(path).is_dir():
        raise InputError(f"{path}: is a folder: give a file")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """A file that appears whole at the end, or standard output."""
    settings = {"mode": "w", "encoding": "utf-8", "newline": "\n"}
    if path == _STANDARD:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough, as `head` has. Python's own flush at exit must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif as_path(path).exists() and not as_path(path).is_file():
        with open(path, **settings) as pipe:  # a device or a named pipe takes no renaming
            yield pipe
    else:
        with replacing(path) as partial, partial.open(**settings) as file:
            yield file


if __name__ == "__main__":
    program.run(main)
