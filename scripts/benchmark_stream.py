"""Subject `stream`: text without end through encoding and the writer of targets: is memory flat?

    python scripts/benchmark.py stream --sentences=10000000

Made-up sentences are cut into pieces, read by a stand-in for a teacher (a table of logits, so that
all else is what takes the time), and written with its logits to shards of records, as a run does.
Memory is the resident size of this process: its largest value after the first tenth, over the one
at that tenth.
"""

import random
import shutil
import time
from collections.abc import Iterator
from typing import Any

from absl import flags
from benchmark_memory import work_folder
from benchmark_runs import made_up_sentences

from xdistil.errors import InputError
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
LIMIT = 1.1
_CLASSES, _VOCABULARY, _SEQ_LEN = 7, 2000, 64


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_integer("sentences", 10_000_000, "How many.", lower_bound=20_480)
    flags.DEFINE_integer("seed", 0, "Of the text.", lower_bound=0)
    flags.DEFINE_string("work_dir", None, "Folder to keep; default: one that is removed after.")


def measure() -> dict[str, Any]:
    """Stream all of it, and look at the memory after each hundredth.

    Raises:
        InputError: The system does not tell the resident size.
    """
    from xdistil import metrics
    from xdistil.data.batching import bucket_lengths
    from xdistil.data.encoding import train_wordpiece
    from xdistil.distillation.targets import compute_targets

    if metrics.memory_bytes() is None:
        raise InputError("only Linux tells how large a process is now: run this subject there")
    encoder = train_wordpiece(sentences(2_000, FLAGS.seed + 1), _VOCABULARY, seq_len=_SEQ_LEN)
    points: list[dict[str, float]] = []
    began = time.monotonic()

    def look(done: int) -> None:
        if done >= FLAGS.sentences * (len(points) + 1) / 100:
            points.append(
                {
                    "sentences": done,
                    "seconds": time.monotonic() - began,
                    "resident_bytes": metrics.memory_bytes(),
                }
            )
            if len(points) % 10 == 0:
                print(_line(points[-1]), flush=True)

    with work_folder(FLAGS.work_dir) as folder:
        shutil.rmtree(folder / "targets", ignore_errors=True)
        store = compute_targets(
            folder / "targets",
            encoder.encode(sentences(FLAGS.sentences, FLAGS.seed)),
            teacher=stand_in(encoder.vocabulary_size),
            text="made up",
            lengths=bucket_lengths(_SEQ_LEN),
            on_progress=look,
        )
        size = sum(file["bytes"] for shard in store.shards for file in shard["files"].values())
    return {
        "sentences": store.examples,
        "seconds": points[-1]["seconds"],
        "bytes_written": size,
        "points": points,
        **growth(points),
    }


def growth(points: list[dict[str, float]]) -> dict[str, Any]:
    """The largest memory after the first tenth of the points, over the one there."""
    tenth = max(1, len(points) // 10)
    sizes = [point["resident_bytes"] for point in points[tenth - 1 :]]
    ratio = max(sizes) / sizes[0]
    return {"ratio": ratio, "limit": LIMIT, "within_limit": ratio <= LIMIT}


def sentences(count: int, seed: int) -> Iterator[Any]:
    """Made-up sentences, one at a time."""
    from xdistil.data.examples import TaggedSentence

    for pairs in made_up_sentences(random.Random(seed), count):
        yield TaggedSentence(tuple(word for word, _ in pairs))


def stand_in(vocabulary_size: int) -> Any:
    """A teacher whose logits stand in a table."""
    import keras

    class Table(keras.Model):
        def __init__(self):
            super().__init__()
            self.logits = keras.layers.Embedding(vocabulary_size, _CLASSES)
            self.logits.build((None, None))
            self.built = True

        def call(self, features, training=False):
            return {"logits": self.logits(features["token_ids"])}

    return Table()


def _line(point: dict[str, float]) -> str:
    return (
        f"{point['sentences']:,} sentences, {point['seconds']:,.0f} s, "
        f"{point['resident_bytes'] / 2**20:,.0f} MiB"
    )


def table(result: dict[str, Any]) -> str:
    """Memory after each tenth, and the rate."""
    cells = [["sentences", "seconds", "resident MiB"]]
    for point in result["points"][9::10]:
        size = point["resident_bytes"] / 2**20
        cells.append([f"{point['sentences']:,}", f"{point['seconds']:,.0f}", f"{size:,.0f}"])
    kept = "within" if result["within_limit"] else "BEYOND"
    return (
        f"{text_table(cells, left=0)}\n"
        f"{result['sentences'] / result['seconds']:,.0f} sentences a second, "
        f"{result['bytes_written'] / 2**30:.2f} GiB written; memory {result['ratio']:.3f} times "
        f"what it was after the first tenth, {kept} the limit of {result['limit']}"
    )
