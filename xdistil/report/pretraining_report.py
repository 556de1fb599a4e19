"""pretraining.json: what a pre-training reached, in keys that other programs may rely on."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from xdistil.data.paths import as_path
from xdistil.errors import InputError
from xdistil.report.console import duration
from xdistil.report.text_table import text_table

PRETRAINING_REPORT = "pretraining.json"
_KEYS = (
    *("trained", "seed", "parameters", "layers", "teacher", "text", "perplexity"),
    *("perplexity_before", "accuracy", "best_epoch", "epochs", "steps", "pieces_per_second"),
    *("seconds", "peak_memory_bytes"),
)


def build_pretraining_report(
    *,
    trained: str,
    seed: int,
    parameters: int,
    layers: Sequence[int] | None,
    teacher: Mapping[str, Any],
    text: Mapping[str, int],
    before: Mapping[str, float],
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
    steps: int,
    pieces_per_second: float,
    seconds: Mapping[str, float],
    peak_memory_bytes: int,
) -> dict[str, Any]:
    """Put together the report of a pre-training.

    Args:
        trained: `student` or `teacher`.
        seed: of the run.
        parameters: of the model that was trained.
        layers: the teacher's layers that the student began with, from 1; `None` for a teacher and
            for a student of random weights.
        teacher: `{name, parameters, perplexity}`; the last on held-out text, `None` where the
            teacher itself was trained, and where it has no masked-LM head.
        text: `{examples, pieces, held_out_examples}`; pieces of one epoch, special tokens counted.
        before: `perplexity` and `accuracy` on held-out text before the first step; those that are
            not known are left out.
        history: a dict an epoch: `epoch`, `loss`, each term of it by its name, and of held-out
            text `dev_mlm`, `dev_perplexity`, `dev_accuracy`.
        best_epoch: from 1, the one whose weights were kept; 0: none was better than the beginning.
        steps: updates of the weights.
        pieces_per_second: that were learned from, while it trained.
        seconds: time spent, by phase.
        peak_memory_bytes: largest resident size of the process.

    Returns:
        The report: the arguments, `history` as `epochs`, `before` as `perplexity_before` and
        `accuracy_before`; `perplexity` and `accuracy` of the model that was kept.
    """
    first = {name: before.get(name) for name in ("perplexity", "accuracy")}
    best = {f"dev_{name}": value for name, value in first.items()}
    if best_epoch:
        best = history[best_epoch - 1]
    return {
        "trained": trained,
        "seed": seed,
        "parameters": parameters,
        "layers": None if layers is None else list(layers),
        "teacher": dict(teacher),
        "text": dict(text),
        "perplexity": best["dev_perplexity"],
        "accuracy": best["dev_accuracy"],
        "perplexity_before": first["perplexity"],
        "accuracy_before": first["accuracy"],
        "best_epoch": best_epoch,
        "epochs": [dict(epoch) for epoch in history],
        "steps": steps,
        "pieces_per_second": pieces_per_second,
        "seconds": dict(seconds),
        "peak_memory_bytes": peak_memory_bytes,
    }


def load_pretraining_report(path: str | os.PathLike) -> dict[str, Any]:
    """Read a report of a pre-training.

    Args:
        path: pretraining.json, or the run directory that holds it.

    Raises:
        InputError: there is no such file, or it is no such report.
    """
    path = as_path(path)
    if path.is_dir():
        path = path / PRETRAINING_REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; expected the report of a finished pre-training; run the same "
            "command again to finish it."
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not a report of a pre-training: {error}") from None
    missing = [key for key in _KEYS if not isinstance(report, dict) or key not in report]
    if missing:
        raise InputError(f"{path}: not a report of a pre-training: lacks {missing[0]!r}")
    return report


def pretraining_table(report: Mapping[str, Any]) -> str:
    """The report as plain text for a terminal.

    Args:
        report: from `build_pretraining_report` or `load_pretraining_report`.
    """
    terms = [name for name in ("ce", "mlm", "cos") if name in (report["epochs"] or [{}])[0]]
    rows = [["epoch", "loss", *terms, "held-out perplexity", "accuracy"]]
    before = (report["perplexity_before"], report.get("accuracy_before"))
    kept = _kept(report, 0)
    rows.append([f"before{kept}", "-", *("-" for _ in terms), *_scores(*before)])
    for epoch in report["epochs"]:
        rows.append(
            [
                f"{epoch['epoch']}{_kept(report, epoch['epoch'])}",
                *(f"{epoch[name]:.4f}" for name in ("loss", *terms)),
                *_scores(epoch["dev_perplexity"], epoch["dev_accuracy"]),
            ]
        )
    lines = [text_table(rows)]
    teacher = report["teacher"]
    if report["trained"] == "student":
        lines.append(
            f"teacher: perplexity {_number(teacher['perplexity'])}; "
            f"{teacher['parameters'] / report['parameters']:.2f} times the student's parameters"
        )
    lines.append(
        f"{report['parameters']:,} parameters; {report['steps']:,} steps, "
        f"{report['pieces_per_second']:,.0f} pieces a second; "
        f"{duration(sum(report['seconds'].values()))} in all; "
        f"peak memory {report['peak_memory_bytes'] / 2**30:.1f} GiB"
    )
    return "\n".join(lines)


def _kept(report: Mapping[str, Any], epoch: int) -> str:
    return " (kept)" if epoch == report["best_epoch"] else ""


def _scores(perplexity: float | None, accuracy: float | None) -> list[str]:
    return [_number(perplexity), "-" if accuracy is None else f"{100 * accuracy:.2f}%"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
