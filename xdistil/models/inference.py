"""Runs a model over encoded examples in buckets of length, never padded to a fixed one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.data.examples import EncodedExample
from xdistil.errors import InputError

#: Positions a batch, padding included. Large enough to keep two cores busy, small enough for the
#: cache: sentences a batch follow from it and the bucket's length.
TOKENS_PER_BATCH = 4096
FEATURES = ("token_ids", "segment_ids", "padding_mask", "word_starts")
_CHUNK = 4096


class BatchedInference:
    """A model's outputs for encoded examples, in their order, at real positions only.

    Examples are sorted by length within a chunk and padded to the bucket's length. With
    `jit_compile` every bucket has one static shape, filled by empty rows, so that XLA compiles once
    a bucket; without, the last batch of a bucket is as small as it is.

    Args:
        model: Called on a features dict, see `xdistil.data`.
        lengths: The buckets' lengths, ascending, see `xdistil.data.bucket_lengths`.
        select: From the model's outputs to a dict of tensors to keep: `(batch_size, length, width)`
            of positions, or `(batch_size, width)` of whole texts. Outputs that it does not name are
            not computed. Defaults to the logits.
        tokens_per_batch: Positions a batch, padding included.
        jit_compile: Compiles by XLA.

    Example:
        ```python
        run = BatchedInference(model, lengths=bucket_lengths(128))
        for outputs in run(encoder.encode(sentences)):
            print(outputs["logits"].shape)  # (length, num_classes)
        ```
    """

    def __init__(
        self,
        model: keras.Model,
        lengths: Sequence[int],
        select: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        jit_compile: bool = False,
    ):
        self.model = model
        self.lengths = tuple(lengths)
        self.tokens_per_batch = tokens_per_batch
        self.jit_compile = jit_compile
        select = select or (lambda outputs: {"logits": outputs["logits"]})
        # Without XLA one trace serves every bucket; XLA wants to know each shape.
        spec = {name: tf.TensorSpec((None, None), tf.int32) for name in FEATURES}
        self._function = tf.function(
            lambda features: select(model(features, training=False)),
            input_signature=None if jit_compile else [spec],
            jit_compile=jit_compile,
            autograph=False,
        )

    def __call__(
        self, examples: Iterable[EncodedExample], chunk: int = _CHUNK
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the selected outputs of each example, arrays `(length, width)` or `(width,)`, in
        order."""
        iterator = iter(examples)
        while part := list(islice(iterator, chunk)):
            yield from self.run(part)

    def run(self, examples: Sequence[EncodedExample]) -> list[dict[str, np.ndarray]]:
        """The selected outputs of examples that are held in memory together."""
        results: list[dict[str, np.ndarray]] = [{} for _ in examples]
        for length, indices in self._batches(examples):
            rows = self._rows(length) if self.jit_compile else len(indices)
            features = pad_features([examples[i] for i in indices], length, rows)
            features = {name: tf.constant(values) for name, values in features.items()}
            outputs = {k: v.numpy() for k, v in self._function(features).items()}
            for row, index in enumerate(indices):
                real = len(examples[index].token_ids)
                # Copies, so that the padded batch can go.
                results[index] = {
                    k: (v[row, :real] if v.ndim == 3 else v[row]).copy() for k, v in outputs.items()
                }
        return results

    def _rows(self, length: int) -> int:
        return max(1, self.tokens_per_batch // length)

    def _batches(self, examples: Sequence[EncodedExample]) -> Iterator[tuple[int, list[int]]]:
        sizes = np.array([len(example.token_ids) for example in examples])
        if not len(sizes):
            return
        if sizes.max() > self.lengths[-1]:
            raise InputError(
                f"an example has {sizes.max()} pieces; the longest bucket has {self.lengths[-1]}"
            )
        buckets = np.searchsorted(self.lengths, sizes)
        for bucket in np.unique(buckets):
            members = np.flatnonzero(buckets == bucket).tolist()
            length = self.lengths[bucket]
            rows = self._rows(length)
            for start in range(0, len(members), rows):
                yield length, members[start : start + rows]


def pad_features(
    examples: Sequence[EncodedExample], length: int, rows: int
) -> dict[str, np.ndarray]:
    """The features of a batch.

    Args:
        examples: At most `rows` examples of at most `length` pieces.
        length: Length of the batch.
        rows: Rows of the batch; rows beyond the examples are empty.

    Returns:
        dict of int32 arrays `(rows, length)`: `token_ids`, `segment_ids`, `padding_mask`,
        `word_starts`.
    """
    features = {name: np.zeros((rows, length), np.int32) for name in FEATURES}
    for row, example in enumerate(examples):
        real = len(example.token_ids)
        features["token_ids"][row, :real] = example.token_ids
        features["word_starts"][row, :real] = example.word_starts
        features["padding_mask"][row, :real] = 1
        if example.segment_ids is not None:
            features["segment_ids"][row, :real] = example.segment_ids
    return features
