"""Size of models and processes."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from xdistil.metrics import bytes_on_disk, count_parameters, peak_memory_bytes


def test_parameters_are_all_weights_but_no_seeds_metrics_or_tables():
    class WithTable(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = self.add_weight(
                shape=(1000,), dtype="int32", initializer="zeros", trainable=False
            )

        def call(self, inputs):
            return inputs

    model = keras.Sequential(
        [
            keras.Input((4,)),
            WithTable(),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)
    assert count_parameters(model) == (4 * 3 + 3) + 4 * 3


def test_frozen_weights_are_counted():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.trainable = False
    assert count_parameters(model) == 15


def test_a_shared_layer_is_counted_once():
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(4)
    model = keras.Model(inputs, dense(dense(inputs)))
    assert count_parameters(model) == 20


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(ValueError, match="has no weights yet"):
        count_parameters(keras.Sequential([keras.layers.Dense(3)]))


def test_bytes_of_a_folder_are_those_of_all_its_files(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_bytes(b"123")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert bytes_on_disk(tmp_path) == 8
    assert bytes_on_disk(tmp_path / "a") == 5
    with pytest.raises(FileNotFoundError):
        bytes_on_disk(tmp_path / "c")


def test_peak_memory_remembers_memory_that_was_given_back():
    code = (
        "from xdistil.metrics.footprint import peak_memory_bytes\n"
        "before = peak_memory_bytes()\n"
        "block = bytearray(200_000_000)\n"
        "block[::4096] = b'x' * len(block[::4096])\n"
        "del block\n"
        "print(before, peak_memory_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    # This process is larger than that: the child must not report its parent.
    assert 100_000_000 < after - before < 400_000_000
    assert peak_memory_bytes(children=True) >= 200_000_000
