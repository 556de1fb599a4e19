"""The manifest of a record store: what is in it, as far as it was written whole."""

import dataclasses
import hashlib
import json
import os

from xdistil.data import atomic_files
from xdistil.data.paths import AnyPath, is_remote
from xdistil.errors import InputError

MANIFEST = "manifest.jsonl"
TOKENS = "tokens"
_FORMAT = "xdistil records 1"


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """What one array of a store looks like.

    Args:
        dtype: Name of the NumPy dtype, `"float16"` for teacher targets.
        width: Length of the last axis.
        per_position: True for `(length, width)`, False for `(width,)`, one vector an example.
    """

    dtype: str
    width: int
    per_position: bool = True


class Manifest:
    """The manifest's lines: what is in the store, as far as it was written whole."""

    def __init__(self, folder: AnyPath, key: str, shard_size: int, name: str = MANIFEST):
        self.folder = folder
        self.name = name
        self.key = key
        self.shard_size = shard_size
        self.arrays: dict[str, ArraySpec] = {}
        self.shards: dict[int, dict] = {}
        self.total: int | None = None

    @classmethod
    def read(cls, folder: AnyPath, name: str = MANIFEST) -> "Manifest | None":
        """Reads the lines that are whole; None when the first one, with the key, is not."""
        try:
            lines = (folder / name).read_bytes().splitlines()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read: {error.strerror}") from error
        entries = [_checked_line(line) for line in lines]
        if not entries or not entries[0] or entries[0].get("format") != _FORMAT:
            return None
        manifest = cls(folder, entries[0]["key"], entries[0]["shard_size"], name)
        for entry in filter(None, entries[1:]):
            if "shard" in entry:
                manifest.add(entry)
            elif None not in entries and entry["shards"] == len(manifest.shards):
                manifest.total = entry["examples"]
        return manifest

    def add(self, entry: dict) -> None:
        self.shards[entry["shard"]] = entry
        self.arrays = {name: ArraySpec(**spec) for name, spec in entry["arrays"].items()}

    def in_order(self) -> list[dict]:
        return [self.shards[index] for index in sorted(self.shards)]

    def append(self, entry: dict) -> None:
        """One more line, on the disk when this returns: cost does not grow with the store."""
        path = self.folder / self.name
        try:
            with path.open("ab") as file:
                file.write(_line(entry))
                file.flush()
                if not is_remote(path):
                    os.fsync(file.fileno())
        except OSError as error:
            raise atomic_files.storage_error(path, error) from error

    def rewrite(self) -> None:
        """All lines in order, in one step: after damage, and at the end."""
        header = {"format": _FORMAT, "key": self.key, "shard_size": self.shard_size}
        lines = [_line(header), *map(_line, self.in_order())]
        if self.total is not None:
            lines.append(_line({"examples": self.total, "shards": len(self.shards)}))
        atomic_files.write_bytes(self.folder / self.name, b"".join(lines))


def manifest_of_worker(worker: int) -> str:
    """Name of the manifest of a worker's share."""
    return f"manifest.worker-{worker}.jsonl"


def manifests_in(folder: AnyPath) -> list[str]:
    """Names of all manifests of a folder, shares' too."""
    return sorted(path.name for path in folder.glob("manifest*.jsonl"))


def file_name(index: int, column: str) -> str:
    return f"{index:05d}.{column}.tfrecord"


def _line(entry: dict) -> bytes:
    text = json.dumps(entry, sort_keys=True)
    check = hashlib.sha256(text.encode()).hexdigest()[:16]
    return json.dumps({**entry, "check": check}, sort_keys=True).encode() + b"\n"


def _checked_line(line: bytes) -> dict | None:
    """The entry of a line, or None when the line is not what was written."""
    try:
        entry = json.loads(line)
        del entry["check"]
    except (ValueError, KeyError, TypeError):
        return None
    return entry if _line(entry) == line + b"\n" else None


def fault_of_shard(folder: AnyPath, shard: dict, verify: bool) -> str | None:
    for name, file in shard["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{path}: is missing"
        size = path.stat().st_size
        if size != file["bytes"]:
            return f"{path}: is damaged: {size} bytes, expected {file['bytes']}"
        if verify and atomic_files.sha256_of_file(path) != file["sha256"]:
            return f"{path}: is damaged: its checksum is not the one in {MANIFEST}"
    return None
