"""The table at the end of a run."""

import math
from collections.abc import Mapping
from typing import Any

from xdistil.report.report import main_metric
from xdistil.report.text_table import columns, text_table

_WIDTH = 100
_METRIC_WORDS = {"f1": "F1", "accuracy": "accuracy"}
_COLUMN_WORDS = _METRIC_WORDS | {"f1_macro": "macro F1"}


def report_table(report: Mapping[str, Any]) -> str:
    """The report as plain text for a terminal, at most 100 columns wide.

    Args:
        report: from `build_report` or `load_report`.

    Returns:
        The table: teacher and student; retention, compression and speed-up by batch size; the
        metric of each language; the time and memory that the run took. Ends without a line break.
    """
    parts = [_models(report), _headline(report)]
    if languages := _languages(report):
        parts.append(languages)
    parts.append(_cost(report))
    return "\n\n".join(parts)


def _models(report: Mapping[str, Any]) -> str:
    metric = main_metric(report["student"]["test"]) or main_metric(report["teacher"]["test"])
    columns = {"f1": ("f1", "precision", "recall"), "accuracy": ("accuracy", "f1_macro")}
    names = columns.get(metric, ())
    header = ["", "model", "parameters", *(_COLUMN_WORDS.get(name, name) for name in names)]
    rows = []
    for role in ("teacher", "student"):
        model = report[role]
        test = model["test"] or {}
        rows.append(
            [
                role,
                _shorten(model["name"], 44, keep_end=True),
                f"{model['parameters']:,}",
                *(_percent(test.get(name)) for name in names),
            ]
        )
    return text_table([header, *rows], left=2)


def _headline(report: Mapping[str, Any]) -> str:
    metric = main_metric(report["student"]["test"])
    lines = [["recipe", report["recipe"]]]
    if report["retention"] is not None:
        of_what = f"of the teacher's {_METRIC_WORDS[metric]} on test"
        lines.append(["retention", f"{100 * report['retention']:.1f}% {of_what}"])
    if report["compression"] is not None:
        lines.append(["compression", f"{report['compression']:.1f}x fewer parameters"])
    for row in report["latency"]:
        times = f"{row['teacher_ms']:,.1f} ms -> {row['student_ms']:,.2f} ms"
        setting = f"length {row['sequence_length']}, {row['runtime']}"
        lines.append(
            [
                f"speed-up, batch {row['batch_size']}",
                f"{row['speedup']:.1f}x   {times}   ({setting})",
            ]
        )
    return "\n".join(_shorten(line, _WIDTH) for line in text_table(lines, left=2).splitlines())


def _languages(report: Mapping[str, Any]) -> str:
    teacher = (report["teacher"]["test"] or {}).get("per_language", {})
    student = (report["student"]["test"] or {}).get("per_language", {})
    metric = main_metric(report["student"]["test"]) or main_metric(report["teacher"]["test"])
    codes = sorted(teacher.keys() | student.keys())
    if not codes:
        return ""
    rows = []
    for code in codes:
        before = teacher.get(code, {}).get(metric)
        after = student.get(code, {}).get(metric)
        rows.append(
            [
                _shorten(code, 8, keep_end=True),
                _percent(before),
                _percent(after),
                _kept(after, before),
            ]
        )
    header = ["", "teacher", "student", "kept"]
    # Many languages (the paper has 41) stand in three columns, so that the table fits a screen.
    width = max(len(line) for line in text_table([header, *rows], left=1).splitlines()) + 4
    blocks = 1 if len(rows) <= 8 else min(3, _WIDTH // width)
    height = math.ceil(len(rows) / blocks)
    tables = [
        text_table([header, *rows[i : i + height]], left=1).splitlines()
        for i in range(0, len(rows), height)
    ]
    widths = [max(map(len, table)) for table in tables]
    lines = [
        "    ".join(
            (table[i] if i < len(table) else "").ljust(width)
            for table, width in zip(tables, widths, strict=True)
        ).rstrip()
        for i in range(height + 1)
    ]
    return f"{_METRIC_WORDS[metric]} by language (%)\n" + "\n".join(lines)


def _cost(report: Mapping[str, Any]) -> str:
    seconds = report["seconds"]
    steps = ("teacher", "targets", "distillation")
    parts = ", ".join(f"{name} {duration(seconds[name])}" for name in steps if seconds[name])
    passes = report["teacher_passes"]
    return (
        f"{duration(seconds['total'])} in all{f' ({parts})' if parts else ''}\n"
        f"peak memory {report['peak_memory_bytes'] / 2**30:.1f} GiB; "
        f"{passes} teacher pass{'' if passes == 1 else 'es'}"
    )


def duration(seconds: float) -> str:
    """Seconds in words: `8.5 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _kept(after: float | None, before: float | None) -> str:
    return f"{100 * after / before:.1f}%" if after is not None and before else "-"


def _shorten(text: str, width: int, *, keep_end: bool = False) -> str:
    # A name that is a long folder is told from another one by its end.
    if columns(text) <= width:
        return text
    while columns(text) > width - 3:
        text = text[1:] if keep_end else text[:-1]
    return f"...{text}" if keep_end else f"{text}..."
