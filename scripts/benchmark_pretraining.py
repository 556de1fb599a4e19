"""Subject `pretraining`: DistilBERT's ablation on one text and one budget, held-out perplexity.

    python scripts/benchmark.py pretraining --work_dir=FOLDER \\
        --run_flags="--teacher=FOLDER --text_file='TEXT/*.txt.gz' --epochs=3"

The triple loss against each of its terms left out, and against a student of random weights: the
paper's Table 4. Given again, it goes on where it stopped; more --seeds add to what is there. All
runs are scored on the same held-out text under the same masks (--data_seed of run_pretraining.py).
"""

import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
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
# What a variant leaves nothing to decide, which run_pretraining.py refuses.
_IDLE = {
    "without_ce": ("temperature", "masked_only"),
    "random_init": ("fold_segments", "student_layers"),
}
_WITH_VALUE = ("temperature", "student_layers")


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
                    *shared_flags(name, shlex.split(FLAGS.run_flags)),
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


def shared_flags(variant: str, given: Sequence[str]) -> list[str]:
    """The flags that all runs share, without those that a variant leaves nothing to decide.

    Args:
        variant: One of `VARIANTS`.
        given: The flags. Of numbers in --student_layers a random student keeps how many they are.
    """
    idle = _IDLE.get(variant, ())
    kept: list[str] = []
    words = iter(given)
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or name.removeprefix("no") not in idle:
            kept.append(word)
            continue
        if name in _WITH_VALUE and not equals:
            value = next(words, "")
        if name == "student_layers" and value[:1].isdecimal():
            kept.append(f"--num_layers={len(value.split(','))}")
    return kept


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
        "accuracy": _mean(report["accuracy"] for report in reports),
        "perplexity_before": _mean(report["perplexity_before"] for report in reports),
        "teacher_perplexity": _mean(report["teacher"]["perplexity"] for report in reports),
        "parameters": reports[0]["parameters"],
        "steps": reports[0]["steps"],
        "seconds": statistics.fmean(report["seconds"]["distillation"] for report in reports),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """`None` where one is not known."""
    known = list(values)
    return None if None in known else statistics.fmean(known)


def table(result: dict[str, Any]) -> str:
    """The comparison as text."""
    cells = [["", "perplexity", "±", "accuracy", "before", "steps", "minutes"]]
    for row in result["rows"]:
        cells.append(
            [
                row["name"],
                f"{row['perplexity']:,.2f}",
                _shown(row["deviation"], ".2f"),
                _shown(row["accuracy"], ".2%"),
                _shown(row["perplexity_before"], ",.1f"),
                f"{row['steps']:,}",
                f"{row['seconds'] / 60:.1f}",
            ]
        )
    # Where the softened pieces are left out, a teacher may have no head, and so no perplexity.
    known = [row["teacher_perplexity"] for row in result["rows"]]
    teacher = next((value for value in known if value is not None), None)
    told = "" if teacher is None else f"teacher: {teacher:,.2f}; "
    return f"{text_table(cells)}\n{told}held-out text, the same text and masks for all"


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
