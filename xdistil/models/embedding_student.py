"""What the BiLSTM students share: from the teacher's ids to their rows, sizes and layer groups."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from xdistil.models.kept_pieces import KeptPieces
from xdistil.models.static_embedding import StaticEmbedding


class EmbeddingStudent(keras.Model):
    """Base of the students that read the teacher's ids, or words of their own, by an embedding.

    Makes and builds the embedding. What comes after it is the subclass's, which calls its layers
    `bilstm`, `dense` and `head`.

    Args:
        vocabulary_size: int. Rows of the embedding (after pruning).
        num_classes: int. Width of the logits.
        embedding_dim: int. Width of the embedding, of each channel where there are two.
        hidden_dim: int. Width of the BiLSTM's state of each direction.
        representation_dim: int. Width of the dense layer.
        dropout: float. Rate of each dropout.
        channels: int. 1: one embedding, which learns. 2: a second one beside it, side by side,
            which never learns; both begin with the rows that `set_embeddings` is given.
        kept_token_ids: optional sequence of `vocabulary_size` different token ids of the teacher:
            the i-th gets row i. `None`: token ids are rows.
        unknown_token_id: int. The teacher's id of its unknown piece; must be given with
            `kept_token_ids`, and be one of them.
        **kwargs: passed on to `keras.Model` (`name`, `dtype`).

    Raises:
        ValueError: `kept_token_ids` has another length than `vocabulary_size`, has an id twice or
            below 0, or lacks `unknown_token_id`; `channels` is neither 1 nor 2.
    """

    #: How many pairs of states, one a direction, the dense layer reads at once.
    summary_parts = 1

    def __init__(
        self,
        vocabulary_size: int,
        num_classes: int,
        *,
        embedding_dim: int,
        hidden_dim: int,
        representation_dim: int,
        dropout: float,
        channels: int = 1,
        kept_token_ids: Sequence[int] | None = None,
        unknown_token_id: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if channels not in (1, 2):
            raise ValueError(f"`channels` must be 1 or 2, received {channels!r}.")
        self.vocabulary_size = int(vocabulary_size)
        self.num_classes = int(num_classes)
        self.embedding_dim = int(embedding_dim)
        self.hidden_dim = int(hidden_dim)
        self.representation_dim = int(representation_dim)
        self.dropout = float(dropout)
        self.channels = int(channels)
        self.unknown_token_id = None if unknown_token_id is None else int(unknown_token_id)
        self._kept = None
        if kept_token_ids is not None:
            self._kept = KeptPieces(kept_token_ids, self.vocabulary_size, self.unknown_token_id)
        self._make_embeddings()

    def _make_embeddings(self) -> None:
        sizes = (self.vocabulary_size, self.embedding_dim)
        self.embedding = keras.layers.Embedding(*sizes, dtype=self.dtype_policy, name="embedding")
        self.embedding.build((None, None))
        self.static_embedding = None
        if self.channels == 2:
            self.static_embedding = StaticEmbedding(
                *sizes, dtype=self.dtype_policy, name="static_embedding"
            )
            self.static_embedding.build((None, None))

    def _make_head(self) -> keras.layers.Dense:
        policy = self.dtype_policy
        # The head decides: its sums are never in half precision.
        half = policy.compute_dtype in ("float16", "bfloat16")
        return keras.layers.Dense(
            self.num_classes, dtype="float32" if half else policy, name="head"
        )

    @property
    def embedding_layers(self) -> list[keras.layers.Layer]:
        """The embedding that learns, and the static one where there is one."""
        layers = [self.embedding, self.static_embedding]
        return [layer for layer in layers if layer is not None]

    @property
    def embedded_dim(self) -> int:
        """Width of what `embed` gives: of all channels together."""
        return self.channels * self.embedding_dim

    def embed(self, token_ids):
        """The embeddings of token ids, `(batch_size, length, embedded_dim)`."""
        rows = self._embedding_rows(tf.convert_to_tensor(token_ids))
        channels = [layer(rows) for layer in self.embedding_layers]
        return channels[0] if len(channels) == 1 else tf.concat(channels, axis=-1)

    def _embedding_rows(self, token_ids):
        return token_ids if self._kept is None else self._kept.rows(token_ids)

    @property
    def layer_groups(self) -> dict[str, list[keras.layers.Layer]]:
        """Layers that learn together under gradual unfreezing, bottom to top."""
        return {
            "embedding": self.embedding_layers,
            "bilstm": [self.bilstm],
            "dense": [self.dense],
            "head": [self.head],
        }

    @classmethod
    def expected_parameters(
        cls,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        representation_dim: int,
        num_classes: int,
        channels: int = 1,
    ) -> int:
        """Number of parameters of a student: embeddings, BiLSTM, dense layer and head."""
        return (
            channels * vocabulary_size * embedding_dim
            + 8 * hidden_dim * (channels * embedding_dim + hidden_dim + 1)
            + (2 * hidden_dim * cls.summary_parts + 1) * representation_dim
            + (representation_dim + 1) * num_classes
        )

    @property
    def kept_token_ids(self) -> np.ndarray | None:
        """The teacher's token id of each embedding row, int32; `None` when nothing was pruned."""
        return None if self._kept is None else self._kept.token_ids.copy()

    @property
    def row_of_token(self) -> np.ndarray | None:
        """The embedding row of each token id, see `KeptPieces`; `None` when nothing was pruned."""
        return None if self._kept is None else self._kept.row_of_token

    def set_embeddings(self, matrix: np.ndarray) -> None:
        """Take over embedding rows, such as those of `compress_embeddings`, in every channel.

        Args:
            matrix: array of shape `(vocabulary_size, embedding_dim)`.

        Raises:
            ValueError: `matrix` has another shape.
        """
        expected = (self.vocabulary_size, self.embedding_dim)
        if tuple(matrix.shape) != expected:
            raise ValueError(
                f"`matrix` must be of shape {expected}, received shape {tuple(matrix.shape)}."
            )
        for layer in self.embedding_layers:
            layer.embeddings.assign(matrix)

    def get_config(self) -> dict:
        kept = self.kept_token_ids
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "representation_dim": self.representation_dim,
            "dropout": self.dropout,
            "channels": self.channels,
            "kept_token_ids": None if kept is None else kept.tolist(),
            "unknown_token_id": self.unknown_token_id,
        }
