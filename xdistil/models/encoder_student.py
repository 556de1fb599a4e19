"""What the transformer students share: kept pieces, still embeddings, layers of a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from xdistil.errors import InputError
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.models.kept_pieces import KeptPieces
from xdistil.models.layer_choice import name_in_source

# Settings that show in no weight's shape, or not in every one's.
_COMPUTATION = (
    *("family", "num_heads", "activation", "layer_norm_epsilon", "num_segments"),
    *("position_offset", "shared_layers", "project_embeddings"),
)


class EncoderStudent(EncoderWithHead):
    """Base of the transformer students: a teacher's kind of model, smaller, that learns from one.

    A subclass says in `representation_of` what is held against the teacher's.

    Args:
        encoder: An `EncoderConfig`, or its `to_dict()`; with `kept_token_ids` its
            `vocabulary_size` is the number of those.
        num_classes: Classes of the head.
        dropout: Before the head. None: the encoder's.
        label_names: Names of the classes, where the head knows them.
        freeze_embeddings: Whether the word-piece embedding never learns.
        kept_token_ids: sequence of different token ids of the teacher: the i-th gets row i. None:
            token ids are rows.
        unknown_token_id: The teacher's id of its unknown piece; must be given with
            `kept_token_ids`, and be one of them.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Raises:
        InputError: As `EncoderWithHead` does.
        ValueError: `kept_token_ids` do not fit, see `KeptPieces`.
    """

    def __init__(
        self,
        encoder: EncoderConfig | dict[str, Any],
        num_classes: int,
        *,
        dropout: float | None = None,
        label_names: Sequence[str] | None = None,
        freeze_embeddings: bool = False,
        kept_token_ids: Sequence[int] | None = None,
        unknown_token_id: int | None = None,
        **kwargs,
    ):
        self.freeze_embeddings = bool(freeze_embeddings)  # `make_encoder` reads it
        super().__init__(encoder, num_classes, dropout=dropout, label_names=label_names, **kwargs)
        self.unknown_token_id = None if unknown_token_id is None else int(unknown_token_id)
        self._kept = None
        if kept_token_ids is not None:
            self._kept = KeptPieces(kept_token_ids, self.vocabulary_size, self.unknown_token_id)

    def make_encoder(self, config: EncoderConfig | dict[str, Any]) -> Encoder:
        return Encoder(
            config,
            static_tokens=self.freeze_embeddings,
            dtype=self.dtype_policy,
            name="encoder",
        )

    @classmethod
    def group_names(cls, config: EncoderConfig) -> tuple[str, ...]:
        """Names of the layer groups of a student with such an encoder, bottom to top."""
        layers = 1 if config.shared_layers else config.num_layers
        body = (f"layer_{number}" for number in range(1, layers + 1))
        return ("embedding", *body, *cls.groups_below_head, "head")

    @property
    def kept_token_ids(self) -> np.ndarray | None:
        """The teacher's token id of each embedding row, int32; `None` when nothing was pruned."""
        return None if self._kept is None else self._kept.token_ids.copy()

    @property
    def row_of_token(self) -> np.ndarray | None:
        """The embedding row of each token id, see `KeptPieces`; `None` when nothing was pruned."""
        return None if self._kept is None else self._kept.row_of_token

    def representation_of(self, outputs: Mapping[str, Any]) -> Any:
        """What is held against the teacher's representation, of the model's other outputs."""
        return outputs["hidden_states"][-1]

    @property
    def groups_above(self) -> tuple[str, ...]:
        """Layer groups that read `states_below` alone."""
        return (*self.groups_below_head, "head")

    def states_below(self, features: Mapping[str, Any]) -> Any:
        """What the layers above the encoder read, without dropout; its shape, `states_shape`."""
        return self.classified(self.encode(self._rows(features))["hidden_states"])

    def _rows(self, features: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._kept is None:
            return features
        return {**features, "token_ids": self._kept.rows(features["token_ids"])}

    def call(self, features, training=False, return_attentions=False):
        features = self._rows(features)
        outputs = super().call(features, training=training, return_attentions=return_attentions)
        return {**outputs, "representation": self.representation_of(outputs)}

    def set_embeddings(self, matrix: np.ndarray) -> None:
        """Take over embedding rows, such as those of `compress_embeddings`.

        Args:
            matrix: array of shape `(vocabulary_size, embedding_dim)`.

        Raises:
            ValueError: `matrix` has another shape.
        """
        expected = (self.vocabulary_size, self.encoder_config.embedding_dim)
        if tuple(matrix.shape) != expected:
            raise ValueError(
                f"`matrix` must be of shape {expected}, received shape {tuple(matrix.shape)}."
            )
        self.encoder.token_embedding.embeddings.assign(matrix)

    def take_layers(self, source: EncoderWithHead, layers: Sequence[int]) -> None:
        """Copies embeddings, some layers and what is below the head from a larger model.

        The head stays what it is. Where pieces were pruned, only the kept ones' rows are taken.

        Args:
            source: A model of the same widths and family that computes alike, such as the teacher;
                where pieces of its own were pruned, one that has all that are kept here.
            layers: The source's layers, from 1, in the order that they have here; one for each of
                this model's.

        Raises:
            InputError: A layer that the source has not, another number of layers than here, a
                source that computes otherwise, a kept piece that it has no row for, or a weight of
                another shape.
        """
        if len(layers) != self.num_layers:
            raise InputError(f"{len(layers)} layers to take for a student of {self.num_layers}")
        for layer in layers:
            if not 1 <= layer <= source.num_layers:
                raise InputError(
                    f"layer {layer} to take: the model has layers 1 to {source.num_layers}"
                )
        self._check_alike(source)
        rows = self._rows_in(source)
        theirs = source.encoder.named_weights()
        values = []
        for name, variable in self.encoder.named_weights().items():
            shared = source.encoder_config.shared_layers
            origin = name if shared else name_in_source(name, layers)
            if origin not in theirs:
                raise InputError(f"{origin}: the model to take layers from has no such weight")
            value = keras.ops.convert_to_numpy(theirs[origin])
            if name == "embeddings.token" and rows is not None:
                value = value[rows]
            values.append((name, variable, value))
        values += self._values_below_head(source)
        for name, variable, value in values:
            if tuple(variable.shape) != value.shape:
                raise InputError(
                    f"{name}: has shape {value.shape} in the model to take layers from, "
                    f"{tuple(variable.shape)} here; give both the same widths and vocabulary"
                )
        for _, variable, value in values:
            variable.assign(value)

    def _check_alike(self, source: EncoderWithHead) -> None:
        """Refuses a source whose weights would fit, but mean something else here."""
        for field in _COMPUTATION:
            here, there = (getattr(one.encoder_config, field) for one in (self, source))
            if here != there:
                raise InputError(
                    f"{field} is {there!r} in the model to take layers from, {here!r} here; give "
                    "the student that of the model (dataclasses.replace(model.encoder_config, "
                    "num_layers=...))"
                )
        for group in self.groups_below_head:
            if group not in source.layer_groups:
                raise InputError(
                    f"{group}: {type(source).__name__}, the model to take layers from, has none; "
                    f"give one with such a layer below its head, as {type(self).__name__} has"
                )

    def _rows_in(self, source: EncoderWithHead) -> np.ndarray | None:
        """The source's embedding row of each row here; None: the same ones."""
        held = getattr(source, "kept_token_ids", None)
        if self._kept is None:
            if held is None:
                return None
            raise InputError(
                f"the model to take layers from keeps {len(held)} pieces of its vocabulary; give "
                "the student its kept_token_ids and unknown_token_id, or some of them"
            )
        wanted = self._kept.token_ids
        known = np.arange(source.vocabulary_size) if held is None else held
        missing = np.setdiff1d(wanted, known)
        if missing.size:
            raise InputError(
                f"kept_token_ids: the model to take layers from has no row for {missing.size} of "
                f"them, such as {missing[0]}; keep only pieces that it has"
            )
        order = np.argsort(known)
        return order[np.searchsorted(known, wanted, sorter=order)]

    def _values_below_head(self, source: EncoderWithHead) -> list[tuple[str, Any, np.ndarray]]:
        """What stands between encoder and head, such as the pooler."""
        theirs = source.layer_groups
        found = []
        for group in self.groups_below_head:
            for own, other in zip(self.layer_groups[group], theirs[group], strict=True):
                pairs = zip(own.weights, other.get_weights(), strict=True)
                found += [(weight.path, weight, value) for weight, value in pairs]
        return found

    def get_config(self):
        kept = self.kept_token_ids
        return {
            **super().get_config(),
            "freeze_embeddings": self.freeze_embeddings,
            "kept_token_ids": None if kept is None else kept.tolist(),
            "unknown_token_id": self.unknown_token_id,
        }
