"""What the tests of the benchmarks share."""

from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Puts a small program in the place of those that distil."""
    import benchmark_runs

    def put(code: str) -> None:
        for name in ("ner", "classification"):
            (tmp_path / f"run_{name}.py").write_text(code)
        monkeypatch.setattr(benchmark_runs, "SCRIPTS", tmp_path)

    return put


@pytest.fixture
def report() -> dict:
    """A report as a run writes it."""
    test = {"precision": 0.8, "recall": 0.8, "f1": 0.8, "f1_variance": 0.0, "per_language": {}}
    latency = {"sequence_length": 32, "runtime": "TensorFlow xla", "teacher_ms": 90.0}
    stage = {"name": "s", "losses": {}, "dev_metric": 0.5, "epochs": 2, "steps": 20, "seconds": 1.0}
    return {
        "task": "tagging",
        "recipe": "D1",
        "seed": 0,
        "teacher": {"name": "t", "parameters": 1000, "test": test},
        "student": {"name": "s", "parameters": 100, "test": test},
        "retention": 1.0,
        "compression": 10.0,
        "latency": [{**latency, "batch_size": 1, "student_ms": 2.0, "speedup": 45.0}],
        "stages": [{**stage, "examples_per_second": 5.0}] * 3,
        "seconds": dict.fromkeys(
            ("tokenize", "teacher", "targets", "distillation", "total"), 120.0
        ),
        "peak_memory_bytes": 5,
        "teacher_passes": 1,
    }
