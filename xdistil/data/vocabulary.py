"""The pieces that a student keeps of its teacher's vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from xdistil.data.examples import EncodedExample


class PrunedVocabulary:
    """Teacher ids that a student keeps, in ascending order: the i-th gets its embedding row i.

    Pieces that are dropped become the student's unknown token. Teacher and student read the same
    `token_ids`; the student looks its own rows up, see `BiLSTMStudent`.

    Args:
        kept_ids: the teacher ids that are kept, each once; sorted here.
        size: int, size of the teacher's vocabulary.
        unk_id: int, teacher id of the unknown token; it must be kept.

    Raises:
        ValueError: an id out of range or given twice, or `unk_id` not kept.

    Example:

    ```python
    counts = PrunedVocabulary.count(examples, encoder.vocabulary_size)
    vocabulary = PrunedVocabulary.from_counts(
        counts, special_ids=encoder.special_ids, unk_id=encoder.unk_id
    )
    student = BiLSTMStudent(
        len(vocabulary), num_classes,
        kept_token_ids=vocabulary.kept_ids, unknown_token_id=vocabulary.unk_id,
    )
    ```
    """

    def __init__(self, kept_ids: Iterable[int], size: int, unk_id: int):
        kept = np.sort(np.asarray(list(kept_ids), np.int32))
        if not len(kept) or kept[0] < 0 or kept[-1] >= size or (np.diff(kept) == 0).any():
            raise ValueError(
                f"`kept_ids` must hold different ids from 0 to {size - 1}, received {kept}"
            )
        if unk_id not in kept:
            raise ValueError(f"`unk_id` must be one of `kept_ids`, received {unk_id}")
        self.kept_ids: np.ndarray = kept
        self.unk_id = int(unk_id)
        self.size = int(size)
        self.kept_ids.flags.writeable = False

    @staticmethod
    def count(examples: Iterable[EncodedExample], size: int) -> np.ndarray:
        """How often each piece occurs, int64 `(size,)`.

        Args:
            examples: train and transfer text; read once, in flat memory.
            size: int, size of the teacher's vocabulary.
        """
        counts = np.zeros(size, np.int64)
        for example in examples:
            np.add.at(counts, example.token_ids, 1)
        return counts

    @classmethod
    def from_counts(
        cls,
        counts: np.ndarray,
        *,
        special_ids: Sequence[int],
        unk_id: int,
        min_count: int = 1,
    ) -> PrunedVocabulary:
        """Keeps the pieces seen at least `min_count` times, and the special tokens.

        Args:
            counts: `(size of the teacher's vocabulary,)`, from `count`.
            special_ids: teacher ids that are kept whether seen or not.
            unk_id: int, teacher id of the unknown token.
            min_count: int. Raise it for a smaller student that knows fewer rare pieces.
        """
        counts = np.asarray(counts)
        kept = set(np.flatnonzero(counts >= max(min_count, 1)).tolist())
        return cls(kept.union(map(int, special_ids), [int(unk_id)]), len(counts), unk_id)

    def __len__(self) -> int:
        """Pieces of the student."""
        return len(self.kept_ids)

    def __repr__(self) -> str:
        return f"PrunedVocabulary({len(self)} of {self.size} pieces)"
