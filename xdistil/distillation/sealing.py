"""Checksums of a finished run, which the next call compares before it does anything."""

from collections.abc import Iterable

from xdistil.data.checksums import CHECKSUMS, files_below, verify_checksums, write_checksums
from xdistil.data.paths import AnyPath
from xdistil.data.record_manifest import MANIFEST

# What each call writes anew or adds to.
_MOVING = (
    *("run.log", "run.lock", "progress.json", CHECKSUMS),
    *("report.json", "report.html", "pretraining.json", "workers"),
)


def seal(path: AnyPath, names: Iterable[str]) -> None:
    """Keeps checksums of what a run has left and no other file has one of.

    Args:
        path: The run's directory.
        names: Of the files and folders in it that are the run's.
    """
    own = _with_checksums(path)
    files = (
        file
        for name in names
        for file in [path / name, *files_below(path / name)]
        # Records have theirs in their manifest, its lines their own; cards people may write in.
        if file.is_file() and not file.name.endswith((".tfrecord", MANIFEST, "README.md"))
    )
    left = (file for file in files if not _is_moving(file.relative_to(path)))
    write_checksums(path, (file for file in left if not own & {*file.parents}))


def verify_seal(path: AnyPath) -> None:
    """Compares all checksums of a run.

    Raises:
        InputError: One differs.
    """
    own = _with_checksums(path)
    for folder in sorted(own):
        # A kill may have come before the files that follow their checksums.
        advice = f"remove {folder} and give the same command again, which makes it again"
        if folder.parent.name == "stages":
            advice = f"remove {folder} and the stages after it; the same command makes them again"
        verify_checksums(folder, advice, may_be_gone=True)
    # What was removed on purpose, to save room, is made again where it is wanted.
    advice = "put it back, or begin anew with --overwrite"
    verify_checksums(path, advice, may_be_gone=True, skip=lambda file: bool(own & {*file.parents}))


def break_seal(path: AnyPath) -> None:
    """Takes a run's checksums away: from here on its files may change."""
    (path / CHECKSUMS).unlink(missing_ok=True)


def _with_checksums(path: AnyPath) -> set[AnyPath]:
    """Folders below a run that have checksums of their own; not what a kill left half made."""
    found = (file.relative_to(path) for file in path.rglob(CHECKSUMS))
    whole = (file for file in found if not any(part.startswith(".") for part in file.parts))
    return {path / file.parent for file in whole if len(file.parts) > 1}


def _is_moving(name: AnyPath) -> bool:
    """Whether each call writes a file anew or adds to it; also of runs below `languages/`."""
    hidden = any(part.startswith(".") for part in name.parts)
    return hidden or bool({*name.parts} & {*_MOVING})
