"""Subject `grid`: every combination of some flags' values, sorted by the score on dev.

    python scripts/benchmark.py grid --program=classification --seeds=1,2,3 --work_dir=FOLDER \\
        --run_flags="--teacher=FOLDER --data_dir=FOLDER --student=transformer --recipe=pkd_skip" \\
        --grid="learning_rate=5e-5,2e-5,1e-5; temperature=5,10,20; alpha=.2,.5,.7; beta=10,100"

The first combination of each seed trains the teacher and computes its targets, the others take
them over; where the grid holds flags that decide the teacher (`seq_len`, `teacher_learning_rate`,
the text and others), one of each set of their values does. The same command goes on after an
interruption; finished combinations are not begun again. One that fails is a line of the table, and
the exit status tells of it once the others are done.
"""

import itertools
import math
import shlex
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_runs import RunFailed, run_to_the_end

from xdistil.data.atomic_files import make_folder, read_json, write_json
from xdistil.errors import InputError
from xdistil.report.report import load_report, main_metric
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
Combination = Mapping[str, str]
# Flags that decide the teacher, beside those that are called teacher_...: the text, and how a
# teacher reads it. A run of other values of these cannot take a teacher over.
_OF_TEACHER = frozenset(
    (
        *("flagfile", "data_dir", "languages", "train_file", "dev_file", "test_file"),
        *("transfer_file", "transfer_sentences", "labels_file", "labeled_per_language"),
        *("labeled_per_class", "dev_per_language", "seq_len", "scheme", "precision", "smoke"),
    )
)
_NOT_OF_TEACHER = ("teacher_targets", "teacher_layer")


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_enum(
        "program", "classification", ["ner", "classification", "pairs"], "What is run."
    )
    flags.DEFINE_string(
        "grid",
        None,
        "Flags and their values, semicolons between: `alpha=.2,.5; temperature=5,10`.",
        required=True,
    )
    flags.DEFINE_list("seeds", ["1"], "Seeds, whole numbers.")
    flags.DEFINE_string("run_flags", "", "The flags that all runs share, in quotes.")
    flags.DEFINE_string("work_dir", None, "Folder that gets a run each.", required=True)
    flags.DEFINE_bool(
        "keep_runs", True, "Keep each run's folder; else only those whose teacher others use."
    )


def measure() -> dict[str, Any]:
    """Run every combination with every seed."""
    grid = read_grid(FLAGS.grid)
    if not FLAGS.seeds or not all(seed.strip().isdecimal() for seed in FLAGS.seeds):
        raise InputError(f"--seeds={','.join(FLAGS.seeds)}: expected whole numbers.")
    work_dir = make_folder(Path(FLAGS.work_dir))
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in map(int, FLAGS.seeds):
        firsts: dict[Any, Path] = {}
        for combination in combinations(grid):
            name, teacher = name_of(combination), teacher_values(combination)
            output = work_dir / f"{name}-{seed}"
            try:
                result = run_combination(combination, seed, output, reuse_from=firsts.get(teacher))
            except RunFailed as error:
                # It would fail again; the others must not wait for it.
                print(f"{output.name}: FAILED, the others go on: {error}", flush=True)
                result = {"failure": {"seed": seed, "reason": str(error)}}
            if "failure" not in result or _has_teacher(output):
                firsts.setdefault(teacher, output)
            found.setdefault(name, []).append(result)
            if firsts.get(teacher) != output and "failure" not in result and not FLAGS.keep_runs:
                shutil.rmtree(output, ignore_errors=True)
    rows = [
        {**combination, **summary(found[name_of(combination)])}
        for combination in combinations(grid)
    ]
    return {
        "program": FLAGS.program,
        "run_flags": FLAGS.run_flags,
        "grid": grid,
        "seeds": [int(seed) for seed in FLAGS.seeds],
        "rows": sorted(rows, key=_dev_or_last, reverse=True),
        "failed_runs": sum(len(row["failures"]) for row in rows),
    }


def teacher_values(combination: Combination) -> tuple[tuple[str, str], ...]:
    """The values that decide the teacher: combinations that share them share it."""
    return tuple(
        (flag, value)
        for flag, value in combination.items()
        if flag in _OF_TEACHER or (flag.startswith("teacher") and flag not in _NOT_OF_TEACHER)
    )


def _has_teacher(output: Path) -> bool:
    return all((output / "teacher" / name).exists() for name in ("config.json", "key.json"))


def _dev_or_last(row: Mapping[str, Any]) -> float:
    return -math.inf if row["dev"] is None else row["dev"]


def read_grid(text: str) -> dict[str, list[str]]:
    """The values of each flag by its name.

    Raises:
        InputError: a part is no `flag=value,value`, or a flag or value comes twice.
    """
    grid: dict[str, list[str]] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, equals, values = part.partition("=")
        name = name.strip().removeprefix("--")
        listed = [value.strip() for value in values.split(",")]
        if not equals or not all(listed) or name in (*grid, "seed", "output_dir", "reuse_from"):
            raise InputError(f"--grid: {part!r} is no new `flag=value,value`.")
        if len(set(listed)) != len(listed):
            raise InputError(f"--grid: {part!r} names a value twice.")
        grid[name] = listed
    if not grid:
        raise InputError("--grid: names no flag.")
    return grid


def combinations(grid: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Every choice of one value each, the last flag changing fastest."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def name_of(combination: Combination) -> str:
    """A name for files, such as `alpha=.2,temperature=5`."""
    name = ",".join(f"{flag}={value}" for flag, value in combination.items())
    return name.replace("/", "_")


def run_combination(
    combination: Combination, seed: int, output: Path, *, reuse_from: Path | None
) -> dict[str, Any]:
    """Runs a combination to its end, unless it was before with the same flags.

    Args:
        combination: The values.
        seed: Of the run.
        output: Its run directory; log and scores lie beside it.
        reuse_from: The run whose teacher it takes over; `None`: it trains one.

    Returns:
        `dev` and `test` scores, and `seconds` of distillation; `test` is `None` without test text.

    Raises:
        RunFailed: It did.
    """
    own = [*shlex.split(FLAGS.run_flags), *(f"--{k}={v}" for k, v in combination.items())]
    own.append(f"--seed={seed}")
    record = Path(f"{output}.json")
    held = read_json(record)
    # The first run of a seed must be there for the others.
    if held and held.get("flags") == own and (reuse_from or (output / "report.json").exists()):
        return held["scores"]
    places = [f"--output_dir={output}"]
    if reuse_from is not None:
        places.append(f"--reuse_from={reuse_from}")
    print(f"{output.name}: running; {output}.log says how far it is", flush=True)
    run_to_the_end([*own, *places], log=Path(f"{output}.log"), program=FLAGS.program)
    scores = scores_of(load_report(output))
    write_json(record, {"flags": own, "scores": scores})
    print(f"{output.name}: dev {_percent(scores['dev'])}", flush=True)
    return scores


def scores_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a combination is judged by, out of its report."""
    test = report["student"]["test"]
    return {
        "dev": report["stages"][-1]["dev_metric"],
        "test": test[main_metric(test)] if test else None,
        "seconds": report["seconds"]["distillation"],
    }


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the spread of the dev score; `None` where a run failed."""
    failures = [result["failure"] for result in results if "failure" in result]
    ended = [result for result in results if "failure" not in result]
    dev = [result["dev"] for result in ended]
    test = [result["test"] for result in ended if result["test"] is not None]
    # A mean over fewer seeds than those of the other rows would not compare with theirs.
    whole = not failures
    return {
        "dev": statistics.fmean(dev) if whole else None,
        "dev_scores": dev,
        "dev_deviation": statistics.stdev(dev) if whole and len(dev) > 1 else None,
        "test": statistics.fmean(test) if whole and test else None,
        "seconds": statistics.fmean(result["seconds"] for result in ended) if whole else None,
        "failures": failures,
    }


def table(result: dict[str, Any]) -> str:
    """The grid as text, the best on dev first; below it, why runs failed."""
    names = [*result["grid"]]
    cells = [[*names, "dev", "deviation", "test", "minutes"]]
    for row in result["rows"]:
        cells.append(
            [
                *(row[name] for name in names),
                _percent(row["dev"]),
                _percent(row["dev_deviation"]),
                _percent(row["test"]),
                "-" if row["seconds"] is None else f"{row['seconds'] / 60:.1f}",
            ]
        )
    failures = [
        f"failed: {name_of({name: row[name] for name in names})}, seed {failure['seed']}: "
        f"{failure['reason']}"
        for row in result["rows"]
        for failure in row["failures"]
    ]
    return "\n".join([text_table(cells), *failures])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
