"""What frozen layers give, computed once for a stage instead of once a step."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.data.atomic_files import read_json, write_json
from xdistil.data.paths import AnyPath, free_bytes, remove_tree
from xdistil.data.record_batches import iterate_examples
from xdistil.data.records import RecordStore, write_records
from xdistil.distillation.losses import DistillationLoss
from xdistil.distillation.targets import fingerprint
from xdistil.errors import InputError, StorageError
from xdistil.models.inference import BatchedInference

logger = logging.getLogger("xdistil")
#: The array of the stores, and the feature that `UpperLayers` reads.
FROZEN = "frozen_states"
# What `UpperLayers` gives.
_OUTPUTS = frozenset(("logits", "representation"))
# Of the room that is left on the disk, for what can be computed again.
_SHARE_OF_DISK = 0.25


class UpperLayers(keras.Model):
    """A student whose layers below `groups_above` are frozen; they are the student's own layers.

    What is frozen runs as in inference, without dropout, and gives its states in float16: so the
    same numbers come out whether they are computed in the step or come with the batch.

    Args:
        student: A student with `groups_above`, `states_below`, `states_shape` and `classify`.

    Call arguments:
        features: those of the student; or, in place of all of them, `frozen_states`: what
            `states_below` gave.
        training: Whether dropout of the layers above is active.

    Returns:
        dict: `logits` and `representation`, as the student gives them.
    """

    def __init__(self, student: keras.Model):
        super().__init__(dtype=student.dtype_policy, name="upper_layers")
        self.student = student
        self.built = True

    def call(self, features, training=False):
        states = features.get(FROZEN)
        if states is None:
            states = frozen_states(self.student, features)
        states = tf.cast(states, self.compute_dtype)
        representation, logits = self.student.classify(states, training=training)
        return {"logits": logits, "representation": representation}


def frozen_states(student: keras.Model, features: dict[str, Any]) -> tf.Tensor:
    """What the layers below `groups_above` give, float16."""
    return tf.cast(tf.stop_gradient(student.states_below(features)), tf.float16)


def trains_upper_layers(
    student: keras.Model, trainable: Sequence[str] | None, losses: Sequence[DistillationLoss]
) -> bool:
    """Whether a stage trains layers above frozen ones alone, and reads nothing of those.

    Args:
        student: The student.
        trainable: Layer groups that learn; `None` = all.
        losses: The stage's terms.
    """
    above = set(getattr(student, "groups_above", ()))
    read = all(set(loss.student_outputs or ("?",)) <= _OUTPUTS for loss in losses)
    return bool(trainable) and set(trainable) <= above and read


class FrozenStates:
    """A student's frozen states on the disk, for the examples of stores that a stage reads.

    They are there for speed alone. Where they cannot be kept (too little room, a full disk) the
    frozen layers run in each step, which gives the same but for rounding; what lies there of other
    weights or other text, or is damaged, is thrown away.

    Args:
        student: Whose layers are frozen, as they are now.
        folder: Where the stores lie. Those of the same weights and text are taken over.
        lengths: Bucket lengths.
        record: A file that keeps whether there was room: a call that goes on does the same.
    """

    def __init__(
        self,
        student: keras.Model,
        folder: AnyPath,
        lengths: Sequence[int],
        record: AnyPath | None = None,
    ):
        self.folder = folder
        self._record = record
        self._weights = _fingerprint_below(student)
        self._run = BatchedInference(
            lambda features, training: {FROZEN: frozen_states(student, features)},
            lengths,
            lambda outputs: outputs,
        )
        self._shape = student.states_shape

    def beside(self, stores: Sequence[RecordStore]) -> list[RecordStore]:
        """The stores with an array `frozen_states`, or as they are where it cannot be kept."""
        self._remove_others(stores)
        keeps = None if self._record is None else read_json(self._record)
        if keeps is None:
            room = free_bytes(self.folder)
            keeps = room is None or sum(map(self._bytes, stores)) <= _SHARE_OF_DISK * room
            self._note(keeps)
        if not keeps:
            logger.warning(
                "too little room on the disk to keep what frozen layers give: they run in each "
                "step, which is slower and rounds otherwise"
            )
            return list(stores)
        try:
            return [store.beside(self._kept(store)) for store in stores]
        except StorageError as error:
            logger.warning("what frozen layers give is not kept, they run in each step: %s", error)
            remove_tree(self.folder, ignore_errors=True)
            self._note(False)
            return list(stores)

    def _note(self, keeps: bool) -> None:
        if self._record is not None:
            write_json(self._record, keeps)

    def _remove_others(self, stores: Sequence[RecordStore]) -> None:
        names = {self._key(store) for store in stores}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in names:
                remove_tree(path, ignore_errors=True)

    def _kept(self, store: RecordStore) -> RecordStore:
        try:
            return self._write(store)
        except InputError:  # what lies there is damaged beyond repair
            remove_tree(self.folder / self._key(store), ignore_errors=True)
            return self._write(store)

    def _write(self, store: RecordStore) -> RecordStore:
        return write_records(
            self.folder / self._key(store),
            iterate_examples(store),
            key=self._key(store),
            shard_size=max((shard["examples"] for shard in store.shards), default=1),
            arrays=self._run.run,
        )

    def _key(self, store: RecordStore) -> str:
        shards = [(shard["shard"], shard["tokens"]) for shard in store.shards]
        return fingerprint(FROZEN, self._weights, shards)

    def _bytes(self, store: RecordStore) -> int:
        rows = store.examples
        if self._shape[0] is None:
            rows = int(np.dot(store.length_histogram, np.arange(len(store.length_histogram))))
        return np.dtype(np.float16).itemsize * self._shape[-1] * rows


def as_features(features: dict[str, Any], targets: dict[str, Any]) -> tuple[Any, Any]:
    """A batch of stores with `frozen_states`, these among the features."""
    targets = dict(targets)
    return {**features, FROZEN: targets.pop(FROZEN)}, targets


def _fingerprint_below(student: keras.Model) -> str:
    digest = hashlib.sha256(student.dtype_policy.name.encode())
    for name, layers in student.layer_groups.items():
        if name not in student.groups_above:
            for layer in layers:
                for weight in layer.get_weights():
                    digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
