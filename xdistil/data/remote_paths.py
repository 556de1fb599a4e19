"""Paths on TensorFlow's file systems other than this machine's: `gs://`, `ram://`."""

import contextlib
import errno
import fnmatch
import io
import os
import pathlib
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from xdistil.errors import InputError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def has_scheme(path: str) -> bool:
    """Whether a path names its file system, as in `gs://bucket/folder`."""
    return bool(_SCHEME.match(path))


@contextlib.contextmanager
def as_os_errors(path: object) -> Iterator[None]:
    """Errors of TensorFlow's file systems as those that Python's own raise."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path)) from error
    except tf.errors.AlreadyExistsError as error:
        raise FileExistsError(errno.EEXIST, "File exists", str(path)) from error
    except tf.errors.PermissionDeniedError as error:
        raise PermissionError(errno.EACCES, "Permission denied", str(path)) from error
    except tf.errors.UnimplementedError as error:
        raise InputError(
            f"{path}: TensorFlow here has no file system of this name ({error.message}); copy it "
            "to this machine, or install the package that brings the file system"
        ) from error
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, error.message or "input or output error", str(path)) from error


class RemotePath(os.PathLike):
    """A path such as `gs://bucket/folder/file`, with the methods of `pathlib.Path` that are used.

    What fails raises `OSError` or one of its kinds, as there.

    Args:
        path: With its scheme.
    """

    def __init__(self, path: str | os.PathLike):
        text = os.fspath(path)
        match = _SCHEME.match(text)
        if not match:
            raise ValueError(f"{text!r} has no scheme such as gs://")
        self._scheme = match.group()
        rest = text[match.end() :]
        # `ram:///folder` has an empty host.
        self._root = "/" if rest.startswith("/") else ""
        self._names = tuple(name for name in rest.split("/") if name not in ("", "."))

    def __str__(self) -> str:
        return self._scheme + self._root + "/".join(self._names)

    __fspath__ = __str__
    as_posix = __str__

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __lt__(self, other: "RemotePath") -> bool:
        return (self._scheme, self._names) < (other._scheme, other._names)

    def __hash__(self) -> int:
        return hash(str(self))

    def _with(self, names: tuple[str, ...]) -> "RemotePath":
        return RemotePath(self._scheme + self._root + "/".join(names))

    def joinpath(self, *parts: str | os.PathLike) -> "RemotePath":
        """Each part below the one before."""
        path = self
        for part in map(os.fspath, parts):
            if has_scheme(part):
                path = RemotePath(part)
            else:
                path = path._with((*path._names, *part.strip("/").split("/")))
        return path

    def __truediv__(self, part: str | os.PathLike) -> "RemotePath":
        return self.joinpath(part)

    @property
    def _local(self) -> pathlib.PurePosixPath:
        return pathlib.PurePosixPath(self.name)

    @property
    def name(self) -> str:
        """The last name."""
        return self._names[-1] if self._names else ""

    @property
    def stem(self) -> str:
        """The last name without its suffix."""
        return self._local.stem

    @property
    def suffix(self) -> str:
        """The last name's suffix with its dot."""
        return self._local.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The scheme, with the slash of an empty host, and each name below."""
        return (self._scheme + self._root, *self._names)

    @property
    def parent(self) -> "RemotePath":
        """The folder above."""
        return self._with(self._names[:-1])

    @property
    def parents(self) -> tuple["RemotePath", ...]:
        """All folders above, the nearest first."""
        return tuple(self._with(self._names[:end]) for end in range(len(self._names) - 1, -1, -1))

    def with_name(self, name: str) -> "RemotePath":
        """Another name in the same folder."""
        return self._with((*self._names[:-1], name))

    def with_suffix(self, suffix: str) -> "RemotePath":
        """The same name with another suffix."""
        return self.with_name(self._local.with_suffix(suffix).name)

    def relative_to(self, other: "RemotePath") -> pathlib.PurePosixPath:
        """The names below `other`."""
        above = len(other._names)
        if other._scheme != self._scheme or self._names[:above] != other._names:
            raise ValueError(f"{str(self)!r} is not below {str(other)!r}")
        return pathlib.PurePosixPath(*self._names[above:])

    def expanduser(self) -> "RemotePath":
        """Itself."""
        return self

    absolute = resolve = expanduser

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        with as_os_errors(self):
            return gfile().exists(str(self))

    def is_dir(self) -> bool:
        """Whether there is a folder."""
        with as_os_errors(self):
            return gfile().isdir(str(self))

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self.exists() and not self.is_dir()

    def is_symlink(self) -> bool:
        """There are none."""
        return False

    def stat(self) -> SimpleNamespace:
        """`st_size` in bytes and `st_mtime` in seconds."""
        with as_os_errors(self):
            found = gfile().stat(str(self))
        return SimpleNamespace(st_size=found.length, st_mtime=found.mtime_nsec / 1e9)

    lstat = stat

    def iterdir(self) -> Iterator["RemotePath"]:
        """What the folder holds."""
        with as_os_errors(self):
            names = gfile().listdir(str(self))
        for name in sorted({name.strip("/") for name in names}):
            path = self / name
            # ram:// takes what lies in `a_b` for files `_b/...` of `a`.
            if self._scheme != "ram://" or path.exists():
                yield path

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """What matches below, level by level; `**` stands for any number of folders."""
        if not self.is_dir():
            return
        first, _, rest = pattern.partition("/")
        if first == "**":
            yield from self.glob(rest or "*")
            for folder in self.iterdir():
                if folder.is_dir():
                    yield from folder.glob(pattern)
            return
        for path in self.iterdir():
            if not fnmatch.fnmatchcase(path.name, first):
                continue
            if not rest:
                yield path
            elif path.is_dir():
                yield from path.glob(rest)

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """`glob` in all folders below."""
        yield from self.glob(f"**/{pattern}")

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes the folder."""
        if self.is_dir():
            if not exist_ok:
                raise FileExistsError(errno.EEXIST, "File exists", str(self))
            return
        with as_os_errors(self):
            (gfile().makedirs if parents else gfile().mkdir)(str(self))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the file."""
        try:
            with as_os_errors(self):
                gfile().remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def open(self, mode: str = "r", buffering: int = -1, **text: Any) -> Any:
        """Opens the file: `r`, `w` or `a`, with `b` for bytes; `text` is for `io.TextIOWrapper`."""
        raw = _RemoteFile(self, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = (io.BufferedReader if "r" in mode else io.BufferedWriter)(raw, 1 << 20)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **text)

    def read_bytes(self) -> bytes:
        """What the file holds."""
        with self.open("rb") as file:
            return file.read()

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """What the file holds, as text."""
        with self.open("r", encoding=encoding, errors=errors) as file:
            return file.read()

    def write_bytes(self, content: bytes) -> int:
        """Replaces what the file holds."""
        with self.open("wb") as file:
            return file.write(content)

    def write_text(self, content: str, encoding: str | None = None) -> int:
        """Replaces what the file holds by text."""
        with self.open("w", encoding=encoding) as file:
            return file.write(content)


class _RemoteFile(io.RawIOBase):
    """A file of TensorFlow's file systems as Python's `io` wants it."""

    def __init__(self, path: RemotePath, mode: str):
        super().__init__()
        self.name, self._mode = str(path), mode
        self._file = gfile().GFile(self.name, mode + "b")
        if mode == "r":
            self._size = path.stat().st_size  # raises where there is no file
        else:
            with as_os_errors(path):
                self._file.write(b"")  # opens it

    def readable(self) -> bool:
        return self._mode == "r"

    def writable(self) -> bool:
        return self._mode != "r"

    def seekable(self) -> bool:
        return self._mode == "r"

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        with as_os_errors(self.name):
            content = self._file.read(len(view))
        view[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        with as_os_errors(self.name):
            self._file.seek(start + offset)
        return start + offset

    def tell(self) -> int:
        with as_os_errors(self.name):
            return self._file.tell()

    def write(self, content: Any) -> int:
        with as_os_errors(self.name):
            self._file.write(bytes(content))
        return len(content)

    def flush(self) -> None:
        if not self.closed and self._mode != "r":
            with as_os_errors(self.name):
                self._file.flush()

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                with as_os_errors(self.name):
                    self._file.close()


def gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile
