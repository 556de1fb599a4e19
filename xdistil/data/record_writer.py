"""Writes a record store one shard at a time, and goes on where a killed process stopped."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from xdistil.data import atomic_files
from xdistil.data.examples import EncodedExample
from xdistil.data.paths import AnyPath
from xdistil.data.record_manifest import (
    MANIFEST,
    TOKENS,
    ArraySpec,
    Manifest,
    fault_of_shard,
    file_name,
    manifest_of_worker,
    manifests_in,
)
from xdistil.errors import InputError

ComputeArrays = Callable[[list[EncodedExample]], list[Mapping[str, np.ndarray]]]


class ShardWriter:
    """One call of `xdistil.data.records.write_records`, where its arguments are described.

    Args:
        share: This worker's number and how many there are, see `write_share`.
    """

    def __init__(self, folder, key, shard_size, arrays, on_progress, share=(0, 1)):
        self.folder = folder
        self.arrays = arrays
        self.on_progress = on_progress
        self.worker, self.workers = share
        self.manifest = self._open_manifest(key, shard_size)

    def is_own(self, index: int) -> bool:
        """Whether a shard is this worker's."""
        return index % self.workers == self.worker

    def _open_manifest(self, key: str, shard_size: int) -> Manifest:
        atomic_files.make_folder(self.folder)
        found = known_shards(self.folder, key, shard_size)
        # The store's own manifest is that of one worker, or made when all shares are written.
        name = MANIFEST if self.workers == 1 else manifest_of_worker(self.worker)
        manifest = Manifest(self.folder, key, shard_size, name)
        whole = True
        for index, shard in found.shards.items() if found else ():
            # Those of others too: with another number of workers they may have been this one's.
            if not self.is_own(index) or not fault_of_shard(self.folder, shard, verify=True):
                manifest.add(shard)
            else:
                whole = False
        if found and whole:
            manifest.total = found.total
        # Also cuts off a last line that a kill or a full disk left half written.
        manifest.rewrite()
        return manifest

    def write(self, examples: Iterable[EncodedExample]) -> Manifest:
        manifest = self.manifest
        if manifest.total is None:
            manifest.total = self._write_missing(examples)
            manifest.rewrite()
            if self.workers == 1:  # what several began, one has finished
                _remove_shares(self.folder)
        elif self.on_progress:
            self.on_progress(manifest.total)
        return manifest

    def _write_missing(self, examples: Iterable[EncodedExample]) -> int:
        manifest, done = self.manifest, 0
        index = -1
        for index, chunk in enumerate(_chunks(examples, manifest.shard_size, self.is_own)):
            if isinstance(chunk, int):
                done += chunk
                continue
            kept = manifest.shards.get(index)
            if kept is None:
                self._write_shard(index, chunk)
            elif kept["tokens"] != _digest(map(_tokens_of, chunk)):
                raise InputError(
                    f"{self.folder}: shard {index} was written from other examples under the same "
                    "key; remove the folder and run again"
                )
            done += len(chunk)
            if self.on_progress:
                self.on_progress(done)
        if any(kept > index for kept in manifest.shards):
            raise InputError(
                f"{self.folder}: holds more shards than the {done} examples give; they were written"
                " from other examples under the same key: remove the folder and run again"
            )
        return done

    def _write_shard(self, index: int, chunk: list[EncodedExample]) -> None:
        arrays = self.arrays(chunk) if self.arrays else [{} for _ in chunk]
        specs = _array_specs(chunk, arrays)
        if self.manifest.shards and specs != self.manifest.arrays:
            raise ValueError(f"shard {index} has arrays {specs}, not {self.manifest.arrays}")
        columns = {TOKENS: [_tokens_of(example) for example in chunk]}
        for name in sorted(specs):
            columns[name] = [values[name] for values in arrays]
        files = {}
        for column, values in columns.items():
            name = file_name(index, column)
            files[name] = _write_file(self.folder / name, values)
        entry = {
            "shard": index,
            "examples": len(chunk),
            "lengths": np.bincount([len(example.token_ids) for example in chunk]).tolist(),
            "tokens": _digest(columns[TOKENS]),
            "arrays": {name: dataclasses.asdict(specs[name]) for name in sorted(specs)},
            "files": files,
        }
        self.manifest.append(entry)
        self.manifest.add(entry)


def known_shards(folder: AnyPath, key: str, shard_size: int) -> Manifest | None:
    """What the manifests of a folder know together, `total` where the store was finished.

    Raises:
        InputError: One has another key, or there are records and none has a key.
    """
    shards = sum(1 for _ in folder.glob("*.tfrecord"))
    names = manifests_in(folder)
    found = [manifest for name in names if (manifest := Manifest.read(folder, name))]
    if not found:
        _refuse_unknown_records(folder, shards)
        return None
    for one in found:
        if (one.key, one.shard_size) != (key, shard_size):
            raise InputError(
                f"{folder}: holds records of another key ({one.key[:12]}, {one.shard_size}"
                f" a shard; asked for: {key[:12]}, {shard_size}); remove it or take another folder"
            )
    known = Manifest(folder, key, shard_size)
    for one in found:
        for shard in one.shards.values():
            known.add(shard)
        if one.name == MANIFEST:
            known.total = one.total
    return known


def join_shares(folder: AnyPath, key: str, shard_size: int, workers: int) -> Manifest:
    """Makes the store's manifest of those of its shares, which are all written.

    Raises:
        InputError: A share is not there.
    """
    joined = Manifest(folder, key, shard_size)
    names = [manifest_of_worker(worker) for worker in range(workers)]
    for worker, name in enumerate(names):
        share = Manifest.read(folder, name)
        if share is None or share.total is None or share.key != key:
            raise InputError(
                f"{folder / name}: the share of worker {worker} is not there; run the same command "
                "again in all workers, with the run directory where all of them share it"
            )
        joined.total = share.total
        for index, shard in share.shards.items():
            if index % workers == worker:
                joined.add(shard)
    joined.rewrite()
    _remove_shares(folder)
    return joined


def _remove_shares(folder: AnyPath) -> None:
    for name in manifests_in(folder):
        if name != MANIFEST:
            (folder / name).unlink()


def _refuse_unknown_records(folder: AnyPath, shards: int) -> None:
    """Without the manifest's first line nobody can tell whose records these are."""
    manifest = folder / MANIFEST
    if manifest.exists() or shards:
        fault = "is damaged in its first line" if manifest.exists() else "is missing"
        raise InputError(
            f"{manifest}: {fault}, the key of the {shards} .tfrecord files beside it is lost; "
            f"restore it, or remove {folder} to have all of it written again"
        )


def _write_file(path: AnyPath, values: Iterable[np.ndarray]) -> dict:
    """Writes one array a record; returns the file's size and checksum."""
    try:
        with atomic_files.replacing(path) as partial:
            with tf.io.TFRecordWriter(str(partial)) as writer:
                for value in values:
                    writer.write(np.ascontiguousarray(value).tobytes())
            return {
                "bytes": partial.stat().st_size,
                "sha256": atomic_files.sha256_of_file(partial),
            }
    except tf.errors.OpError as error:  # TensorFlow's file system has errors of its own.
        raise atomic_files.storage_error(path, error.message) from error


def _tokens_of(example: EncodedExample) -> np.ndarray:
    rows = np.zeros((4, len(example.token_ids)), np.dtype("<i4"))
    rows[0] = example.token_ids
    if example.segment_ids is not None:
        rows[1] = example.segment_ids
    rows[2] = example.word_starts
    rows[3] = -1 if example.labels is None else example.labels
    return rows


def _array_specs(chunk, arrays) -> dict[str, ArraySpec]:
    if len(arrays) != len(chunk):
        raise ValueError(f"`arrays` returned {len(arrays)} items for {len(chunk)} examples")
    found: dict[str, ArraySpec] = {}
    for example, values in zip(chunk, arrays, strict=True):
        specs = {}
        for name, value in values.items():
            length = len(example.token_ids)
            if value.ndim not in (1, 2) or (value.ndim == 2 and len(value) != length):
                raise ValueError(
                    f"array `{name}` has shape {value.shape}; expected "
                    f"({length}, width) or (width,)"
                )
            specs[name] = ArraySpec(value.dtype.name, value.shape[-1], value.ndim == 2)
        found = found or specs
        if specs != found:
            raise ValueError(f"arrays differ within a shard: {specs} and {found}")
    return found


def _digest(rows: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.tobytes())
    return digest.hexdigest()


def _chunks(examples: Iterable[EncodedExample], size: int, wanted: Callable[[int], bool]):
    """The examples of each wanted shard, and how many there are in each of the others."""
    if hasattr(examples, "chunks"):
        yield from examples.chunks(size, wanted)
        return
    iterator = iter(examples)
    for index in itertools.count():
        chunk = list(itertools.islice(iterator, size))
        if not chunk:
            return
        yield chunk if wanted(index) else len(chunk)
