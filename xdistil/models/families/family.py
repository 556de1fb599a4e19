"""What differs between families of encoder checkpoints, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Family:
    """How one family of checkpoints names its settings and weights.

    Args:
        name: The `model_type` of config.json.
        prefix: What stands before the names of an encoder inside a model with a head; a plain
            encoder's checkpoint has none.
        scopes: First parts of the encoder's own names, without the prefix. A weight in these that
            the encoder has no place for is an error; others belong to heads.
        settings: Field of `EncoderConfig` -> key of config.json.
        weights: Neutral name of `Encoder.named_weights`, without its last part (`kernel`, `scale`,
            `bias`) where it has one -> name in the checkpoint without `weight` and `bias`. `{i}`
            stands for the layer's number, from 0.
        ignored: Last parts of names inside `scopes` that are no weights, such as stored position
            numbers.
        head: The name of the head that classifies word pieces, or whole texts.
        pooler: The name of the dense layer on [CLS] below the head of whole texts.
        other_heads: First parts of the names of parts that an encoder has no use for (pooler,
            masked LM, question answering), dropped without a word.
        defaults: Fields of `EncoderConfig` that config.json may leave out.
    """

    name: str
    prefix: str
    scopes: tuple[str, ...]
    settings: Mapping[str, str]
    weights: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    head: str = "classifier"
    pooler: str = "pooler.dense"
    other_heads: tuple[str, ...] = ()
    defaults: Mapping[str, object] = dataclasses.field(default_factory=dict)
