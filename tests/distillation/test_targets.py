"""Teacher targets are what the teacher says, computed once, however the work is cut up."""

import keras
import numpy as np
import pytest

from xdistil.data.examples import EncodedExample
from xdistil.data.records import read_records
from xdistil.distillation.targets import (
    TeacherRuns,
    compute_targets,
    examples_fingerprint,
    teacher_fingerprint,
)
from xdistil.errors import InputError


class TinyTeacher(keras.Model):
    """Position-wise, apart from a masked mean over the sentence: padding that leaks in shows."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.embedding = keras.layers.Embedding(50, 6)
        self.segments = keras.layers.Embedding(2, 6)
        self.dense = keras.layers.Dense(4)
        self.dropout = keras.layers.Dropout(0.5)
        self.scale = scale
        self.calls = 0
        ones = np.ones((1, 2), np.int32)
        self({"token_ids": ones, "segment_ids": ones, "padding_mask": ones})

    def call(self, features, training=False):
        self.calls += 1
        mask = keras.ops.cast(features["padding_mask"], "float32")[..., None]
        bottom = self.embedding(features["token_ids"]) + self.segments(features["segment_ids"])
        mean = keras.ops.sum(bottom * mask, 1, keepdims=True) / keras.ops.sum(
            mask, 1, keepdims=True
        )
        top = self.dropout(bottom + mean, training=training)
        return {"logits": self.dense(top) * self.scale, "hidden_states": (bottom, top)}


@pytest.fixture
def teacher():
    keras.utils.set_random_seed(0)
    return TinyTeacher()


def encoded(count=40):
    random = np.random.default_rng(0)
    for number in range(count):
        length = int(random.integers(2, 17))
        yield EncodedExample(
            token_ids=random.integers(0, 50, length).astype(np.int32),
            word_starts=np.ones(length, np.uint8),
            word_positions=np.arange(length, dtype=np.int32),
            labels=random.integers(-1, 4, length).astype(np.int32) if number % 2 else None,
            segment_ids=random.integers(0, 2, length).astype(np.int32) if number % 3 else None,
        )


def compute(folder, teacher, **options):
    examples = options.pop("examples", encoded())
    options = {
        "outputs": ["logits", "hidden_states_1"],
        "lengths": (8, 16),
        "text": "t",
        "shard_size": 16,
        **options,
    }
    return compute_targets(folder, examples, teacher=teacher, **options)


def bytes_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "teacher_runs.json"}


@pytest.mark.parametrize(
    ("token_budget", "jit_compile"), [(1, False), (64, False), (8192, False), (64, True)]
)
def test_targets_are_what_the_teacher_says_to_float16(tmp_path, teacher, token_budget, jit_compile):
    arrays = ["logits", "hidden_states_0", "hidden_states_1"]
    store = compute(
        tmp_path, teacher, outputs=arrays, token_budget=token_budget, jit_compile=jit_compile
    )
    read = list(read_records([store], arrays=arrays, shuffle=False))
    assert len(read) == 40
    for features, targets in read[::3]:
        direct = teacher({name: value[None] for name, value in features.items()})
        found = [targets["logits"], *(targets["hidden_states"][layer] for layer in (0, 1))]
        expected = [direct["logits"], *direct["hidden_states"]]
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == "float16"
            # Half a unit in the last place of float16, and float32's own rounding.
            np.testing.assert_allclose(a, b[0], rtol=2**-11 + 1e-5, atol=1e-6)


def test_only_what_is_asked_for_is_kept(tmp_path, teacher):
    for name in ("hidden_states_1", "logits"):
        assert set(compute(tmp_path / name, teacher, outputs=[name]).arrays) == {name}
    with pytest.raises(ValueError, match="nothing to compute"):
        compute(tmp_path / "none", teacher, outputs=[])


def test_labels_of_the_examples_are_kept(tmp_path, teacher):
    store = compute(tmp_path, teacher)
    for (_, targets), example in zip(read_records([store], shuffle=False), encoded(), strict=True):
        labels = -1 if example.labels is None else example.labels
        np.testing.assert_array_equal(targets["labels"], labels + 0 * example.token_ids)


def test_the_teacher_runs_once_over_each_example(tmp_path, teacher):
    done = []
    compute(tmp_path, teacher, on_progress=done.append)
    assert done == [16, 32, 40]
    runs = TeacherRuns.read(tmp_path)
    assert runs == TeacherRuns(examples=40, examples_kept=40, examples_run=40, clipped=0)
    compute(tmp_path, teacher)
    assert TeacherRuns.read(tmp_path) == runs
    assert runs.teacher_passes == 1


@pytest.mark.parametrize("die_at", [5, 20, 35])
def test_a_broken_run_goes_on_to_the_same_bytes_and_still_counts_one_pass(
    tmp_path, teacher, die_at
):
    compute(tmp_path / "undisturbed", teacher)

    def dying():
        for number, example in enumerate(encoded()):
            if number == die_at:
                raise KeyboardInterrupt
            yield example

    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "broken", teacher, examples=dying())
    compute(tmp_path / "broken", teacher)
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "undisturbed")
    runs = TeacherRuns.read(tmp_path / "broken")
    assert (runs.examples_run, runs.teacher_passes) == (40, 1)


def test_one_process_that_finishes_what_several_began_counts_one_pass(tmp_path, teacher):
    def dying():
        for number, example in enumerate(encoded()):
            if number == 20:
                raise KeyboardInterrupt
            yield example

    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path, teacher, examples=dying())
    began = TeacherRuns.read(tmp_path)
    assert 0 < began.examples_kept < 40
    (tmp_path / "teacher_runs.json").rename(tmp_path / "worker-1.teacher_runs.json")
    for _ in range(2):
        compute(tmp_path, teacher)
        assert TeacherRuns.read(tmp_path) == TeacherRuns(40, 40, 40, 0)


def test_work_lost_to_a_kill_shows_in_examples_run_alone(tmp_path, teacher, monkeypatch):
    calls = []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    original = __import__("xdistil.data.record_writer", fromlist=["x"])._array_specs
    with monkeypatch.context() as patch:
        patch.setattr("xdistil.data.record_writer._array_specs", dying)
        with pytest.raises(KeyboardInterrupt):
            compute(tmp_path, teacher)
    compute(tmp_path, teacher)
    runs = TeacherRuns.read(tmp_path)
    assert runs.examples_run == 40 + 16
    assert runs.teacher_passes == 1


def test_a_damaged_shard_counts_as_more_than_one_pass(tmp_path, teacher):
    compute(tmp_path, teacher)
    before = bytes_of(tmp_path)
    (tmp_path / "00002.logits.tfrecord").write_bytes(b"")
    compute(tmp_path, teacher)
    assert bytes_of(tmp_path) == before
    assert TeacherRuns.read(tmp_path).teacher_passes == pytest.approx(48 / 40)


@pytest.mark.parametrize("change", ["teacher", "text", "outputs"])
def test_targets_of_another_teacher_text_or_setting_are_refused(tmp_path, teacher, change):
    compute(tmp_path, teacher)
    before = bytes_of(tmp_path)
    options = {"text": {"text": "u"}, "outputs": {"outputs": ["logits"]}}
    if change == "teacher":
        teacher.dense.bias.assign([0, 0, 0, 1e-7])
    with pytest.raises(InputError, match="another key"):
        compute(tmp_path, teacher, **options.get(change, {}))
    assert bytes_of(tmp_path) == before


def test_values_beyond_float16_are_clipped_and_counted(tmp_path):
    store = compute(tmp_path, TinyTeacher(scale=1e9))
    clipped = 0
    for _, targets in read_records([store], arrays=["logits"], shuffle=False):
        assert np.isfinite(targets["logits"]).all()
        clipped += int((np.abs(targets["logits"]) == 65504).sum())
    assert TeacherRuns.read(tmp_path).clipped == clipped > 0


def test_a_teacher_that_gives_nan_is_refused(tmp_path, teacher):
    teacher.dense.bias.assign([0, 0, np.nan, 0])
    with pytest.raises(InputError, match="NaN"):
        compute(tmp_path, teacher)


def test_an_example_longer_than_every_bucket_is_refused(tmp_path, teacher):
    with pytest.raises(InputError, match="longest bucket has 8"):
        compute(tmp_path, teacher, lengths=(8,))


def test_each_bucket_is_traced_at_most_once(tmp_path, teacher):
    before = teacher.calls
    compute(tmp_path, teacher)
    assert teacher.calls - before <= 2


def test_fingerprints_follow_weights_and_examples(teacher):
    first = teacher_fingerprint(teacher)
    keras.layers.Dense(1)
    keras.utils.set_random_seed(0)
    assert teacher_fingerprint(TinyTeacher()) == first
    teacher.dense.bias.assign_add([0, 0, 0, 1e-7])
    assert teacher_fingerprint(teacher) != first

    examples = list(encoded())
    same = examples_fingerprint(encoded())
    assert examples_fingerprint(examples) == same
    examples[3].labels[1] += 1
    assert examples_fingerprint(examples) != same
