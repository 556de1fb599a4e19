"""What all teachers are: an encoder with a head of classes, filled from a checkpoint."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np

from xdistil.errors import InputError
from xdistil.models.checkpoints import Checkpoint, check_shape, load_encoder_weights
from xdistil.models.dropout import Dropout
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.presets import find_checkpoint


class EncoderWithHead(keras.Model):
    """Base of the teachers: the encoder, dropout, the head, and how a checkpoint fills them.

    A subclass says in `call` what the head reads, in `checkpoint_labels` which checkpoints bring a
    head along, and adds layers between encoder and head in `make_layers_below_head`.

    Args:
        encoder: An `EncoderConfig`, or its `to_dict()`.
        num_classes: Classes of the head.
        dropout: Before the head. None: the encoder's.
        label_names: Names of the classes, where the head knows them.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Raises:
        InputError: `num_classes` is no positive integer, `dropout` no number in [0, 1), or
            `label_names` are not that many.
    """

    #: What a checkpoint with a head of this kind is called in errors.
    head_owner = "model"
    #: What `write_checkpoint` calls a model of this kind.
    hub_architecture = "encoder"
    #: Layer groups between the encoder and the head.
    groups_below_head: tuple[str, ...] = ()

    def __init__(
        self,
        encoder: EncoderConfig | dict[str, Any],
        num_classes: int,
        *,
        dropout: float | None = None,
        label_names: Sequence[str] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise InputError(f"num_classes is {num_classes!r}: expected a positive integer")
        if label_names is not None and len(label_names) != num_classes:
            raise InputError(f"{len(label_names)} label names for {num_classes} classes")
        self.encoder = self.make_encoder(encoder)
        self.num_classes = num_classes
        self.dropout = self.encoder_config.dropout if dropout is None else dropout
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout!r}: expected a number in [0, 1)")
        self.label_names = None if label_names is None else tuple(label_names)
        self.head_dropout = Dropout(self.dropout, dtype=self.dtype_policy, name="head_dropout")
        self.make_layers_below_head()
        # Float32 under mixed precision too: losses and targets are taken from the logits.
        self.head = keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.TruncatedNormal(
                stddev=self.encoder_config.initializer_range
            ),
            dtype="float32",
            name="head",
        )
        self.head.build((None, self.hidden_dim))
        self.built = True

    def make_encoder(self, config: EncoderConfig | dict[str, Any]) -> Encoder:
        """The encoder; a subclass may make another one."""
        return Encoder(config, dtype=self.dtype_policy, name="encoder")

    def encode(
        self, features: Mapping[str, Any], training: bool = False, return_attentions: bool = False
    ) -> dict[str, Any]:
        """`hidden_states` of the features and, if asked for, `attentions`, see `Encoder`."""
        if not return_attentions:
            return {"hidden_states": self.encoder(features, training=training)}
        found = self.encoder(features, training=training, return_attentions=True)
        return dict(zip(("hidden_states", "attentions"), found, strict=True))

    def make_layers_below_head(self) -> None:
        """Makes and builds what a subclass has between encoder and head; here nothing."""

    def load_layers_below_head(self, checkpoint: Checkpoint) -> None:
        """Fills what `make_layers_below_head` made from a checkpoint; here nothing."""

    @staticmethod
    def checkpoint_labels(checkpoint: Checkpoint) -> tuple[str, ...] | None:
        """Names of the rows of a checkpoint's head; None where it has none of this class's kind, as
        here, where there is no kind yet: then the head is a fresh one."""
        return None

    @staticmethod
    def head_problem(checkpoint: Checkpoint) -> str | None:
        """Why a head that `checkpoint_labels` found gives no one class of several; None: it does,
        as here."""
        return None

    @staticmethod
    def head_name(checkpoint: Checkpoint) -> str:
        """What the checkpoint's family calls a head of this class's kind."""
        return checkpoint.family.head

    @staticmethod
    def head_dropout_key(checkpoint: Checkpoint) -> str:
        """Where config.json has the dropout before such a head."""
        return checkpoint.family.head_dropout

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike[str],
        *,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        dropout: float | None = None,
        fresh_head: bool = False,
        **kwargs,
    ) -> Self:
        """A teacher with the weights of a checkpoint in the hub's format.

        A checkpoint that was fine-tuned for the same kind of task brings its head along; any other
        gets a fresh one.

        Args:
            preset: A folder with config.json and safetensors, or a name of the hub.
            num_classes: Classes of a fresh head. None: as many as `labels`, or as the
                checkpoint's head has.
            labels: Names of the classes in the order wanted, such as `xdistil.data.Labels`. The
                rows of a checkpoint's head are put in this order.
            dropout: For every place that has one. None: what config.json says.
            fresh_head: Leaves a checkpoint's head aside; to train for other labels than its own.
            **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

        Raises:
            InputError: a checkpoint that cannot be used, see `Checkpoint` and
                `load_encoder_weights`; a head for several labels at once or for regression; labels
                that are not those of the checkpoint's head; a plain encoder without `labels` or
                `num_classes`.
        """
        checkpoint = Checkpoint(find_checkpoint(preset))
        config, head_dropout = _with_dropout(checkpoint, cls.head_dropout_key(checkpoint), dropout)
        names = None if fresh_head else cls.checkpoint_labels(checkpoint)
        head_rows = label_names = None
        if names is not None:
            problem = cls.head_problem(checkpoint)
            if problem:
                raise InputError(
                    f"{checkpoint.folder}: its head {problem}; expected one class of several; ask "
                    "for a fresh head (fresh_head=True)"
                )
            head_rows = _head_rows(checkpoint, names, labels, num_classes)
            label_names = tuple(names[row] for row in head_rows)
            num_classes = len(head_rows)
        elif num_classes is None:
            num_classes = _count_labels(checkpoint, labels, cls.head_owner)
        elif labels is not None and len(labels) != num_classes:
            raise InputError(f"num_classes is {num_classes}, but there are {len(labels)} labels")
        teacher = cls(config, num_classes, dropout=head_dropout, label_names=label_names, **kwargs)
        load_encoder_weights(teacher.encoder, checkpoint)
        teacher.load_layers_below_head(checkpoint)
        if head_rows is not None:
            teacher._load_head(checkpoint, head_rows)
        return teacher

    def _load_head(self, checkpoint: Checkpoint, rows: Sequence[int]) -> None:
        kernel, bias = (f"{self.head_name(checkpoint)}.{part}" for part in ("weight", "bias"))
        check_shape(checkpoint, kernel, (len(rows), self.hidden_dim), "by config.json")
        self.head.kernel.assign(checkpoint.read(kernel)[rows].T)
        if bias in checkpoint:
            check_shape(checkpoint, bias, (len(rows),), f"for the rows of {kernel!r}")
            self.head.bias.assign(checkpoint.read(bias)[rows])

    @property
    def encoder_config(self) -> EncoderConfig:
        """What the encoder is made of."""
        return self.encoder.config

    @property
    def hidden_dim(self) -> int:
        """Width of the hidden states."""
        return self.encoder_config.hidden_dim

    @property
    def num_layers(self) -> int:
        """Transformer layers; there is one hidden state more."""
        return self.encoder_config.num_layers

    @property
    def vocabulary_size(self) -> int:
        """Word pieces that the embedding knows."""
        return self.encoder_config.vocabulary_size

    @property
    def layer_groups(self) -> dict[str, list[keras.layers.Layer]]:
        """Layers that are frozen and unfrozen together: embedding, layer_1 ..., head.

        Layers that share their weights are one group, `layer_1`.
        """
        layers = self.encoder.transformer_layers
        return {
            "embedding": self.encoder.embedding_layers,
            **{f"layer_{number}": [layer] for number, layer in enumerate(layers, start=1)},
            "head": [self.head],
        }

    def embedding_matrix(self) -> np.ndarray:
        """A copy of the word-piece embedding, float32 `(vocabulary_size, embedding_dim)`."""
        matrix = keras.ops.convert_to_numpy(self.encoder.token_embedding.embeddings)
        return np.array(matrix, dtype=np.float32)

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "encoder": self.encoder_config.to_dict(),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
            "label_names": None if self.label_names is None else list(self.label_names),
        }


def _with_dropout(
    checkpoint: Checkpoint, key: str, dropout: float | None
) -> tuple[EncoderConfig, float]:
    """The encoder's settings and the head's dropout, both overridden where `dropout` is given."""
    config = checkpoint.encoder_config
    if dropout is None:
        of_head = checkpoint.config.get(key)
        if of_head is None:
            return config, config.dropout
        if (
            isinstance(of_head, bool)
            or not isinstance(of_head, int | float)
            or not 0 <= of_head < 1
        ):
            raise InputError(
                f"{checkpoint.folder / 'config.json'}: {key} is {of_head!r}: expected a number in "
                "[0, 1)"
            )
        return config, of_head
    return dataclasses.replace(config, dropout=dropout, attention_dropout=dropout), dropout


def _head_rows(
    checkpoint: Checkpoint,
    names: tuple[str, ...],
    labels: Sequence[str] | None,
    num_classes: int | None,
) -> list[int]:
    """Rows of the checkpoint's head, which are named `names`, in the order of `labels`."""
    wanted = names if labels is None else tuple(labels)
    if sorted(wanted) != sorted(names):
        missing = ", ".join(name for name in wanted if name not in names) or "none"
        unknown = ", ".join(name for name in names if name not in wanted) or "none"
        raise InputError(
            f"{checkpoint.folder}: its head was trained for other labels: the data has and the "
            f"head lacks: {missing}; the head has and the data lacks: {unknown}; give matching "
            "labels (the head's are id2label of config.json), or ask for a fresh head "
            "(fresh_head=True)"
        )
    if num_classes is not None and num_classes != len(wanted):
        raise InputError(
            f"{checkpoint.folder}: its head has {len(wanted)} classes, num_classes is "
            f"{num_classes}; leave it out, or ask for a fresh head (fresh_head=True)"
        )
    return [names.index(name) for name in wanted]


def _count_labels(checkpoint: Checkpoint, labels: Sequence[str] | None, head_owner: str) -> int:
    if labels is None:
        raise InputError(
            f"{checkpoint.folder}: has no head of a {head_owner}, so a fresh one is needed; give "
            "labels or num_classes"
        )
    return len(labels)
