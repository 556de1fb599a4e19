"""The teacher of a classifier: a BERT-like encoder with a head for one class a text or pair."""

from __future__ import annotations

import logging
from typing import Any

import keras

from xdistil.errors import InputError
from xdistil.models.checkpoints import Checkpoint
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.models.pooler import load_pooler, make_pooler

logger = logging.getLogger("xdistil")
# What transformers takes an unnamed problem with several classes for, too.
_PROBLEMS = (None, "single_label_classification")


@keras.saving.register_keras_serializable(package="xdistil")
class TextTeacher(EncoderWithHead):
    """A BERT-like encoder that classifies whole texts, or pairs of texts as a cross-encoder.

    The last hidden state of [CLS] goes through the pooler, a dense layer with the family's
    activation (tanh in BERT, ALBERT and RoBERTa, ReLU in DistilBERT, GELU in ELECTRA), then dropout
    and the head. A pair is one row, `[CLS] first [SEP] second [SEP]`, its texts told apart by
    `segment_ids` where the family has segments. All variables exist as soon as the model does;
    weights are fresh (truncated normal, as in BERT) until a checkpoint fills them, see
    `from_preset`: a plain encoder's pooler is loaded where it has one, a fine-tuned
    `...ForSequenceClassification` of each family brings its head along.
    Padding changes nothing; logits are float32 under every precision.

    Args:
        encoder: An `EncoderConfig`, or its `to_dict()`.
        num_classes: Classes of the head.
        dropout: Between the pooler and the head. None: the encoder's.
        label_names: Names of the classes, where the head knows them: that of a fine-tuned
            checkpoint. None for a fresh head.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        features: dict of int tensors `(batch_size, sequence_length)`: `token_ids`, and optionally
            `padding_mask` (1 = real) and `segment_ids`. Other keys are ignored.
        training: whether dropout is active.
        return_attentions: whether `attentions` are wanted.

    Returns:
        dict: `logits`, float32 `(batch_size, num_classes)`; `hidden_states`, a tuple of
        `num_layers + 1` tensors `(batch_size, sequence_length, hidden_dim)`, index 0 = embeddings;
        `pooled_output` `(batch_size, hidden_dim)`, what the pooler gives, before dropout;
        if asked for `attentions`, see `Encoder`.

    Raises:
        InputError: `num_classes` is no positive integer, `dropout` no number in [0, 1), or
            `label_names` are not that many.

    Example:

    ```python
    config = EncoderConfig(vocabulary_size=1000, hidden_dim=64, num_layers=2, num_heads=4)
    teacher = TextTeacher(config, num_classes=3)
    outputs = teacher({
        "token_ids": np.array([[2, 17, 3, 21, 3, 0]], "int32"),
        "segment_ids": np.array([[0, 0, 0, 1, 1, 0]], "int32"),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 0]], "int32"),
    })
    print(outputs["logits"].shape)  # (1, 3)
    ```

    Reference:
        [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
    """

    head_owner = "classifier of texts"
    hub_architecture = "texts"
    groups_below_head = ("pooler",)

    def make_layers_below_head(self) -> None:
        self.pooler = make_pooler(self.encoder_config, self.dtype_policy)

    def load_layers_below_head(self, checkpoint: Checkpoint) -> None:
        if load_pooler(self.pooler, checkpoint):
            return
        # A head without the pooler that it was trained on top of would be of no use.
        if self.label_names is not None:
            raise InputError(
                f"{checkpoint.folder}: has the head of a classifier, but no pooler below it "
                f"('{checkpoint.pooler}.weight'); is the file whole? Or ask for a fresh head "
                "(fresh_head=True)"
            )
        # Elsewhere it is a part of the head, and as fresh as that.
        if checkpoint.family.pooler_in_encoder:
            logger.warning("%s: has no pooler, a fresh one is trained", checkpoint.folder)

    @staticmethod
    def checkpoint_labels(checkpoint: Checkpoint) -> tuple[str, ...] | None:
        return checkpoint.text_label_names

    @staticmethod
    def head_problem(checkpoint: Checkpoint) -> str | None:
        problem = checkpoint.config.get("problem_type")
        if problem not in _PROBLEMS:
            return f"is for problem_type {problem!r}"
        one_row = len(checkpoint.text_label_names or "ab") == 1
        return "has one row, as for regression" if one_row else None

    @staticmethod
    def head_name(checkpoint: Checkpoint) -> str:
        return checkpoint.family.text_head

    @staticmethod
    def head_dropout_key(checkpoint: Checkpoint) -> str:
        family = checkpoint.family
        return family.text_head_dropout or family.head_dropout

    @property
    def layer_groups(self) -> dict[str, list[keras.layers.Layer]]:
        """Layers that are frozen and unfrozen together: embedding, layer_1 ..., pooler, head."""
        groups = super().layer_groups
        head = groups.pop("head")
        return {**groups, "pooler": [self.pooler], "head": head}

    def call(self, features, training=False, return_attentions=False):
        encoded = self.encode(features, training, return_attentions)
        states = self.classified(encoded["hidden_states"])
        pooled, logits = self.classify(states, training=training)
        return {"logits": logits, **encoded, "pooled_output": pooled}

    @property
    def states_shape(self) -> tuple[int | None, ...]:
        """Shape of what `classify` reads of one text."""
        return (self.hidden_dim,)

    def classified(self, hidden_states: tuple) -> Any:
        """What `classify` reads, `(batch_size, hidden_dim)`: the first position's state."""
        return hidden_states[-1][:, 0]

    def classify(self, states: Any, training: bool = False) -> tuple[Any, Any]:
        """The layers above the encoder: pooled output and logits."""
        pooled = self.pooler(states)
        return pooled, self.head(self.head_dropout(pooled, training=training))
