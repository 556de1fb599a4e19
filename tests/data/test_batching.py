"""Length-bucketed batches: nothing lost, nothing twice, padding as the contract says."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from xdistil.data.batching import (
    bucket_lengths,
    bucketed_batches,
    count_batches,
    in_memory_dataset,
    shuffled,
)
from xdistil.data.examples import EncodedExample

LENGTHS = (4, 8, 12)


def make_examples(count, longest=12, seed=0):
    """Examples whose first id tells them apart; labels sit on every second piece."""
    draw = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        length = int(draw.integers(2, longest + 1))
        token_ids = draw.integers(5, 50, length).astype(np.int32)
        token_ids[0] = 1000 + number
        starts = (np.arange(length) % 2).astype(np.uint8)
        labels = np.where(starts, np.arange(length) % 3, -1).astype(np.int32)
        examples.append(EncodedExample(token_ids, starts, np.flatnonzero(starts), labels))
    return examples


def batches_of(examples, **options):
    options = {"lengths": LENGTHS, "batch_size": 8, **options}
    return list(bucketed_batches(in_memory_dataset(examples), **options).as_numpy_iterator())


def order_of(dataset):
    return [int(features["token_ids"][0]) - 1000 for features, _ in dataset.as_numpy_iterator()]


def test_bucket_lengths_end_at_the_longest_length():
    assert bucket_lengths(128) == (8, 12, 16, 24, 32, 48, 64, 96, 128)
    assert bucket_lengths(50) == (8, 12, 16, 24, 32, 48, 50)
    assert bucket_lengths(8) == (8,)
    assert bucket_lengths(3) == (3,)
    assert bucket_lengths(5000)[-2:] == (1024, 5000)


@pytest.mark.parametrize("fill_last", [True, False])
@pytest.mark.parametrize("count", [1, 7, 8, 100])
def test_every_example_comes_out_exactly_once_and_whole(count, fill_last):
    examples = make_examples(count)
    seen = Counter()
    for features, targets in batches_of(examples, fill_last=fill_last):
        for row, mask in enumerate(features["padding_mask"]):
            length = mask.sum()
            assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
            if not length:
                continue
            number = int(features["token_ids"][row, 0]) - 1000
            seen[number] += 1
            example = examples[number]
            assert length == len(example)
            for array, expected in (
                (features["token_ids"], example.token_ids),
                (features["word_starts"], example.word_starts),
                (targets["labels"], example.labels),
            ):
                np.testing.assert_array_equal(array[row, :length], expected)
    assert seen == Counter(range(count))


def test_padding_is_zero_and_carries_no_label():
    for features, targets in batches_of(make_examples(60)):
        padding = features["padding_mask"] == 0
        assert padding.any()
        for name in ("token_ids", "segment_ids", "word_starts"):
            assert not features[name][padding].any()
        assert (targets["labels"][padding] == -1).all()
        assert {array.dtype for array in features.values()} == {np.dtype(np.int32)}
        assert targets["labels"].dtype == np.int32


def test_a_filled_batch_has_the_shape_of_its_bucket():
    shapes = {features["token_ids"].shape for features, _ in batches_of(make_examples(100))}
    assert shapes == {(8, 4), (8, 8), (8, 12)}


def test_examples_go_to_the_shortest_bucket_that_holds_them():
    for features, _ in batches_of(make_examples(100)):
        width = features["token_ids"].shape[1]
        lengths = features["padding_mask"].sum(axis=1)
        lengths = lengths[lengths > 0]
        assert lengths.max() <= width
        assert lengths.min() > max((one for one in LENGTHS if one < width), default=0)


def test_filler_rows_come_only_in_the_last_batch_of_a_bucket():
    empty = Counter()
    for features, _ in batches_of(make_examples(100)):
        rows, width = features["token_ids"].shape
        assert not empty[width]
        empty[width] = rows - int(features["padding_mask"].any(axis=1).sum())


def test_the_batch_size_is_static_when_batches_are_filled():
    dataset = in_memory_dataset(make_examples(5))
    for fill_last, size in ((True, 8), (False, None)):
        batches = bucketed_batches(dataset, lengths=LENGTHS, batch_size=8, fill_last=fill_last)
        assert batches.element_spec[0]["token_ids"].shape.as_list() == [size, None]


@pytest.mark.parametrize("count", [1, 8, 33, 100])
def test_the_number_of_batches_is_known_beforehand(count):
    examples = make_examples(count)
    histogram = np.bincount([len(example) for example in examples])
    for fill_last in (True, False):
        batches = batches_of(examples, fill_last=fill_last)
        assert count_batches(histogram, LENGTHS, 8) == len(batches)


def test_an_example_longer_than_every_bucket_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="longer than the last bucket, 8"):
        batches_of(make_examples(50), lengths=(4, 8))
    with pytest.raises(ValueError, match="longer than the last bucket, 8"):
        count_batches(np.bincount([9]), (4, 8), 2)


def test_targets_of_the_teacher_are_padded_with_zero():
    def element(length):
        logits = tf.ones([length, 3], tf.float16)
        targets = {"labels": tf.zeros([length], tf.int32), "logits": logits}
        return {"token_ids": tf.ones([length], tf.int32)}, {
            **targets,
            "hidden_states": {0: tf.ones([length, 5], tf.float16), 2: logits},
        }

    spec = (
        {"token_ids": tf.TensorSpec([None], tf.int32)},
        {
            "labels": tf.TensorSpec([None], tf.int32),
            "logits": tf.TensorSpec([None, 3], tf.float16),
            "hidden_states": {
                0: tf.TensorSpec([None, 5], tf.float16),
                2: tf.TensorSpec([None, 3], tf.float16),
            },
        },
    )
    dataset = tf.data.Dataset.from_generator(lambda: map(element, (2, 3)), output_signature=spec)
    ((_, targets),) = bucketed_batches(dataset, lengths=(4,), batch_size=3).as_numpy_iterator()
    assert targets["logits"].shape == (3, 4, 3)
    assert targets["logits"].dtype == np.float16
    assert targets["logits"].sum() == 5 * 3
    assert targets["hidden_states"][0].shape == (3, 4, 5)
    assert targets["hidden_states"][0].sum() == 5 * 5
    assert (targets["labels"] == -1).sum() == 12 - 5


def test_pairs_and_targets_of_one_value_an_example_are_batched_too():
    def element(first, second):
        texts = {name: {"token_ids": tf.ones([n], tf.int32)} for name, n in (first, second)}
        return texts, {"labels": tf.constant(2), "pooled": tf.ones([5])}

    spec = (
        {name: {"token_ids": tf.TensorSpec([None], tf.int32)} for name in ("first", "second")},
        {"labels": tf.TensorSpec([], tf.int32), "pooled": tf.TensorSpec([5], tf.float32)},
    )
    dataset = tf.data.Dataset.from_generator(
        lambda: [element(("first", 2), ("second", 3))], output_signature=spec
    )

    def longer(features, targets):
        return tf.maximum(
            tf.size(features["first"]["token_ids"]), tf.size(features["second"]["token_ids"])
        )

    batches = bucketed_batches(dataset, lengths=(2, 4), batch_size=2, length_of=longer)
    ((features, targets),) = batches.as_numpy_iterator()
    assert features["first"]["token_ids"].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert features["second"]["token_ids"].tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]
    assert targets["labels"].tolist() == [2, -1]
    assert targets["pooled"].tolist() == [[1] * 5, [0] * 5]


def test_examples_without_labels_carry_none():
    example = EncodedExample(np.array([1, 2, 3], np.int32), np.zeros(3, np.uint8), np.array([1]))
    ((features, targets),) = in_memory_dataset([example]).as_numpy_iterator()
    assert targets["labels"].tolist() == [-1, -1, -1]
    assert features["segment_ids"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="at least one"):
        in_memory_dataset([])


def test_shuffling_is_a_function_of_seed_and_epoch_alone():
    dataset = in_memory_dataset(make_examples(60))
    order = order_of(shuffled(dataset, 100, seed=1, epoch=0))
    assert sorted(order) == list(range(60))
    assert order != list(range(60))
    try:
        for process_seed in (5, 6):
            tf.random.set_seed(process_seed)
            assert order_of(shuffled(dataset, 100, seed=1, epoch=0)) == order
    finally:
        tf.random.set_seed(None)
    assert order_of(shuffled(dataset, 100, seed=1, epoch=1)) != order
    assert order_of(shuffled(dataset, 100, seed=2, epoch=0)) != order


def test_shuffling_leaves_the_seed_of_the_process_alone():
    dataset = in_memory_dataset(make_examples(5))
    try:
        tf.random.set_seed(3)
        expected = tf.random.uniform([4]).numpy()
        tf.random.set_seed(3)
        order_of(shuffled(dataset, 5, seed=1, epoch=0))
        np.testing.assert_array_equal(tf.random.uniform([4]).numpy(), expected)
    finally:
        tf.random.set_seed(None)


def test_a_shuffled_dataset_can_be_read_again_in_the_same_order():
    dataset = shuffled(in_memory_dataset(make_examples(30)), 10, seed=4, epoch=2)
    assert dataset.cardinality() == 30
    assert order_of(dataset) == order_of(dataset)


def test_batches_come_in_the_same_order_each_time():
    dataset = shuffled(in_memory_dataset(make_examples(100)), 50, seed=1, epoch=3)
    batches = bucketed_batches(dataset, lengths=LENGTHS, batch_size=4)
    first, second = (
        [features["token_ids"].tolist() for features, _ in batches.as_numpy_iterator()]
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(("lengths", "batch_size"), [((), 4), ((8,), 0)])
def test_batches_of_no_size_are_refused(lengths, batch_size):
    with pytest.raises(ValueError, match="received"):
        batches_of(make_examples(2), lengths=lengths, batch_size=batch_size)
