"""Takes a finished teacher and finished targets over from another run, where they are the same."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdistil.data import atomic_files
from xdistil.data.paths import AnyPath, copy_tree, move, remove_tree
from xdistil.data.records import RecordStore
from xdistil.distillation.differences import differences
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.targets import fingerprint
from xdistil.errors import InputError

logger = logging.getLogger("xdistil")


def differing_origin(folder: AnyPath, origin: Mapping[str, Any]) -> str | None:
    """What differs between a teacher's origin and another, for people; `None`: nothing does.

    Args:
        folder: A finished teacher.
        origin: All that decides the teacher that is wanted, by name.
    """
    record = atomic_files.read_json(folder / "key.json") or {}
    if record.get("key") == fingerprint(*origin.values()):
        return None
    wanted = json.loads(json.dumps(origin))
    told = []
    for name, before, now in differences(record.get("made_from", {}), wanted):
        # A fingerprint says nothing to people.
        hidden = any(re.fullmatch(r'"[0-9a-f]{64}"', value) for value in (before, now))
        told.append(name if hidden else f"{name} was {before[:60]}, is {now[:60]}")
    return "; ".join(told) if "made_from" in record else "other text or settings"


def check_finished_teacher(source: AnyPath, origin: Mapping[str, Any]) -> None:
    """Raises unless `source` holds a teacher that may be taken over.

    Args:
        source: Another run's directory.
        origin: All that decides the teacher that is wanted, by name.

    Raises:
        InputError: If the other run has no finished teacher, or one of other inputs.
    """
    # config.json comes last: without it the weights may not be whole.
    finished = (source / "teacher" / "config.json").exists()
    if not finished or not (source / "teacher" / "key.json").exists():
        raise InputError(f"{source}: --reuse_from names no run with a finished teacher.")
    differing = differing_origin(source / "teacher", origin)
    if differing:
        raise InputError(
            f"{source}: its teacher was made otherwise than this run's ({differing}); leave "
            "--reuse_from out, or give the same data, labels, seed and teacher flags."
        )


def link_finished_teacher(source: AnyPath, target: RunDirectory, origin: Mapping[str, Any]) -> None:
    """Takes over `source/teacher` if it was made from the same inputs and settings.

    Args:
        source: Another run's directory.
        target: The run that may use it.
        origin: All that decides the teacher that is wanted, by name.

    Raises:
        InputError: As `check_finished_teacher` does.
    """
    if (target.teacher / "config.json").exists():
        return
    check_finished_teacher(source, origin)
    link_folder(source / "teacher", target.teacher)
    logger.info("teacher: taken over from %s", source)


def link_finished_targets(
    source: AnyPath | None,
    target: AnyPath,
    needs: Sequence[str],
    key: Callable[[Sequence[str]], str],
) -> tuple[str, ...]:
    """Takes over finished targets if they hold at least what is needed.

    Args:
        source: The other run's folder of targets; `None`: only what lies in `target` is looked at.
        target: Where they belong.
        needs: Names of the teacher's outputs that are read.
        key: From such names to the key of targets of this run's teacher and text.

    Returns:
        What the targets hold: more than needed where the other run had more.
    """
    needs = tuple(needs)
    folder = target if target.exists() else source
    if folder is None:
        return needs
    try:
        store = RecordStore.open(folder, verify=False)
    except InputError:
        return needs
    held = tuple(sorted(store.arrays))
    if not set(needs) <= set(held) or store.key != key(held):
        return needs
    if not target.exists():
        link_folder(source, target)
        logger.info("targets: taken over from %s", source)
    return held


def link_folder(source: AnyPath, target: AnyPath) -> None:
    """Makes `target` a copy of `source`, by hard links where both are on this machine and may be.

    The files of a run are replaced, never written into, so a shared file stays what it was. The
    target appears whole, in one rename.

    Raises:
        StorageError: There is no room, or the target's folder cannot be written.
    """
    partial = atomic_files.partial_path(target)
    atomic_files.make_folder(target.parent)
    remove_tree(partial, ignore_errors=True)
    try:
        copy_tree(source, partial)
        if target.exists():  # left unfinished by a kill
            remove_tree(target)
        move(partial, target)
    except OSError as error:  # shutil.Error is one too
        remove_tree(partial, ignore_errors=True)
        raise atomic_files.storage_error(target, error) from error
