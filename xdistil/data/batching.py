"""Length-bucketed batches with `tf.data`, reproducible and of few static shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xdistil.data.examples import EncodedExample

# Steps of a half octave: padding stays below a third of a batch at the worst, for few shapes.
_LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


def bucket_lengths(seq_len: int) -> tuple[int, ...]:
    """The lengths to which batches are padded: 8, 12, 16, 24, 32, 48, 64 ... and `seq_len` itself.

    Args:
        seq_len: int, pieces of the longest example; always the last length.
    """
    return (*(length for length in _LENGTHS if length < seq_len), seq_len)


def _token_count(features: dict, targets: Any) -> tf.Tensor:
    return tf.shape(features["token_ids"])[0]


def bucketed_batches(
    examples: tf.data.Dataset,
    *,
    lengths: Sequence[int],
    batch_size: int,
    fill_last: bool = True,
    length_of: Callable[[Any, Any], tf.Tensor] = _token_count,
) -> tf.data.Dataset:
    """Batches examples of similar length, padded to the length of their bucket.

    Every dimension of unknown size is padded to the bucket's length: with 0, and with -1 in
    tensors under a key `labels`. Dimensions of known size stay. The order is a function of the
    order of the examples.

    Args:
        examples: elements `(features, targets)` of one example: nested dicts of tensors of shape
            `(length,)`, `(length, size)`, `(size,)` or `()`.
        lengths: the buckets' lengths, ascending, see `bucket_lengths`; the last is at least that
            of the longest example.
        batch_size: int, examples a batch.
        fill_last: whether the last batch of each bucket is filled up with empty rows
            (`padding_mask` all 0, labels all -1), so that every bucket has one static shape and
            XLA compiles it once. Empty rows carry no loss.
        length_of: from `(features, targets)` of an example to its length, a scalar int tensor.

    Raises:
        tf.errors.InvalidArgumentError: while iterating, for an example longer than the last length.

    Example:

    ```python
    examples = in_memory_dataset(list(encoder.encode(sentences)))
    batches = bucketed_batches(examples, lengths=bucket_lengths(128), batch_size=32)
    ```
    """
    lengths = sorted(int(length) for length in lengths)
    if not lengths or batch_size < 1:
        raise ValueError(
            "`lengths` must hold at least one length and `batch_size` must be positive, received "
            f"{lengths} and {batch_size}"
        )
    spec = examples.element_spec
    values = _map_named(spec, _padding_value)
    empty = tf.data.Dataset.from_tensors(_map_named(spec, _empty_tensor))
    bounds = tf.constant(lengths, tf.int64)

    def bucket_of(*element: Any) -> tf.Tensor:
        length = tf.cast(length_of(*element), tf.int64)
        tf.debugging.assert_less_equal(
            length, bounds[-1], f"an example is longer than the last bucket, {lengths[-1]}"
        )
        return tf.searchsorted(bounds, length[tf.newaxis], out_type=tf.int64)[0]

    def batch_of(bucket: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
        if fill_last:
            window = window.concatenate(empty.repeat()).take(batch_size)
        shapes = _map_named(spec, lambda name, part: _padded_shape(part, bounds[bucket]))
        return window.padded_batch(
            batch_size, shapes, padding_values=values, drop_remainder=fill_last
        )

    return examples.group_by_window(bucket_of, batch_of, window_size=batch_size)


def count_batches(length_histogram: np.ndarray, lengths: Sequence[int], batch_size: int) -> int:
    """How many batches `bucketed_batches` makes of examples of these lengths.

    Args:
        length_histogram: `(longest + 1,)`, at index i the number of examples of i pieces.
        lengths: the buckets' lengths.
        batch_size: int, examples a batch.
    """
    histogram = np.asarray(length_histogram, np.int64)
    buckets = np.searchsorted(np.sort(lengths), np.arange(len(histogram)))
    if histogram[buckets == len(lengths)].any():
        raise ValueError(f"an example is longer than the last bucket, {max(lengths)}")
    per_bucket = np.bincount(buckets, weights=histogram).astype(np.int64)
    return int((-(-per_bucket // batch_size)).sum())


def sized(batches: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    """Batches that know how many they are, dealt out to replicas each by itself.

    Args:
        batches: The steps of an epoch, or what is left of it.
        steps: Their number.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).with_options(options)


def shuffled(dataset: tf.data.Dataset, buffer_size: int, seed: int, epoch: int) -> tf.data.Dataset:
    """Shuffles within a buffer; the order is a function of `(seed, epoch)` and of nothing else.

    `tf.data.Dataset.shuffle` also depends on the seed that is set for the process, so a resumed
    run, or one within a larger program, could see another order.

    Args:
        dataset: what to shuffle.
        buffer_size: int, elements in memory; from the size of the dataset on, a full shuffle.
        seed: int, of the run.
        epoch: int.
    """
    state = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, epoch]).generate_state(2)
    process_seed, operation_seed = (int(word) >> 1 for word in state)

    def shuffle(_: tf.Tensor) -> tf.data.Dataset:
        # Within this function's graph; the seed of the process stays as it is.
        tf.compat.v1.set_random_seed(process_seed)
        return dataset.shuffle(buffer_size, operation_seed, reshuffle_each_iteration=False)

    result = tf.data.Dataset.from_tensors(0).flat_map(shuffle)
    size = dataset.cardinality()
    if size == tf.data.UNKNOWN_CARDINALITY:
        return result
    return result.apply(tf.data.experimental.assert_cardinality(size))


def in_memory_dataset(examples: Sequence[EncodedExample]) -> tf.data.Dataset:
    """Examples as unbatched `(features, targets)`, in their order.

    Features are `token_ids`, `segment_ids`, `padding_mask` and `word_starts`, int32 `(length,)`;
    targets are `labels`, int32 `(length,)`, all -1 for an example without labels.

    Args:
        examples: at least one.
    """
    if not examples:
        raise ValueError("`examples` must hold at least one example, received none")
    # One block (4, length) an example in one flat tensor: few operations an example, fast to read.
    blocks = [
        np.stack(
            [
                example.token_ids,
                np.zeros(len(example)) if example.segment_ids is None else example.segment_ids,
                example.word_starts,
                np.full(len(example), -1) if example.labels is None else example.labels,
            ]
        )
        for example in examples
    ]
    flat = tf.constant(np.concatenate([block.ravel() for block in blocks]), tf.int32)
    ends = np.cumsum([block.size for block in blocks])
    spans = np.stack([ends - [block.size for block in blocks], ends], axis=1)

    def example_of(span: tf.Tensor) -> tuple[dict, dict]:
        block = tf.reshape(flat[span[0] : span[1]], [4, -1])
        token_ids, segment_ids, word_starts, labels = tf.unstack(block)
        features = {
            "token_ids": token_ids,
            "segment_ids": segment_ids,
            "padding_mask": tf.ones_like(token_ids),
            "word_starts": word_starts,
        }
        return features, {"labels": labels}

    return tf.data.Dataset.from_tensor_slices(spans.astype(np.int64)).map(example_of)


def _map_named(structure: Any, function: Callable[[str, Any], Any], name: str = "") -> Any:
    """Maps `function(key, tensor spec)` over nested tuples and dicts."""
    if isinstance(structure, dict):
        return {key: _map_named(part, function, str(key)) for key, part in structure.items()}
    if isinstance(structure, tuple):
        return tuple(_map_named(part, function, name) for part in structure)
    return function(name, structure)


def _padding_value(name: str, spec: tf.TensorSpec) -> tf.Tensor:
    return tf.constant(-1 if name == "labels" else 0, spec.dtype)


def _empty_tensor(name: str, spec: tf.TensorSpec) -> tf.Tensor:
    return tf.fill([size or 0 for size in spec.shape], _padding_value(name, spec))


def _padded_shape(spec: tf.TensorSpec, length: tf.Tensor) -> tf.Tensor:
    shape = [length if size is None else tf.constant(size, tf.int64) for size in spec.shape]
    return tf.stack(shape) if shape else tf.zeros([0], tf.int64)
