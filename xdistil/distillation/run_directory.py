"""The folder of one run (`--output_dir`): what is needed to go on, and to know what was done."""

import collections
import contextlib
import fcntl
import importlib.metadata
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from xdistil.data import atomic_files
from xdistil.data.checksums import CHECKSUMS
from xdistil.data.paths import AnyPath, as_path, is_remote, remove_tree
from xdistil.distillation.differences import differences
from xdistil.distillation.phase_clock import PhaseClock
from xdistil.distillation.sealing import break_seal, seal, verify_seal
from xdistil.distillation.stage_directory import StageDirectory
from xdistil.errors import InputError, StorageError

_FORMAT = "xdistil run directory 1"
_VERSIONS_OF = ("xdistil", "keras", "keras-hub", "tensorflow", "numpy")
_FOLDERS = (
    *("teacher", "teacher_targets", "stages", "student", "export", "records", "events"),
    *("languages", "last", "workers"),
)
_FILES = (
    *("config.json", "progress.json", "report.json", "report.html", "pretraining.json"),
    *("run.log", "run.lock", CHECKSUMS),
)


class RunDirectory:
    """A run's folder, locked for this process until `close`.

    Get one from `RunDirectory.open`. Layout:

        config.json        settings, seeds, versions, hashes of the inputs
        teacher/ teacher_targets/ student/ export/
        stages/NN-name/    state, history, `done` when whole
        progress.json      seconds spent, over all calls
        report.json report.html run.log events/

    Example:

    ```python
    with RunDirectory.open("run", {"recipe": "D4.2", "seed": 0}) as run:
        stage = run.stage(1, "representation")
        if not stage.is_done:
            stage.write_history([{"epoch": 1, "loss": 0.5}])
            stage.mark_done({"epochs": 1})
        with run.clock.running("distillation"):
            ...
    ```
    """

    def __init__(
        self, path: str | os.PathLike, lock: int | None, config: Mapping[str, Any], worker: int = 0
    ):
        self.path = as_path(path)
        self.worker = worker
        self.config = dict(config)
        self._lock = lock
        self.clock = PhaseClock(_own_folder(self.path, worker) / "progress.json")
        self._handlers: list[tuple[logging.Logger, logging.Handler]] = []
        self.version_warnings: list[str] = []
        self.irrelevant: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike,
        config: Mapping[str, Any],
        overwrite: bool = False,
        *,
        inputs: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        irrelevant: Collection[str] = (),
        worker: int = 0,
    ) -> "RunDirectory":
        """Makes a run's folder, or opens the one of the same configuration to go on.

        Args:
            path: The folder; made with its parents where it is not there.
            config: All settings, as JSON would hold them; nested dicts are fine.
            overwrite: Begin anew: what an earlier run made here is removed, other files stay.
            inputs: Name of each input to its hash (`hash_files`); must stay the same too.
            files: Path of each file to its hash: kept, and named where an input has changed.
            irrelevant: Settings that may differ between calls, such as progress bars and the path
                itself; dotted names reach into nested dicts.
            worker: Number of this worker where several share the folder. The first one, 0, opens
                it before the others; these find it made, and keep log and clock in `workers/`.

        Raises:
            InputError: The folder belongs to another configuration (the differing settings are
                named), to another process that is running now, or holds something else.
            StorageError: The folder cannot be made or written.
        """
        path = as_path(path)
        _refuse_foreign(path)
        lock = _take_lock(atomic_files.make_folder(_own_folder(path, worker)))
        try:
            if overwrite and not worker:
                _empty(path)
            wanted = _record(config, inputs, files)
            run = cls(path, lock, wanted, worker)
            run.irrelevant = tuple(irrelevant)
            if not overwrite and not worker:
                verify_seal(path)
            if worker or (run.config_path.exists() and not overwrite):
                _compare(run, _read_config(run.config_path), wanted, irrelevant)
            else:
                atomic_files.write_json(run.config_path, wanted)
            if not worker:
                break_seal(path)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        return run

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, kind: type | None, exception: BaseException | None, *_: object) -> None:
        if exception is not None:
            for logger, _handler in self._handlers:
                logger.debug("ended: %s: %s", kind.__name__, exception, exc_info=exception)
        self.close()

    def close(self) -> None:
        """Lets another process have the folder, and ends the log."""
        for logger, handler in self._handlers:
            logger.removeHandler(handler)
            handler.close()
        self._handlers.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def config_path(self) -> AnyPath:
        return self.path / "config.json"

    @property
    def teacher(self) -> AnyPath:
        return self.path / "teacher"

    @property
    def teacher_targets(self) -> AnyPath:
        return self.path / "teacher_targets"

    @property
    def records(self) -> AnyPath:
        """Encoded examples without arrays, where the teacher runs online."""
        return self.path / "records"

    @property
    def student(self) -> AnyPath:
        return self.path / "student"

    @property
    def export(self) -> AnyPath:
        return self.path / "export"

    @property
    def events(self) -> AnyPath:
        """Events for TensorBoard."""
        return self.path / "events"

    @property
    def report_json(self) -> AnyPath:
        return self.path / "report.json"

    @property
    def report_html(self) -> AnyPath:
        return self.path / "report.html"

    @property
    def log(self) -> AnyPath:
        return _own_folder(self.path, self.worker) / "run.log"

    def stage(self, number: int, name: str) -> "StageDirectory":
        """The folder `stages/NN-name`, made where it is not there."""
        return StageDirectory(self.path / "stages" / f"{number:02d}-{name}")

    def seconds(self) -> dict[str, float]:
        """Time spent in each phase over all calls, in seconds; runs below `languages/` too."""
        spent = collections.Counter(self.clock.seconds())
        for path in self.path.glob("languages/*/progress.json"):
            spent.update(PhaseClock(path).seconds())
        return dict(spent)

    def seal(self) -> None:
        """Keeps checksums of what a finished run has left and no other file has one of.

        The next call compares all of them before it does anything.
        """
        seal(self.path, [*_FOLDERS, *_FILES])

    def write_json(self, name: str, value: Any) -> None:
        """Writes `value` to the file `name` of this folder in one step."""
        atomic_files.write_json(self.path / name, value)

    def log_to_file(self, logger: logging.Logger) -> logging.Handler:
        """Appends what `logger` says to run.log, with date and time, until `close`."""
        try:
            handler = _LogFile(self.log)
        except OSError as error:
            raise atomic_files.storage_error(self.log, error) from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        self._handlers.append((logger, handler))
        return handler


def hash_files(paths: Iterable[str | os.PathLike]) -> dict[str, str]:
    """SHA-256 of each file's bytes, under its path as given; files of any size.

    Raises:
        InputError: A file is not there or cannot be read.
    """
    return {os.fspath(path): atomic_files.sha256_of_file(path) for path in paths}


class _LogFile(logging.StreamHandler):
    """Appends lines to a file on any file system."""

    def __init__(self, path: AnyPath):
        super().__init__(path.open("a", encoding="utf-8"))

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):  # as in `handleError`
            self.stream.close()

    def handleError(self, record: logging.LogRecord) -> None:
        # A full disk stops the run where data is lost, not where a line of the log is.
        return


def _own_folder(path: AnyPath, worker: int) -> AnyPath:
    """Where a worker keeps what is its own alone."""
    return path / "workers" / str(worker) if worker else path


def _known(name: str) -> bool:
    partial = {atomic_files.partial_path(file).name for file in _FILES}
    return name in {*_FOLDERS, *_FILES, *partial}


def _refuse_foreign(path: AnyPath) -> None:
    """A folder is ours when it is new, empty, or has our config.json."""
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{path}: is a file, not a folder; give another output directory")
    config = path / "config.json"
    if config.exists():
        _read_config(config)
        return
    # A run killed before its config.json was written has left at most locks.
    others = sorted(p.name for p in path.iterdir() if p.name not in _BEFORE_CONFIG)
    if others:
        raise InputError(
            f"{path}: holds {len(others)} other files ({', '.join(others[:3])}) and no run of "
            "xdistil; give another output directory"
        )


# Settings that an error names.
_MOST_TOLD = 8
# Settings on which nothing but rounding depends.
_DEVICES = ("strategy", "logical_devices")
_BEFORE_CONFIG = ("run.lock", "workers", atomic_files.partial_path("config.json").name)


def _read_config(path: AnyPath) -> dict[str, Any]:
    config = atomic_files.read_json(path)
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise InputError(
            f"{path}: was not written by this version of xdistil (expected format `{_FORMAT}`); "
            "give another output directory"
        )
    return config


def _take_lock(path: AnyPath) -> int | None:
    """Keeps the folder for this process; a remote one, where nothing can be locked, is not kept."""
    if is_remote(path):
        return None
    try:
        lock = os.open(path / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise atomic_files.storage_error(path / "run.lock", error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise InputError(
            f"{path}: another run is at work here (process {owner}); wait for it or give another "
            "output directory"
        ) from error
    except OSError as error:
        os.close(lock)
        raise InputError(
            f"{path}: run.lock cannot be locked there: {atomic_files.reason_of(error)}; mount the "
            "file system with locks (Lustre: -o flock), or give a folder on another"
        ) from error
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except OSError as error:
        os.close(lock)
        raise atomic_files.storage_error(path / "run.lock", error) from error
    return lock


def _empty(path: AnyPath) -> None:
    """Removes what a run makes, and nothing else; the lock stays, being held.

    config.json stays until the new one takes its place: a kill half way leaves a folder that is
    still known as ours.
    """
    try:
        for entry in path.iterdir():
            if not _known(entry.name) or entry.name in ("run.lock", "config.json"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot be emptied: {error.strerror}") from error


def _record(
    config: Mapping[str, Any], inputs: Mapping[str, str] | None, files: Mapping[str, str] | None
) -> dict[str, Any]:
    record = {
        "format": _FORMAT,
        "settings": dict(config),
        "inputs": dict(inputs or {}),
        "files": dict(files or {}),
        "versions": {name: _version(name) for name in _VERSIONS_OF},
    }
    # As it will be read back: tuples become lists, paths strings.
    return json.loads(json.dumps(record, default=str))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _compare(run: RunDirectory, held: dict, wanted: dict, irrelevant: Collection[str]) -> None:
    for part in ("settings", "inputs"):
        differing = [
            f"{name} was {before}, is {now}"
            for name, before, now in differences(held.get(part, {}), wanted[part])
            if not any(name == key or name.startswith(f"{key}.") for key in irrelevant)
        ]
        if differing:
            files = held.get("files", {})
            changed = [f for f, sha in wanted["files"].items() if f in files and files[f] != sha]
            names = f" (changed: {', '.join(changed)})" if part == "inputs" and changed else ""
            told = differing[:_MOST_TOLD]
            if more := len(differing) - len(told):
                told.append(f"and {more} more")
            raise InputError(
                f"{run.path}: holds a run with other {part}: {'; '.join(told)}{names}. Give "
                "these again, or another output directory (--reuse_from takes this one's teacher "
                "over), or --overwrite"
            )
    run.version_warnings = [
        f"{run.path}: {name} was {before} when this run began, is {now}"
        for part, names in (("versions", None), ("settings", _DEVICES))
        for name, before, now in differences(held.get(part, {}), wanted[part])
        if names is None or name in names
    ]
