"""How large a model is, and how much memory a process took."""

import math
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xdistil.data.paths import as_path

if TYPE_CHECKING:
    import keras


def count_parameters(model: "keras.Model") -> int:
    """The number of weights of a model: trainable and frozen, each variable once.

    Random seeds, metrics and integer tables that map ids are no weights and are not counted.

    Args:
        model: a built Keras model or layer.

    Returns:
        The number of weights.

    Raises:
        ValueError: the model has no variables yet.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> count_parameters(model)
        8
    """
    if not model.built:
        raise ValueError(
            f"`{model.name}` has no weights yet: call it on an input, or `build` it, "
            "before its parameters are counted."
        )
    weights = {id(weight): weight for weight in model.weights}
    return sum(math.prod(weight.shape) for weight in weights.values() if "float" in weight.dtype)


def bytes_on_disk(path: str | os.PathLike) -> int:
    """The bytes of a file, or of all files below a folder (links are not followed).

    Args:
        path: a file or a folder.

    Returns:
        The sum of the files' sizes in bytes.

    Raises:
        FileNotFoundError: there is nothing at `path`.
    """
    path = as_path(path)
    if path.is_file():
        return path.stat().st_size
    if not path.is_dir():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    return sum(
        file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink()
    )


def peak_memory_bytes(*, children: bool = False) -> int:
    """The largest resident size that this process has had, in bytes.

    Args:
        children: ask instead for the largest one among the child processes that have ended and
            were waited for. (On Linux a child counts as at least as large as its parent was when
            it was started: ask from a small process.)

    Returns:
        Peak resident bytes.
    """
    # On Linux `ru_maxrss` starts at the size of the process that forked this one, even after exec:
    # a small program started by a large one would report the large one. VmHWM does not.
    if not children and (peak := _own_status("VmHWM")):
        return peak
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux


def memory_bytes() -> int | None:
    """The resident size of this process now, in bytes; None where the system is not Linux."""
    return _own_status("VmRSS")


def _own_status(name: str) -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
