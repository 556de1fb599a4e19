"""The grid: every combination once, sorted by dev, going on where it was stopped."""

import json
import shlex
import types
from pathlib import Path

import pytest

from xdistil.errors import InputError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# Stands in for a program that distils: dev is beta - seed / 100, and each call is written down.
PROGRAM = """
import json, pathlib, sys
flags = dict(flag[2:].split('=', 1) for flag in sys.argv[1:])
with open(flags['calls'], 'a') as file:
    file.write(json.dumps(flags) + '\\n')
folder = pathlib.Path(flags['output_dir'])
folder.mkdir(exist_ok=True)
if 'made' in flags:  # a teacher that is there before anything fails
    (folder / 'teacher').mkdir(exist_ok=True)
    for name in ('config.json', 'key.json'):
        (folder / 'teacher' / name).touch()
if flags['beta'] == flags.get('fail'):
    sys.exit('error: a bad beta')
dev = float(flags['beta']) - int(flags['seed']) / 100 + (flags['alpha'] == '.2') / 1000
test = {'accuracy': dev / 2, 'f1_macro': 0.1, 'per_language': {}}
model = {'name': 'm', 'parameters': 10, 'test': test}
stage = {'name': 's', 'losses': {}, 'dev_metric': dev, 'epochs': 1, 'steps': 1, 'seconds': 1.0,
         'examples_per_second': 1.0}
names = ('tokenize', 'teacher', 'targets', 'distillation', 'total')
report = {'task': 'classification', 'recipe': 'kd', 'seed': 1, 'teacher': model, 'student': model,
          'retention': 1.0, 'compression': 1.0, 'latency': [], 'stages': [stage],
          'seconds': dict.fromkeys(names, 60.0), 'peak_memory_bytes': 1, 'teacher_passes': 1}
(folder / 'report.json').write_text(json.dumps(report))
"""


@pytest.fixture
def grid(monkeypatch, tmp_path):
    """Calls `measure` with flags; `calls()` tells what was run since the last time."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_grid
    import benchmark_runs

    monkeypatch.setattr(benchmark_runs, "SCRIPTS", tmp_path)
    (tmp_path / "run_classification.py").write_text(PROGRAM)
    log = tmp_path / "calls.jsonl"

    def measure(*more, **changes):
        given = {
            "grid": "beta=.1,.5; --alpha=.2,.7",
            "seeds": ["1", "3"],
            "run_flags": shlex.join([f"--calls={log}", *more]),
            "work_dir": str(tmp_path / "work"),
            "program": "classification",
            "keep_runs": True,
            **changes,
        }
        monkeypatch.setattr(benchmark_grid, "FLAGS", types.SimpleNamespace(**given))
        return benchmark_grid.measure()

    def calls():
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return types.SimpleNamespace(measure=measure, calls=calls, table=benchmark_grid.table)


def test_every_combination_runs_on_one_teacher_a_seed_and_the_best_on_dev_comes_first(grid):
    result = grid.measure()
    runs = grid.calls()
    assert len(runs) == 2 * 2 * 2
    firsts = [run["output_dir"] for run in runs if "reuse_from" not in run]
    assert [Path(first).name for first in firsts] == ["beta=.1,alpha=.2-1", "beta=.1,alpha=.2-3"]
    assert {run["reuse_from"] for run in runs if "reuse_from" in run} == set(firsts)
    order = [(row["beta"], row["alpha"]) for row in result["rows"]]
    assert order == [(".5", ".2"), (".5", ".7"), (".1", ".2"), (".1", ".7")]
    best = result["rows"][0]
    assert best["dev"] == pytest.approx(0.5 - 0.02 + 0.001)
    assert best["dev_deviation"] == pytest.approx(0.02 / 2**0.5)
    assert best["test"] == pytest.approx(best["dev"] / 2)
    lines = grid.table(result).splitlines()
    assert lines[0].split() == ["beta", "alpha", "dev", "deviation", "test", "minutes"]
    assert [*filter(str.split, lines)][1].split() == [".5", ".2", "48.10", "1.41", "24.05", "1.0"]


def test_a_grid_goes_on_where_it_was_stopped(grid, tmp_path):
    grid.measure()
    assert len(grid.calls()) == 8
    grid.measure("--other=1")
    assert len(grid.calls()) == 8  # other flags: nothing of that holds
    grid.measure()
    grid.calls()
    (tmp_path / "work" / "beta=.5,alpha=.2-3.json").unlink()
    again = grid.measure()
    assert [Path(run["output_dir"]).name for run in grid.calls()] == ["beta=.5,alpha=.2-3"]
    assert again == grid.measure()
    assert grid.calls() == []


def test_a_combination_that_fails_is_a_row_and_the_others_go_on(grid):
    result = grid.measure("--fail=.1")
    runs = grid.calls()
    assert len(runs) == 8 and result["failed_runs"] == 4
    # The first of a seed left no teacher: the first that ends trains it.
    firsts = [Path(run["output_dir"]).name for run in runs if "reuse_from" not in run]
    assert firsts.count("beta=.5,alpha=.2-1") == 1 and "beta=.5,alpha=.7-1" not in firsts
    assert [row["beta"] for row in result["rows"]] == [".5", ".5", ".1", ".1"]
    last = result["rows"][-1]
    assert (last["dev"], last["dev_scores"], len(last["failures"])) == (None, [], 2)
    printed = grid.table(result)
    assert [".1", ".7", "-", "-", "-", "-"] in [line.split() for line in printed.splitlines()]
    assert "failed: beta=.1,alpha=.7, seed 3: " in printed and "error: a bad beta" in printed
    # Given again, what failed is tried again, and nothing else.
    again = grid.measure("--fail=.1")
    assert {run["beta"] for run in grid.calls()} == {".1"} and again == result


def test_a_run_that_failed_after_its_teacher_was_trained_lends_it(grid):
    grid.measure("--fail=.1", "--made=1")
    firsts = [Path(run["output_dir"]).name for run in grid.calls() if "reuse_from" not in run]
    assert firsts == ["beta=.1,alpha=.2-1", "beta=.1,alpha=.2-3"]


def test_a_failure_is_told_by_the_exit_status_after_table_and_file(grid, monkeypatch, capsys):
    import benchmark
    import program

    row = {"failed_runs": 2, "rows": []}
    module = types.SimpleNamespace(
        define_flags=lambda: None, measure=lambda: row, table=lambda result: "the table"
    )
    monkeypatch.setattr(benchmark.importlib, "import_module", lambda name: module)
    monkeypatch.setattr(program, "run", lambda run: run([]))
    monkeypatch.setattr(benchmark.flags, "FLAGS", types.SimpleNamespace(json=None))
    with pytest.raises(InputError, match="2 runs failed"):
        benchmark.main("grid")
    assert capsys.readouterr().out == "the table\n"


@pytest.mark.parametrize("flag", ["seq_len", "teacher_learning_rate", "precision", "data_dir"])
def test_each_set_of_values_that_decides_the_teacher_has_a_teacher_of_its_own(grid, flag):
    grid.measure(grid=f"{flag}=1,2; beta=.1,.5; alpha=.2", seeds=["1"])
    lent = {
        Path(run["output_dir"]).name: Path(run.get("reuse_from", "none")).name
        for run in grid.calls()
    }
    assert lent == {
        f"{flag}=1,beta=.1,alpha=.2-1": "none",
        f"{flag}=1,beta=.5,alpha=.2-1": f"{flag}=1,beta=.1,alpha=.2-1",
        f"{flag}=2,beta=.1,alpha=.2-1": "none",
        f"{flag}=2,beta=.5,alpha=.2-1": f"{flag}=2,beta=.1,alpha=.2-1",
    }


def test_runs_that_no_other_needs_are_removed_if_asked(grid, tmp_path):
    whole = grid.measure(keep_runs=False)
    left = sorted(path.name for path in (tmp_path / "work").iterdir() if path.is_dir())
    assert left == ["beta=.1,alpha=.2-1", "beta=.1,alpha=.2-3"]
    grid.calls()
    assert grid.measure(keep_runs=False) == whole and grid.calls() == []


@pytest.mark.parametrize(
    "text", ["", "beta", "beta=", "beta=1,,2", "beta=1; beta=2", "seed=1,2", "beta=1,1"]
)
def test_a_grid_that_says_nothing_is_refused(grid, text):
    with pytest.raises(InputError, match="--grid"):
        grid.measure(grid=text)
    with pytest.raises(InputError, match="--seeds=x"):
        grid.measure(seeds=["x"])
