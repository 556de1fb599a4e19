"""What differs between families of encoder checkpoints, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Family:
    """How one family of checkpoints names its settings and weights.

    The reader of checkpoints and their writer use the same maps, in both directions.

    Args:
        name: The `model_type` of config.json.
        class_stem: What the names of its classes in transformers begin with, such as `Bert` in
            `BertForTokenClassification`: the words of `architectures` in config.json.
        prefix: What stands before the names of an encoder inside a model with a head; a plain
            encoder's checkpoint has none.
        scopes: First parts of the encoder's own names, without the prefix. A weight in these that
            the encoder has no place for is an error; others belong to heads.
        settings: Field of `EncoderConfig` -> key of config.json.
        weights: Neutral name of `Encoder.named_weights`, without its last part (`kernel`, `scale`,
            `bias`) where it has one -> name in the checkpoint without `weight` and `bias`. `{i}`
            stands for the layer's number, from 0; shared layers have one name for all numbers.
        ignored: Last parts of names inside `scopes` that are no weights, such as stored position
            numbers.
        head: The name of the head that classifies word pieces.
        text_head: The name of the head that classifies whole texts.
        pooler: The name of the dense layer on [CLS] below the head of whole texts.
        pooler_activation: Its activation, in our words, see `get_activation`.
        pooler_in_encoder: Whether plain encoders have that layer too (BERT), so that its name takes
            the prefix; otherwise it is a part of the head (RoBERTa).
        head_dropout: Key of config.json with the dropout before a head; where it is missing or
            null, the encoder's dropout holds.
        text_head_dropout: As `head_dropout`, of whole texts; None: the same key.
        masked_lm: The parts of the masked-LM head: `mlm_dense` and `mlm_norm` -> their names
            without `weight` and `bias`; `mlm_bias`, of the output -> names that it has, the one
            to write first; `mlm_decoder` -> the name of the output matrix, which is the word-piece
            embedding and therefore stored only in old files.
        masked_lm_activation: Between `mlm_dense` and `mlm_norm`. None: that of the encoder.
        other_heads: First parts of the names of parts that an encoder has no use for (pooler,
            masked LM, question answering), dropped without a word.
        defaults: Fields of `EncoderConfig` that config.json may leave out, or never has.
        required: Keys of config.json that must have this value where they are there: all that the
            encoder can compute.
        positions_after_padding: Whether positions are counted from `pad_token_id + 1` (RoBERTa):
            the position embedding has that many rows more than a sequence can be long.
    """

    name: str
    class_stem: str
    prefix: str
    scopes: tuple[str, ...]
    settings: Mapping[str, str]
    weights: Mapping[str, str]
    ignored: tuple[str, ...] = ("position_ids", "token_type_ids")
    head: str = "classifier"
    text_head: str = "classifier"
    pooler: str = "pooler.dense"
    pooler_activation: str = "tanh"
    pooler_in_encoder: bool = True
    head_dropout: str = "classifier_dropout"
    text_head_dropout: str | None = None
    masked_lm: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    masked_lm_activation: str | None = None
    other_heads: tuple[str, ...] = ()
    defaults: Mapping[str, object] = dataclasses.field(default_factory=dict)
    required: Mapping[str, object] = dataclasses.field(default_factory=dict)
    positions_after_padding: bool = False
