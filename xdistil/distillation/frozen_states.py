"""What frozen layers give, computed once for a stage instead of once a step."""

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.data.examples import EncodedExample
from xdistil.data.record_batches import iterate_examples
from xdistil.data.records import RecordStore, write_records
from xdistil.distillation.stages import Stage
from xdistil.distillation.targets import fingerprint
from xdistil.models.bilstm import BiLSTMStudent
from xdistil.models.bilstm_text import BiLSTMTextStudent
from xdistil.models.inference import BatchedInference

logger = logging.getLogger("xdistil")
#: The array of the stores, and the feature that `UpperLayers` reads.
FROZEN = "frozen_states"
_UPPER = frozenset(("dense", "head"))


class UpperLayers(keras.Model):
    """The layers of a BiLSTM student that read its recurrence; they are the student's own.

    Args:
        student: The student.

    Call arguments:
        features: dict with `frozen_states`: what the student's `states_below` gives.
        training: Whether dropout is active.

    Returns:
        dict: `logits` and `representation`, as the student gives them.
    """

    def __init__(self, student: BiLSTMStudent | BiLSTMTextStudent):
        super().__init__(dtype=student.dtype_policy, name="upper_layers")
        self.student = student
        self.built = True

    def call(self, features, training=False):
        states = tf.cast(features[FROZEN], self.compute_dtype)
        representation, logits = self.student.classify(states, training=training)
        return {"logits": logits, "representation": representation}


@dataclasses.dataclass(frozen=True)
class FrozenStates:
    """Stores of what the frozen layers of a student give, beside what a stage reads of a teacher.

    A stage that trains the dense layer or the head alone reads nothing else of the student, so its
    steps need neither the embeddings nor the recurrence. Dropout below the frozen layers, which
    would make them noisy, falls away; values are kept in float16.

    Args:
        student: Whose layers are frozen.
        stage: What is trained above them.
        folder: Where the stores lie while the stage runs.
        lengths: Bucket lengths.
    """

    student: keras.Model
    stage: Stage
    folder: Path
    lengths: Sequence[int]

    @classmethod
    def of_stage(
        cls, student: keras.Model, stage: Stage, folder: Path, data: Any, most_bytes: int
    ) -> "FrozenStates | None":
        """For a stage that reads its text several times, above layers that do not learn; else None.

        Args:
            student: The student.
            stage: The stage.
            folder: Where its stores will lie.
            data: The `StageData` that it reads.
            most_bytes: That the states may take on the disk.
        """
        if not isinstance(student, BiLSTMStudent | BiLSTMTextStudent) or stage.epochs < 2:
            return None
        if not stage.trainable or not set(stage.trainable) <= _UPPER:
            return None
        frozen = cls(student, stage, folder, data.lengths)
        return frozen if sum(map(frozen._bytes, data.train)) <= most_bytes else None

    def _bytes(self, store: RecordStore) -> int:
        if isinstance(self.student, BiLSTMTextStudent):
            return 2 * self.student.summary_dim * store.examples
        positions = int(np.dot(store.length_histogram, np.arange(len(store.length_histogram))))
        return 2 * 2 * self.student.hidden_dim * positions

    def data(self, data: Any) -> Any:
        """The same `StageData`, from stores with the arrays of the stage and the states.

        Finished shards are kept, so a call after a kill goes on.
        """
        logger.info("%s: what the frozen layers give is computed once", self.stage.name)
        weights = self._fingerprint()
        train, dev = (
            [self._store(store, weights) for store in stores]
            for stores in (data.train, data.dev if self.stage.monitor == "loss" else ())
        )
        return dataclasses.replace(data, train=train, dev=dev or data.dev)

    def _store(self, store: RecordStore, weights: str) -> RecordStore:
        arrays = self.stage.teacher_outputs
        run = BatchedInference(
            lambda features, training: {FROZEN: self.student.states_below(features)},
            self.lengths,
            lambda outputs: {FROZEN: tf.cast(outputs[FROZEN], tf.float16)},
        )
        return write_records(
            self.folder / f"{store.folder.parent.name}-{store.folder.name}",
            _examples(store, arrays),
            key=fingerprint(FROZEN, store.key, list(arrays), weights),
            # The order of an epoch depends on how the examples are dealt out.
            shard_size=max((shard["examples"] for shard in store.shards), default=1),
            arrays=lambda chunk: [
                {**example.arrays, **found}
                for example, found in zip(chunk, run.run(chunk), strict=True)
            ],
        )

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, layers in self.student.layer_groups.items():
            if name not in _UPPER:
                for layer in layers:
                    for weight in layer.get_weights():
                        digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()


@dataclasses.dataclass(slots=True)
class _WithArrays(EncodedExample):
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def _examples(store: RecordStore, arrays: Sequence[str]) -> Iterator[_WithArrays]:
    for (token_ids, segment_ids, word_starts, labels), found in iterate_examples(store, arrays):
        positions = np.flatnonzero(word_starts).astype(np.int32)
        starts = word_starts.astype(np.uint8)
        yield _WithArrays(token_ids, starts, positions, labels, segment_ids, arrays=found)


def as_features(features: dict[str, Any], targets: dict[str, Any]) -> tuple[Any, Any]:
    """A batch of these stores, its states among the features."""
    targets = dict(targets)
    return {**features, FROZEN: targets.pop(FROZEN)}, targets
