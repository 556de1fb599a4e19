"""report.html: the report of a run for people, in one file that needs nothing else."""

import html
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from xdistil.data.atomic_files import write_bytes
from xdistil.report.charts import line_chart
from xdistil.report.console import duration
from xdistil.report.report import main_metric
from xdistil.report.style import STYLE

_METRIC_WORDS = {"f1": "F1", "accuracy": "accuracy", "f1_macro": "macro F1"}
_CURVE_WORDS = {"metric": "metric on dev, %"}
Histories = Mapping[str, Sequence[Mapping[str, float]]]


def write_page(
    path: str | os.PathLike,
    report: Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    histories: Histories | None = None,
) -> None:
    """Write `report_page` to a file: whole, or not at all.

    Args:
        path: the file; one that is there is replaced.
        report: see `report_page`.
        settings: see `report_page`.
        histories: see `report_page`.

    Raises:
        StorageError: the file cannot be written.
    """
    page = report_page(report, settings=settings, histories=histories)
    # A name from a file system may hold bytes that are no UTF-8 ("surrogates" to Python).
    write_bytes(path, page.encode("utf-8", errors="replace"))


def report_page(
    report: Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    histories: Histories | None = None,
) -> str:
    """The report as one page of HTML: style and pictures inline, no script, nothing to download.

    Args:
        report: from `build_report` or `load_report`.
        settings: the run's settings, to be shown as they are; values may nest.
        histories: for each stage by name, what was logged after each epoch, such as
            `{"epoch": 1, "loss": 0.5, "logits": 0.5, "dev_loss": 0.6}`. A name that begins with
            `dev_` is drawn on the chart of the name without it.

    Returns:
        The page. Reads well in light and dark, on a phone, and printed.
    """
    names = [_name(report[role]["name"]) for role in ("student", "teacher")]
    title = f"{names[0]} distilled from {names[1]}"
    parts = [
        _header(report, title),
        _cards(report),
        _models(report),
        _languages(report),
        _latency(report),
        _stages(report),
        _losses(report, histories or {}),
        _times(report),
        _settings(settings or {}),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(report: Mapping[str, Any], title: str) -> str:
    line = f"{report['task']} · recipe {report['recipe']} · seed {report['seed']}"
    return f'<header><h1>{_text(title)}</h1><div class="quiet">{_text(line)}</div></header>'


def _cards(report: Mapping[str, Any]) -> str:
    cards = []
    for role in ("teacher", "student"):
        test = report[role]["test"]
        if metric := main_metric(test):
            word = f"{role}’s {_METRIC_WORDS[metric]} on test"
            cards.append((f"{100 * test[metric]:.1f}", word, role == "student"))
    if report["retention"] is not None:
        cards.append((f"{100 * report['retention']:.1f}%", "of the teacher kept", True))
    if report["compression"] is not None:
        cards.append((f"{report['compression']:.1f}×", "fewer parameters", False))
    for row in report["latency"]:
        word = f"faster at batch {row['batch_size']}, length {row['sequence_length']}"
        cards.append((f"{row['speedup']:.1f}×", word, False))
    inner = "".join(
        f'<div class="card{" main" if main else ""}"><b>{_text(number)}</b>'
        f"<span>{_text(word)}</span></div>"
        for number, word, main in cards
    )
    return f'<div class="cards">{inner}</div>'


def _models(report: Mapping[str, Any]) -> str:
    tests = [report[role]["test"] or {} for role in ("teacher", "student")]
    keys = ("precision", "recall", "f1", "accuracy", "f1_macro")
    scores = [key for key in keys if any(key in test for test in tests)]
    header = ["", "model", "parameters", *(_METRIC_WORDS.get(key, key) for key in scores)]
    with_variance = any("f1_variance" in test for test in tests)
    if with_variance:
        header.append("σ over languages")
    rows = []
    for role, test in zip(("teacher", "student"), tests, strict=True):
        model = report[role]
        row = [role, model["name"], f"{model['parameters']:,}"]
        row += [_percent(test.get(key)) for key in scores]
        if with_variance:
            variance = test.get("f1_variance")
            row.append(_percent(None if variance is None else variance**0.5))
        rows.append(row)
    note = "Scores are means over languages, in percent." if with_variance else ""
    return _section("Teacher and student", _table(header, rows, text_columns=2), note)


def _languages(report: Mapping[str, Any]) -> str:
    sides = {
        role: (report[role]["test"] or {}).get("per_language", {})
        for role in ("teacher", "student")
    }
    metric = main_metric(report["student"]["test"]) or main_metric(report["teacher"]["test"])
    codes = sorted(sides["teacher"].keys() | sides["student"].keys())
    if not codes:
        return ""
    rows = []
    for code in codes:
        values = {role: rows.get(code, {}).get(metric) for role, rows in sides.items()}
        before, after = values["teacher"], values["student"]
        kept = f"{100 * after / before:.1f}%" if after is not None and before else "–"
        bars = "".join(_bar(role, value) for role, value in values.items())
        rows.append(
            f'<div class="language"><div class="code">{_text(code)}</div>'
            f'<div class="bars">{bars}</div><div class="kept">{kept} kept</div></div>'
        )
    word = _METRIC_WORDS[metric]
    return _section(f"{word} by language", _legend("teacher", "student") + "".join(rows))


def _bar(role: str, value: float | None) -> str:
    width = 0.0 if value is None else max(0.0, min(100.0, 100 * value))
    return (
        f'<div class="row"><div class="track"><div class="bar {role}" style="width:{width:.2f}%">'
        f'</div></div><div class="value">{_percent(value, 1)}</div></div>'
    )


def _latency(report: Mapping[str, Any]) -> str:
    if not report["latency"]:
        return ""
    header = ["batch", "length", "runtime", "teacher, ms", "student, ms", "speed-up"]
    rows = [
        [
            str(row["batch_size"]),
            str(row["sequence_length"]),
            row["runtime"],
            f"{row['teacher_ms']:,.1f}",
            f"{row['student_ms']:,.2f}",
            f"{row['speedup']:.1f}×",
        ]
        for row in report["latency"]
    ]
    note = (
        "Median time of one call, teacher and student measured in turns on the same machine; "
        "the speed-up is the median of the ratios turn by turn."
    )
    return _section("Latency", _table(header, rows, text_columns=0), note)


def _stages(report: Mapping[str, Any]) -> str:
    stages = report["stages"]
    if not stages:
        return ""
    terms = list(dict.fromkeys(term for stage in stages for term in stage["losses"]))
    header = ["", "stage", "dev, %", *terms, "epochs", "steps", "time", "examples/s"]
    rows = []
    for number, stage in enumerate(stages, 1):
        rate = stage["examples_per_second"]
        rows.append(
            [
                str(number),
                stage["name"],
                _percent(stage["dev_metric"]),
                *(_loss(stage["losses"].get(term)) for term in terms),
                f"{stage['epochs']:,}",
                f"{stage['steps']:,}",
                duration(stage["seconds"]),
                "–" if rate is None else f"{rate:,.0f}",
            ]
        )
    chart = line_chart(
        {"dev": [stage["dev_metric"] for stage in stages]},
        colors={"dev": "student"},
        label="Student's metric on dev after each stage",
        width=900,
        height=220,
        ticks=[str(i + 1) for i in range(len(stages))],
        percent=True,
    )
    figure = ""
    if chart:
        caption = "The student’s metric on dev after each stage, in percent."
        figure = f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"
    return _section("Stage by stage", figure + _table(header, rows, text_columns=2))


def _losses(report: Mapping[str, Any], histories: Histories) -> str:
    order = [stage["name"] for stage in report["stages"]]
    order = [name for name in order if name in histories] or list(histories)
    epochs = [(stage, epoch) for stage in order for epoch in histories[stage]]
    keys = dict.fromkeys(key for _, epoch in epochs for key in epoch)
    names = dict.fromkeys(key.removeprefix("dev_") for key in keys if key not in ("epoch", "step"))
    if all(_only_one_term(epoch) for _, epoch in epochs):
        names.pop("loss", None)  # it would draw each term a second time
    figures = []
    for name in names:
        # Only the epochs in which this was logged: stages differ in their terms.
        shown = [(s, e) for s, e in epochs if _finite(e.get(name), e.get(f"dev_{name}"))]
        lines = {key: [_one(e.get(key)) for _, e in shown] for key in (name, f"dev_{name}")}
        lines = {key: line for key, line in lines.items() if any(v is not None for v in line)}
        boundaries = [i for i in range(1, len(shown)) if shown[i][0] != shown[i - 1][0]]
        chart = line_chart(
            lines,
            colors={name: "student", f"dev_{name}": "dev"},
            label=f"{name} by epoch",
            boundaries=boundaries,
            percent=name == "metric",
        )
        if chart:
            figures.append(
                f"<figure><h3>{_text(_CURVE_WORDS.get(name, name))}</h3>{chart}</figure>"
            )
    if not figures:
        return ""
    legend = (
        '<div class="legend"><span><i class="key student"></i>train</span>'
        '<span><i class="key dev"></i>dev</span></div>'
    )
    note = "By epoch; a dotted upright line begins a stage."
    return _section("Training", f'{legend}<div class="charts">{"".join(figures)}</div>', note)


def _only_one_term(epoch: Mapping[str, float]) -> bool:
    terms = [key for key in epoch if key not in ("epoch", "step") and not key.startswith("dev_")]
    return len(terms) == 2 and "loss" in terms


def _times(report: Mapping[str, Any]) -> str:
    seconds = report["seconds"]
    names = [name for name in seconds if name != "total" and seconds[name]]
    shown = {name: seconds[name] for name in names}
    if (rest := seconds["total"] - sum(shown.values())) > 0:
        shown["the rest"] = rest
    rows = [[name, duration(value)] for name, value in shown.items()]
    rows.append(["total", duration(seconds["total"])])
    passes = report["teacher_passes"]
    note = (
        f"Peak memory {report['peak_memory_bytes'] / 2**30:.2f} GiB. What the teacher was asked "
        f"about, it read {passes} time{'' if passes == 1 else 's'}."
    )
    return _section("What it took", _table(["", "time"], rows, text_columns=1), note)


def _settings(settings: Mapping[str, Any]) -> str:
    if not settings:
        return ""
    text = json.dumps(settings, indent=2, ensure_ascii=False, default=str)
    return (
        f"<section><details><summary>Settings</summary><pre>{_text(text)}</pre></details></section>"
    )


def _section(title: str, content: str, note: str = "") -> str:
    below = f'<p class="quiet" style="margin:.75rem 0 0">{_text(note)}</p>' if note else ""
    return f"<section><h2>{_text(title)}</h2>{content}{below}</section>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        left = f'{tag} class="text"'
        inner = "".join(
            f"<{left if i < text_columns else tag}>{_text(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def _legend(*roles: str) -> str:
    items = "".join(f'<span><i class="key {role}"></i>{role}</span>' for role in roles)
    return f'<div class="legend">{items}</div>'


def _name(path_or_name: str) -> str:
    return os.path.basename(path_or_name.rstrip("/")) or path_or_name


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _one(value: Any) -> float | None:
    return float(value) if _finite(value) else None


def _finite(*values: Any) -> bool:
    """Whether one of the values can be drawn."""
    return any(
        isinstance(value, int | float) and float("-inf") < value < float("inf") for value in values
    )


def _text(value: str) -> str:
    return html.escape(value, quote=True)
