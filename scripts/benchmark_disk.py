"""Subject `disk`: a disk that is full again and again: one line each time, and nothing lost?

    unshare --map-root-user --mount python scripts/benchmark.py disk

A small run writes to a file system in memory that has next to no room. Each time that it ends for
want of room, it is given a little more, and the same command again: so its writers come to a full
disk one after another, in the middle of a file or at its start. Each time it must end in one line
that names a file of its folder, and at last in the student of a run that always had room. To mount
file systems, be root, or in a namespace of your own, as above.
"""

import collections
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_memory import work_folder
from benchmark_resume import WEIGHTS, own_flags, sha256
from benchmark_runs import SMALL_RUN, run_program, run_to_the_end

from xdistil.errors import InputError
from xdistil.report.report import load_report
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_enum(
        "program", "ner", ["ner", "classification", "pairs"], "What is run; texts are augmented."
    )
    flags.DEFINE_integer("room", 64, "KiB that the disk has at first.", lower_bound=8)
    flags.DEFINE_integer("more", 64, "KiB that are added each time.", lower_bound=4)
    flags.DEFINE_integer("transfer_sentences", 500, "Sentences of transfer text.", lower_bound=1)
    flags.DEFINE_string("run_flags", "", "Further flags of the program, in quotes.")
    flags.DEFINE_string("work_dir", None, "Folder to keep; default: one that is removed after.")


def measure() -> dict[str, Any]:
    """A run with room, then one that never has enough until its end."""
    with work_folder(FLAGS.work_dir) as folder:
        text = own_flags(folder / "text", FLAGS.program, FLAGS.transfer_sentences)
        command = [*SMALL_RUN, *text, "--checkpoint_minutes=0", *shlex.split(FLAGS.run_flags)]
        roomy = folder / "roomy"
        run_to_the_end(
            [*command, f"--output_dir={roomy}", "--overwrite"],
            log=folder / "roomy.log",
            program=FLAGS.program,
        )
        disk, trials = folder / "disk", []
        disk.mkdir(exist_ok=True)
        with _mounted(disk, FLAGS.room):
            run, log = disk / "run", folder / "disk.log"
            while True:
                log.write_bytes(b"")
                room = FLAGS.room + FLAGS.more * len(trials)
                _mount("-o", f"remount,size={room}k", str(disk))
                done = run_program(
                    [*command, f"--output_dir={run}"], log=log, program=FLAGS.program
                )
                if done.status == 0:
                    break
                said = log.read_text("utf-8", errors="replace")
                trials.append({"room": room, **judge(run, done.status, said)})
                if not trials[-1]["named"]:
                    print(f"{room} KiB: {trials[-1]}", flush=True)
                if trials[-1]["file"] is None:
                    break  # not for want of room: more of it mends nothing
            if not trials:
                raise InputError(f"--room={FLAGS.room}: the whole run has room there; give less")
            equal = done.status == 0 and sha256(run / WEIGHTS) == sha256(roomy / WEIGHTS)
            passes = load_report(run)["teacher_passes"] if equal else None
    return {"trials": trials, "equal": equal, "teacher_passes": passes}


def judge(run: Path, status: int, said: str) -> dict[str, Any]:
    """What came of a full disk.

    Args:
        run: The run's directory.
        status: The program's exit status.
        said: What it printed.

    Returns:
        `file`: what could not be written, relative to the run, or None where no line says so;
        `named`: whether one line said it, and nothing beside it was said of an error.
    """
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    found = re.match(r"error: (.+?): cannot write: .*[Nn]o space left", lines[0]) if lines else None
    file = found and Path(found[1])
    ours = file is not None and (file == run or run in file.parents)
    file = file.relative_to(run).as_posix() if ours else None
    named = status == 2 and len(lines) == 1 and file is not None and "Traceback" not in said
    return {"file": file, "named": named, "said": lines[:1] or said.splitlines()[-1:]}


def table(result: dict[str, Any]) -> str:
    """The tally."""
    files = collections.Counter(trial["file"] or "?" for trial in result["trials"])
    rows = [["what could not be written", "times"]]
    rows += [[file, str(times)] for file, times in sorted(files.items())]
    named = sum(trial["named"] for trial in result["trials"])
    return (
        f"{text_table(rows, left=1)}\n{named} of {len(result['trials'])} full disks named; at the "
        f"end {'the same student' if result['equal'] else 'ANOTHER STUDENT'}, "
        f"{result['teacher_passes']} teacher passes"
    )


@contextmanager
def _mounted(folder: Path, room: int) -> Iterator[None]:
    _mount("-t", "tmpfs", "-o", f"size={room}k", "none", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        raise InputError(
            f"cannot mount a small disk: {reason}. Run this as root, or in a namespace: "
            "unshare --map-root-user --mount python scripts/benchmark.py disk"
        ) from error
