"""One finished report, for the tests of what is made out of it."""

import pytest

from xdistil.report import build_report


def scores(f1: float, per_language: dict[str, float]) -> dict:
    rows = {
        code: {"precision": value, "recall": value, "f1": value, "support": 100, "sentences": 50}
        for code, value in per_language.items()
    }
    return {
        "precision": f1,
        "recall": f1,
        "f1": f1,
        "f1_variance": 0.001,
        "micro": {"precision": f1, "recall": f1, "f1": f1, "support": 200},
        "per_language": rows,
        "per_type": {"LOC": {"precision": f1, "recall": f1, "f1": f1, "support": 200}},
    }


def arguments() -> dict:
    return {
        "task": "tagging",
        "recipe": "D4.2",
        "seed": 7,
        "teacher": {
            "name": "mBERT",
            "parameters": 177_900_000,
            "test": scores(0.80, {"de": 0.75, "th": 0.85}),
        },
        "student": {
            "name": "bilstm-50-200",
            "parameters": 5_140_000,
            "test": scores(0.76, {"de": 0.72, "th": 0.80}),
        },
        "latency": [
            {
                "batch_size": batch_size,
                "sequence_length": 32,
                "runtime": "TensorFlow xla",
                "teacher_ms": 900.0 * batch_size,
                "student_ms": 20.0 * batch_size,
                "speedup": 45.0,
            }
            for batch_size in (1, 32)
        ],
        "stages": [
            {
                "name": "representation",
                "losses": {"loss": 0.5, "representation": 0.5},
                "dev_metric": None,
                "epochs": 3,
                "steps": 30,
                "seconds": 61.2,
                "examples_per_second": 512.5,
            },
            {
                "name": "logits-head",
                "losses": {"loss": 0.2, "logits": 0.2},
                "dev_metric": 0.71,
                "epochs": 2,
                "steps": 20,
                "seconds": 9.0,
                "examples_per_second": 800.0,
            },
        ],
        "seconds": {
            "tokenize": 1.5,
            "teacher": 600.0,
            "targets": 0.0,
            "distillation": 3700.0,
            "total": 4301.5,
        },
        "peak_memory_bytes": 3 * 2**30,
        "teacher_passes": 1,
    }


@pytest.fixture
def report_arguments() -> dict:
    return arguments()


@pytest.fixture
def report() -> dict:
    return build_report(**arguments())
