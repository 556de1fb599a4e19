"""The benchmark of hostile input: what counts as a fault, and that its cases are what they say."""

import itertools
import json
import random

import pytest

from xdistil.errors import InputError


def outcome(monkeypatch, tmp_path, capsys, case):
    import benchmark_fuzz

    monkeypatch.setitem(benchmark_fuzz.TARGETS, "mine", lambda *_: itertools.repeat(case))
    task = {"target": "mine", "seconds": 0.2, "seed": 1, "folder": str(tmp_path), "model": None}
    task["case_seconds"] = 20
    status = benchmark_fuzz.run_cases(task)
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def refuse(message):
    raise InputError(message)


def test_results_and_refusals_are_no_faults(monkeypatch, tmp_path, capsys):
    status, counts = outcome(monkeypatch, tmp_path, capsys, lambda: None)
    assert (status, counts["refused"]) == (0, 0) and counts["cases"] > 10
    status, counts = outcome(monkeypatch, tmp_path, capsys, lambda: refuse("file:1: what it is"))
    assert status == 0 and counts["refused"] == counts["cases"] > 10


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: refuse("two\nlines"), "an error of several lines"),
    ],
)
def test_other_errors_are_faults(monkeypatch, tmp_path, capsys, case, told):
    status, counts = outcome(monkeypatch, tmp_path, capsys, case)
    assert status == 1 and counts["fault"].startswith(told)


def test_a_process_that_dies_is_a_fault_and_the_next_one_goes_on(monkeypatch, tmp_path):
    import types

    import benchmark_fuzz

    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys, time\n"
        "task = json.loads(sys.argv[1])\n"
        "print(json.dumps({'cases': 5, 'refused': 2}), flush=True)\n"
        "os.abort() if task['seed'] == 1 else time.sleep(task['seconds'])\n"
    )
    given = {"minutes": 0.02, "seed": 0, "model": None, "case_seconds": 20}
    monkeypatch.setattr(benchmark_fuzz, "FLAGS", types.SimpleNamespace(**given))
    monkeypatch.setattr(benchmark_fuzz, "__file__", str(script))
    total = benchmark_fuzz._run_target("labels", tmp_path)
    assert total == {"cases": 10, "refused": 4, "faults": 1}
    lines = benchmark_fuzz.table({"rows": [{"target": "labels", **total}], "minutes": 0.02})
    assert lines.splitlines()[-1] == "1 faults in 0.02 min for each target"


def test_cases_differ_and_come_again_with_the_same_seed():
    from benchmark_fuzz import hostile_text, mutated

    draws = [random.Random(3), random.Random(3)]
    made = [[mutated(b"a\tB-X\n", draw) for _ in range(200)] for draw in draws]
    assert made[0] == made[1] and len(set(made[0])) > 150
    texts = [hostile_text(draws[0]) for _ in range(3000)]
    assert any("\ud800" <= character <= "\udfff" for text in texts for character in text[:99])
    assert max(map(len, texts)) >= 10**6 and "" in texts
