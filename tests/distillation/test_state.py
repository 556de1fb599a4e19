"""The state of a training run comes back to the bit, or is refused."""

import errno
import os
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy

from xdistil.distillation.state import collect_variables, load_state, save_state
from xdistil.errors import InputError, StorageError


def make_model():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4)(inputs)
    x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def state_of(model):
    metric = keras.metrics.Mean()
    return collect_variables(model, model.optimizer, metrics=[metric])


def train(model, seed):
    random = np.random.default_rng(seed)
    model.fit(
        random.normal(size=(8, 3)), random.normal(size=(8, 2)), verbose=0, epochs=2, shuffle=False
    )


def values_of(variables):
    return {name: np.asarray(v.value) for name, v in variables.items()}


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].tobytes() == b[k].tobytes() for k in a
    )


def test_everything_that_training_changes_comes_back_to_the_bit(tmp_path):
    model = make_model()
    train(model, 0)
    before = state_of(model)
    kinds = {str(v.dtype) for v in before.values()}
    assert "float32" in kinds and any("int" in kind for kind in kinds)
    assert any("seed_generator_state" in name for name in before)
    assert any("iteration" in name for name in before)
    save_state(tmp_path / "state.safetensors", before, {"epoch": "3"})

    other = make_model()
    assert not same(values_of(state_of(other)), values_of(before))
    assert load_state(tmp_path / "state.safetensors", state_of(other)) == {"epoch": "3"}
    assert same(values_of(state_of(other)), values_of(before))


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    model = make_model()
    train(model, 0)
    save_state(tmp_path / "state", state_of(model))
    train(model, 1)
    resumed = make_model()
    load_state(tmp_path / "state", state_of(resumed))
    train(resumed, 1)
    assert same(values_of(state_of(resumed)), values_of(state_of(model)))


def test_names_do_not_depend_on_what_else_the_process_has_built():
    first = list(state_of(make_model()))
    for _ in range(3):
        keras.layers.Dense(2)
        keras.layers.Dropout(0.1)
    assert list(state_of(make_model())) == first
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int64", "uint32", "bool"])
def test_each_dtype_comes_back(tmp_path, dtype):
    variable = keras.Variable(np.ones((2, 3)), dtype=dtype, trainable=False)
    scalar = keras.Variable(1, dtype=dtype, trainable=False)
    variables = {"a": variable, "b": scalar}
    save_state(tmp_path / "state", variables)
    before = values_of(variables)
    for v in variables.values():
        v.assign(np.zeros(v.shape))
    load_state(tmp_path / "state", variables)
    assert same(values_of(variables), before)


def test_the_file_is_one_that_the_safetensors_library_reads(tmp_path):
    variables = state_of(make_model())
    save_state(tmp_path / "state", variables)
    assert same(safetensors.numpy.load_file(tmp_path / "state"), values_of(variables))


def small_state():
    return {"a": keras.Variable([1.0, 2.0]), "b": keras.Variable([[3.0]])}


@pytest.mark.parametrize("position", ["header", "names", "middle", "end"])
def test_a_flipped_bit_anywhere_is_noticed(tmp_path, position):
    path = tmp_path / "state"
    save_state(path, small_state(), {"epoch": "3"})
    content = bytearray(path.read_bytes())
    at = {"header": 1, "names": content.index(b"epoch"), "middle": len(content) // 2, "end": -1}
    content[at[position]] ^= 4
    path.write_bytes(content)
    variables = small_state()
    before = values_of(variables)
    with pytest.raises(InputError, match=r"state: is damaged"):
        load_state(path, variables)
    assert same(values_of(variables), before)


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_cut_file_is_noticed(tmp_path, kept):
    path = tmp_path / "state"
    save_state(path, small_state())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="is damaged"):
        load_state(path, small_state())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such state file"):
        load_state(tmp_path / "nowhere", small_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": keras.Variable([1.0, 2.0, 3.0])}, r"`a` is float32 \(2,\).*float32 \(3,\)"),
        ({"a": keras.Variable([1, 2], dtype="int32")}, r"`a` is float32 .* expects int32"),
        ({"c": keras.Variable([1.0])}, "only in the model: c; only in the file: none"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(tmp_path, change, message):
    save_state(tmp_path / "state", small_state())
    variables = small_state() | change
    variables["b"].assign([[9.0]])
    with pytest.raises(InputError, match=message):
        load_state(tmp_path / "state", variables)
    assert float(variables["b"].value[0, 0]) == 9.0


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "state"
    save_state(path, small_state(), {"epoch": "1"})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            save_state(path, small_state(), {"epoch": "2"})
    assert load_state(path, small_state()) == {"epoch": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.skipif(
    not pathlib.Path("/dev/full").exists(), reason="needs /dev/full, which stands for a full disk"
)
def test_a_disk_that_is_really_full_leaves_the_old_state(tmp_path):
    path = tmp_path / "state"
    save_state(path, small_state(), {"epoch": "1"})
    (tmp_path / ".state.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        save_state(path, small_state(), {"epoch": "2"})
    assert load_state(path, small_state()) == {"epoch": "1"}
