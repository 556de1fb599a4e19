"""Numbered lines of a text file, plain or gzipped, with errors that name file and line."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from typing import IO

from xdistil.data.paths import as_path
from xdistil.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def numbered_lines(path: str, most_bytes: int | None = None) -> Iterator[tuple[int, str]]:
    r"""Yields `(line number from 1, line)` of a UTF-8 file; gzip is recognised by its content.

    A line ends at `\n` (or `\r\n`) and at nothing else: U+2028, U+0085 and form feeds are
    characters like any other, which Python's own text mode and `str.splitlines` do not respect. A
    byte order mark at the beginning is dropped. One line at a time is in memory, and the file is
    opened once, so a pipe will do.

    Args:
        path: the file.
        most_bytes: a longer line is given in parts of at most so many bytes, under the same number:
            cut after a space or tab, or between characters where there is none. `None`: never.

    Raises:
        InputError: the file is missing, a folder, not readable, empty, not UTF-8, or gzip data
            that is cut or damaged; with the line number where there is one.
    """
    number = 0
    try:
        # Opened once: what was read of a pipe is gone.
        with as_path(path).open("rb") as file:
            magic = file.peek(2)[:2]
            if not magic:
                raise InputError(f"{path}: the file is empty: give a file with at least one line")
            if str(path).endswith(".gz") and magic != _GZIP_MAGIC:
                raise InputError(
                    f"{path}: not gzip data, although its name ends in .gz: rename or compress it"
                )
            stream = gzip.GzipFile(fileobj=file) if magic == _GZIP_MAGIC else file
            for before, raw in _whole(stream) if most_bytes is None else _parts(stream, most_bytes):
                number += not before
                if number == 1 and not before:
                    raw = raw.removeprefix(_BYTE_ORDER_MARK)
                yield number, decode_line(raw, path, number, before)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}:{number + 1}: the gzip data is cut or damaged after line {number} ({error}): "
            "copy or compress the file again"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder: give a file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({os.strerror(error.errno or 0)})") from None
    if number == 0:
        raise InputError(f"{path}: the file is empty: give a file with at least one line")


def _whole(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for raw in stream:
        yield 0, raw


def _parts(stream: IO[bytes], most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Parts of lines, each with the number of bytes of its line before it."""
    before, rest = 0, b""
    while raw := rest + stream.readline(most_bytes - len(rest)):
        rest = b""
        if len(raw) >= most_bytes and not raw.endswith(b"\n"):
            end = _place_to_cut(raw)
            raw, rest = raw[:end], raw[end:]
        yield before, raw
        before = 0 if raw.endswith(b"\n") else before + len(raw)


def _place_to_cut(raw: bytes) -> int:
    end = 1 + max(raw.rfind(b" "), raw.rfind(b"\t"))
    if end:
        return end
    # Before the last character, which may go on: its bytes but the first are 10xxxxxx.
    starts = (at for at in range(len(raw) - 1, max(0, len(raw) - 5), -1) if raw[at] >> 6 != 0b10)
    return next(starts, len(raw))


def decode_line(raw: bytes, path: str, number: int, before: int = 0) -> str:
    """One line of a file as text, without its line break.

    Args:
        raw: the line's bytes.
        path: the file, for the error.
        number: the line's number from 1, for the error.
        before: bytes of the line before these, for the error.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: invalid UTF-8 (byte 0x{raw[error.start]:02x} at byte "
            f"{before + error.start + 1} of the line): save the file as UTF-8"
        ) from None
    return line.removesuffix("\n").removesuffix("\r")
