"""The ablation of pre-training: which flags each variant gets, and what the table says."""

import json
import sys
import types
from pathlib import Path

import pytest

from xdistil.errors import InputError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# Stands for run_pretraining.py: its perplexity tells which flags it was given.
STAND_IN = """
import json, pathlib, sys
flags = dict(flag.lstrip("-").split("=", 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags["output_dir"])
folder.mkdir(exist_ok=True)
worse = {"alpha_ce": 30.0, "alpha_cos": 15.0, "alpha_mlm": 3.0, "student_init": 40.0}
value = 100.0 + sum(cost for name, cost in worse.items() if name in flags) + int(flags["seed"])
report = {
    "trained": "student", "seed": int(flags["seed"]), "parameters": 50, "layers": [0, 2],
    "teacher": {"name": flags["teacher"], "parameters": 100,
                "perplexity": None if "headless" in flags else 89.0 + int(flags["seed"])},
    "text": {}, "perplexity": value, "perplexity_before": 500.0,
    "accuracy": None if "headless" in flags and flags["seed"] == "3" else 0.25,
    "best_epoch": 1, "epochs": [], "steps": 7, "pieces_per_second": 1.0,
    "seconds": {"distillation": 120.0}, "peak_memory_bytes": 5,
}
with open(folder / "calls", "a") as calls:
    calls.write("x")
(folder / "pretraining.json").write_text(json.dumps(report))
"""


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_pretraining
    import benchmark_runs

    (tmp_path / "run_pretraining.py").write_text(STAND_IN)
    monkeypatch.setattr(benchmark_runs, "SCRIPTS", tmp_path)
    yield benchmark_pretraining
    sys.modules.pop("benchmark_pretraining")


def measured(benchmark, monkeypatch, work_dir, **changes):
    given = {
        "variants": list(benchmark.VARIANTS),
        "seeds": ["1", "3"],
        "run_flags": "--teacher='a folder'",
        "work_dir": str(work_dir),
        **changes,
    }
    monkeypatch.setattr(benchmark, "FLAGS", types.SimpleNamespace(**given))
    return benchmark.measure()


def test_every_variant_leaves_one_thing_out_and_is_averaged_over_seeds(
    benchmark, monkeypatch, tmp_path
):
    result = measured(benchmark, monkeypatch, tmp_path / "work")
    means = {row["name"]: row["perplexity"] for row in result["rows"]}
    assert means == {
        "triple_loss": 102.0,
        "without_ce": 132.0,
        "without_mlm": 105.0,
        "without_cos": 117.0,
        "random_init": 142.0,
    }
    assert result["rows"][0]["perplexities"] == [101.0, 103.0]
    assert result["rows"][0]["deviation"] == pytest.approx(2**0.5)
    assert json.loads(json.dumps(result)) == result
    printed = benchmark.table(result).splitlines()
    assert printed[1].split() == ["triple_loss", "102.00", "1.41", "25.00%", "500.0", "7", "2.0"]
    # Of the seeds 1 and 3.
    assert printed[-1].startswith("teacher: 91.00; held-out text")


def test_what_is_not_known_is_a_dash(benchmark, monkeypatch, tmp_path):
    own = {"run_flags": "--teacher=t --headless=1", "variants": ["triple_loss"]}
    result = measured(benchmark, monkeypatch, tmp_path / "work", **own)
    printed = benchmark.table(result).splitlines()
    assert printed[1].split() == ["triple_loss", "102.00", "1.41", "-", "500.0", "7", "2.0"]
    assert printed[-1].startswith("held-out text")


@pytest.mark.parametrize(
    ("variant", "kept"),
    [
        ("triple_loss", "--temperature=3 --masked_only --student_layers 1,3 --nofold_segments"),
        ("without_ce", "--student_layers 1,3 --nofold_segments"),
        ("random_init", "--temperature=3 --masked_only --num_layers=2"),
    ],
)
def test_shared_flags_that_a_variant_leaves_nothing_to_decide_are_left_out(
    benchmark, variant, kept
):
    every = "--temperature=3 --masked_only --student_layers 1,3 --nofold_segments --seq_len 5"
    assert benchmark.shared_flags(variant, every.split()) == [*kept.split(), "--seq_len", "5"]


def test_runs_go_on_in_their_folders(benchmark, monkeypatch, tmp_path):
    for _ in range(2):
        measured(benchmark, monkeypatch, tmp_path / "work", variants=["without_ce"], seeds=["2"])
    assert (tmp_path / "work" / "without_ce-2" / "calls").read_text() == "xx"


@pytest.mark.parametrize(
    ("variants", "seeds", "words"),
    [
        (["without_teacher"], ["1"], "expected of triple_loss"),
        (["triple_loss"], ["one"], "whole numbers"),
    ],
)
def test_what_is_no_variant_and_no_seed_is_told(benchmark, variants, seeds, words):
    with pytest.raises(InputError, match=words):
        benchmark.check_names(variants, seeds)
