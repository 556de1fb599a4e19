"""Named arrays in one safetensors file, written in one step."""

import json
import os
from collections.abc import Mapping

import numpy as np

from xdistil.data.atomic_files import replacing

_DTYPES = {
    "bool": "BOOL",
    "bfloat16": "BF16",
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
}


def write_tensors(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays and metadata to `path`: a kill or a full disk leaves the old file or the new.

    Args:
        path: The file; its folder must exist.
        arrays: Arrays by name, in C order.
        metadata: Strings to keep beside them.

    Raises:
        StorageError: The disk is full, or the folder cannot be written; the old file is intact.
    """
    # Widest first: what follows in the file stays aligned whatever comes before it.
    arrays = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(_header(arrays, metadata or {}))
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with: sizes, names, and where each array lies.

    Written here since the library's own `save_file` leaves a hidden file of random name behind when
    it is killed, and its `save` needs the memory for all arrays twice.
    """
    entries: dict[str, dict] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in arrays.items():
        entries[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (offset, offset + array.nbytes),
        }
        offset += array.nbytes
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)  # Arrays begin at a multiple of 8 bytes.
    return len(header).to_bytes(8, "little") + header
