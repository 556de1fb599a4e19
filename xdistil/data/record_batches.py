"""Padded batches straight from record stores, at the speed of the disk."""

import dataclasses
import functools
import os
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from xdistil.data.examples import EncodedExample
from xdistil.data.heap import keep_freed_memory
from xdistil.data.record_manifest import TOKENS, ArraySpec
from xdistil.data.records import RecordStore, named_targets, specs_in_common
from xdistil.errors import InputError

_FEATURES = ("token_ids", "segment_ids", "word_starts")


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that one of several workers computes.

    Args:
        first: Its first device, counted over all workers.
        devices: Its devices.
        of: Devices of all workers.
    """

    first: int = 0
    devices: int = 1
    of: int = 1

    def rows(self, batch_size: int) -> int:
        """Rows of a device."""
        return -(-batch_size // self.of)

    def parts(self, rows: list, batch_size: int) -> Iterator[list]:
        """The rows of each of its devices."""
        size = self.rows(batch_size)
        for device in range(self.first, self.first + self.devices):
            yield rows[device * size : (device + 1) * size]


def read_batches(
    stores: Sequence[RecordStore],
    *,
    lengths: Sequence[int],
    batch_size: int,
    arrays: Sequence[str] = (),
    shuffle: bool = True,
    seed: int = 0,
    epoch: int = 0,
    shuffle_window: int = 32768,
    first_batch: int = 0,
    share: Share | None = None,
) -> tf.data.Dataset:
    """The batches of `bucketed_batches` over `read_records`, several times faster.

    `tf.data` spends more on calling a function for each example than a small student spends on
    learning from it. Here the order of a whole window is drawn at once from the tokens, which are
    small, and the teacher's arrays are read from the disk right into their row of the batch.
    `count_batches` says how many batches there are.

    Memory holds the tokens of one window and a few batches, however large the stores are.

    Args:
        stores: Stores to read; two or more are mixed ("both": labeled and transfer).
        lengths: The buckets' lengths, ascending; the last is at least that of the longest example.
        batch_size: Examples a batch; the last batch of a bucket is filled up with empty rows
            (`padding_mask` all 0, labels -1), so that every bucket has one static shape.
        arrays: Names of the arrays to read; others are not touched on the disk.
        shuffle: False keeps the order in which examples were written, within each bucket.
        seed: Non-negative. The order is a function of `(seed, epoch)` and of nothing else.
        epoch: Non-negative.
        shuffle_window: Examples that are shuffled together: those of as many shards, drawn from
            all stores, as it takes to reach this number.
        first_batch: Batches to pass over; costs no reading of arrays. For going on in an epoch.
        share: The part of each batch to read; the dataset then holds, for each batch, the rows of
            each device of this worker. Default: all of it.

    Returns:
        Dataset of `(features, targets)` as `read_records` names them, `(batch_size, length, ...)`.

    Raises:
        InputError: A store lacks an asked array, two stores disagree about one, or an example is
            longer than every bucket.
    """
    specs = specs_in_common(stores, arrays)
    batches = functools.partial(
        iterate_batches,
        stores,
        lengths=_checked(lengths, stores),
        batch_size=batch_size,
        arrays=arrays,
        shuffle=shuffle,
        seed=seed,
        epoch=epoch,
        shuffle_window=shuffle_window,
        first_batch=first_batch,
        share=share,
    )
    keep_freed_memory()
    rows = (share or Share()).rows(batch_size)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=_signature(rows, specs))
    return dataset.prefetch(2)


def iterate_batches(
    stores: Sequence[RecordStore],
    *,
    lengths: Sequence[int],
    batch_size: int,
    arrays: Sequence[str] = (),
    shuffle: bool = True,
    seed: int = 0,
    epoch: int = 0,
    shuffle_window: int = 32768,
    first_batch: int = 0,
    share: Share | None = None,
) -> Iterator[tuple[dict, dict]]:
    """What `read_batches` reads, as numpy arrays, for those who change batches on the way.

    Args and errors are those of `read_batches`.
    """
    specs = specs_in_common(stores, arrays)
    lengths = _checked(lengths, stores)
    shards = [(store, shard) for store in stores for shard in store.shards]
    random = np.random.default_rng([seed, epoch]) if shuffle else None
    plan = _plan(shards, lengths, batch_size, random, shuffle_window, specs)
    share = share or Share()
    size = share.rows(batch_size)
    for number, (length, rows) in enumerate(plan):
        if number >= first_batch:
            for part in share.parts(rows, batch_size):
                yield _batch(part, length, size, specs)


def iterate_examples(store: RecordStore) -> Iterator[EncodedExample]:
    """The examples of a store one by one, in the order in which they were written.

    One shard's tokens are in memory at a time; arrays are not read.
    """
    for entry in store.shards:
        shard = _Shard.read(store, entry["shard"])
        for index in range(len(shard.lengths)):
            token_ids, segment_ids, word_starts, labels = shard.tokens_of(index)
            yield EncodedExample(
                token_ids,
                word_starts.astype(np.uint8),
                np.flatnonzero(word_starts).astype(np.int32),
                labels,
                segment_ids,
            )


def _checked(lengths: Sequence[int], stores: Sequence[RecordStore]) -> np.ndarray:
    lengths = np.sort(np.asarray(lengths, np.int64))
    longest = max((len(store.length_histogram) - 1 for store in stores), default=0)
    if longest > lengths[-1]:
        raise InputError(
            f"an example has {longest} positions; the longest bucket has {lengths[-1]}"
        )
    return lengths


@dataclasses.dataclass
class _Shard:
    """The tokens of one shard in memory, and where its arrays lie."""

    store: RecordStore
    index: int
    tokens: bytes
    starts: np.ndarray  # Offset of each example's tokens in `tokens`.
    lengths: np.ndarray  # Positions of each example.
    offsets: dict[str, list[int]] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, store: RecordStore, index: int) -> "_Shard":
        content = store.path_of(index, TOKENS).read_bytes()
        starts, sizes, offset = [], [], 0
        while offset < len(content):  # uint64 size, uint32 checksum, data, uint32 checksum
            (size,) = struct.unpack_from("<Q", content, offset)
            starts.append(offset + 12)
            sizes.append(size)
            offset += size + 16
        return cls(store, index, content, np.array(starts), np.array(sizes, np.int64) // 16)

    def tokens_of(self, example: int) -> np.ndarray:
        length = self.lengths[example]
        values = np.frombuffer(self.tokens, "<i4", 4 * length, self.starts[example])
        return values.reshape(4, length)

    def offsets_of(self, name: str, spec: ArraySpec) -> list[int]:
        """Where each example's data begin in the file of an array."""
        if name not in self.offsets:
            width = spec.width * np.dtype(spec.dtype).itemsize
            sizes = self.lengths * width if spec.per_position else np.full_like(self.lengths, width)
            self.offsets[name] = (np.cumsum(sizes + 16) - sizes - 4).tolist()
        return self.offsets[name]

    def alone(self, example: int, specs: Mapping[str, ArraySpec]) -> "_Shard":
        """One example as a shard of its own, which keeps none of the others in memory."""
        length = self.lengths[example]
        return _Shard(
            self.store,
            self.index,
            self.tokens_of(example).tobytes(),
            np.zeros(1, np.int64),
            np.array([length]),
            {name: [self.offsets_of(name, spec)[example]] for name, spec in specs.items()},
        )


def _plan(shards, lengths, batch_size, random, window, specs) -> Iterator[tuple[int, list]]:
    """Yields (length, [(shard, example), ...]) for each batch, in order."""
    waiting: list[list] = [[] for _ in lengths]
    for group in _groups(shards, random, window):
        read = [_Shard.read(store, shard["shard"]) for store, shard in group]
        counts = [len(shard.lengths) for shard in read]
        owners = np.repeat(np.arange(len(read)), counts)
        examples = np.concatenate([np.arange(count) for count in counts])
        buckets = np.searchsorted(lengths, np.concatenate([shard.lengths for shard in read]))
        order = np.arange(len(owners)) if random is None else random.permutation(len(owners))
        for i in order:
            rows = waiting[buckets[i]]
            rows.append((read[owners[i]], examples[i]))
            if len(rows) == batch_size:
                yield int(lengths[buckets[i]]), rows
                waiting[buckets[i]] = []
        # A rare length may wait through the whole epoch: it must not hold on to its shard.
        waiting = [[(shard.alone(i, specs), 0) for shard, i in rows] for rows in waiting]
    for length, rows in zip(lengths, waiting, strict=True):
        if rows:
            yield int(length), rows


def _groups(shards, random, window) -> Iterator[list]:
    order = range(len(shards)) if random is None else random.permutation(len(shards))
    group, examples = [], 0
    for i in order:
        group.append(shards[i])
        examples += shards[i][1]["examples"]
        if examples >= window:
            yield group
            group, examples = [], 0
    if group:
        yield group


def _batch(rows, length: int, batch_size: int, specs: Mapping[str, ArraySpec]):
    tokens = np.zeros((4, batch_size, length), np.int32)
    tokens[3] = -1
    mask = np.zeros((batch_size, length), np.int32)
    for row, (shard, example) in enumerate(rows):
        values = shard.tokens_of(example)
        tokens[:, row, : values.shape[1]] = values
        mask[row, : values.shape[1]] = 1
    features = dict(zip(_FEATURES, tokens, strict=False)) | {"padding_mask": mask}
    filled = {}
    for name, spec in specs.items():
        shape = (batch_size, length, spec.width) if spec.per_position else (batch_size, spec.width)
        filled[name] = np.zeros(shape, spec.dtype)
    _fill(filled, rows, specs)
    return features, named_targets(tokens[3], filled)


def _fill(filled: dict[str, np.ndarray], rows, specs: Mapping[str, ArraySpec]) -> None:
    by_shard: dict[tuple, list[int]] = {}
    for row, (shard, _) in enumerate(rows):
        by_shard.setdefault((shard.store, shard.index), []).append(row)
    for (store, index), members in by_shard.items():
        for name, spec in specs.items():
            path = store.path_of(index, name)
            # Unbuffered, into the batch itself: the only copy is that out of the page cache.
            with path.open("rb", buffering=0) as file:
                for row in members:
                    shard, example = rows[row]
                    out = filled[name][row]
                    if spec.per_position:
                        out = out[: shard.lengths[example]]
                    file.seek(shard.offsets_of(name, spec)[example], os.SEEK_SET)
                    if file.readinto(out) != out.nbytes:
                        raise InputError(f"{path}: is cut; run the command that writes it again")


def _signature(batch_size: int, specs: Mapping[str, ArraySpec]):
    def ints() -> tf.TensorSpec:
        return tf.TensorSpec((batch_size, None), tf.int32)

    arrays = {}
    for name, spec in specs.items():
        shape = (None, spec.width) if spec.per_position else (spec.width,)
        arrays[name] = tf.TensorSpec((batch_size, *shape), spec.dtype)
    features = {name: ints() for name in (*_FEATURES, "padding_mask")}
    return features, named_targets(ints(), arrays)
