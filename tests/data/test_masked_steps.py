"""Steps of masked micro-batches: whole, reproducible, and their listed labels are the labels."""

import numpy as np
import pytest

import xdistil.data.masked_steps as masked_steps_module
from xdistil.data.batching import count_batches
from xdistil.data.examples import EncodedExample
from xdistil.data.masked_steps import count_steps, held_out_batches, masked_steps
from xdistil.data.masking import Masker
from xdistil.data.record_batches import iterate_batches
from xdistil.data.records import write_records

VOCABULARY, LENGTHS, ROWS, PARTS = 60, (6, 10, 20), 4, 3


def example(random):
    size = random.integers(4, 21)
    ids = random.integers(5, VOCABULARY, size).astype(np.int32)
    ids[0], ids[-1] = 2, 3
    return EncodedExample(ids, np.ones(size, np.uint8), np.arange(size, dtype=np.int32))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    random = np.random.default_rng(0)
    examples = [example(random) for _ in range(70)]
    return write_records(tmp_path_factory.mktemp("store"), examples, key="k", shard_size=16)


def masker(seed=1):
    return Masker(np.ones(VOCABULARY), (0, 1, 2, 3, 4), 4, seed=seed)


def steps(store, **settings):
    own = {"lengths": LENGTHS, "micro_batch_size": ROWS, "micro_batches": PARTS, "seed": 5}
    return list(masked_steps([store], masker=masker(), **own, **settings).as_numpy_iterator())


def originals(features, targets):
    labels = targets["labels"]
    return np.where(labels >= 0, labels, features["token_ids"])


def test_an_epoch_holds_every_example_once_in_the_counted_steps(store):
    found = steps(store)
    batches = count_batches(store.length_histogram, LENGTHS, ROWS)
    assert len(found) == count_steps(batches, PARTS)
    lengths, seen = [], 0
    for features, targets in found:
        assert features["token_ids"].shape[:2] == (PARTS, ROWS)
        sizes = features["padding_mask"].sum(-1)
        lengths += sizes[sizes > 0].tolist()
        seen += (sizes > 0).sum()
        for part, (length, width) in enumerate(features["widths"]):
            assert length == width and sizes[part].max() <= length
            assert not features["padding_mask"][part, :, length:].any()
            assert (targets["labels"][part, :, length:] == -1).all()
    assert seen == 70
    assert np.bincount(lengths).tolist() == store.length_histogram.tolist()


def test_a_share_of_each_step_is_masked(store):
    for features, targets in steps(store):
        real = features["padding_mask"].sum()
        assert (targets["labels"] >= 0).sum() == np.ceil(0.15 * real)


def test_a_step_is_a_function_of_seed_epoch_and_its_number(store):
    whole = steps(store)
    for first in (1, len(whole) - 1):
        rest = steps(store, first_step=first)
        assert len(rest) == len(whole) - first
        for one, two in zip(rest, whole[first:], strict=True):
            for name, value in one[0].items():
                np.testing.assert_array_equal(value, two[0][name])
            np.testing.assert_array_equal(one[1]["labels"], two[1]["labels"])
    other = steps(store, epoch=1)
    assert any(
        one[0]["token_ids"].shape != two[0]["token_ids"].shape
        or (originals(*one) != originals(*two)).any()
        for one, two in zip(whole, other, strict=True)
    )


def test_masks_differ_between_epochs_where_nothing_else_does(store, monkeypatch):
    def in_one_order(*stores, **settings):
        return iterate_batches(*stores, **{**settings, "epoch": 0})

    monkeypatch.setattr(masked_steps_module, "iterate_batches", in_one_order)
    once, again, later = steps(store), steps(store), steps(store, epoch=1)
    for one, same, other in zip(once, again, later, strict=True):
        np.testing.assert_array_equal(originals(*one), originals(*other))
        np.testing.assert_array_equal(one[1]["labels"], same[1]["labels"])
        assert ((one[1]["labels"] >= 0) != (other[1]["labels"] >= 0)).any()


def test_listed_positions_and_labels_are_those_of_the_whole_step(store):
    for (features, targets), (listed, short) in zip(
        steps(store), steps(store, masked_only=True), strict=True
    ):
        np.testing.assert_array_equal(features["token_ids"], listed["token_ids"])
        positions, labels = listed["masked_positions"], short["labels"]
        assert positions.shape == labels.shape
        assert labels.shape[-1] == listed["widths"][:, 1].max()
        again = np.full_like(targets["labels"], -1)
        for part, row, column in np.argwhere(labels >= 0):
            assert column < listed["widths"][part, 1]
            again[part, row, positions[part, row, column]] = labels[part, row, column]
        np.testing.assert_array_equal(again, targets["labels"])


def test_held_out_masks_are_the_same_each_time_and_not_those_of_training(store):
    def batches(seed):
        return list(
            held_out_batches([store], lengths=LENGTHS, batch_size=ROWS, masker=masker(seed))
        )

    once, twice, other = batches(1), batches(1), batches(2)
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_array_equal(one[0]["token_ids"], two[0]["token_ids"])
        np.testing.assert_array_equal(one[1], two[1])
    assert any(
        a[1].shape != b[1].shape or (a[1] != b[1]).any() for a, b in zip(once, other, strict=True)
    )
    assert sum((features["padding_mask"].sum(-1) > 0).sum() for features, _ in once) == 70
