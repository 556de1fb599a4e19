"""Measures what the project claims, and prints it.

    python scripts/benchmark.py speedup  --json=FILE   # mBERT's size against a (50, 200) student
    python scripts/benchmark.py memory                 # peak memory with 10 times the transfer text
    python scripts/benchmark.py stream                 # 10 million sentences: is memory flat?
    python scripts/benchmark.py resume                 # kill -9, run again: the same weights?
    python scripts/benchmark.py damage                 # files cut, bytes flipped: ever silent?
    python scripts/benchmark.py disk                   # full again and again: is anything lost?
    python scripts/benchmark.py devices                # two devices, two workers: one's student?
    python scripts/benchmark.py fuzz     --minutes=30 --model=RUN  # hostile input for each reader
    python scripts/benchmark.py export   --model=RUN --input=FILES  # exports: the same tags?
    python scripts/benchmark.py hub      --model=RUN --input=FILES  # the same in PyTorch?
    python scripts/benchmark.py order    --reuse_from=RUN --run_flags=... --work_dir=FOLDER
    python scripts/benchmark.py students --reuse_from=RUN --run_flags=... --work_dir=FOLDER
    python scripts/benchmark.py seeds    --program=classification --variants=... --work_dir=FOLDER
    python scripts/benchmark.py grid     --program=classification --grid=... --work_dir=FOLDER
    python scripts/benchmark.py pretraining --run_flags=... --work_dir=FOLDER  # the triple loss
    python scripts/benchmark.py inference    # a BiLSTM in every runtime, against the limit
    python scripts/benchmark.py training     # examples per second of each sub-stage, and PyTorch's
    python scripts/benchmark.py targets  --checkpoint=FOLDER --input=FILES  # the teacher's rate
    python scripts/benchmark.py tokenization --checkpoint=FOLDER --input=FILES
    python scripts/benchmark.py whole    --run_flags=... --work_dir=FOLDER  # against earlier ways

`--json=FILE` writes what is printed. `SUBJECT --help` lists a subject's flags.
"""

import importlib
import sys

import program
from absl import flags

from xdistil.data.atomic_files import write_json
from xdistil.errors import InputError

SUBJECTS = {
    "speedup": "benchmark_speedup",
    "memory": "benchmark_memory",
    "stream": "benchmark_stream",
    "resume": "benchmark_resume",
    "damage": "benchmark_damage",
    "disk": "benchmark_disk",
    "devices": "benchmark_devices",
    "fuzz": "benchmark_fuzz",
    "export": "benchmark_export",
    "hub": "benchmark_hub",
    "order": "benchmark_order",
    "students": "benchmark_students",
    "seeds": "benchmark_seeds",
    "grid": "benchmark_grid",
    "inference": "benchmark_inference",
    "pretraining": "benchmark_pretraining",
    "training": "benchmark_training",
    "targets": "benchmark_targets",
    "tokenization": "benchmark_tokenization",
    "whole": "benchmark_whole",
}
flags.DEFINE_string("json", None, "File to write the result to.")


def main(subject: str) -> None:
    """Runs one subject: its module has `define_flags()`, `measure()` and `table(result)`."""
    module = importlib.import_module(SUBJECTS[subject])
    module.define_flags()
    for name in [name for name in sys.modules if name.startswith("benchmark_")]:
        flags.adopt_module_key_flags(sys.modules[name])  # what --help lists

    def run(_: list[str]) -> None:
        result = {"subject": subject, **module.measure()}
        print(module.table(result))
        if flags.FLAGS.json:
            write_json(flags.FLAGS.json, result)
        if failed := result.get("failed_runs"):
            raise InputError(
                f"{failed} runs failed, see the table; the same command tries these alone again."
            )

    program.run(run)


def take_subject(arguments: list[str]) -> str:
    """Takes the subject out of the command line, which absl reads after that."""
    names = ", ".join(SUBJECTS)
    if len(arguments) > 1 and arguments[1] in ("--help", "-help", "-h", "--helpfull"):
        print(__doc__)
        sys.exit(0)
    if len(arguments) < 2 or arguments[1].startswith("-"):
        raise InputError(f"a subject comes first, one of {names}.")
    if arguments[1] not in SUBJECTS:
        raise InputError(f"{arguments[1]!r} is no subject; they are {names}.")
    return arguments.pop(1)


if __name__ == "__main__":
    try:
        chosen = take_subject(sys.argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    main(chosen)
