"""Encoded examples on disk, with or without the arrays of a teacher, as verified TFRecord shards.

A store is a folder of shards under `manifest.jsonl`. A shard is one file for the tokens and one for
each array, a record an example in each, so that a stage that learns from logits alone never reads
the hidden states (fifty times larger). Only real positions are stored.

    00000.tokens.tfrecord            int32 (4, length): token_ids, segment_ids, word_starts, labels
    00000.logits.tfrecord            float16 (length, width)
    00000.hidden_states_6.tfrecord   float16 (length, width)
    manifest.jsonl                   first line the key, then a line a shard, then the total

Every line of the manifest carries its own checksum, and the checksum of each file of its shard.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xdistil.data.batching import shuffled
from xdistil.data.examples import EncodedExample
from xdistil.data.paths import AnyPath, as_path
from xdistil.data.record_manifest import (
    MANIFEST,
    TOKENS,
    ArraySpec,
    Manifest,
    fault_of_shard,
    file_name,
)
from xdistil.data.record_writer import ComputeArrays, ShardWriter, join_shares
from xdistil.errors import InputError

#: Arrays of this name and a number are the teacher's hidden states.
HIDDEN = "hidden_states_"


class RecordStore:
    """A finished store of encoded examples, read with `read_records`.

    Args:
        folder: The store's folder.
        key: The key it was written under.
        arrays: Name of each array to its `ArraySpec`.
        shards: The manifest's entry of each shard, in order.
        folders: Where arrays lie that are not in `folder`, by name, see `beside`.

    Attributes:
        examples: Number of examples.
        length_histogram: int64 array; entry `i` is the number of examples of `i` positions.
        files: Path of every shard file.
    """

    def __init__(
        self,
        folder: AnyPath,
        key: str,
        arrays: Mapping[str, ArraySpec],
        shards: Sequence[dict],
        folders: Mapping[str, AnyPath] | None = None,
    ):
        self.folder = folder
        self.key = key
        self.arrays = dict(arrays)
        self.shards = list(shards)
        self.folders = dict(folders or {})
        self.examples = sum(shard["examples"] for shard in shards)
        self.length_histogram = _sum_histograms(shard["lengths"] for shard in shards)

    @classmethod
    def open(cls, folder: str | os.PathLike, verify: bool = True) -> "RecordStore":
        """Opens a finished store.

        Args:
            folder: The store's folder.
            verify: Read every file and compare its checksum; else only sizes are compared.

        Raises:
            InputError: There is no finished store, or a shard is missing, cut or changed.
        """
        folder = as_path(folder)
        manifest = Manifest.read(folder)
        if manifest is None:
            raise InputError(f"{folder}: holds no records ({MANIFEST} is missing or damaged)")
        if manifest.total is None:
            raise InputError(
                f"{folder}: the records are not finished; run the command that writes them again"
            )
        for shard in manifest.in_order():
            fault = fault_of_shard(folder, shard, verify)
            if fault:
                raise InputError(f"{fault}; run the command that writes it again to repair it")
        return cls(folder, manifest.key, manifest.arrays, manifest.in_order())

    @property
    def files(self) -> list[AnyPath]:
        return [self.folder / name for shard in self.shards for name in shard["files"]]

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for shard in self.shards for file in shard["files"].values())

    def beside(self, other: "RecordStore") -> "RecordStore":
        """This store with the arrays of another one of the same examples, shard by shard.

        Raises:
            ValueError: The other store has other examples, or an array of a name that is here.
        """
        same = [[(s["shard"], s["tokens"]) for s in store.shards] for store in (self, other)]
        if same[0] != same[1]:
            raise ValueError(f"{other.folder}: holds other examples than {self.folder}")
        both = sorted(set(self.arrays) & set(other.arrays))
        if both:
            raise ValueError(f"{other.folder} and {self.folder}: arrays {both} are in both")
        return RecordStore(
            self.folder,
            self.key,
            {**self.arrays, **other.arrays},
            self.shards,
            {**self.folders, **{name: other.path_of(0, name).parent for name in other.arrays}},
        )

    def path_of(self, shard: int, column: str) -> AnyPath:
        """The file of a shard that holds an array, or the tokens."""
        return self.folders.get(column, self.folder) / file_name(shard, column)

    def dataset(self, **options) -> tf.data.Dataset:
        """`read_records([self], **options)`."""
        return read_records([self], **options)


def write_records(
    folder: str | os.PathLike,
    examples: Iterable[EncodedExample],
    *,
    key: str,
    shard_size: int = 2048,
    arrays: ComputeArrays | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RecordStore:
    """Writes examples, and the arrays computed for them, one shard at a time.

    Shard `i` depends on examples `[i * shard_size, (i + 1) * shard_size)` alone. Called again after
    a kill, a full disk or damage, it keeps every shard that is whole, passes over its examples
    without computing anything, writes the rest, and ends in the bytes of an undisturbed run.
    Never more than one shard is held in memory.

    Args:
        folder: Where the store lies or will lie.
        examples: The encoded examples, the same ones in the same order at each call.
        key: Fingerprint of all that decides the contents.
        shard_size: Examples a shard.
        arrays: Takes the examples of one shard, returns for each a dict of arrays `(length, width)`
            or `(width,)`; names, widths and dtypes must be the same for all.
        on_progress: Called with the number of examples done, after each shard.

    Raises:
        InputError: The folder holds records of another key, or records whose key is lost: the
            manifest is missing or its first line is damaged.
        StorageError: The disk is full. What was written before stays good.
    """
    writer = ShardWriter(as_path(folder), key, shard_size, arrays, on_progress)
    manifest = writer.write(examples)
    return RecordStore(writer.folder, key, manifest.arrays, manifest.in_order())


def write_share(
    folder: str | os.PathLike,
    examples: Iterable[EncodedExample],
    *,
    key: str,
    worker: int,
    workers: int,
    shard_size: int = 2048,
    arrays: ComputeArrays | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """What `write_records` writes, a worker's share of it: shards `worker`, `worker + workers`, ...

    All workers write into one folder, each with a manifest of its own, so none waits for another.
    When all are done one of them calls `joined_shares`. What was written is kept, also where the
    next call has another number of workers.

    Args:
        folder: Where the store lies or will lie; the same place for all workers.
        examples: All examples, the same ones in the same order for all workers. An object with
            `chunks(size, wanted)` is asked for the examples of each wanted shard as a list, and for
            the mere number of those of each other one, so that it need not encode these.
        key: Fingerprint of all that decides the contents.
        worker: This worker's number, from 0.
        workers: How many there are.
        shard_size: Examples a shard.
        arrays: As for `write_records`.
        on_progress: Called with the number of examples passed, after each shard of this share.

    Raises:
        InputError: As `write_records` does.
        StorageError: The disk is full. What was written before stays good.
    """
    path = as_path(folder)
    ShardWriter(path, key, shard_size, arrays, on_progress, (worker, workers)).write(examples)


def joined_shares(
    folder: str | os.PathLike, *, key: str, workers: int, shard_size: int = 2048
) -> RecordStore:
    """Puts together what all workers wrote by `write_share`.

    Raises:
        InputError: A worker's share is not there, or not finished.
    """
    path = as_path(folder)
    manifest = join_shares(path, key, shard_size, workers)
    return RecordStore(path, key, manifest.arrays, manifest.in_order())


def read_records(
    stores: Sequence[RecordStore],
    *,
    arrays: Sequence[str] = (),
    shuffle: bool = True,
    seed: int = 0,
    epoch: int = 0,
    shuffle_buffer: int = 4096,
    cycle_length: int = 8,
) -> tf.data.Dataset:
    """Examples of one or several stores, mixed, in an order that `(seed, epoch)` alone decides.

    The shards of all stores are permuted, `cycle_length` of them are read side by side, and the
    records pass through a shuffle buffer; memory does not grow with the number of shards.

    Args:
        stores: Stores to read; two or more are mixed ("both": labeled and transfer).
        arrays: Names of the arrays to read; others are not touched on the disk.
        shuffle: False gives the order in which they were written, store after store.
        seed: Non-negative.
        epoch: Non-negative.
        shuffle_buffer: Examples in the buffer.
        cycle_length: Shards open at a time when shuffling.

    Returns:
        Unbatched `(features, targets)`. `features`: int32 `(length,)` under `token_ids`,
        `segment_ids`, `padding_mask`, `word_starts`. `targets`: int32 `labels`, -1 where there is
        none, and the asked arrays under their names, where `hidden_states_6` is
        `targets["hidden_states"][6]`.

    Raises:
        InputError: A store lacks an asked array, or two stores disagree about one.
    """
    specs = specs_in_common(stores, arrays)
    records = _serialized(stores, specs, shuffle, seed, epoch, shuffle_buffer, cycle_length)
    return records.map(
        lambda *record: _decode(record, specs),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


# Reading


def specs_in_common(stores: Sequence[RecordStore], arrays: Sequence[str]) -> dict[str, ArraySpec]:
    """The specs of the asked arrays, which all stores must hold alike."""
    specs: dict[str, ArraySpec] = {}
    for store in stores:
        for name in arrays:
            if name not in store.arrays:
                held = ", ".join(sorted(store.arrays)) or "none"
                raise InputError(f"{store.folder}: no array `{name}` in the store; it has: {held}")
            if specs.setdefault(name, store.arrays[name]) != store.arrays[name]:
                raise InputError(
                    f"{store.folder}: array `{name}` is {store.arrays[name]}, in another store it "
                    f"is {specs[name]}"
                )
    return specs


def _serialized(stores, specs, shuffle, seed, epoch, shuffle_buffer, cycle_length):
    """Dataset of tuples of strings: the tokens' record, then one for each array."""
    columns = [TOKENS, *specs]
    names = [
        [str(store.path_of(shard["shard"], column)) for column in columns]
        for store in stores
        for shard in store.shards
    ]
    names = np.array(names, dtype=object).reshape(-1, len(columns))
    if shuffle:
        names = names[np.random.default_rng([seed, epoch]).permutation(len(names))]
    shards = tf.data.Dataset.from_tensor_slices(tf.constant(names.tolist(), tf.string, names.shape))

    def records_of_shard(row):
        return tf.data.Dataset.zip(*(tf.data.TFRecordDataset(row[i]) for i in range(len(columns))))

    if not shuffle:
        return shards.flat_map(records_of_shard)
    records = shards.interleave(records_of_shard, cycle_length=cycle_length, block_length=16)
    return shuffled(records, shuffle_buffer, seed, epoch)


def _decode(record: tuple[tf.Tensor, ...], specs: Mapping[str, ArraySpec]):
    tokens = tf.reshape(tf.io.decode_raw(record[0], tf.int32), (4, -1))
    features = {
        "token_ids": tokens[0],
        "segment_ids": tokens[1],
        "padding_mask": tf.ones_like(tokens[0]),
        "word_starts": tokens[2],
    }
    arrays = {}
    for value, (name, spec) in zip(record[1:], specs.items(), strict=True):
        array = tf.io.decode_raw(value, tf.as_dtype(spec.dtype))
        arrays[name] = tf.reshape(array, (-1, spec.width) if spec.per_position else (spec.width,))
    return features, named_targets(tokens[3], arrays)


def named_targets(labels: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Targets as losses find them: `hidden_states_6` becomes `["hidden_states"][6]`."""
    targets: dict[str, Any] = {"labels": labels}
    for name, array in arrays.items():
        if name.startswith(HIDDEN):
            targets.setdefault("hidden_states", {})[int(name.removeprefix(HIDDEN))] = array
        else:
            targets[name] = array
    return targets


def _sum_histograms(histograms: Iterable[Sequence[int]]) -> np.ndarray:
    total = np.zeros(1, np.int64)
    for histogram in histograms:
        wide = np.zeros(max(len(total), len(histogram)), np.int64)
        wide[: len(total)] += total
        wide[: len(histogram)] += histogram
        total = wide
    return total
