"""The transformer student of classifiers of texts and pairs."""

import keras

from xdistil.models.encoder_student import EncoderStudent
from xdistil.models.text_teacher import TextTeacher


@keras.saving.register_keras_serializable(package="xdistil")
class TransformerTextStudent(EncoderStudent, TextTeacher):
    """A classifier of texts, or of pairs as a cross-encoder, like its teacher.

    A `TextTeacher` whose pooled output is also its `representation`. Its layers may be the
    teacher's (`take_layers`), a checkpoint's (`from_preset`), or fresh. With an `embedding_dim`
    below the encoder's `hidden_dim` the embeddings are compressed, and projected back.

    Args:
        encoder: An `EncoderConfig`, or its `to_dict()`; with `kept_token_ids` its
            `vocabulary_size` is the number of those.
        num_classes: Classes, the width of the logits.
        dropout: Between the pooler and the head. None: the encoder's.
        label_names: Names of the classes, where the head knows them.
        freeze_embeddings: Whether the word-piece embedding never learns.
        kept_token_ids: sequence of different token ids of the teacher: the i-th gets row i. None:
            token ids are rows.
        unknown_token_id: The teacher's id of its unknown piece; must be given with
            `kept_token_ids`, and be one of them.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        features: dict of int tensors `(batch_size, sequence_length)`: `token_ids`, and optionally
            `padding_mask` (1 = real) and `segment_ids`. Other keys are ignored.
        training: whether dropout is active.
        return_attentions: whether `attentions` are wanted.

    Returns:
        dict: `logits`, float32 `(batch_size, num_classes)`; `hidden_states`, a tuple of
        `num_layers + 1` tensors `(batch_size, sequence_length, hidden_dim)`, index 0 = embeddings;
        `pooled_output` `(batch_size, hidden_dim)`; `representation`, the same; if asked for
        `attentions`, see `Encoder`.

    Raises:
        InputError: `num_classes` is no positive integer, `dropout` no number in [0, 1), or
            `label_names` are not that many.
        ValueError: `kept_token_ids` do not fit.

    Example:

    ```python
    small = dataclasses.replace(teacher.encoder_config, num_layers=3)
    student = TransformerTextStudent(small, num_classes=2)
    student.take_layers(teacher, [1, 2, 3])
    ```

    Reference:
        - [Sun et al., 2019](https://arxiv.org/abs/1908.09355), section 3
    """

    def representation_of(self, outputs):
        return outputs["pooled_output"]
