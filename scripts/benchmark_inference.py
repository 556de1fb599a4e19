"""Subject `inference`: a BiLSTM student in every runtime, against the arithmetic limit.

    python scripts/benchmark.py inference --sizes=50x200 --lengths=32 --batch_sizes=1,32,128

All runtimes have the same weights, run in turns on the same ids, and use all cores; times are
medians of a call. `predict` is Keras' own, `graph` and `xla` a `tf.function`, `saved_model` that of
`export_ids`, `saved_model_xla` the same with `jit_compile`. The limit is the operations of all
matrix products over the rate that the machine reaches in a large one. A runtime whose package is
missing is left out; PyTorch is here as a yardstick alone.
"""

import importlib.util
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from benchmark_memory import work_folder
from torch_student import torch_call

from xdistil.errors import InputError
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
#: By name: the packages that it needs.
RUNTIMES = {
    "predict": ("keras",),
    "graph": ("tensorflow",),
    "xla": ("tensorflow",),
    "saved_model": ("tensorflow",),
    "saved_model_xla": ("tensorflow",),
    "onnx": ("onnx", "onnxruntime"),
    "onnx_int8": ("onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
    "litert_int8": ("ai_edge_litert",),
    "torch": ("torch",),
}
# Runtimes whose logits differ by more compute something else, and their times say nothing.
_APART = 1e-3
_YARDSTICKS = ("onnx", "torch")
# OpenMP's and ONNX Runtime's threads spin for some milliseconds after their last call.
SETTLE_SECONDS = 0.03
Call = Callable[[dict[str, np.ndarray]], Any]


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_list("sizes", ["50x200", "300x600"], "Students, ExH.")
    flags.DEFINE_list("lengths", ["16", "32", "128"], "Pieces a sentence, no padding.")
    flags.DEFINE_list("batch_sizes", ["1", "32", "128"], "Sentences a call.")
    flags.DEFINE_list("runtimes", list(RUNTIMES), "Which to measure.")
    flags.DEFINE_integer("vocabulary_size", 30_000, "Rows of the embedding.", lower_bound=10)
    flags.DEFINE_integer("representation_dim", 768, "Width of the dense layer.", lower_bound=1)
    flags.DEFINE_integer("num_classes", 11, "Classes.", lower_bound=1)
    flags.DEFINE_integer("repeats", 30, "Rounds.", lower_bound=1)
    flags.DEFINE_float("max_seconds", 20.0, "Most seconds of rounds for each shape.")
    flags.register_validator("sizes", lambda v: _all(v, "[1-9][0-9]*x[1-9][0-9]*"), "e.g. 50x200")
    for name in ("lengths", "batch_sizes"):
        flags.register_validator(name, lambda v: _all(v, "[1-9][0-9]*"), "whole numbers from 1")
    flags.register_validator("runtimes", lambda v: set(v) <= set(RUNTIMES), ", ".join(RUNTIMES))


def _all(values: Sequence[str], pattern: str) -> bool:
    return bool(values) and all(re.fullmatch(pattern, value) for value in values)


def measure() -> dict[str, Any]:
    """Every size, length and batch."""
    from xdistil import metrics

    runtimes = [
        name for name in FLAGS.runtimes if all(map(importlib.util.find_spec, RUNTIMES[name]))
    ]
    if not runtimes:
        raise InputError(f"--runtimes={','.join(FLAGS.runtimes)}: none of these is installed")
    rate = metrics.matmul_gflops(1024)
    rows = []
    for size in FLAGS.sizes:
        embedding_dim, hidden_dim = map(int, size.split("x"))
        with work_folder(None) as folder:
            trained = build_tagger(embedding_dim, hidden_dim)
            calls = build_calls(trained, runtimes, folder)
            for length in map(int, FLAGS.lengths):
                for batch_size in map(int, FLAGS.batch_sizes):
                    rows.append(
                        {
                            "size": size,
                            "length": length,
                            "batch_size": batch_size,
                            **measure_shape(trained.model, calls, batch_size, length, rate),
                        }
                    )
                    print(_row_text(rows[-1]), flush=True)
    return {
        "rows": rows,
        "runtimes": runtimes,
        "missing": [name for name in FLAGS.runtimes if name not in runtimes],
        "matmul_gflops": rate,
        "machine": metrics.thread_settings(),
    }


def build_tagger(embedding_dim: int, hidden_dim: int) -> Any:
    """A tagger with random weights."""
    from xdistil.models.bilstm import BiLSTMStudent

    return as_tagger(
        BiLSTMStudent(
            FLAGS.vocabulary_size,
            FLAGS.num_classes,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            representation_dim=FLAGS.representation_dim,
        )
    )


def as_tagger(model: Any) -> Any:
    """A model as one that could be exported; its tokenizer only has to be there."""
    from xdistil.data.encoding import train_wordpiece
    from xdistil.data.examples import TaggedSentence
    from xdistil.data.labels import Labels
    from xdistil.tasks import Tagging, TrainedModel

    encoder = train_wordpiece([TaggedSentence(("some", "words"))], vocabulary_size=40)
    tags = ["O", *(f"B-{number}" for number in range(1, model.num_classes))]
    return TrainedModel(model, Tagging(Labels(tags), encoder))


def build_calls(trained: Any, runtimes: Sequence[str], folder: Path) -> dict[str, Call]:
    """The runtimes that are one function for every shape, by name; the others are made for each
    shape, see `measure_shape`."""
    import tensorflow as tf

    from xdistil.export import export_ids, export_litert, export_onnx
    from xdistil.export.session_runtime import open_session

    calls: dict[str, Call] = {}
    for name in runtimes:
        if name == "predict":
            calls[name] = lambda given: trained.model.predict(given, batch_size=1024, verbose=0)
        elif name.startswith("saved_model"):
            path = export_ids(trained, folder / name, jit_compile=name.endswith("xla"))
            loaded = tf.saved_model.load(str(path))
            calls[name] = _saved_model_call(loaded)
        elif name.startswith(("onnx", "litert")):
            export = export_onnx if name.startswith("onnx") else export_litert
            precision = "int8" if name.endswith("int8") else "float32"
            calls[name] = open_session(export(trained, folder / name, precision=precision))
        elif name == "torch":
            calls[name] = torch_call(trained.model)
    return calls


def _saved_model_call(loaded: Any) -> Call:
    import tensorflow as tf

    signature = loaded.signatures["serving_default"]

    def call(given: dict[str, np.ndarray]) -> Any:
        names = ("token_ids", "padding_mask")
        # The module is named so that it lives as long as its signature.
        return loaded and signature(**{name: tf.constant(given[name]) for name in names})["logits"]

    return call


def measure_shape(
    model: Any, calls: dict[str, Call], batch_size: int, length: int, rate: float
) -> dict[str, Any]:
    """Times of all runtimes for one shape.

    Returns:
        `ms` and `limit_ratio` (time over the limit) by runtime; `limit_ms`, what the matrix
        products take at the machine's rate; `apart`, the largest distance of a float32 runtime's
        logits from those of the first.
    """
    from xdistil import metrics

    given = metrics.random_features(
        model.vocabulary_size, batch_size=batch_size, sequence_length=length
    )
    bound = {name: _bind(call, given) for name, call in calls.items()}
    for name in ("graph", "xla"):
        if name in FLAGS.runtimes:
            bound[name] = metrics.compile_call(model, given, name)
    results = {name: _logits(call()) for name, call in bound.items() if "int8" not in name}
    first = next(iter(results.values()), None)
    distances = {name: float(np.abs(found - first).max()) for name, found in results.items()}
    if wrong := [name for name, distance in distances.items() if not distance < _APART]:
        raise InputError(
            f"{', '.join(wrong)}: computes something else: logits {distances} away from those of "
            f"{next(iter(results))}"
        )
    apart = max(distances.values(), default=0.0)
    limit_ms = flops(model, batch_size, length) / rate / 1e6
    latencies = metrics.measure_latency(
        bound,
        repeats=FLAGS.repeats,
        # Several calls in a row: the first one after the pause finds threads asleep.
        inner_repeats=dict.fromkeys(bound, min(50, 3 + int(60 / limit_ms))),
        max_seconds=FLAGS.max_seconds,
        settle_seconds=SETTLE_SECONDS,
    )
    ms = {name: latencies.median_ms(name) for name in bound}
    return {
        "ms": ms,
        "limit_ms": limit_ms,
        "limit_ratio": {name: value / limit_ms for name, value in ms.items()},
        "against_yardstick": against(latencies, list(bound)),
        "apart": apart,
    }


def _bind(call: Call, given: dict[str, np.ndarray]) -> Callable[[], Any]:
    return lambda: call(given)


def _logits(found: Any) -> np.ndarray:
    if isinstance(found, dict):
        found = found["logits"]
    return np.asarray(found)


def flops(model: Any, batch_size: int, length: int) -> float:
    """Operations of the matrix products of a BiLSTM tagger; a multiplication and an addition each
    count."""
    units = model.hidden_dim
    recurrence = 2 * 4 * units * (model.embedding_dim + units)
    above = model.representation_dim * (2 * units + model.num_classes)
    return 2.0 * batch_size * length * (recurrence + above)


def against(latencies: Any, names: Sequence[str]) -> dict[str, float]:
    """Each runtime's time over that of the faster yardstick, the median over rounds."""
    yardsticks = [name for name in _YARDSTICKS if name in names]
    if not yardsticks:
        return {}
    best = latencies.fastest(yardsticks)
    return {name: statistics.median(latencies.ratios(name, best)) for name in names}


def _row_text(row: dict[str, Any]) -> str:
    times = ", ".join(f"{name} {ms:.2f}" for name, ms in row["ms"].items())
    return f"{row['size']}, length {row['length']}, batch {row['batch_size']}: {times} ms"


def table(result: dict[str, Any]) -> str:
    """Milliseconds, and below them each runtime's time over that of the faster yardstick."""
    names = list(result["rows"][0]["ms"])
    blocks = []
    for title, key, form in (
        ("milliseconds a call", "ms", ".2f"),
        ("over the faster of ONNX Runtime (float32) and PyTorch", "against_yardstick", ".2f"),
        ("over the arithmetic limit", "limit_ratio", ".1f"),
    ):
        if not result["rows"][0][key]:
            continue
        cells = [["size", "length", "batch", "limit ms", *names]]
        for row in result["rows"]:
            shape = [row["size"], str(row["length"]), str(row["batch_size"])]
            values = [format(row[key][name], form) for name in names]
            cells.append([*shape, f"{row['limit_ms']:.2f}", *values])
        blocks.append(f"{title}\n{text_table(cells, left=1)}")
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    apart = max(row["apart"] for row in result["rows"])
    blocks.append(
        f"float32 matrix product: {result['matmul_gflops']:.0f} GFLOP/s; {machine}\n"
        f"float32 logits at most {apart:.1e} apart"
        + (f"; not installed: {', '.join(result['missing'])}" if result["missing"] else "")
    )
    return "\n\n".join(blocks)
