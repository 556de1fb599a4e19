"""Which of the teacher's word pieces a student has embedding rows for."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class KeptPieces:
    """From the teacher's token ids to the rows of a pruned embedding: a table, no weight.

    Args:
        token_ids: sequence of `vocabulary_size` different token ids of the teacher: the i-th gets
            row i.
        vocabulary_size: int. Rows of the embedding.
        unknown_token_id: int. The teacher's id of its unknown piece, whose row all pieces without
            one share; must be kept. None is refused.

    Raises:
        ValueError: `token_ids` are not that many, have an id twice or below 0, or lack
            `unknown_token_id`, which must be given.

    Attributes:
        row_of_token: int32, the embedding row of every token id up to one past the last kept, which
            stands for all beyond.

    Example:

    ```python
    kept = KeptPieces([0, 100, 101, 2054], vocabulary_size=4, unknown_token_id=100)
    kept.rows([[101, 2054, 999]])  # [[2, 3, 1]]
    ```
    """

    def __init__(
        self, token_ids: Sequence[int], vocabulary_size: int, unknown_token_id: int | None
    ):
        # No default would do: 0 is the padding piece of most.
        if unknown_token_id is None:
            raise ValueError("`kept_token_ids` need `unknown_token_id`, received None.")
        self.token_ids = np.asarray(token_ids, dtype="int32")
        self.row_of_token = _row_table(self.token_ids, vocabulary_size, unknown_token_id)

    def rows(self, token_ids) -> tf.Tensor:
        """The embedding row of each token id, of the same shape."""
        last = self.row_of_token.size - 1  # beyond the last kept id: the unknown piece
        token_ids = tf.convert_to_tensor(token_ids)
        return tf.gather(tf.constant(self.row_of_token), tf.clip_by_value(token_ids, 0, last))


def _row_table(kept: np.ndarray, vocabulary_size: int, unknown_token_id: int) -> np.ndarray:
    """Embedding row of every token id up to one past the last kept, which stands for the rest."""
    if kept.shape != (vocabulary_size,):
        raise ValueError(
            f"`kept_token_ids` must be a list of `vocabulary_size` = {vocabulary_size} ids, "
            f"received shape {kept.shape}."
        )
    if kept.min() < 0 or np.unique(kept).size != kept.size:
        raise ValueError("`kept_token_ids` must be different ids of 0 and above.")
    rows = np.flatnonzero(kept == unknown_token_id)
    if not rows.size:
        raise ValueError(
            f"`unknown_token_id` must be one of `kept_token_ids`, received {unknown_token_id}."
        )
    table = np.full(kept.max() + 2, rows[0], dtype="int32")
    table[kept] = np.arange(kept.size, dtype="int32")
    return table
