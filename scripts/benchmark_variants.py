"""Several runs on one teacher and its targets, side by side."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_runs import run_to_the_end

from xdistil.data.atomic_files import make_folder
from xdistil.report.report import load_report, main_metric
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of all subjects that compare runs."""
    flags.DEFINE_string(
        "reuse_from", None, "A finished run: its teacher and targets are used.", required=True
    )
    flags.DEFINE_string(
        "run_flags",
        "",
        "All other flags of run_ner.py, in quotes: those of the run that is reused.",
    )
    flags.DEFINE_string("work_dir", None, "Folder that gets a run each.", required=True)


def run_variants(variants: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`compare_runs` with what the flags say."""
    result = compare_runs(
        variants,
        run_flags=shlex.split(FLAGS.run_flags),
        reuse_from=FLAGS.reuse_from,
        work_dir=Path(FLAGS.work_dir),
    )
    return {"reuse_from": FLAGS.reuse_from, "run_flags": FLAGS.run_flags, "rows": result}


def compare_runs(
    variants: Mapping[str, Sequence[str]],
    *,
    run_flags: Sequence[str],
    reuse_from: str,
    work_dir: Path,
) -> list[dict[str, Any]]:
    """Run each variant to its end, and collect what their reports say.

    Args:
        variants: the variant's own flags by its name.
        run_flags: flags of all of them.
        reuse_from: the run whose teacher and targets they use.
        work_dir: gets a run directory and a log for each; one that is there already goes on.

    Returns:
        A row for each variant, in order, see `summary`.
    """
    make_folder(work_dir)
    rows = []
    for name, own_flags in variants.items():
        output, log = work_dir / name, work_dir / f"{name}.log"
        places = [f"--reuse_from={reuse_from}", f"--output_dir={output}"]
        print(f"{name}: running; {log} says how far it is", flush=True)
        run_to_the_end([*run_flags, *own_flags, *places], log=log)
        rows.append(summary(name, load_report(output)))
    return rows


def summary(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the comparison, out of a report."""
    test = report["student"]["test"]
    return {
        "name": name,
        "metric": test[main_metric(test)] if test else None,
        "retention": report["retention"],
        "parameters": report["student"]["parameters"],
        "compression": report["compression"],
        "milliseconds": {str(row["batch_size"]): row["student_ms"] for row in report["latency"]},
        "speedup": {str(row["batch_size"]): row["speedup"] for row in report["latency"]},
        "stages": len(report["stages"]),
        "epochs": sum(stage["epochs"] for stage in report["stages"]),
        "steps": sum(stage["steps"] for stage in report["stages"]),
        "distillation_seconds": report["seconds"]["distillation"],
    }


def table(result: dict[str, Any]) -> str:
    """The comparison as text."""
    rows = result["rows"]
    batches = list(dict.fromkeys(batch for row in rows for batch in row["milliseconds"]))
    header = ["", "test", "kept", "parameters", "compression"]
    header += [f"ms, batch {batch}" for batch in batches]
    header += ["stages", "epochs", "steps", "minutes"]
    cells = [header]
    for row in rows:
        cells.append(
            [
                row["name"],
                "-" if row["metric"] is None else f"{100 * row['metric']:.2f}",
                "-" if row["retention"] is None else f"{100 * row['retention']:.1f}%",
                f"{row['parameters']:,}",
                "-" if row["compression"] is None else f"{row['compression']:.1f}x",
                *(_milliseconds(row, batch) for batch in batches),
                str(row["stages"]),
                str(row["epochs"]),
                f"{row['steps']:,}",
                f"{row['distillation_seconds'] / 60:.1f}",
            ]
        )
    return text_table(cells)


def _milliseconds(row: Mapping[str, Any], batch: str) -> str:
    value = row["milliseconds"].get(batch)
    return "-" if value is None else f"{value:.2f}"
