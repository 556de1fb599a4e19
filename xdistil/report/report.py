"""report.json: what a run reached, in keys that other programs may rely on."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from xdistil.data.atomic_files import write_bytes
from xdistil.data.paths import as_path
from xdistil.errors import InputError

_NUMBER = (int, float)
_NUMBER_OR_NONE = (int, float, type(None))

_TOP = {
    "task": str,
    "recipe": str,
    "seed": int,
    "teacher": dict,
    "student": dict,
    "retention": _NUMBER_OR_NONE,
    "compression": _NUMBER_OR_NONE,
    "latency": list,
    "stages": list,
    "seconds": dict,
    "peak_memory_bytes": int,
    "teacher_passes": int,
}
# Not in reports that were written before there was such a key.
_OPTIONAL = {"truncation": dict}
_MODEL = {"name": str, "parameters": int, "test": (dict, type(None))}
_LATENCY = {
    "batch_size": int,
    "sequence_length": int,
    "runtime": str,
    "teacher_ms": _NUMBER,
    "student_ms": _NUMBER,
    "speedup": _NUMBER,
}
_STAGE = {
    "name": str,
    "losses": dict,
    "dev_metric": _NUMBER_OR_NONE,
    "epochs": int,
    "steps": int,
    "seconds": _NUMBER,
    "examples_per_second": _NUMBER_OR_NONE,
}
_SECONDS = dict.fromkeys(("tokenize", "teacher", "targets", "distillation", "total"), _NUMBER)
# What `test` holds, by the metric that retention is about.
_TESTS = {
    "f1": {
        **dict.fromkeys(("precision", "recall", "f1", "f1_variance"), _NUMBER),
        "per_language": dict,
    },
    "accuracy": {"accuracy": _NUMBER, "f1_macro": _NUMBER, "per_language": dict},
}


def build_report(
    *,
    task: str,
    recipe: str,
    seed: int,
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    latency: Sequence[Mapping[str, Any]] = (),
    stages: Sequence[Mapping[str, Any]] = (),
    seconds: Mapping[str, float],
    peak_memory_bytes: int,
    teacher_passes: int,
    truncation: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """Put together the report of a run, and check it against the contract.

    Args:
        task: name of the task, such as `tagging`.
        recipe: name of the recipe, such as `D4.2`.
        seed: of the run.
        teacher: `{name, parameters, test}`. `test` is what `span_scores` gives (or, for
            classification, `{accuracy, f1_macro, per_language}`), `None` where there was no test
            file; `parameters` counts all weights, embeddings and head included. Where there was
            no teacher: `none`, 0 and `None`.
        student: the same of the student.
        latency: rows `{batch_size, sequence_length, runtime, teacher_ms, student_ms, speedup}`,
            see `xdistil.metrics.speedup_row`.
        stages: in the order they ran, `{name, losses: {term: value}, dev_metric, epochs, steps,
            seconds, examples_per_second}`. `dev_metric` is `None` where nothing was scored.
        seconds: `{tokenize, teacher, targets, distillation, total}`; 0 for what did not happen.
        peak_memory_bytes: largest resident size of the process.
        teacher_passes: how often the teacher ran over the transfer text.
        truncation: for each split, how many of its `sentences` and `words` were longer than the
            model reads: `truncated_sentences`, `truncated_words`, and `longest` in pieces.

    Returns:
        The report: the arguments, `retention` (the student's test metric over the teacher's; `None`
        without a test) and `compression` (the teacher's parameters over the student's; `None`
        without a teacher), all as plain numbers, NaN and infinity as `None`.

    Raises:
        ValueError: a key is missing, unknown, or of a wrong type; the message names its place.
    """
    report = {
        "task": task,
        "recipe": recipe,
        "seed": seed,
        "teacher": teacher,
        "student": student,
        "retention": None,
        "compression": None,
        "latency": list(latency),
        "stages": list(stages),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes,
        "teacher_passes": teacher_passes,
        "truncation": dict(truncation or {}),
    }
    report = _plain(report)
    _check_report(report)
    teacher, student = report["teacher"], report["student"]
    report["retention"] = _ratio(_main_value(student), _main_value(teacher))
    report["compression"] = _ratio(teacher["parameters"] or None, student["parameters"])
    return report


def main_metric(test: Mapping[str, Any] | None) -> str | None:
    """The metric that retention is about: `f1` of spans, or `accuracy`; `None` without a test."""
    return next((name for name in _TESTS if name in (test or {})), None)


def write_report(path: str | os.PathLike, report: Mapping[str, Any]) -> None:
    """Write a report as JSON: whole, or not at all.

    Args:
        path: the file; one that is there is replaced.
        report: from `build_report`.

    Raises:
        ValueError: the report does not keep to the contract; nothing is written.
        StorageError: the file cannot be written.
    """
    report = _plain(report)
    _check_report(report)
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8"))


def load_report(path: str | os.PathLike) -> dict[str, Any]:
    """Read a report and check it.

    Args:
        path: report.json, or the run directory that holds it.

    Returns:
        The report.

    Raises:
        InputError: there is no such file, it is not JSON, or it is no report.
    """
    path = as_path(path)
    if path.is_dir():
        path = path / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        _check_report(report)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; expected the report of a finished run; "
            "run the same command again to finish it."
        ) from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors, too
        raise InputError(f"{path}: not a report of a run: {error}") from None
    return report


def _main_value(model: Mapping[str, Any]) -> float | None:
    name = main_metric(model.get("test"))
    return model["test"][name] if name else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays to Python's own, tuples to lists, NaN and infinity to None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_report(report: Any) -> None:
    _check(report, _TOP, "report")
    _check(report, {key: kind for key, kind in _OPTIONAL.items() if key in report}, "report")
    if unknown := sorted(report.keys() - _TOP.keys() - _OPTIONAL.keys()):
        raise ValueError(f"report has the unknown key {unknown[0]!r}; known: {', '.join(_TOP)}.")
    for role in ("teacher", "student"):
        _check(report[role], _MODEL, role)
        if (test := report[role]["test"]) is not None:
            metric = main_metric(test)
            if metric is None:
                raise ValueError(f"{role}.test must hold one of the metrics {', '.join(_TESTS)}.")
            _check(test, _TESTS[metric], f"{role}.test")
    for i, row in enumerate(report["latency"]):
        _check(row, _LATENCY, f"latency[{i}]")
    for i, stage in enumerate(report["stages"]):
        _check(stage, _STAGE, f"stages[{i}]")
        _check(stage["losses"], dict.fromkeys(stage["losses"], _NUMBER_OR_NONE), f"stages[{i}]")
    _check(report["seconds"], _SECONDS, "seconds")


def _check(value: Any, keys: Mapping[str, Any], place: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be a dict, received {type(value).__name__}.")
    for key, kinds in keys.items():
        if key not in value:
            raise ValueError(f"{place} lacks the key {key!r}.")
        # True is an int to Python, and never a number here.
        if not isinstance(value[key], kinds) or isinstance(value[key], bool):
            raise ValueError(
                f"{place}[{key!r}] must be {_words(kinds)}, received {value[key]!r:.60}."
            )


def _words(kinds: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a string", dict: "a dict", list: "a list"}
    if not isinstance(kinds, tuple):
        return names[kinds]
    words = [names.get(kind, "null") for kind in kinds if not (kind is int and float in kinds)]
    return " or ".join(words)
