"""The siamese BiLSTM student of pairs of texts."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from xdistil.models.bilstm_text import BiLSTMTextStudent
from xdistil.models.pooling import pool


@keras.saving.register_keras_serializable(package="xdistil")
class SiameseBiLSTMStudent(BiLSTMTextStudent):
    """A classifier of pairs whose BiLSTM reads each text alone, with the same weights.

    The two encodings h1 and h2 are put together as [h1, h2, h1 * h2, |h1 - h2|], which goes
    through dropout, a dense layer (the `representation`) and the head.

    It reads a pair as its teacher does, in one row: `[CLS] first [SEP] second [SEP]`. The BiLSTM
    runs over the row once; its state is emptied at [CLS] and [SEP] (`boundary_token_ids`), so
    that neither text leaves a trace in the other, and every encoding is exactly that of the text
    alone. Which position belongs to which text, `segment_ids` tell.

    Args:
        vocabulary_size: int. Rows of the embedding (after pruning).
        num_classes: int. Classes, the width of the logits.
        boundary_token_ids: sequence of the token ids that stand before, between and after the two
            texts, `(cls, sep)`. At least one: the [SEP] between them.
        embedding_dim: int. Width of the embedding, of each channel where there are two.
        hidden_dim: int. Width of the BiLSTM's state of each direction.
        representation_dim: int. Width of the dense layer.
        dropout: float. Rate of both dropouts; 0 in the paper's recipe.
        pooling: str. `"last"`: the last forward and backward states of each text. `"max"`: the
            largest value of each feature over its positions.
        activation: str. Of the dense layer, see `BiLSTMTextStudent`.
        channels: int. 1: one embedding, which learns. 2: a static one beside it, for word vectors.
        kept_token_ids: optional sequence of `vocabulary_size` different token ids of the teacher:
            the i-th gets row i. `None`: token ids are rows.
        unknown_token_id: int. The teacher's id of its unknown piece; must be given with
            `kept_token_ids`, and be one of them.
        **kwargs: passed on to `keras.Model` (`name`, `dtype`).

    Call arguments:
        features: dict of int32 tensors `(batch_size, length)`: `token_ids`, `padding_mask` (1 =
            real, right-padded), and `segment_ids` (0 = first text, 1 = second). Other keys are
            ignored.
        training: bool. Whether dropout is active.

    Returns:
        dict: `logits` `(batch_size, num_classes)`, float32 or wider; `hidden_states`, a tuple of
        the embeddings `(batch_size, length, channels * embedding_dim)` and the BiLSTM's states
        `(batch_size, length, 2 * hidden_dim)`; `representation` `(batch_size, representation_dim)`.

    Raises:
        ValueError: no boundary, an unknown pooling or activation, a number of channels other than
            1 or 2, or `kept_token_ids` that do not fit.

    Example:

    ```python
    student = SiameseBiLSTMStudent(1000, 3, boundary_token_ids=(2, 3), embedding_dim=8)
    features = {
        "token_ids": [[2, 54, 17, 3, 54, 3]],
        "segment_ids": [[0, 0, 0, 0, 1, 1]],
        "padding_mask": [[1, 1, 1, 1, 1, 1]],
    }
    features = {name: np.array(rows, "int32") for name, rows in features.items()}
    student(features)["logits"].shape  # (1, 3)
    ```

    Reference:
        - [Tang et al., 2019](https://arxiv.org/abs/1903.12136)
    """

    # The states of both texts, their product, and their distance.
    summary_parts = 4

    def __init__(
        self,
        vocabulary_size: int,
        num_classes: int,
        *,
        boundary_token_ids: Sequence[int],
        hidden_dim: int = 150,
        representation_dim: int = 200,
        dropout: float = 0.0,
        pooling: str = "last",
        activation: str = "relu",
        **kwargs,
    ) -> None:
        if not len(boundary_token_ids):
            raise ValueError(
                "`boundary_token_ids` must hold the id between the two texts, received none."
            )
        super().__init__(
            vocabulary_size,
            num_classes,
            boundary_token_ids=boundary_token_ids,
            hidden_dim=hidden_dim,
            representation_dim=representation_dim,
            dropout=dropout,
            pooling=pooling,
            activation=activation,
            **kwargs,
        )

    @property
    def summary_dim(self) -> int:
        """Width of what the dense layer reads: four times that of an encoding."""
        return 8 * self.hidden_dim

    def encode_texts(self, features, training=False):
        """The encodings h1 and h2 of both texts, each `(batch_size, 2 * hidden_dim)`."""
        mask = self.text_mask(features)
        embedded = self.embedding_dropout(self.embed(features["token_ids"]), training=training)
        return self._encodings(self.bilstm(embedded, mask=mask), mask, features)

    def _encodings(self, states, mask, features):
        is_second = tf.cast(features["segment_ids"], "bool")
        first = pool(states, mask & ~is_second, self.pooling)
        return first, pool(states, mask & is_second, self.pooling)

    def summarize(self, states, mask, features):
        first, second = self._encodings(states, mask, features)
        return tf.concat([first, second, first * second, tf.abs(first - second)], axis=-1)
