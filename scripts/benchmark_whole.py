"""Subject `whole`: a whole run against the same with the ways of earlier code, phase by phase.

    python scripts/benchmark.py whole --program=ner --work_dir=FOLDER \\
        --run_flags="--flagfile=configs/wikiann_minilm.cfg --teacher=FOLDER --data_dir=FOLDER"

The earlier ways: the teacher runs again before each stage, batches are padded to --seq_len, and
frozen layers run in each step.
Each way runs once, one after the other, with --patience=0, so that all have the same epochs.
Padding puts other sentences together, so the number of steps differs a little. Text is cut into
pieces while the teacher reads it or before, as a way has it: the two are one column. Given again,
it goes on where it stopped.
"""

import shlex
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_runs import run_to_the_end

from xdistil.data.atomic_files import make_folder
from xdistil.report.report import load_report, main_metric
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
WAYS = {
    "now": [],
    "teacher each stage": ["--teacher_targets=each_stage"],
    "padded": ["--pad_to_seq_len"],
    "frozen layers run": ["--noreuse_frozen"],
    "all": ["--teacher_targets=each_stage", "--pad_to_seq_len", "--noreuse_frozen"],
}
#: Columns, and the phases of a report that each adds up.
_PHASES = {
    "teacher": ("teacher",),
    "text and targets": ("tokenize", "targets"),
    "distillation": ("distillation",),
}


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_enum("program", "ner", ["ner", "classification", "pairs"], "What is run.")
    flags.DEFINE_string("run_flags", "", "The flags that all runs share, in quotes.")
    flags.DEFINE_list("ways", ["now", "all"], "Which to run.")
    flags.DEFINE_string("work_dir", None, "Folder that gets a run each.", required=True)
    flags.register_validator("ways", lambda v: bool(v) and set(v) <= set(WAYS), ", ".join(WAYS))


def measure() -> dict[str, Any]:
    """Each way's run."""
    work_dir = make_folder(Path(FLAGS.work_dir))
    rows = []
    for way in FLAGS.ways:
        output = work_dir / way.replace(" ", "_")
        print(f"{way}: running; {output}.log says how far it is", flush=True)
        run_to_the_end(
            [*shlex.split(FLAGS.run_flags), "--patience=0", *WAYS[way], f"--output_dir={output}"],
            log=Path(f"{output}.log"),
            program=FLAGS.program,
        )
        rows.append({"way": way, **row_of(load_report(output))})
    return {"program": FLAGS.program, "run_flags": FLAGS.run_flags, "rows": rows}


def row_of(report: dict[str, Any]) -> dict[str, Any]:
    """Seconds by phase, `total` as their sum; the teacher's passes; the student's test metric."""
    seconds = {
        name: sum(report["seconds"][phase] for phase in phases) for name, phases in _PHASES.items()
    }
    test = report["student"]["test"]
    return {
        "seconds": {**seconds, "total": sum(seconds.values())},
        "teacher_passes": report["teacher_passes"],
        "epochs": sum(stage["epochs"] for stage in report["stages"]),
        "steps": sum(stage["steps"] for stage in report["stages"]),
        "score": test[main_metric(test)] if test else None,
    }


def table(result: dict[str, Any]) -> str:
    """A row a way; the last column is its total over the first row's."""
    cells = [["", *_PHASES, "total", "passes", "epochs", "steps", "test", "as long"]]
    first = result["rows"][0]["seconds"]["total"]
    for row in result["rows"]:
        seconds = [f"{value:,.0f} s" for value in row["seconds"].values()]
        score = "-" if row["score"] is None else f"{100 * row['score']:.2f}"
        times = f"{row['seconds']['total'] / first:.2f}x"
        counts = (f"{row[key]:,}" for key in ("teacher_passes", "epochs", "steps"))
        cells.append([row["way"], *seconds, *counts, score, times])
    return text_table(cells)
