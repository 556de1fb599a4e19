"""Teacher targets: the teacher runs over the text once, and what it said stays on the disk."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.data import atomic_files
from xdistil.data.examples import EncodedExample
from xdistil.data.paths import AnyPath, as_path
from xdistil.data.records import (
    HIDDEN,
    RecordStore,
    joined_shares,
    write_records,
    write_share,
)
from xdistil.distillation.losses import ATTENTIONS, CLS
from xdistil.distillation.workers import Workers
from xdistil.errors import InputError
from xdistil.models.inference import BatchedInference

TEACHER_RUNS = "teacher_runs.json"
_FORMAT = "teacher targets 2"
_FLOAT16_MAX = 65504.0
_CLIPPED, _BROKEN = "clipped ", "broken "
# Counts of several workers are added up, but for the examples of the store.
_ADDED_UP = ("examples_kept", "examples_run", "clipped")


def compute_targets(
    folder: str | os.PathLike,
    examples: Iterable[EncodedExample],
    *,
    teacher: keras.Model,
    text: str,
    outputs: Sequence[str] = ("logits",),
    lengths: Sequence[int],
    token_budget: int = 8192,
    shard_size: int = 2048,
    jit_compile: bool = False,
    pad_to_bucket: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> RecordStore:
    """Runs the teacher over `examples` and keeps its outputs at float16, real positions only.

    Within a shard the examples are sorted by length into batches (by XLA: of one static shape a
    bucket); what is stored does not depend on that. Called again it goes on after the last whole
    shard; called on a finished store it runs nothing. `TeacherRuns.read(folder)` says how often
    the teacher ran.

    In the scope of a strategy of several workers, who all call this, each computes and writes its
    share of the shards.

    Args:
        folder: Where the targets lie or will lie.
        examples: Encoded examples, the same ones in the same order at each call.
        teacher: Called as `teacher(features, training=False)`; returns a dict with `logits`
            `(batch, length, classes)` or `(batch, classes)`, `hidden_states`, a tuple of
            `(batch, length, dim)`, and for whole texts `pooled_output`, `(batch, dim)`.
        text: Fingerprint of the examples: of the files and the encoder that they come from
            (`fingerprint`), or of the examples themselves (`examples_fingerprint`).
        outputs: Names of what to keep: `logits`, `pooled_output`, `hidden_states_<index>` for the
            layers, `cls_states_<index>` for their first position alone. Examples that have a
            `teacher` view are read by the teacher in that view.
        lengths: Bucket lengths, ascending; the last one at least the longest example.
        token_budget: Positions in a batch, padding included.
        shard_size: Examples a shard.
        jit_compile: Compile the teacher's forward pass with XLA, once for each bucket.
        pad_to_bucket: Pad a batch to the length of its bucket also without XLA.
        on_progress: Called with the number of examples done, after each shard.

    Raises:
        InputError: The folder holds targets of another teacher, text or settings; an example is
            longer than every bucket; the teacher gives NaN.
        StorageError: The disk is full. What was written before stays good.
    """
    outputs = tuple(sorted(set(outputs)))
    if not outputs:
        raise ValueError("nothing to compute: no `outputs`")
    if ATTENTIONS in outputs:
        raise ValueError("attention maps are not kept: the teacher has to run in each step")
    key = targets_key(teacher, text, outputs)
    workers = Workers.current()
    runs = _Recorder(atomic_files.make_folder(folder), on_progress, workers)
    forward = _TeacherPass(teacher, outputs, lengths, token_budget, jit_compile, pad_to_bucket)

    def arrays_of_shard(chunk: list[EncodedExample]) -> list[dict[str, np.ndarray]]:
        runs.start(len(chunk))
        return forward.run(chunk, runs)

    options = {"key": key, "shard_size": shard_size}
    work = {"arrays": arrays_of_shard, "on_progress": runs.progress}
    if workers.count == 1:
        store = write_records(folder, examples, **options, **work)
    else:
        share = {"worker": workers.index, "workers": workers.count}
        write_share(folder, examples, **options, **work, **share)
        workers.wait()
        workers.in_chief(lambda: joined_shares(folder, workers=workers.count, **options))
        store = open_shared(folder, workers)
    runs.finish(store.examples)
    return store


def open_shared(folder: str | os.PathLike, workers: Workers) -> RecordStore:
    """Opens a store that the chief has just finished.

    Raises:
        InputError: It is not there; the folder is none that all workers share.
    """

    def is_there() -> bool:
        try:
            RecordStore.open(folder, verify=False)
        except InputError:
            return False
        return True

    workers.wait_for(is_there, os.fspath(folder))
    return RecordStore.open(folder, verify=False)


@dataclasses.dataclass
class TeacherRuns:
    """How often the teacher ran for a folder of targets, over all calls.

    Args:
        examples: Examples in the store.
        examples_kept: Examples whose outputs were written: `examples` once, and again for each
            shard that was damaged later.
        examples_run: Examples that the teacher was started on: also those of a shard that a kill
            took before it was written.
        clipped: Values outside the range of float16, set to its limits.
    """

    examples: int = 0
    examples_kept: int = 0
    examples_run: int = 0
    clipped: int = 0

    @property
    def teacher_passes(self) -> float:
        """Times that the teacher's outputs were computed for the text: 1 unless something broke."""
        return self.examples_kept / self.examples if self.examples else 0.0

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "TeacherRuns":
        """Reads the counts of a folder, those of all workers together; all zero where there are
        none (or only damaged ones)."""
        names = (TEACHER_RUNS, f"worker-*.{TEACHER_RUNS}")
        files = (path for name in names for path in sorted(as_path(folder).glob(name)))
        found = [cls._of_file(path) for path in files]
        return cls(
            max((runs.examples for runs in found), default=0),
            *(sum(getattr(runs, name) for runs in found) for name in _ADDED_UP),
        )

    @classmethod
    def _of_file(cls, path: AnyPath) -> "TeacherRuns":
        try:
            return cls(**atomic_files.read_json(path))
        except (InputError, TypeError):
            return cls()


def fingerprint(*parts: object) -> str:
    """SHA-256 of the parts as JSON (strings, numbers, lists, dicts of them)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()


def targets_key(teacher: keras.Model, text: str, outputs: Sequence[str]) -> str:
    """Fingerprint of all that decides the targets: teacher, text and what is kept."""
    settings = {"outputs": sorted(outputs), "policy": teacher.dtype_policy.name}
    return fingerprint(_FORMAT, teacher_fingerprint(teacher), text, settings)


def teacher_fingerprint(model: keras.Model) -> str:
    """SHA-256 over shape, dtype and bytes of the model's weights, in their order.

    Names are left out, since Keras numbers them differently in each process.
    """
    digest = hashlib.sha256()
    for variable in model.weights:
        array = np.asarray(keras.ops.convert_to_numpy(variable.value), order="C")
        digest.update(f"{array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def examples_fingerprint(examples: Iterable[EncodedExample]) -> str:
    """SHA-256 over all that a store keeps of the examples; reads them through once."""
    digest = hashlib.sha256()
    for example in examples:
        fields = (example.token_ids, example.segment_ids, example.word_starts, example.labels)
        for field in fields:
            values = b"-" if field is None else np.asarray(field, "<i4").tobytes()
            digest.update(len(values).to_bytes(4, "little") + values)
    return digest.hexdigest()


class _Recorder:
    """Keeps `TeacherRuns` on the disk while the teacher works."""

    def __init__(
        self,
        folder: AnyPath,
        on_progress: Callable[[int], None] | None,
        workers: Workers,
    ):
        # A file of its own for each of several workers: nobody waits for another.
        self.alone = workers.count == 1
        name = TEACHER_RUNS if self.alone else f"worker-{workers.index}.{TEACHER_RUNS}"
        self.path = folder / name
        # Its own alone: where several workers began, their files are added up beside it.
        self.counts = TeacherRuns._of_file(self.path)
        self.on_progress = on_progress
        self.in_flight = 0
        self.clipped = 0

    def start(self, examples: int) -> None:
        # Written before the work: a kill cannot hide that the teacher ran.
        self.in_flight = examples
        self.counts.examples_run += examples
        self._write()

    def progress(self, done: int) -> None:
        if self.in_flight:
            self.counts.examples_kept += self.in_flight
            self.counts.clipped += self.clipped
            self.in_flight = self.clipped = 0
            self._write()
        if self.on_progress:
            self.on_progress(done)

    def finish(self, examples: int) -> None:
        # A kill between a shard's last byte and its count leaves the count short by that shard.
        kept = self.counts.examples_kept
        if self.alone:
            others = TeacherRuns.read(self.path.parent).examples_kept - kept
            kept = max(kept, examples - others)
        if (self.counts.examples, self.counts.examples_kept) != (examples, kept):
            self.counts.examples, self.counts.examples_kept = examples, kept
            self._write()

    def _write(self) -> None:
        atomic_files.write_json(self.path, dataclasses.asdict(self.counts), checked=True)


class _TeacherPass:
    """The teacher's forward pass over a list of examples."""

    def __init__(self, teacher, outputs, lengths, token_budget, jit_compile, pad_to_bucket):
        self.outputs = outputs
        self.inference = BatchedInference(
            teacher,
            lengths,
            self._select,
            token_budget,
            jit_compile=jit_compile,
            pad_to_bucket=pad_to_bucket,
        )

    def _select(self, found: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        kept = {name: named_output(found, name) for name in self.outputs}
        selected = {}
        for name, x in kept.items():
            limited = tf.clip_by_value(x, -_FLOAT16_MAX, _FLOAT16_MAX)
            selected[name] = tf.cast(limited, tf.float16)
            selected[_CLIPPED + name] = _count(tf.abs(x) > _FLOAT16_MAX)
            selected[_BROKEN + name] = _count(tf.math.is_nan(x))
        return selected

    def run(self, chunk: list[EncodedExample], runs: _Recorder) -> list[dict[str, np.ndarray]]:
        found = self.inference.run([example.teacher or example for example in chunk])
        broken = self._total(found, _BROKEN)
        if broken:
            raise InputError(
                f"the teacher gives NaN at {broken} values; check its weights and its precision"
            )
        runs.clipped += self._total(found, _CLIPPED)
        return found

    def _total(self, found: list[dict[str, np.ndarray]], what: str) -> int:
        """Takes the counts out and adds them up."""
        return sum(int(values.pop(what + name).sum()) for values in found for name in self.outputs)


def named_output(outputs: Mapping[str, Any], name: str) -> Any:
    """An output of a teacher by its name in the records: `hidden_states_6`, `cls_states_6` (its
    first position alone, for whole texts), `logits`."""
    if name.startswith(CLS):
        return outputs["hidden_states"][int(name.removeprefix(CLS))][:, 0]
    if name.startswith(HIDDEN):
        return outputs["hidden_states"][int(name.removeprefix(HIDDEN))]
    return outputs[name]


def _count(condition: tf.Tensor) -> tf.Tensor:
    """How many values of each position (or text) fulfil the condition: int32, last axis 1."""
    return tf.reduce_sum(tf.cast(condition, tf.int32), axis=-1, keepdims=True)
