"""Subject `seeds`: several ways to train a student, each with several seeds, on one teacher a seed.

    python scripts/benchmark.py seeds --program=classification --seeds=1,2,3 --work_dir=FOLDER \\
        --run_flags="--teacher=FOLDER --data_dir=FOLDER --labeled_per_class=100" \\
        --variants="staged=--recipe=staged; labels=--recipe=labels"

The first variant of each seed trains the teacher, the others take it over.
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
from xdistil.report.report import load_report, main_metric
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
TEACHER = "teacher"


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_enum(
        "program", "classification", ["ner", "classification", "pairs"], "What is run."
    )
    flags.DEFINE_string(
        "variants",
        None,
        "Name and own flags of each, semicolons between: `hard=--recipe=hard; soft=--recipe=soft`.",
        required=True,
    )
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds, whole numbers.")
    flags.DEFINE_string("run_flags", "", "The flags that all runs share, in quotes.")
    flags.DEFINE_string("work_dir", None, "Folder that gets a run each.", required=True)


def measure() -> dict[str, Any]:
    """Run every variant with every seed."""
    variants = read_variants(FLAGS.variants)
    if not all(seed.strip().isdecimal() for seed in FLAGS.seeds):
        raise InputError(f"--seeds={','.join(FLAGS.seeds)}: expected whole numbers.")
    work_dir = make_folder(Path(FLAGS.work_dir))
    scores: dict[str, list[float]] = {name: [] for name in (TEACHER, *variants)}
    dev: dict[str, list[float]] = {name: [] for name in variants}
    reports: dict[str, dict[str, Any]] = {}
    for seed in map(int, FLAGS.seeds):
        first = None
        for name, own in variants.items():
            output = work_dir / f"{name}-{seed}"
            print(f"{output.name}: running; {output}.log says how far it is", flush=True)
            own = [*own, f"--seed={seed}", f"--output_dir={output}"]
            if first is not None:
                own.append(f"--reuse_from={first}")
            log = work_dir / f"{output.name}.log"
            run_to_the_end([*shlex.split(FLAGS.run_flags), *own], log=log, program=FLAGS.program)
            reports[name] = load_report(output / "report.json")
            scores[name].append(_score(reports[name], "student", output))
            dev[name].append(reports[name]["stages"][-1]["dev_metric"])
            first = first or output
        scores[TEACHER].append(_score(reports[next(iter(variants))], TEACHER, first))
    return {
        "program": FLAGS.program,
        "run_flags": FLAGS.run_flags,
        "variants": FLAGS.variants,
        "seeds": [int(seed) for seed in FLAGS.seeds],
        "rows": [
            summary(name, values, reports, dev.get(name, ())) for name, values in scores.items()
        ],
    }


def read_variants(text: str) -> dict[str, list[str]]:
    """The flags of each variant by its name.

    Raises:
        InputError: a part is no `name=flags`, or a name comes twice.
    """
    variants: dict[str, list[str]] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, equals, own = part.partition("=")
        if not equals or name.startswith("-") or name in (*variants, TEACHER):
            raise InputError(f"--variants: {part!r} is no new `name=flags`.")
        variants[name] = shlex.split(own)
    if not variants:
        raise InputError("--variants: names none.")
    return variants


def summary(
    name: str,
    values: Sequence[float],
    reports: Mapping[str, Mapping[str, Any]],
    dev: Sequence[float],
) -> dict[str, Any]:
    """Mean and spread of a variant's scores; size and speed of its student with the last seed.

    `scores`, `mean` and `deviation` are of test, `dev_scores` and `dev` of dev, which a report has
    of students alone.
    """
    report = reports.get(name)
    return {
        "name": name,
        "scores": list(values),
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "dev_scores": list(dev),
        "dev": statistics.fmean(dev) if dev else None,
        "parameters": report["student"]["parameters"] if report else None,
        "compression": report["compression"] if report else None,
        "speedup": {str(row["batch_size"]): row["speedup"] for row in report["latency"]}
        if report
        else {},
    }


def _score(report: Mapping[str, Any], role: str, output: Path) -> float:
    test = report[role]["test"]
    if not test:
        raise InputError(f"{output}: was not scored: give a test file in --run_flags.")
    return test[main_metric(test)]


def table(result: dict[str, Any]) -> str:
    """The comparison as text."""
    batches = list(dict.fromkeys(size for row in result["rows"] for size in row["speedup"]))
    seeds = [f"seed {seed}" for seed in result["seeds"]]
    faster = [f"faster, batch {size}" for size in batches]
    cells = [["", "dev", "test", "deviation", *seeds, "parameters", "fewer", *faster]]
    for row in result["rows"]:
        speedups = [_shown(row["speedup"].get(size), ".1f", "x") for size in batches]
        cells.append(
            [
                row["name"],
                _shown(row["dev"] and 100 * row["dev"], ".2f"),
                f"{100 * row['mean']:.2f}",
                _shown(row["deviation"] and 100 * row["deviation"], ".2f"),
                *(f"{100 * value:.2f}" for value in row["scores"]),
                _shown(row["parameters"], ","),
                _shown(row["compression"], ".1f", "x"),
                *speedups,
            ]
        )
    return text_table(cells)


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
