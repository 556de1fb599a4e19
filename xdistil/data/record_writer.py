"""Writes a record store one shard at a time, and goes on where a killed process stopped."""

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from xdistil.data import atomic_files
from xdistil.data.examples import EncodedExample
from xdistil.data.record_manifest import (
    MANIFEST,
    TOKENS,
    ArraySpec,
    Manifest,
    fault_of_shard,
    file_name,
)
from xdistil.errors import InputError

ComputeArrays = Callable[[list[EncodedExample]], list[Mapping[str, np.ndarray]]]


class ShardWriter:
    """One call of `xdistil.data.records.write_records`, where its arguments are described."""

    def __init__(self, folder, key, shard_size, arrays, on_progress):
        self.folder = folder
        self.arrays = arrays
        self.on_progress = on_progress
        self.manifest = self._open_manifest(key, shard_size)

    def _open_manifest(self, key: str, shard_size: int) -> Manifest:
        atomic_files.make_folder(self.folder)
        found = Manifest.read(self.folder)
        if found is None:
            _refuse_unknown_records(self.folder)
        elif (found.key, found.shard_size) != (key, shard_size):
            raise InputError(
                f"{self.folder}: holds records of another key ({found.key[:12]}, {found.shard_size}"
                f" a shard; asked for: {key[:12]}, {shard_size}); remove it or take another folder"
            )
        manifest = found or Manifest(self.folder, key, shard_size)
        for index, shard in list(manifest.shards.items()):
            if fault_of_shard(self.folder, shard, verify=True):
                del manifest.shards[index]
                manifest.total = None
        # Also cuts off a last line that a kill or a full disk left half written.
        manifest.rewrite()
        return manifest

    def write(self, examples: Iterable[EncodedExample]) -> Manifest:
        manifest = self.manifest
        if manifest.total is None:
            manifest.total = self._write_missing(examples)
            manifest.rewrite()
        elif self.on_progress:
            self.on_progress(manifest.total)
        return manifest

    def _write_missing(self, examples: Iterable[EncodedExample]) -> int:
        manifest, done = self.manifest, 0
        shards = _chunks(examples, manifest.shard_size)
        index = -1
        for index, chunk in enumerate(shards):
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


def _refuse_unknown_records(folder: pathlib.Path) -> None:
    """Without the manifest's first line nobody can tell whose records these are."""
    manifest = folder / MANIFEST
    shards = sum(1 for _ in folder.glob("*.tfrecord"))
    if manifest.exists() or shards:
        fault = "is damaged in its first line" if manifest.exists() else "is missing"
        raise InputError(
            f"{manifest}: {fault}, the key of the {shards} .tfrecord files beside it is lost; "
            f"restore it, or remove {folder} to have all of it written again"
        )


def _write_file(path: pathlib.Path, values: Iterable[np.ndarray]) -> dict:
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


def _chunks(examples: Iterable[EncodedExample], size: int):
    iterator = iter(examples)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
