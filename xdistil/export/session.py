"""`Session`: an exported model that takes token ids, open in a runtime."""

from __future__ import annotations

import abc

import numpy as np

from xdistil.data.paths import AnyPath
from xdistil.errors import InputError


class Session(abc.ABC):
    """An exported model as a function of features.

    Attributes:
        num_classes: width of the logits.
        class_names: names of the classes, where the file itself knows them.
    """

    num_classes: int
    class_names: tuple[str, ...] | None = None

    @abc.abstractmethod
    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`logits` of features, int32 `(rows, length)`, padded at the right."""


def damaged(path: AnyPath, noun: str, error: Exception) -> InputError:
    """The error of a file that a runtime cannot read."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
    return InputError(
        f"{path}: not {noun}, a damaged one, or one that this version of its runtime cannot run "
        f"({reason}); export it again"
    )


def not_ours(path: AnyPath) -> InputError:
    """The error of a file of others."""
    return InputError(
        f"{path}: no model that xdistil exported, by its inputs and outputs; give one that "
        "scripts/export.py wrote"
    )


def missing_package(name: str, extra: str) -> InputError:
    """The error of a package that is not installed."""
    return InputError(f"the package {name} is missing: pip install '.[{extra}]' brings it")
