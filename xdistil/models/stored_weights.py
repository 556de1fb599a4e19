"""How an encoder's weights lie in a checkpoint: names and shapes, in both directions."""

from __future__ import annotations

import math
import re

import numpy as np

from xdistil.models.families import Family

# Old files say gamma and beta, as TensorFlow's BERT did.
_LAST_PARTS = {"kernel": ("weight",), "scale": ("weight", "gamma"), "bias": ("bias", "beta")}


def stored_names(family: Family, name: str) -> list[str]:
    """What a weight may be called in a checkpoint of a family, without its prefix.

    Args:
        family: The family.
        name: The neutral name, one of `Encoder.named_weights`.

    Returns:
        The name that is written today, then those of older files.

    Raises:
        ValueError: the family has no such weight.
    """
    layer = re.match(r"layers\.(\d+)\.", name)
    number = layer.group(1) if layer else ""
    pattern = name.replace(f"layers.{number}.", "layers.{i}.", 1)
    stem, _, last = pattern.rpartition(".")
    if pattern in family.weights:  # an embedding: one matrix
        return [f"{family.weights[pattern]}.weight"]
    if stem not in family.weights:
        raise ValueError(f"`name` must be a weight of family {family.name!r}, received {name!r}.")
    return last_parts(family.weights[stem].replace("{i}", number), last)


def last_parts(stem: str, part: str) -> list[str]:
    """The names of a layer's `kernel`, `scale` or `bias`, today's first."""
    return [f"{stem}.{last}" for last in _LAST_PARTS[part]]


def stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a weight in a checkpoint: matrices (outputs, inputs), heads side by side.

    Args:
        name: Its neutral name; only the end matters.
        shape: Its shape here.
    """
    if name.endswith(".kernel"):
        inputs = shape[:-1] if name.endswith(".attention.output.kernel") else shape[:1]
        return (math.prod(shape) // math.prod(inputs), math.prod(inputs))
    return (math.prod(shape),) if name.endswith(".bias") else shape


def from_stored(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A checkpoint's array as the weight of that name and shape holds it."""
    return (value.T if name.endswith(".kernel") else value).reshape(shape)


def to_stored(name: str, value: np.ndarray) -> np.ndarray:
    """A weight's array as a checkpoint holds it; `from_stored` backwards."""
    shape = stored_shape(name, value.shape)
    return value.reshape(shape[::-1]).T if name.endswith(".kernel") else value.reshape(shape)
