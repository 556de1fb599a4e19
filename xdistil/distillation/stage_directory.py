"""The folder of one stage of a run."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from xdistil.data import atomic_files
from xdistil.data.checksums import write_checksums
from xdistil.data.paths import AnyPath


class StageDirectory:
    """The folder of one stage.

    Args:
        path: The folder; made where it is not there.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = atomic_files.make_folder(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoint(self) -> AnyPath:
        """State in the middle of the stage: weights, optimizer, epoch."""
        return self.path / "state.safetensors"

    @property
    def best(self) -> AnyPath:
        """Weights of the best epoch on dev so far."""
        return self.path / "best.safetensors"

    @property
    def final(self) -> AnyPath:
        """What the stage hands to the next one."""
        return self.path / "final.safetensors"

    @property
    def history_path(self) -> AnyPath:
        return self.path / "history.json"

    def history(self) -> list[dict[str, Any]]:
        """A dict an epoch; empty before the first one."""
        return atomic_files.read_json(self.history_path) or []

    def write_history(self, history: Iterable[Mapping[str, Any]]) -> None:
        atomic_files.write_json(self.history_path, [dict(epoch) for epoch in history])

    @property
    def done(self) -> AnyPath:
        """The marker of a finished stage."""
        return self.path / "done"

    @property
    def is_done(self) -> bool:
        return self.done.exists()

    def mark_done(self, record: Mapping[str, Any] | None = None) -> None:
        """Writes the marker; call it last, when everything else of the stage is on the disk."""
        files = (self.path / "stage.json", self.history_path, self.final)
        write_checksums(self.path, (path for path in files if path.is_file()))
        atomic_files.write_json(self.done, dict(record or {}), checked=True)

    def done_record(self) -> dict[str, Any] | None:
        """What `mark_done` was given, or None while the stage is not done.

        Raises:
            InputError: The record is not what was written.
        """
        return atomic_files.read_json(self.done)
