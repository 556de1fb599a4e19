"""Paths on this machine and on TensorFlow's other file systems, such as `gs://` and `ram://`.

`as_path` gives a `pathlib.Path`, or for a path with a scheme a `RemotePath`, which does what this
project asks of a path by means of `tf.io.gfile`; `tf.io.gfile.get_registered_schemes()` tells which
file systems there are.
"""

import atexit
import contextlib
import glob
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from xdistil.data.remote_paths import RemotePath, as_os_errors, gfile, has_scheme


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path names its file system, as in `gs://bucket/folder`."""
    return isinstance(path, RemotePath) or has_scheme(os.fspath(path))


def as_path(*parts: str | os.PathLike) -> "AnyPath":
    """The path that `parts` amount to, each below the one before, as in `pathlib.Path(*parts)`."""
    if parts and is_remote(parts[0]):
        return RemotePath(parts[0]).joinpath(*parts[1:])
    return pathlib.Path(*parts)


AnyPath = pathlib.Path | RemotePath
# Folders of this machine, each made for one copy, with the remote folder that it is a copy of.
_COPIES: dict[pathlib.Path, AnyPath] = {}
# What a copy is called where the remote folder has no name of its own, as `ram:///`.
_NAMELESS = "folder"


def real_path(path: str | os.PathLike) -> str:
    """The path with links followed, where there are any."""
    return str(as_path(path)) if is_remote(path) else os.path.realpath(path)


def glob_files(pattern: str) -> list[str]:
    """The files that match a pattern with `*`, `?`, `[` or `**`, sorted."""
    if is_remote(pattern):
        root = RemotePath(pattern)
        magic = next((i for i, name in enumerate(root.parts) if glob.has_magic(name)), None)
        if magic is None:
            return [str(root)] if root.is_file() else []
        folder, below = RemotePath(root.parts[0]).joinpath(*root.parts[1:magic]), root.parts[magic:]
        matches = folder.glob("/".join(below))
        found = (str(path) for path in matches if path.is_file() and not _is_hidden(path, folder))
    else:
        found = (path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    return sorted(found)


def _is_hidden(path: RemotePath, folder: RemotePath) -> bool:
    # As for `glob.glob`, which `*` does not make find them.
    return any(name.startswith(".") for name in path.relative_to(folder).parts)


def free_bytes(folder: "AnyPath") -> int | None:
    """Room on the disk that holds, or will hold, a folder; None where nobody can tell."""
    if is_remote(folder):
        return None
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def move(source: AnyPath, target: AnyPath) -> None:
    """Gives a file or folder another name; a file that is there is replaced.

    In one step on this machine; an object store copies and then removes.
    """
    if not is_remote(source):
        os.replace(source, target)
        return
    if str(source).startswith("ram://") and source.is_dir():
        copy_tree(source, target)  # its rename would leave behind what the folder holds
        remove_tree(source)
        return
    with as_os_errors(source):
        gfile().rename(str(source), str(target), overwrite=True)


def remove_tree(folder: AnyPath, ignore_errors: bool = False) -> None:
    """Removes a folder with all that it holds."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=ignore_errors)
        return
    try:
        _remove_remote_tree(folder)
    except OSError:
        if not ignore_errors:
            raise


def _remove_remote_tree(folder: RemotePath) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            _remove_remote_tree(path)
        else:
            path.unlink()
    # ram:// removes the folder and then misses what it takes for its files, see `iterdir`.
    with contextlib.suppress(FileNotFoundError), as_os_errors(folder):
        gfile().rmtree(str(folder))


def copy_file(source: AnyPath, target: AnyPath) -> None:
    """Copies a file, from and to any file system."""
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, 1 << 22)


def copy_tree(source: AnyPath, target: AnyPath) -> None:
    """Copies a folder with all that it holds; on one machine by hard links where they can be made.

    Args:
        source: The folder.
        target: Where it is copied to; not there yet.
    """
    if not is_remote(source) and not is_remote(target):
        shutil.copytree(source, target, copy_function=_link)
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_dir():
            copy_tree(path, target / path.name)
        else:
            copy_file(path, target / path.name)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.contextmanager
def written_locally(folder: AnyPath) -> Iterator[pathlib.Path]:
    """The folder itself, or one on this machine that is copied to the remote one on leaving.

    For what libraries write that know this machine's files alone.
    """
    if not is_remote(folder):
        yield pathlib.Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="xdistil-") as place:
        yield pathlib.Path(place, folder.name)
        copy_tree(pathlib.Path(place, folder.name), folder)


@contextlib.contextmanager
def local_file(path: AnyPath) -> Iterator[pathlib.Path]:
    """The file itself, or while the context lasts a copy on this machine of a remote one.

    For libraries that take a path and open it themselves.
    """
    if not is_remote(path):
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="xdistil-") as folder:
        copy = pathlib.Path(folder, path.name)
        copy_file(path, copy)
        yield copy


def local_folder(folder: AnyPath) -> pathlib.Path:
    """The folder itself, or until the process ends a copy on this machine of a remote one.

    For models that libraries read from many files, or whose files must not change once checked.
    """
    if not is_remote(folder):
        return pathlib.Path(folder)
    place = pathlib.Path(tempfile.mkdtemp(prefix="xdistil-"))
    if not _COPIES:
        atexit.register(remove_copies)
    _COPIES[place] = folder
    copy = _copy_in(place, folder)
    copy_tree(folder, copy)
    return copy


def _copy_in(place: pathlib.Path, folder: AnyPath) -> pathlib.Path:
    return place / (_NAMELESS if folder.name in ("", ".", "..") else folder.name)


def remove_copies() -> None:
    """Removes what `local_folder` has made; for a process that ends without Python's own end."""
    while _COPIES:
        shutil.rmtree(_COPIES.popitem()[0], ignore_errors=True)


def as_given(message: str) -> str:
    """The message with remote folders in place of the copies that `local_folder` has made."""
    for place, folder in _COPIES.items():
        copy, given = str(_copy_in(place, folder)), str(folder)
        below = given if given.endswith("/") else f"{given}/"
        message = message.replace(f"{copy}/", below).replace(copy, given)
    return message
