"""Writes an encoder, with what stands above it, as a checkpoint in the hub's format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from xdistil.data.atomic_files import make_folder, write_json
from xdistil.data.paths import as_path
from xdistil.data.tensor_files import write_tensors
from xdistil.errors import InputError
from xdistil.models.activations import activation_for_checkpoint, get_activation
from xdistil.models.checkpoints import read_encoder_config
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.families import FAMILIES, Family
from xdistil.models.masked_lm_head import (
    masked_lm_activation,
    masked_lm_names,
    masked_lm_shapes,
)
from xdistil.models.stored_weights import last_parts, stored_names, to_stored

# What transformers calls a model of each architecture, and what stands above its encoder.
_CLASS_ENDS = {
    "encoder": "Model",
    "tokens": "ForTokenClassification",
    "texts": "ForSequenceClassification",
    "masked_lm": "ForMaskedLM",
}
_LAYERS = {
    "encoder": (),
    "tokens": ("head",),
    "texts": ("pooler", "head"),
    "masked_lm": ("mlm_dense", "mlm_norm", "mlm_bias"),
}
# By the name of a Keras variable: the last part of neutral names.
_PARTS = {"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"}


def write_checkpoint(
    folder: str | os.PathLike,
    encoder: Encoder,
    *,
    architecture: str,
    layers: Mapping[str, Any] | None = None,
    label_names: Sequence[str] | None = None,
    pad_token_id: int | None = None,
    head_dropout: float | None = None,
    overwrite: bool = False,
) -> None:
    """Writes config.json and model.safetensors, float32, as the encoder's family has them.

    `Checkpoint` reads them back, and so do the family's classes in transformers, without a weight
    missing or left over (but for the pooler of masked_lm, which its class has no use for). The
    tokenizer is the caller's to write beside them (`TextEncoder.save`).

    Args:
        folder: Made where it is not there. config.json is written last and, where there was one,
            taken away first: a folder with one is whole.
        encoder: The encoder; the family is its config's.
        architecture: `"encoder"`, `"tokens"`, `"texts"` or `"masked_lm"`.
        layers: What stands above the encoder: Keras layers `head` (tokens), `pooler` and `head`
            (texts), `mlm_dense` and `mlm_norm`, and `mlm_bias`, a variable of shape
            `(vocabulary_size,)` (masked_lm; the output matrix is the word-piece embedding). Of a
            plain encoder and of masked_lm `pooler` too, where its family has one and you have it:
            whoever classifies texts gets a fresh one otherwise. `pooler` and `mlm_dense` have the
            activation of their family, or none, where it is applied after them; `mlm_norm` has the
            encoder's epsilon.
        label_names: Names of the classes in the order of the head's rows. None: `LABEL_0`, ...
        pad_token_id: For config.json. None: 0, or what the positions of the family count from.
        head_dropout: Before the head, for config.json. None: the encoder's. A family that has one
            key for both, as DistilBERT for taggers, keeps the encoder's.
        overwrite: Whether to replace a config.json, and so a model, that is there.

    Raises:
        InputError: the folder holds a config.json already.
        ValueError: an unknown architecture; layers that are not those of the architecture, of
            another shape, or that compute otherwise; label names that do not fit; an encoder that
            the family cannot store, such as one with segments in DistilBERT.
        StorageError: The disk is full, or the folder cannot be written.

    Example:

    ```python
    write_checkpoint(
        "tagger", teacher.encoder, architecture="tokens", layers={"head": teacher.head},
        label_names=["O", "B-PER", "I-PER"],
    )
    ```
    """
    config = encoder.config
    family = FAMILIES[config.family]
    layers = dict(layers or {})
    _check_layers(family, architecture, layers)
    settings = _settings(config, architecture, pad_token_id)
    if "head" in layers:
        settings.update(_labels(label_names, rows=layers["head"].kernel.shape[-1]))
        key = (architecture == "texts" and family.text_head_dropout) or family.head_dropout
        settings.setdefault(key, config.dropout if head_dropout is None else head_dropout)
    elif label_names is not None:
        raise ValueError(f"`label_names` given, but architecture {architecture!r} has no classes.")
    prefix = "" if architecture == "encoder" else family.prefix
    tensors = {
        prefix + stored_names(family, name)[0]: to_stored(name, _float32(variable))
        for name, variable in encoder.named_weights().items()
    }
    tensors.update(_stored_layers(config, prefix, layers))
    if (as_path(folder) / "config.json").exists() and not overwrite:
        raise InputError(
            f"{folder}: holds a config.json, so there is a model already; give another folder, or "
            "overwrite=True"
        )
    folder = make_folder(folder)
    (folder / "config.json").unlink(missing_ok=True)
    # transformers refuses safetensors that do not say so.
    write_tensors(folder / "model.safetensors", tensors, metadata={"format": "pt"})
    write_json(folder / "config.json", settings)


def _check_layers(family: Family, architecture: str, layers: dict[str, Any]) -> None:
    if architecture not in _LAYERS:
        raise ValueError(
            f"`architecture` must be one of {', '.join(_LAYERS)}, received {architecture!r}."
        )
    expected = set(_LAYERS[architecture])
    if architecture in ("encoder", "masked_lm") and family.pooler_in_encoder:
        expected |= {"pooler"} & set(layers)
    if set(layers) != expected:
        raise ValueError(
            f"`layers` of architecture {architecture!r} in family {family.name!r} must be "
            f"{sorted(expected)}, received {sorted(layers)}."
        )


def _settings(config: EncoderConfig, architecture: str, pad_token_id: int | None) -> dict[str, Any]:
    """config.json, without labels."""
    family = FAMILIES[config.family]
    if pad_token_id is None:
        pad_token_id = config.position_offset - 1 if family.positions_after_padding else 0
    values = {**config.to_dict(), "activation": activation_for_checkpoint(config.activation)}
    if family.positions_after_padding:
        values["max_length"] += config.position_offset
    settings = {
        "architectures": [family.class_stem + _CLASS_ENDS[architecture]],
        "model_type": family.name,
        **{key: values[field] for field, key in family.settings.items()},
        **family.required,
        "pad_token_id": pad_token_id,
        "torch_dtype": "float32",
    }
    _check_readable(config, settings)
    return settings


def _check_readable(config: EncoderConfig, settings: dict[str, Any]) -> None:
    """What the family has no key for must be what it always is."""
    try:
        read = read_encoder_config(FAMILIES[config.family], settings, "config.json")
    except InputError as error:
        raise ValueError(f"`encoder` cannot be written: {error}.") from None
    wanted, found = vars(config), vars(read)
    wrong = [f"{name}={wanted[name]!r}" for name in wanted if wanted[name] != found[name]]
    if not config.num_segments and "embeddings.segment" in FAMILIES[config.family].weights:
        wrong = ["num_segments=0"]  # its models add a segment to every piece
    if wrong:
        raise ValueError(
            f"`encoder` cannot be written in the format of family {config.family!r}, which has no "
            f"place for {', '.join(wrong)}."
        )


def _labels(label_names: Sequence[str] | None, rows: int) -> dict[str, Any]:
    names = [f"LABEL_{row}" for row in range(rows)] if label_names is None else list(label_names)
    if len(names) != rows or len(set(names)) != rows:
        raise ValueError(
            f"`label_names` must be {rows} different names, one a row of the head, received "
            f"{names}."
        )
    return {
        "id2label": {str(row): name for row, name in enumerate(names)},
        "label2id": {name: row for row, name in enumerate(names)},
    }


def _stored_layers(
    config: EncoderConfig, prefix: str, layers: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Tensors of what stands above the encoder."""
    family = FAMILIES[config.family]
    _check_computation(config, layers)
    stems = {
        "head": family.text_head if "pooler" in layers else family.head,
        "pooler": (prefix if family.pooler_in_encoder else "") + family.pooler,
    }
    tensors = {}
    for name, layer in layers.items():
        for neutral, value in _checked_arrays(config, name, layer).items():
            if name in stems:
                stored = last_parts(stems[name], neutral.rpartition(".")[2])[0]
            else:
                stored = masked_lm_names(family, neutral)[0]
            tensors[stored] = to_stored(neutral, value)
    return tensors


def _check_computation(config: EncoderConfig, layers: dict[str, Any]) -> None:
    """What the family computes is in no file: the layers must do the same."""
    activations = {
        "pooler": FAMILIES[config.family].pooler_activation,
        "mlm_dense": masked_lm_activation(config),
    }
    for name, expected in activations.items():
        found = getattr(layers.get(name), "activation", None)
        # A layer without one has it applied after it.
        if found not in (None, keras.activations.linear, get_activation(expected)):
            raise ValueError(
                f"`layers`: {name} of family {config.family!r} must have the activation "
                f"{expected}, received {found.__name__}."
            )
    epsilon = getattr(layers.get("mlm_norm"), "epsilon", config.layer_norm_epsilon)
    if epsilon != config.layer_norm_epsilon:
        raise ValueError(
            f"`layers`: mlm_norm must have the encoder's epsilon {config.layer_norm_epsilon}, "
            f"received {epsilon}."
        )


def _checked_arrays(config: EncoderConfig, name: str, layer: Any) -> dict[str, np.ndarray]:
    """The arrays of a layer, or of a lone variable, by neutral names."""
    if hasattr(layer, "weights"):
        weights = {f"{name}.{_PARTS.get(one.name, one.name)}": one for one in layer.weights}
    else:
        weights = {name: layer}
    arrays = {neutral: _float32(weight) for neutral, weight in weights.items()}
    expected = {
        neutral: shape
        for neutral, shape in masked_lm_shapes(config).items()
        if neutral == name or neutral.startswith(f"{name}.")
    }
    if not expected:  # pooler or head
        columns = config.hidden_dim if name == "pooler" else layer.kernel.shape[-1]
        expected = {f"{name}.kernel": (config.hidden_dim, columns), f"{name}.bias": (columns,)}
    found = {neutral: value.shape for neutral, value in arrays.items()}
    if found != expected:
        raise ValueError(f"`layers`: {name} must have weights {expected}, received {found}.")
    return arrays


def _float32(variable: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable), np.float32)
