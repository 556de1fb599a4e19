"""Subject `pretraining`: DistilBERT's ablation on one text and one budget, held-out perplexity.

    python scripts/benchmark.py pretraining --work_dir=FOLDER \\
        --run_flags="--teacher=FOLDER --text_file='TEXT/*.txt.gz' --epochs=3"

The triple loss against each of its terms left out, and against a student of random weights: the
paper's Table 4. Given again, it goes on where it stopped; more --seeds add to what is there.
"""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_runs import run_to_the_end

from xdistil.data.atomic_files import make_folder
from xdistil.errors import InputError
from xdistil.report.pretraining_report import load_pretraining_report
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
VARIANTS = {
    "triple_loss": [],
    "without_ce": ["--alpha_ce=0"],
    "without_mlm": ["--alpha_mlm=0"],
    "without_cos": ["--alpha_cos=0"],
    "random_init": ["--student_init=random"],
}


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_list("variants", list(VARIANTS), "Which to run.")
    flags.DEFINE_list("seeds", ["1"], "Seeds, whole numbers.")
    flags.DEFINE_string(
        "run_flags", "", "The flags of run_pretraining.py that all runs share, in quotes."
    )
    flags.DEFINE_string("work_dir", None, "Folder that gets a run each.", required=True)


def measure() -> dict[str, Any]:
    """Run every variant with every seed."""
    check_names(FLAGS.variants, FLAGS.seeds)
    work_dir = make_folder(Path(FLAGS.work_dir))
    reports: dict[str, list[dict[str, Any]]] = {name: [] for name in FLAGS.variants}
    for seed in map(int, FLAGS.seeds):
        for name in FLAGS.variants:
            output = work_dir / f"{name}-{seed}"
            print(f"{output.name}: running; {output}.log says how far it is", flush=True)
            run_to_the_end(
                [
                    *shlex.split(FLAGS.run_flags),
                    *VARIANTS[name],
                    f"--seed={seed}",
                    f"--output_dir={output}",
                ],
                log=work_dir / f"{output.name}.log",
                program="pretraining",
            )
            reports[name].append(load_pretraining_report(output))
    return {
        "run_flags": FLAGS.run_flags,
        "seeds": [int(seed) for seed in FLAGS.seeds],
        "rows": [summary(name, found) for name, found in reports.items()],
    }


def check_names(variants: Sequence[str], seeds: Sequence[str]) -> None:
    """Refuses what is no variant, and seeds that are no numbers.

    Raises:
        InputError: there is one.
    """
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown or not variants:
        raise InputError(f"--variants={','.join(variants)}: expected of {', '.join(VARIANTS)}.")
    if not seeds or not all(seed.strip().isdecimal() for seed in seeds):
        raise InputError(f"--seeds={','.join(seeds)}: expected whole numbers.")


def summary(name: str, reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One line of the table, out of a variant's reports, one a seed."""
    values = [report["perplexity"] for report in reports]
    return {
        "name": name,
        "perplexities": values,
        "perplexity": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "accuracy": statistics.fmean(report["accuracy"] or 0.0 for report in reports),
        "perplexity_before": statistics.fmean(report["perplexity_before"] for report in reports),
        "teacher_perplexity": reports[0]["teacher"]["perplexity"],
        "parameters": reports[0]["parameters"],
        "steps": reports[0]["steps"],
        "seconds": statistics.fmean(report["seconds"]["distillation"] for report in reports),
    }


def table(result: dict[str, Any]) -> str:
    """The comparison as text."""
    cells = [["", "perplexity", "±", "accuracy", "before", "steps", "minutes"]]
    for row in result["rows"]:
        cells.append(
            [
                row["name"],
                f"{row['perplexity']:,.2f}",
                "-" if row["deviation"] is None else f"{row['deviation']:.2f}",
                f"{100 * row['accuracy']:.2f}%",
                f"{row['perplexity_before']:,.1f}",
                f"{row['steps']:,}",
                f"{row['seconds'] / 60:.1f}",
            ]
        )
    teacher = result["rows"][0]["teacher_perplexity"]
    return f"{text_table(cells)}\nteacher: {teacher:,.2f}; held-out text, the same masks for all"
