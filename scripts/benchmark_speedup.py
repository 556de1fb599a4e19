"""Subject `speedup`: parameters and latency of a teacher against a BiLSTM student.

The paper's figures for mBERT against (50, 200): 35.1x fewer parameters, 51x at batch 32 and length
32, 16x at batch 1 (XtremeDistil, Table 16, on a P100 and on a CPU).
"""

import contextlib
import functools
import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import flags
from benchmark_inference import SETTLE_SECONDS, as_tagger
from benchmark_memory import work_folder

from xdistil.errors import InputError
from xdistil.metrics.speedup import RUNTIMES
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
MBERT_PIECES = 119_547
ONNX = "onnx"
_ALL = (*RUNTIMES, ONNX)


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_string(
        "teacher", "mbert", "`mbert`: of its size, random weights; or a folder or hub name."
    )
    flags.DEFINE_integer("embedding_dim", 50, "E, width of the embeddings.", lower_bound=1)
    flags.DEFINE_integer("hidden_dim", 200, "H, width of the LSTM, a direction.", lower_bound=1)
    flags.DEFINE_integer(
        "kept_pieces",
        88_480,
        "Word pieces with an embedding row in the student, as far as the teacher has so many; "
        "0 = all.",
        lower_bound=0,
    )
    flags.DEFINE_integer("num_classes", 11, "Classes of both heads.", lower_bound=1)
    flags.DEFINE_integer("sequence_length", 32, "Pieces a sentence, no padding.", lower_bound=1)
    flags.DEFINE_list("batch_sizes", ["32", "1"], "Sentences a call.")
    flags.DEFINE_list(
        "runtimes",
        installed_runtimes(),
        "Tried for each model; the best one counts. `onnx`: its export, where installed.",
    )
    flags.DEFINE_integer("repeats", 20, "Rounds.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the weights and of the ids.", lower_bound=0)
    flags.register_validator("batch_sizes", are_sizes, "expected whole numbers from 1, e.g. 32,1")
    flags.register_validator(
        "runtimes", are_runtimes, f"expected one or several of {','.join(_ALL)}"
    )


def installed_runtimes() -> list[str]:
    """The runtimes that can be measured here."""
    return [*RUNTIMES, *([ONNX] if importlib.util.find_spec("onnxruntime") else [])]


def are_sizes(values: list[str]) -> bool:
    """Whether these are one or several whole numbers from 1."""
    return bool(values) and all(re.fullmatch("[1-9][0-9]*", value) for value in values)


def are_runtimes(values: list[str]) -> bool:
    """Whether these are one or several runtimes."""
    return bool(values) and set(values) <= set(_ALL)


def measure() -> dict[str, Any]:
    """Build both models, count them, time them in turns."""
    import keras

    from xdistil import metrics

    keras.utils.set_random_seed(FLAGS.seed)
    teacher = build_teacher(FLAGS.teacher, FLAGS.num_classes)
    longest = teacher.encoder_config.max_length
    if FLAGS.sequence_length > longest:
        raise InputError(
            f"--sequence_length={FLAGS.sequence_length}: the teacher reads at most {longest} pieces"
        )
    student = build_student(
        teacher, FLAGS.embedding_dim, FLAGS.hidden_dim, FLAGS.kept_pieces, FLAGS.seed
    )
    sizes = [metrics.count_parameters(model) for model in (teacher, student)]
    width = teacher.hidden_dim
    rows, times = [], []
    with onnx_sessions({"teacher": teacher, "student": student}) as sessions:
        for batch_size in map(int, FLAGS.batch_sizes):
            given = metrics.random_features(
                teacher.vocabulary_size,
                batch_size=batch_size,
                sequence_length=FLAGS.sequence_length,
            )
            row, latencies = metrics.speedup_row(
                teacher,
                student,
                batch_size=batch_size,
                sequence_length=FLAGS.sequence_length,
                runtimes=[name for name in FLAGS.runtimes if name in RUNTIMES],
                repeats=FLAGS.repeats,
                features=(given, given),
                other_calls={
                    f"{name} {ONNX}": functools.partial(session, given)
                    for name, session in sessions.items()
                },
                settle_seconds=SETTLE_SECONDS if sessions else 0.0,
            )
            rows.append(row)
            times.append({"batch_size": batch_size, "calls": latencies.to_dict()})
    return {
        "teacher": FLAGS.teacher,
        "teacher_parameters": sizes[0],
        # What the hub's checkpoint holds: beside the encoder a pooler, that no tagger runs.
        "teacher_parameters_with_pooler": sizes[0] + width * (width + 1),
        "student": f"({FLAGS.embedding_dim}, {FLAGS.hidden_dim})",
        "student_parameters": sizes[1],
        "compression": sizes[0] / sizes[1],
        "compression_with_pooler": (sizes[0] + width * (width + 1)) / sizes[1],
        "latency": rows,
        "times": times,
        "matmul_gflops": {str(size): metrics.matmul_gflops(size) for size in (1024, 2048)},
        "machine": metrics.thread_settings(),
        "versions": _versions(),
    }


@contextlib.contextmanager
def onnx_sessions(models: Mapping[str, Any]):
    """The exports of models in ONNX Runtime, by name; empty where --runtimes leaves it out."""
    from xdistil.export import export_onnx
    from xdistil.export.session_runtime import open_session

    sessions: dict[str, Callable[[Mapping[str, np.ndarray]], Any]] = {}
    with work_folder(None) as folder:
        for name, model in models.items() if ONNX in FLAGS.runtimes else ():
            sessions[name] = open_session(export_onnx(as_tagger(model), folder / name))
        yield sessions


def build_teacher(name: str, num_classes: int):
    """A teacher of mBERT's size with random weights, or one from a checkpoint."""
    from xdistil.models.encoder import EncoderConfig
    from xdistil.models.teacher import Teacher

    if name == "mbert":
        config = EncoderConfig(
            vocabulary_size=MBERT_PIECES, hidden_dim=768, num_layers=12, num_heads=12
        )
        return Teacher(config, num_classes)
    return Teacher.from_preset(name, num_classes=num_classes, fresh_head=True)


def build_student(teacher, embedding_dim: int, hidden_dim: int, kept_pieces: int, seed: int = 0):
    """A student with random weights that reads the teacher's ids and keeps some of its pieces."""
    from xdistil.models.bilstm import BiLSTMStudent

    kept, kept_pieces = None, min(kept_pieces, teacher.vocabulary_size)
    if kept_pieces:
        # Any pieces will do for a measurement; 0 stands for the unknown one.
        draw = np.random.default_rng(seed).permutation(teacher.vocabulary_size - 1)
        kept = np.sort(np.concatenate([[0], 1 + draw[: kept_pieces - 1]]))
    return BiLSTMStudent(
        kept_pieces or teacher.vocabulary_size,
        teacher.num_classes,
        embedding_dim=embedding_dim,
        hidden_dim=hidden_dim,
        representation_dim=teacher.hidden_dim,
        kept_token_ids=kept,
        unknown_token_id=None if kept is None else 0,
    )


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    rates = ", ".join(f"{rate:.0f} at {n}" for n, rate in result["matmul_gflops"].items())
    sizes = text_table(
        [
            ["", "parameters", "compression"],
            ["teacher", f"{result['teacher_parameters']:,}", ""],
            ["  with the pooler", f"{result['teacher_parameters_with_pooler']:,}", ""],
            ["student", f"{result['student_parameters']:,}", f"{result['compression']:.2f}x"],
            ["  teacher with the pooler", "", f"{result['compression_with_pooler']:.2f}x"],
        ],
        left=1,
    )
    speeds = [["batch", "length", "teacher", "ms", "student", "ms", "speed-up"]]
    for row in result["latency"]:
        speeds.append(
            [
                str(row["batch_size"]),
                str(row["sequence_length"]),
                row["teacher_runtime"],
                f"{row['teacher_ms']:.1f}",
                row["student_runtime"],
                f"{row['student_ms']:.2f}",
                f"{row['speedup']:.1f}x",
            ]
        )
    details = [["batch", "call", "median ms", "min ms", "max ms"]]
    for block in result["times"]:
        for name, times in block["calls"].items():
            values = [f"{times[key]:.2f}" for key in ("median_ms", "min_ms", "max_ms")]
            details.append([str(block["batch_size"]), name, *values])
    return "\n\n".join(
        [
            sizes,
            text_table(speeds, left=0),
            text_table(details, left=2),
            f"float32 matrix product, GFLOP/s: {rates}\n{machine}",
        ]
    )


def _versions() -> dict[str, str]:
    import keras
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__}
