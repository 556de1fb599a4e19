"""Checksums of the files of a folder, so that damage is noticed when they are read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from xdistil.data.atomic_files import read_json, sha256_of_file, write_json
from xdistil.data.paths import AnyPath, as_path
from xdistil.errors import InputError

CHECKSUMS = "checksums.json"


def write_checksums(
    folder: str | os.PathLike,
    files: Iterable[str | os.PathLike],
    coming: Mapping[str, bytes] | None = None,
) -> None:
    """Keeps the SHA-256 of files in `checksums.json` beside them.

    Args:
        folder: The folder.
        files: Their paths, below it.
        coming: Contents of files that will be written after, by name.

    Raises:
        StorageError: There is no room.
    """
    folder = as_path(folder)
    names = sorted(as_path(file).relative_to(folder).as_posix() for file in files)
    sums = {name: sha256_of_file(folder / name) for name in names}
    for name, content in (coming or {}).items():
        sums[name] = hashlib.sha256(content).hexdigest()
    write_json(folder / CHECKSUMS, sums, checked=True)


def verify_checksums(
    folder: str | os.PathLike,
    advice: str,
    *,
    may_be_gone: bool = False,
    skip: Callable[[AnyPath], bool] | None = None,
) -> None:
    """Compares the files of a folder with its `checksums.json`, if it has one.

    Args:
        folder: The folder.
        advice: What to do about a damaged file, for the message.
        may_be_gone: A file that is not there any more is none that is damaged.
        skip: Says of a path whether it is left out.

    Raises:
        InputError: A file is missing, or not what was written; it is named.
    """
    folder = as_path(folder)
    sums = read_json(folder / CHECKSUMS) or {}
    if not isinstance(sums, dict):
        raise InputError(f"{folder / CHECKSUMS}: is none of ours: no checksums by file; remove it")
    for name, wanted in sums.items():
        if skip is not None and skip(folder / name):
            continue
        relative = PurePosixPath(name)
        path = folder / relative
        if relative.is_absolute() or ".." in relative.parts:
            raise InputError(f"{folder / CHECKSUMS}: names {name!r}, which is not in the folder")
        if may_be_gone and not path.exists():
            continue
        if not path.is_file():
            raise InputError(f"{path}: is missing; {advice}")
        if sha256_of_file(path) != wanted:
            raise InputError(
                f"{path}: is damaged: its checksum is not the one in {CHECKSUMS}; {advice}"
            )


def files_below(folder: str | os.PathLike) -> list[AnyPath]:
    """All files below a folder, in order."""
    return sorted(path for path in as_path(folder).rglob("*") if path.is_file())
