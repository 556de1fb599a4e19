"""Calls are timed in turns, fairly."""

import time

import keras
import numpy as np
import pytest

from xdistil.metrics import (
    Latencies,
    compile_call,
    measure_latency,
    random_features,
    speedup_row,
    thread_settings,
)
from xdistil.metrics.speedup import latency_row


class Tiny(keras.Model):
    vocabulary_size = 20

    def __init__(self, width):
        super().__init__()
        self.embedding = keras.layers.Embedding(20, width)
        self.head = keras.layers.Dense(3)

    def call(self, features, training=None):
        hidden = self.embedding(features["token_ids"])
        return {"logits": self.head(hidden), "hidden_states": (hidden,)}


def test_calls_run_in_turns_there_and_back_after_the_warm_up():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    latencies = measure_latency(calls, repeats=3, warm_up=1)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(times) for name, times in latencies.seconds.items()} == {"a": 3, "b": 3}


def test_a_longer_call_takes_longer_and_the_ratio_says_how_much():
    calls = {"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.002)}
    latencies = measure_latency(calls, repeats=5, warm_up=0)
    assert 19 < latencies.median_ms("slow") < 200
    assert 2 < latencies.speedup("slow", "fast") < 15
    assert latencies.fastest(["slow", "fast"]) == "fast"


def test_the_ratio_is_the_median_over_rounds_not_the_ratio_of_medians():
    latencies = Latencies({"a": (10.0, 40.0, 90.0), "b": (1.0, 2.0, 10.0)})
    assert latencies.ratios("a", "b") == [10.0, 20.0, 9.0]
    assert latencies.speedup("a", "b") == 10.0
    assert latencies.to_dict()["a"] == {
        "median_ms": 40e3,
        "min_ms": 10e3,
        "max_ms": 90e3,
        "rounds": 3,
    }


def test_inner_repeats_are_averaged():
    ran = []
    latencies = measure_latency(
        {"a": lambda: (ran.append(1), time.sleep(0.01))},
        repeats=2,
        warm_up=0,
        inner_repeats={"a": 5},
    )
    assert len(ran) == 10
    assert 9 < latencies.median_ms("a") < 30


def test_the_time_limit_ends_the_rounds_but_not_before_three():
    calls = {"a": lambda: time.sleep(0.01)}
    assert len(measure_latency(calls, repeats=50, max_seconds=0).seconds["a"]) == 3


def test_results_are_waited_for_however_they_are_nested():
    class Tensor:
        asked = 0

        def numpy(self):
            Tensor.asked += 1

    measure_latency({"a": lambda: {"x": [Tensor(), (Tensor(),)]}}, repeats=1, warm_up=0)
    assert Tensor.asked == 2


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="at least one call"):
        measure_latency({})
    with pytest.raises(ValueError, match="received 0"):
        measure_latency({"a": int}, repeats=0)


@pytest.mark.parametrize("runtime", ["graph", "xla", "frozen"])
def test_a_compiled_call_gives_the_models_logits(runtime):
    model = Tiny(4)
    features = random_features(20, batch_size=2, sequence_length=5)
    logits = compile_call(model, features, runtime)()
    np.testing.assert_allclose(logits, model(features)["logits"], atol=1e-6)


def test_an_unknown_runtime_is_refused():
    with pytest.raises(ValueError, match="received 'cuda'"):
        compile_call(Tiny(4), random_features(20, batch_size=1, sequence_length=2), "cuda")


def test_features_fill_the_length_and_come_out_the_same_each_time():
    features = random_features(7, batch_size=3, sequence_length=9, seed=1)
    again = random_features(7, batch_size=3, sequence_length=9, seed=1)
    assert all(array.shape == (3, 9) and array.dtype == np.int32 for array in features.values())
    assert features["padding_mask"].all()
    assert features["token_ids"].max() < 7
    np.testing.assert_array_equal(features["token_ids"], again["token_ids"])


def test_a_row_takes_each_model_at_its_best_runtime():
    latencies = Latencies(
        {
            "teacher graph": (0.4, 0.4),
            "teacher xla": (0.2, 0.3),
            "student graph": (0.01, 0.01),
            "student xla": (0.02, 0.02),
        }
    )
    row = latency_row(latencies, batch_size=1, sequence_length=32)
    assert row["runtime"] == "TensorFlow xla / graph"
    assert row["teacher_ms"] == pytest.approx(250)
    assert row["student_ms"] == pytest.approx(10)
    assert row["speedup"] == pytest.approx(25)


def test_a_row_is_measured_for_two_models():
    row, latencies = speedup_row(Tiny(64), Tiny(4), batch_size=2, sequence_length=4, repeats=3)
    assert set(latencies.seconds) == {
        "teacher graph",
        "teacher xla",
        "student graph",
        "student xla",
    }
    assert row["batch_size"] == 2
    assert row["speedup"] > 0


def test_thread_settings_name_cores_and_device():
    settings = thread_settings()
    assert settings["cores"] >= 1
    assert isinstance(settings["devices"], str)
