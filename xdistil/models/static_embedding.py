"""An embedding that never learns."""

import keras


@keras.saving.register_keras_serializable(package="xdistil")
class StaticEmbedding(keras.layers.Layer):
    """An embedding that never learns, whatever its `trainable` says.

    Args:
        input_dim: int. Rows.
        output_dim: int. Width of a row.
        embeddings_initializer: What the rows are until others are assigned.
        **kwargs: passed on to `keras.layers.Layer` (`name`, `dtype`, ...).

    Call arguments:
        rows: int tensor `(batch_size, length)`.

    Returns:
        Tensor `(batch_size, length, output_dim)`.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | keras.initializers.Initializer = "uniform",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.input_dim = int(input_dim)
        self.output_dim = int(output_dim)

    def build(self, input_shape=None) -> None:
        # Setting `trainable` on a layer never reaches a weight that was made untrainable.
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            trainable=False,
        )
        self.built = True

    def call(self, rows):
        return keras.ops.cast(keras.ops.take(self.embeddings, rows, axis=0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }
