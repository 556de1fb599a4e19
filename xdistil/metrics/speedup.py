"""Teacher against student: the latency rows of report.json."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xdistil.metrics.latency import Latencies, measure_latency

if TYPE_CHECKING:
    import keras

RUNTIMES = ("graph", "xla", "frozen")


def random_features(
    vocabulary_size: int, *, batch_size: int, sequence_length: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Features of sentences that fill the whole length, for measurements.

    Args:
        vocabulary_size: ids are drawn evenly from all pieces.
        batch_size: sentences.
        sequence_length: pieces a sentence.
        seed: of the draw.

    Returns:
        `token_ids`, `segment_ids`, `padding_mask` and `word_starts`, int32
        `(batch_size, sequence_length)`, no padding.
    """
    shape = (batch_size, sequence_length)
    token_ids = np.random.default_rng(seed).integers(0, vocabulary_size, shape, dtype=np.int32)
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros(shape, np.int32),
        "padding_mask": np.ones(shape, np.int32),
        "word_starts": np.ones(shape, np.int32),
    }


def random_pair_features(
    vocabulary_size: int,
    *,
    batch_size: int,
    sequence_length: int,
    boundary_token_ids: tuple[int, int],
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Features of pairs of texts of equal length, as `random_features` for single ones.

    Args:
        vocabulary_size: as there.
        batch_size: pairs.
        sequence_length: pieces a pair, special tokens included.
        boundary_token_ids: ids of `[CLS]` and `[SEP]`, which stand where they do in a pair.
        seed: of the draw.
    """
    features = random_features(
        vocabulary_size, batch_size=batch_size, sequence_length=sequence_length, seed=seed
    )
    cls_id, sep_id = boundary_token_ids
    middle = sequence_length // 2
    features["token_ids"][:, 0] = cls_id
    features["token_ids"][:, [middle, -1]] = sep_id
    features["segment_ids"][:, middle + 1 :] = 1
    return features


def compile_call(
    model: "keras.Model", features: Mapping[str, np.ndarray], runtime: str = "graph"
) -> Callable[[], Any]:
    """A call without arguments that computes a model's logits for these features.

    Only the logits are asked for, so the compiler drops what only distillation wants.

    Args:
        model: a teacher or student: `model(features, training=False)["logits"]`.
        features: int32 arrays `(batch_size, sequence_length)`; the shape is compiled in.
        runtime: `graph` (`tf.function`), `xla` (`tf.function(jit_compile=True)`) or `frozen` (a
            `tf.function` whose weights are constants, which lets TensorFlow lay them out once; it
            takes the memory of a second model, and models below 2 GB).

    Returns:
        The call. Its first use traces and compiles.

    Raises:
        ValueError: an unknown `runtime`.
    """
    import tensorflow as tf

    if runtime not in RUNTIMES:
        raise ValueError(f"`runtime` must be one of {', '.join(RUNTIMES)}, received {runtime!r}.")
    tensors = {name: tf.constant(array) for name, array in features.items()}

    @tf.function(jit_compile=runtime == "xla")
    def logits(inputs):
        return model(inputs, training=False)["logits"]

    concrete = logits.get_concrete_function(
        {name: tf.TensorSpec(t.shape, t.dtype, name=name) for name, t in tensors.items()}
    )
    if runtime == "frozen":
        return _frozen_call(concrete, tensors)
    return lambda: concrete(**tensors)


def _frozen_call(concrete: Any, tensors: Mapping[str, Any]) -> Callable[[], Any]:
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    # Loops stay loops: lowered to switches they run slower.
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    inputs = [tensors[tensor.name.split(":")[0]] for tensor in frozen.inputs]
    return lambda: frozen(*inputs)[0]


def compiled_calls(
    model: "keras.Model",
    features: Mapping[str, np.ndarray],
    *,
    name: str,
    runtimes: Sequence[str] = ("graph", "xla"),
) -> dict[str, Callable[[], Any]]:
    """`compile_call` for each runtime, under names such as `teacher graph`."""
    return {f"{name} {runtime}": compile_call(model, features, runtime) for runtime in runtimes}


def speedup_row(
    teacher: "keras.Model",
    student: "keras.Model",
    *,
    batch_size: int,
    sequence_length: int = 32,
    runtimes: Sequence[str] = ("graph", "xla"),
    repeats: int = 20,
    student_repeats: int = 5,
    max_seconds: float | None = None,
    features: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] | None = None,
    other_calls: Mapping[str, Callable[[], Any]] | None = None,
    settle_seconds: float = 0.0,
) -> tuple[dict, Latencies]:
    """Measure a teacher against its student, each in the runtime that suits it best.

    All pairs of model and runtime run in turns. For each model the runtime with the smaller median
    is taken, and the speed-up is the median over rounds of teacher time over student time.

    Args:
        teacher: the teacher.
        student: the student; it reads the teacher's ids.
        batch_size: sentences a call.
        sequence_length: pieces a sentence, no padding.
        runtimes: which to try, see `compile_call`.
        repeats: rounds.
        student_repeats: calls of the student within a round, which are averaged: one call is so
            short that a hiccup of the machine falls on all of it or none.
        max_seconds: time limit of the rounds, see `measure_latency`.
        features: what the teacher and what the student is given, of the sizes above. Default:
            random ids of the teacher's for both.
        other_calls: further runtimes, under names such as `teacher onnx` and `student onnx`.
        settle_seconds: see `measure_latency`.

    Returns:
        A row of report.json's `latency` (`batch_size`, `sequence_length`, `runtime`, `teacher_ms`,
        `student_ms`, `speedup`, beside them `teacher_runtime`, `student_runtime`; times are medians
        of one call in milliseconds), and all the `Latencies`.
    """
    if features is None:
        shape = {"batch_size": batch_size, "sequence_length": sequence_length}
        features = (random_features(teacher.vocabulary_size, **shape),) * 2
    calls = compiled_calls(teacher, features[0], name="teacher", runtimes=runtimes)
    calls |= compiled_calls(student, features[1], name="student", runtimes=runtimes)
    calls |= other_calls or {}
    of_student = [name for name in calls if name.startswith("student ")]
    latencies = measure_latency(
        calls,
        repeats=repeats,
        inner_repeats=dict.fromkeys(of_student, student_repeats),
        max_seconds=max_seconds,
        settle_seconds=settle_seconds,
    )
    return latency_row(latencies, batch_size=batch_size, sequence_length=sequence_length), latencies


def latency_row(latencies: Latencies, *, batch_size: int, sequence_length: int) -> dict:
    """The row of report.json that measured calls `teacher …` and `student …` amount to."""
    best = {
        model: latencies.fastest([name for name in latencies.seconds if name.startswith(model)])
        for model in ("teacher", "student")
    }
    runtime = {model: name.split(" ", 1)[1] for model, name in best.items()}
    return {
        "batch_size": batch_size,
        "sequence_length": sequence_length,
        "runtime": _title(list(dict.fromkeys(runtime[name] for name in ("teacher", "student")))),
        "teacher_ms": latencies.median_ms(best["teacher"]),
        "student_ms": latencies.median_ms(best["student"]),
        "speedup": latencies.speedup(best["teacher"], best["student"]),
        "teacher_runtime": runtime["teacher"],
        "student_runtime": runtime["student"],
    }


def _title(runtimes: Sequence[str]) -> str:
    of_tensorflow = [runtime for runtime in runtimes if runtime in RUNTIMES]
    others = [runtime for runtime in runtimes if runtime not in RUNTIMES]
    names = [f"TensorFlow {' / '.join(of_tensorflow)}"] if of_tensorflow else []
    return ", ".join([*names, *others])
