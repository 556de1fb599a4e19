"""Subject `students`: BiLSTMs and transformers of several sizes on one teacher and its targets.

Their times are measured after the last run, all students in turns, so that none is judged by what
else the machine did while it ran.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import benchmark_variants
from absl import flags
from benchmark_inference import SETTLE_SECONDS
from benchmark_speedup import are_runtimes, are_sizes, installed_runtimes, onnx_sessions

from xdistil.errors import InputError

FLAGS = flags.FLAGS
table = benchmark_variants.table


def define_flags() -> None:
    """The subject's flags."""
    benchmark_variants.define_flags()
    flags.DEFINE_list("sizes", ["20x100", "50x200", "100x400"], "ExH of each BiLSTM student.")
    flags.DEFINE_list("transformers", [], "LAYERSxWIDTH of each transformer student.")
    flags.DEFINE_string("transformer_flags", "", "Flags of the transformers alone, in quotes.")
    flags.DEFINE_integer("sequence_length", 32, "Pieces a sentence where time is measured.", 1)
    flags.DEFINE_list("batch_sizes", ["1", "32"], "Sentences a call where time is measured.")
    flags.DEFINE_list("runtimes", installed_runtimes(), "Tried for each; the best one counts.")
    flags.DEFINE_integer("repeats", 30, "Rounds.", lower_bound=1)
    flags.register_validator("batch_sizes", are_sizes, "expected whole numbers from 1, e.g. 32,1")
    flags.register_validator("runtimes", are_runtimes, f"of {','.join(installed_runtimes())}")


def measure() -> dict[str, Any]:
    """Run every size, then time them side by side."""
    own = variants(FLAGS.sizes, FLAGS.transformers, shlex.split(FLAGS.transformer_flags))
    result = benchmark_variants.run_variants(own)
    folders = {row["name"]: Path(FLAGS.work_dir) / row["name"] for row in result["rows"]}
    times = side_by_side(folders)
    for row in result["rows"]:
        row["milliseconds"] = times[row["name"]]
    return result


def variants(
    sizes: Sequence[str], transformers: Sequence[str], of_transformers: Sequence[str]
) -> dict[str, list[str]]:
    """The flags of each student, by its name; times are measured here, not in the runs."""
    found = {size: size_flags(size) for size in sizes}
    for size in transformers:
        found[f"transformer-{size}"] = [*transformer_flags(size), *of_transformers]
    return {name: [*given, "--nomeasure_latency"] for name, given in found.items()}


def size_flags(size: str) -> list[str]:
    """The flags of a BiLSTM's size such as `50x200`.

    Raises:
        InputError: it is no such size.
    """
    embedding_dim, hidden_dim = _two_numbers("sizes", size, "E and H such as 50x200")
    return [f"--embedding_dim={embedding_dim}", f"--hidden_dim={hidden_dim}"]


def transformer_flags(size: str) -> list[str]:
    """The flags of a transformer's size such as `3x160`.

    Raises:
        InputError: it is no such size.
    """
    num_layers, width = _two_numbers("transformers", size, "layers and width such as 3x160")
    shape = [f"--num_layers={num_layers}", f"--hidden_dim={width}", f"--embedding_dim={width}"]
    return ["--student=transformer", *shape]


def _two_numbers(flag: str, size: str, expected: str) -> Sequence[str]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size)
    if not match:
        raise InputError(f"--{flag}: {size!r} is no size; expected {expected}.")
    return match.groups()


def side_by_side(folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Median milliseconds of each finished run's student in its fastest runtime, by batch size."""
    import xdistil
    from xdistil import metrics
    from xdistil.metrics.speedup import RUNTIMES

    models = {name: xdistil.load(folder / "student").model for name, folder in folders.items()}
    result: dict[str, dict[str, float]] = {name: {} for name in models}
    with onnx_sessions(models) as sessions:
        for batch_size in map(int, FLAGS.batch_sizes):
            calls, runtimes = {}, [name for name in FLAGS.runtimes if name in RUNTIMES]
            for name, model in models.items():
                given = metrics.random_features(
                    model.vocabulary_size,
                    batch_size=batch_size,
                    sequence_length=FLAGS.sequence_length,
                )
                calls |= metrics.compiled_calls(model, given, name=name, runtimes=runtimes)
                if name in sessions:
                    calls[f"{name} onnx"] = lambda call=sessions[name], given=given: call(given)
            latencies = metrics.measure_latency(
                calls, repeats=FLAGS.repeats, settle_seconds=SETTLE_SECONDS
            )
            for name, times in result.items():
                own = [call for call in calls if call.startswith(f"{name} ")]
                times[str(batch_size)] = latencies.median_ms(latencies.fastest(own))
    return result
