"""Subject `training`: examples per second of the logits stage, layer group by layer group.

    python scripts/benchmark.py training --size=50x200

Each sub-stage of gradual unfreezing trains on the same records, read from the disk as in a run, by
`fit` without XLA (`graph`), and with it if asked for (`xla`). Where the layers below are frozen,
`kept` reads what they give from the disk, as a stage of several epochs does, and `keeping` computes
it, once for all epochs. `torch` trains the same student on the same batches, held in memory.
`input` only reads the batches, the widest that a way reads. All in turns; times are medians of an
epoch.

The whole logits stage is reckoned from these: each sub-stage has --epochs, in the way that a run
takes it.
"""

import importlib.util
import re
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from benchmark_inference import build_tagger
from benchmark_memory import work_folder
from torch_student import torch_epoch

from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
WAYS = ("input", "graph", "xla", "kept", "keeping", "torch")
_RATE = 1e-3


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_string("size", "50x200", "The student, ExH.")
    flags.DEFINE_integer("batch_size", 64, "Sentences a step.", lower_bound=1)
    flags.DEFINE_integer("sentences", 4096, "Sentences of an epoch.", lower_bound=1)
    flags.DEFINE_integer("median_length", 14, "Pieces of half of the sentences.", lower_bound=4)
    flags.DEFINE_integer("seq_len", 64, "Most pieces of a sentence.", lower_bound=8)
    # XLA only if asked for: a run on one CPU device leaves it out too, for compiling takes seconds.
    flags.DEFINE_list("ways", [way for way in WAYS if way != "xla"], "Which to measure.")
    flags.DEFINE_integer("vocabulary_size", 30_000, "Rows of the embedding.", lower_bound=10)
    flags.DEFINE_integer("representation_dim", 384, "Width of the dense layer.", lower_bound=1)
    flags.DEFINE_integer("num_classes", 11, "Classes.", lower_bound=1)
    flags.DEFINE_integer("repeats", 5, "Rounds: an epoch of each way.", lower_bound=1)
    flags.DEFINE_integer("epochs", 6, "Of each sub-stage, where the whole is reckoned.", 1)
    flags.DEFINE_integer("seed", 0, "Of the text.", lower_bound=0)
    flags.register_validator("size", lambda v: bool(re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", v)))
    flags.register_validator("ways", lambda v: bool(v) and set(v) <= set(WAYS), ", ".join(WAYS))


def measure() -> dict[str, Any]:
    """Every sub-stage, from the head down."""
    from xdistil import metrics

    ways = [way for way in FLAGS.ways if way != "torch" or importlib.util.find_spec("torch")]
    rows = []
    with work_folder(None) as folder:
        data = Records(folder)
        groups = list(new_student().layer_groups)
        for first in reversed(range(len(groups))):
            learning = groups[first:]
            calls = {way: call for way in ways if (call := epoch_of(way, data, learning))}
            # The first epoch traces and compiles; the second lets tf.data settle.
            latencies = metrics.measure_latency(calls, repeats=FLAGS.repeats, warm_up=2)
            rows.append(
                {
                    "learning": learning,
                    "seconds": {way: latencies.median_ms(way) / 1e3 for way in calls},
                    "examples_per_second": {
                        way: 1e3 * FLAGS.sentences / latencies.median_ms(way) for way in calls
                    },
                    "against_torch": {
                        way: statistics.median(latencies.ratios("torch", way)) for way in calls
                    }
                    if "torch" in ways
                    else {},
                }
            )
            print(f"{'+'.join(learning)}: {rows[-1]['examples_per_second']}", flush=True)
    return {
        "size": FLAGS.size,
        "rows": rows,
        "ways": ways,
        "whole": whole_stage(rows, FLAGS.epochs),
        "steps": data.steps,
        "padding": data.padding,
        "matmul_gflops": metrics.matmul_gflops(1024),
        "machine": metrics.thread_settings(),
    }


def whole_stage(rows: Sequence[Mapping[str, Any]], epochs: int) -> dict[str, float]:
    """Seconds of all sub-stages with so many epochs each: ours as a run takes them, and PyTorch's.

    A run on a CPU compiles nothing by XLA unless told to, and computes once for neighbouring stages
    what their frozen layers give.
    """
    ways = ("kept", "graph") if epochs > 1 else ("graph",)  # nothing is kept for one epoch
    taken = [[row["seconds"][way] for way in ways if way in row["seconds"]] for row in rows]
    ours = sum(epochs * seconds[0] for seconds in taken if seconds)
    once = max((row["seconds"].get("keeping", 0) for row in rows), default=0) * (epochs > 1)
    theirs = sum(epochs * row["seconds"].get("torch", 0) for row in rows)
    return {"epochs": epochs, "ours": ours + once, "torch": theirs}


class Records:
    """Sentences of random pieces with random logits of a teacher, on the disk."""

    def __init__(self, folder: Path):
        from xdistil.data.batching import bucket_lengths
        from xdistil.data.records import write_records
        from xdistil.distillation.stage_data import StageData

        random = np.random.default_rng(FLAGS.seed)
        self.folder = folder
        self.lengths = bucket_lengths(FLAGS.seq_len)
        store = write_records(
            folder / "transfer",
            sentences(random),
            key="random",
            arrays=lambda chunk: [
                {"logits": random.normal(size=(len(one), FLAGS.num_classes)).astype(np.float16)}
                for one in chunk
            ],
        )
        self.stores = [store]
        self.steps = StageData(self.stores, [], self.lengths).steps(FLAGS.batch_size)
        self.held = list(self.batches(0).as_numpy_iterator())
        masks = [features["padding_mask"] for features, _ in self.held]
        self.padding = 1 - sum(map(np.sum, masks)) / sum(map(np.size, masks))

    def batches(self, epoch: int, stores: Sequence[Any] | None = None) -> Any:
        """An epoch's batches, as a stage reads them, of the stores or of others beside them."""
        from xdistil.data.batching import sized
        from xdistil.data.record_batches import read_batches
        from xdistil.distillation.frozen_states import FROZEN, as_features

        batches = read_batches(
            stores or self.stores,
            lengths=self.lengths,
            batch_size=FLAGS.batch_size,
            arrays=("logits", FROZEN) if stores else ("logits",),
            epoch=epoch,
        )
        return sized(batches.map(as_features) if stores else batches, self.steps)

    def keep(self, student: Any, name: str = "frozen") -> Sequence[Any]:
        """The stores with what the student's frozen layers give, computed where it is not there."""
        from xdistil.distillation.frozen_states import FrozenStates

        return FrozenStates(student, self.folder / name, self.lengths).beside(self.stores)


def sentences(random: np.random.Generator) -> Iterator[Any]:
    """Lengths spread log-normally, as those of short sentences are; three of four pieces begin a
    word."""
    from xdistil.data.examples import EncodedExample

    for _ in range(FLAGS.sentences):
        length = int(np.clip(random.lognormal(np.log(FLAGS.median_length), 0.5), 4, FLAGS.seq_len))
        starts = random.random(length) < 0.75
        starts[0] = starts[-1] = False
        starts[1] = True
        yield EncodedExample(
            random.integers(0, FLAGS.vocabulary_size, length).astype(np.int32),
            starts.astype(np.uint8),
            np.flatnonzero(starts).astype(np.int32),
        )


def new_student() -> Any:
    """A student of its own for each way to train it, all of the same weights."""
    import keras

    keras.utils.set_random_seed(FLAGS.seed)
    return build_tagger(*map(int, FLAGS.size.split("x"))).model


def epoch_of(way: str, data: Records, learning: Sequence[str]) -> Callable[[], Any] | None:
    """A function that runs one epoch; None where the sub-stage has no such way."""
    from xdistil.distillation.frozen_states import trains_upper_layers
    from xdistil.distillation.losses import LogitsRegression

    student = new_student()
    upper = trains_upper_layers(student, learning, [LogitsRegression()])
    if way in ("kept", "keeping") and not upper:
        return None
    if way == "torch":
        return torch_epoch(student, data.held, learning, _RATE)
    freeze(student, learning)
    if way == "input":
        stores = data.keep(student) if upper else None
        return lambda: sum(1 for _ in data.batches(0, stores))
    if way == "keeping":

        def keep_again() -> None:
            shutil.rmtree(data.folder / "again", ignore_errors=True)
            data.keep(student, "again")

        return keep_again
    return fit_of(student, data, upper, way)


def freeze(student: Any, learning: Sequence[str]) -> None:
    """Leaves but these layer groups as they are."""
    for name, layers in student.layer_groups.items():
        for layer in layers:
            layer.trainable = name in learning


def fit_of(student: Any, data: Records, upper: bool, way: str) -> Callable[[], Any]:
    """An epoch by `Distiller.fit`, as a stage calls it: without frozen layers' dropout."""
    from xdistil.distillation.distiller import Distiller
    from xdistil.distillation.frozen_states import UpperLayers
    from xdistil.distillation.fused_optimizers import FusedAdam
    from xdistil.distillation.losses import LogitsRegression
    from xdistil.distillation.step_watch import steps_at_once

    distiller = Distiller(UpperLayers(student) if upper else student, [LogitsRegression()])
    distiller.compile(
        optimizer=FusedAdam(_RATE),
        jit_compile=way == "xla",
        steps_per_execution=steps_at_once(student),
    )
    stores = data.keep(student) if way == "kept" else None
    return lambda: distiller.fit(data.batches(0, stores), epochs=1, shuffle=False, verbose=0)


def table(result: dict[str, Any]) -> str:
    """Examples per second, and how many times those of PyTorch."""
    ways = result["ways"]
    against = [way for way in result["rows"][0]["against_torch"] if way not in ("torch", "keeping")]
    cells = [["learns", *ways, *(f"{way}/torch" for way in against)]]
    for row in result["rows"]:
        rates, ratios = row["examples_per_second"], row["against_torch"]
        cells.append(
            [
                "+".join(row["learning"]),
                *(f"{rates[way]:,.0f}" if way in rates else "-" for way in ways),
                *(f"{ratios[way]:.2f}" if way in ratios else "-" for way in against),
            ]
        )
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    whole, lines = result["whole"], []
    if whole["ours"] and whole["torch"]:
        lines = [
            f"the logits stage, {whole['epochs']} epochs a sub-stage: {whole['ours']:.1f} s, "
            f"PyTorch {whole['torch']:.1f} s, {whole['torch'] / whole['ours']:.2f}x its rate"
        ]
    return "\n".join(
        [
            f"examples per second, {result['size']}, {result['steps']} steps an epoch, "
            f"{100 * result['padding']:.0f}% padding",
            text_table(cells, left=1),
            *lines,
            f"float32 matrix product: {result['matmul_gflops']:.0f} GFLOP/s; {machine}",
        ]
    )
