"""pretraining.json: what a pre-training reached, in keys that other programs may rely on."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    perplexity_before: float | None,
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
        layers: the teacher's layers that the student began with, from 1; `None` for a teacher.
        teacher: `{name, parameters, perplexity}`; the last on held-out text, `None` where the
            teacher itself was trained.
        text: `{examples, pieces, held_out_examples}`; pieces of one epoch, special tokens counted.
        perplexity_before: on held-out text, before the first step.
        history: a dict an epoch: `epoch`, `loss`, each term of it by its name, and of held-out
            text `dev_mlm`, `dev_perplexity`, `dev_accuracy`.
        best_epoch: from 1, the one whose weights were kept; 0: none was better than the beginning.
        steps: updates of the weights.
        pieces_per_second: that were learned from, while it trained.
        seconds: time spent, by phase.
        peak_memory_bytes: largest resident size of the process.

    Returns:
        The report: the arguments, `history` as `epochs`; `perplexity` and `accuracy` of the model
        that was kept.
    """
    best = history[best_epoch - 1] if best_epoch else {}
    return {
        "trained": trained,
        "seed": seed,
        "parameters": parameters,
        "layers": None if layers is None else list(layers),
        "teacher": dict(teacher),
        "text": dict(text),
        "perplexity": best.get("dev_perplexity", perplexity_before),
        "accuracy": best.get("dev_accuracy"),
        "perplexity_before": perplexity_before,
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
    path = Path(path)
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
    rows.append(["before", "-", *("-" for _ in terms), _number(report["perplexity_before"]), "-"])
    for epoch in report["epochs"]:
        rows.append(
            [
                f"{epoch['epoch']}{' (kept)' if epoch['epoch'] == report['best_epoch'] else ''}",
                *(f"{epoch[name]:.4f}" for name in ("loss", *terms)),
                _number(epoch["dev_perplexity"]),
                f"{100 * epoch['dev_accuracy']:.2f}%",
            ]
        )
    lines = [text_table(rows)]
    teacher = report["teacher"]
    if teacher["perplexity"] is not None:
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


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
