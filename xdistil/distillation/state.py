"""The complete state of a training run in one safetensors file that is whole or refused."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import safetensors

from xdistil.data.atomic_files import reason_of
from xdistil.data.paths import as_path, local_file
from xdistil.data.tensor_files import write_tensors
from xdistil.errors import InputError

_CHECKSUM = "sha256"


def collect_variables(
    model: keras.Model | keras.layers.Layer,
    optimizer: keras.optimizers.Optimizer | None = None,
    *,
    metrics: Iterable[keras.metrics.Metric] = (),
    projections: Iterable[keras.Layer] = (),
    prefix: str = "student",
) -> dict[str, keras.Variable]:
    """Gives every variable that training changes a name that another process finds again.

    Names are `student/0000/embeddings`, `optimizer/0003/momentum`: the position says which variable
    it is, since Keras' own paths may repeat and carry numbers that depend on what else the process
    has built. Weights, states of seed generators (dropout goes on where it stopped), integers and
    the optimizer's iterations are all there.

    Args:
        model: A built model or layer.
        optimizer: A built optimizer.
        metrics: Metrics whose running sums belong to the state.
        projections: Layers that losses learn beside the model.
        prefix: First part of the names of the model's variables.
    """
    named = _numbered(prefix, model.variables)
    if optimizer is not None:
        named |= _numbered("optimizer", optimizer.variables)
    named |= _numbered("projections", (v for layer in projections for v in layer.variables))
    for index, metric in enumerate(metrics):
        named |= _numbered(f"metrics/{index:02d}", metric.variables)
    return named


def save_state(
    path: str | os.PathLike,
    variables: Mapping[str, keras.Variable],
    metadata: Mapping[str, str] | None = None,
    *,
    write: bool = True,
) -> None:
    """Writes variables and metadata to `path` in one step: a kill leaves the old file or the new.

    Args:
        path: The file; its folder must exist.
        variables: As `collect_variables` names them.
        metadata: Strings to keep beside them (epoch, best score); `"sha256"` is taken.
        write: False only reads the variables: workers read those of metrics together, and one of
            them writes.

    Raises:
        StorageError: The disk is full, or the folder cannot be written; the old file is intact.
    """
    arrays = {name: _array_of(variable) for name, variable in variables.items()}
    if not write:
        return
    metadata = dict(metadata or {})
    if _CHECKSUM in metadata:
        raise ValueError("the metadata key `sha256` holds the checksum; use another one")
    metadata[_CHECKSUM] = _checksum(arrays, metadata)
    write_tensors(path, arrays, metadata)


def load_state(path: str | os.PathLike, variables: Mapping[str, keras.Variable]) -> dict[str, str]:
    """Puts the saved values into `variables`; nothing is assigned unless everything fits.

    Args:
        path: A file written by `save_state`.
        variables: The same names, shapes and dtypes as were saved.

    Returns:
        The metadata that was saved.

    Raises:
        InputError: The file is missing, cut or changed, or does not fit the variables.
    """
    arrays, metadata = read_state(path)
    _check_fit(path, arrays, variables)
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return metadata


def read_state(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays and the metadata of a state file, and checks them.

    Raises:
        InputError: The file is missing, cut or changed.
    """
    if not as_path(path).is_file():
        raise InputError(f"{os.fspath(path)}: no such state file")
    try:
        with local_file(path) as local:
            # safetensors calls a file missing that may not be read.
            with open(local, "rb"):
                pass
            with safetensors.safe_open(local, framework="numpy") as file:
                metadata = dict(file.metadata() or {})
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: cannot be read: {reason_of(error)}") from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.pop(_CHECKSUM, None) != _checksum(arrays, metadata):
        raise _damaged(path, "its checksum does not match its contents")
    return arrays, metadata


def _numbered(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    return {
        f"{prefix}/{index:04d}/{_stable_name(variable)}": variable
        for index, variable in enumerate(variables)
    }


def _stable_name(variable: keras.Variable) -> str:
    # `dense_3_kernel` in one process is `dense_12_kernel` in another: numbers go.
    return re.sub(r"_\d+(?=_|$)", "", variable.name.rsplit("/", 1)[-1])


def _array_of(variable: keras.Variable) -> np.ndarray:
    # `numpy` of the variable itself: `convert_to_numpy` fails on a metric's under a strategy.
    return np.asarray(variable.numpy(), order="C")


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_fit(path, arrays: Mapping[str, np.ndarray], variables) -> None:
    missing = sorted(set(variables) - set(arrays))
    unknown = sorted(set(arrays) - set(variables))
    if missing or unknown:
        raise InputError(
            f"{os.fspath(path)}: does not fit: the file has {len(arrays)} variables, the model "
            f"{len(variables)}; only in the model: {_some(missing)}; only in the file: "
            f"{_some(unknown)}"
        )
    for name, variable in variables.items():
        found = (tuple(arrays[name].shape), arrays[name].dtype.name)
        expected = (tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype))
        if found != expected:
            raise InputError(
                f"{os.fspath(path)}: `{name}` is {found[1]} {found[0]}, the model expects "
                f"{expected[1]} {expected[0]}"
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _damaged(path, reason: str) -> InputError:
    return InputError(
        f"{os.fspath(path)}: is damaged: {' '.join(reason.split())}; remove it and run again"
    )
