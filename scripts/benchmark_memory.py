"""Subject `memory`: the peak resident size of a whole run, with 1 and with 10 times the text.

The text is transfer text that run_ner.py reads, or what run_classification.py --augment makes.
"""

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_runs import (
    SMALL_RUN,
    run_to_the_end,
    write_synthetic_corpus,
    write_synthetic_texts,
)

from xdistil.data.atomic_files import make_folder
from xdistil.report.report import load_report
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
LIMIT = 1.15
# Wide enough that the large text's teacher outputs, held in memory, would be past the limit by far:
# 300,000 sentences of about 13 positions x 256 x 2 bytes are 2 GB.
_WIDE = ("--teacher_hidden_dim=256", "--teacher_heads=4", "--batch_size=128")
_LABELED_TEXTS = 3000


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_enum(
        "growing", "transfer", list(_COMMANDS), "What there is more of: transfer text, or new rows."
    )
    flags.DEFINE_integer("transfer_sentences", 30_000, "Sentences of the small run.", lower_bound=1)
    flags.DEFINE_integer("factor", 10, "How many times more the large run has.", lower_bound=2)
    flags.DEFINE_string("run_flags", "", "Further flags of the program, in quotes.")
    flags.DEFINE_string("work_dir", None, "Folder to keep; default: one that is removed after.")


def measure() -> dict[str, Any]:
    """Run both, each in a process of its own."""
    with work_folder(FLAGS.work_dir) as folder:
        rows = [
            _one_run(folder, FLAGS.transfer_sentences * factor, shlex.split(FLAGS.run_flags))
            for factor in (1, FLAGS.factor)
        ]
    return {"runs": rows, **compare(rows)}


def compare(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratio of the two peaks, and whether it is within the limit."""
    ratio = rows[1]["peak_memory_bytes"] / rows[0]["peak_memory_bytes"]
    growth = rows[1]["transfer_sentences"] / rows[0]["transfer_sentences"]
    return {"growth": growth, "ratio": ratio, "limit": LIMIT, "within_limit": ratio <= LIMIT}


@contextlib.contextmanager
def work_folder(path: str | None) -> Iterator[Path]:
    """The folder at `path`, or a temporary one."""
    if path:
        yield make_folder(Path(path))
    else:
        with tempfile.TemporaryDirectory(prefix="xdistil-benchmark-") as folder:
            yield Path(folder)


def _one_run(folder: Path, sentences: int, run_flags: list[str]) -> dict[str, Any]:
    name = f"transfer-{sentences}"
    program, own = _COMMANDS[FLAGS.growing](folder / f"{name}-text", sentences)
    output = folder / name
    finished = run_to_the_end(
        [*SMALL_RUN, *_WIDE, *own, *run_flags, f"--output_dir={output}", "--overwrite"],
        log=folder / f"{name}.log",
        program=program,
    )
    report = load_report(output)
    return {
        # Of augmentation somewhat less than was asked for: what comes twice is dropped.
        "transfer_sentences": report["truncation"]["transfer"]["sentences"],
        "peak_memory_bytes": finished.peak_memory_bytes,
        "seconds": finished.seconds,
        "teacher_passes": report["teacher_passes"],
    }


def _with_transfer(folder: Path, sentences: int) -> tuple[str, list[str]]:
    return "ner", [
        *write_synthetic_corpus(folder, transfer_sentences=sentences),
        "--recipe=D4.1",
    ]


def _with_augmentation(folder: Path, sentences: int) -> tuple[str, list[str]]:
    iterations = max(1, round(sentences / _LABELED_TEXTS))
    return "classification", [
        *write_synthetic_texts(folder, labeled_texts=_LABELED_TEXTS),
        *("--recipe=soft", "--augment", f"--augment_iterations={iterations}"),
    ]


# What there is more of: the program and its flags.
_COMMANDS = {"transfer": _with_transfer, "augmentation": _with_augmentation}


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    rows = [["transfer texts", "peak, MiB", "seconds"]]
    for run in result["runs"]:
        rows.append(
            [
                f"{run['transfer_sentences']:,}",
                f"{run['peak_memory_bytes'] / 2**20:,.0f}",
                f"{run['seconds']:.0f}",
            ]
        )
    verdict = "within" if result["within_limit"] else "ABOVE"
    ratio = (
        f"{result['growth']:.1f} times the text; ratio {result['ratio']:.3f}, "
        f"{verdict} the limit of {result['limit']}"
    )
    return f"{text_table(rows, left=0)}\n{ratio}"
