"""Subject `targets`: the rate at which a teacher reads transfer text, and what the rest costs.

    python scripts/benchmark.py targets --checkpoint=FOLDER --input=FILES

`padded` pads every sentence to --seq_len, `buckets` is what a run does, `xla` the same compiled by
XLA, which wants every batch filled up to one shape a bucket. All three write nothing and are traced
before they are timed. `written` writes what `buckets` gives to the disk, with checksums, as a run
does, and `read` reads it in batches as training does. The work is the matrix products of the real
positions (for `padded`: of all); its rate over that of one large float32 product says how much of
the machine is used. In turns, medians.
"""

import itertools
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from benchmark_memory import work_folder
from benchmark_speedup import are_sizes

from xdistil.errors import InputError
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
_PRECISIONS = {"float32", "mixed_bfloat16"}
_SHARD = 2048
WAYS = ("padded", "buckets", "xla", "written", "read")


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_string("checkpoint", None, "A teacher in hub format.", required=True)
    flags.DEFINE_list("input", None, "Files of tagged sentences, globs too.", required=True)
    flags.DEFINE_integer("sentences", 2048, "Most sentences.", lower_bound=1)
    flags.DEFINE_integer("seq_len", 128, "Most pieces of a sentence.", lower_bound=8)
    flags.DEFINE_list("outputs", ["logits"], "What is kept, such as logits,hidden_states_6.")
    flags.DEFINE_list("token_budgets", ["1024"], "Positions a batch.")
    flags.DEFINE_list("precisions", ["float32"], "Policies: float32, mixed_bfloat16.")
    flags.DEFINE_list("ways", list(WAYS), "Which to measure; padded is always among them.")
    flags.DEFINE_integer("repeats", 5, "Rounds.", lower_bound=1)
    flags.register_validator("ways", lambda v: set(v) <= set(WAYS), ", ".join(WAYS))
    flags.register_validator("token_budgets", are_sizes, "whole numbers from 1, e.g. 1024,4096")
    flags.register_validator(
        "precisions", lambda v: bool(v) and set(v) <= _PRECISIONS, ", ".join(sorted(_PRECISIONS))
    )


def measure() -> dict[str, Any]:
    """Every way at each budget and precision."""
    from xdistil import metrics

    examples = read_examples()
    ways = [way for way in WAYS if way in ("padded", *FLAGS.ways)]
    with work_folder(None) as folder:
        calls: dict[str, Callable[[], Any]] = {}
        teachers = {precision: build_teacher(precision) for precision in FLAGS.precisions}
        for precision, budget in itertools.product(FLAGS.precisions, map(int, FLAGS.token_budgets)):
            settings = f"{precision}, {budget}"
            for way in ways:
                place = folder / f"{precision}-{budget}"
                calls[f"{way}, {settings}"] = call_of(
                    way, teachers[precision], examples, place, budget
                )
        latencies = metrics.measure_latency(calls, repeats=FLAGS.repeats, warm_up=1)
    rate = metrics.matmul_gflops(1024)
    teacher = next(iter(teachers.values()))
    lengths = [len(example.token_ids) for example in examples]
    real = sum(flops(teacher, length) for length in lengths)
    rows = []
    for name in calls:
        way, _, settings = name.partition(", ")
        seconds = latencies.median_ms(name) / 1e3
        work = flops(teacher, FLAGS.seq_len) * len(examples) if way == "padded" else real
        rows.append(
            {
                "way": way,
                "settings": settings,
                "sentences_per_second": len(examples) / seconds,
                "over_padded": statistics.median(latencies.ratios(f"padded, {settings}", name)),
                "of_matmul_rate": None if way == "read" else work / seconds / 1e9 / rate,
            }
        )
    return {
        "sentences": len(examples),
        "mean_length": float(np.mean(lengths)),
        "rows": rows,
        "matmul_gflops": rate,
        "machine": metrics.thread_settings(),
    }


def read_examples() -> list[Any]:
    """The text as word pieces."""
    from xdistil.data.encoding import TextEncoder
    from xdistil.data.readers import expand_files, read_tagged

    files = expand_files(FLAGS.input)
    encoder = TextEncoder.from_folder(FLAGS.checkpoint, seq_len=FLAGS.seq_len)
    # Of all files alike, so that no language stands alone.
    share = -(-FLAGS.sentences // len(files))
    sentences = itertools.chain.from_iterable(
        itertools.islice(read_tagged(file), share) for file in files
    )
    examples = list(encoder.encode(itertools.islice(sentences, FLAGS.sentences)))
    if not examples:
        raise InputError(f"{', '.join(files)}: no sentences")
    return examples


def build_teacher(precision: str) -> Any:
    """The checkpoint with a fresh head."""
    import keras

    from xdistil.models.teacher import Teacher

    return Teacher.from_preset(
        FLAGS.checkpoint, num_classes=11, fresh_head=True, dtype=keras.DTypePolicy(precision)
    )


def call_of(
    way: str, teacher: Any, examples: Sequence[Any], folder: Path, budget: int
) -> Callable[[], Any]:
    """A function that has the teacher read all examples, or that reads what it gave."""
    import tensorflow as tf

    from xdistil.data.batching import bucket_lengths
    from xdistil.data.record_batches import read_batches
    from xdistil.data.records import write_records
    from xdistil.distillation.targets import named_output
    from xdistil.models.inference import BatchedInference

    lengths = (FLAGS.seq_len,) if way == "padded" else bucket_lengths(FLAGS.seq_len)
    inference = BatchedInference(
        teacher,
        lengths,
        lambda found: {
            name: tf.cast(named_output(found, name), tf.float16) for name in FLAGS.outputs
        },
        budget,
        jit_compile=way == "xla",
        pad_to_bucket=way == "padded",
    )

    def written(name: str) -> Any:
        shutil.rmtree(folder / name, ignore_errors=True)
        return write_records(
            folder / name, examples, key="targets", shard_size=_SHARD, arrays=inference.run
        )

    if way == "written":
        return lambda: written("again")
    if way == "read":
        store = written("kept")
        return lambda: sum(
            1 for _ in read_batches([store], lengths=lengths, batch_size=64, arrays=FLAGS.outputs)
        )
    return lambda: sum(1 for _ in inference(examples, chunk=_SHARD))


def flops(teacher: Any, length: int) -> float:
    """Operations of the matrix products of an encoder over one sentence of so many positions."""
    config = teacher.encoder_config
    dim, inner = config.hidden_dim, config.intermediate_dim
    layer = length * (4 * dim * dim + 2 * dim * inner) + 2 * length * length * dim
    return 2.0 * config.num_layers * layer


def table(result: dict[str, Any]) -> str:
    """Rates, and ratios over the padded way with the same settings."""
    cells = [["way", "settings", "sentences/s", "over padded", "of float32 rate"]]
    for row in result["rows"]:
        cells.append(
            [
                row["way"],
                row["settings"],
                f"{row['sentences_per_second']:,.0f}",
                f"{row['over_padded']:.2f}x",
                "-" if row["of_matmul_rate"] is None else f"{100 * row['of_matmul_rate']:.0f}%",
            ]
        )
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return (
        f"{result['sentences']:,} sentences of {result['mean_length']:.1f} pieces\n"
        f"{text_table(cells, left=2)}\n"
        f"float32 matrix product: {result['matmul_gflops']:.0f} GFLOP/s; {machine}"
    )
