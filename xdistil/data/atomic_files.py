"""Files that are either whole or not there, whenever the process dies or the disk fills up.

Each write goes to a hidden neighbour first, is flushed to the disk, and then takes the place of the
old file in one rename: a reader sees the old bytes or the new ones, never a mixture.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from xdistil.data.paths import AnyPath, as_path, is_remote, move, remove_tree
from xdistil.errors import InputError, StorageError

_CHUNK = 1 << 20


def reason_of(error: object) -> str:
    """What the system says of an error, without number and path."""
    return getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "unknown")


def storage_error(path: str | os.PathLike, reason: object) -> StorageError:
    """Says in one line that `path` could not be written, and what to do about it."""
    return StorageError(
        f"{os.fspath(path)}: cannot write: {reason_of(reason)}. Nothing that was there is damaged; "
        "make room (or the folder writable) and give the same command again: it goes on from here"
    )


def partial_path(path: str | os.PathLike) -> AnyPath:
    """The hidden neighbour that is written before it takes the name of `path`."""
    path = as_path(path)
    # One fixed name, so that what a killed process left behind is overwritten by the next one.
    return path.with_name(f".{path.name}.partial")


def sync_folder(folder: str | os.PathLike) -> None:
    """Makes renames in `folder` survive a loss of power."""
    if is_remote(folder):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[AnyPath]:
    """Gives a path to write to; on leaving, that file takes the place of `path` in one step.

    When the body raises, what it wrote is removed and `path` stays as it was.

    Args:
        path: The file to make or to replace. Its folder must exist.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    path = as_path(path)
    partial = partial_path(path)
    try:
        yield partial
        if not is_remote(partial):
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
        move(partial, path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(path, error) from error
        raise


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` to `path` in one step.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(content)


def write_json(path: str | os.PathLike, value: Any, *, checked: bool = False) -> None:
    """Writes `value` as indented JSON to `path` in one step.

    Args:
        path: The file; its folder must exist.
        value: What JSON can hold; other things as their `str`.
        checked: Beside a checksum, which `read_json` compares. For files that only xdistil reads.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    if checked:
        value = json.loads(json.dumps(value, default=str))
        value = {"check": _check_of(value), "value": value}
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """What `write_json` writes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return (text + "\n").encode("utf-8")


def read_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file of the run, or None where there is no file.

    Raises:
        InputError: The file cannot be read, is not JSON, or not what its checksum says; it was
            changed by something else.
    """
    try:
        value = json.loads(as_path(path).read_text(encoding="utf-8"))
        # One of the two names may be what was damaged.
        if isinstance(value, dict) and len(value) == 2 and value.keys() & {"check", "value"}:
            if value.get("check") != _check_of(value.get("value")):
                raise ValueError("its checksum does not match its contents")
            return value["value"]
        return value
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as JSON: {reason}; remove it or its run"
        ) from error


def _check_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def replace_folder(partial: AnyPath, folder: AnyPath) -> None:
    """Renames `partial` to `folder`, whose old content goes only when the new is in place.

    Where a kill came between two renames, the next call puts the old content back first.
    """
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        move(old, folder)
    remove_tree(old, ignore_errors=True)
    if folder.exists():
        move(folder, old)
    try:
        move(partial, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            move(old, folder)
        raise
    sync_folder(folder.parent)
    remove_tree(old, ignore_errors=True)


def make_folder(path: str | os.PathLike) -> AnyPath:
    """Makes `path` with its parents where it is not there yet.

    Raises:
        StorageError: The disk is full, or a parent cannot be written or is a file.
    """
    path = as_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def sha256_of_file(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes in hexadecimal, read in pieces of 1 MiB.

    Raises:
        InputError: The file is not there or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with as_path(path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: cannot be read: {reason_of(error)}") from error
    return digest.hexdigest()
