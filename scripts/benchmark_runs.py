"""Runs as processes of their own, for the benchmarks that look at whole runs."""

import contextlib
import ctypes
import dataclasses
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from xdistil.data.atomic_files import make_folder
from xdistil.errors import InputError

SCRIPTS = Path(__file__).resolve().parent
# A run that takes seconds, of any program: what is measured is how it behaves, not what it learns.
SMALL_RUN = shlex.split(
    "--teacher=scratch --teacher_layers=2 --teacher_hidden_dim=64 --teacher_heads=2 "
    "--teacher_vocabulary=2000 --teacher_epochs=1 --epochs=1 --embedding_dim=32 "
    "--hidden_dim=64 --batch_size=64 --seq_len=64 --noexport --nomeasure_latency"
)
_SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "zu", "shan", "tor")
_TYPES = ("PER", "LOC", "ORG")


class RunFailed(InputError):
    """A run did not end well; the message holds its log and that log's last line."""


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """How a run ended.

    Attributes:
        status: exit status; negative: the signal that ended it.
        seconds: wall-clock time.
        peak_memory_bytes: largest resident size of the process.
    """

    status: int
    seconds: float
    peak_memory_bytes: int


def run_program(
    flags: Sequence[str],
    *,
    log: Path,
    kill_after: float | None = None,
    program: str = "ner",
    environment: Mapping[str, str] | None = None,
) -> FinishedRun:
    """Run run_ner.py, or another program that distils, in a process of its own.

    Args:
        flags: its flags.
        log: file that gets what it prints; it is appended to.
        kill_after: send SIGKILL after so many seconds, if it still runs then.
        program: `ner`, `classification`, `pairs` or `pretraining`.
        environment: variables that it has beside this process's.

    Returns:
        How it ended.
    """
    began = time.monotonic()
    process = timer = None
    with _signals_as_exceptions():
        try:
            with open(log, "ab") as output:
                process = subprocess.Popen(
                    [sys.executable, str(SCRIPTS / f"run_{program}.py"), *flags],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),
                )
            if kill_after is not None:
                # Its whole process group: a worker process that lived on could go on writing.
                timer = threading.Timer(kill_after, _kill_group, (process.pid,))
                timer.start()
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            if process is not None:
                _kill_group(process.pid)
            raise
        finally:
            if timer is not None:
                timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)  # wait4 took it from under Popen
    unit = 1 if sys.platform == "darwin" else 1024
    return FinishedRun(process.returncode, time.monotonic() - began, usage.ru_maxrss * unit)


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise SystemExit, so that a run does not outlive its benchmark.

    It would hold its directory: the same command, given again, would find another run at work.
    """

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = {}
    # Only the main thread may set handlers; what nohup ignores stays ignored.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_with_parent() -> Callable[[], None] | None:
    """For the child to call: on Linux it is killed as this process is, by SIGKILL too."""
    if sys.platform != "linux":
        return None
    # Loaded here: between fork and exec there is nothing to be imported.
    libc, death_signal = ctypes.CDLL(None), 1  # PR_SET_PDEATHSIG
    return lambda: libc.prctl(death_signal, signal.SIGKILL)


def _kill_group(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(process_id, signal.SIGKILL)


def run_to_the_end(flags: Sequence[str], *, log: Path, program: str = "ner") -> FinishedRun:
    """`run_program`, and an error where it does not end well.

    Raises:
        RunFailed: it ended with another status than 0.
    """
    finished = run_program(flags, log=log, program=program)
    if finished.status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no output")
        raise RunFailed(
            f"{log}: run_{program}.py ended with status {finished.status}: {last.strip()}"
        )
    return finished


def write_synthetic_corpus(
    folder: Path, *, transfer_sentences: int, labeled_sentences: int = 300, seed: int = 0
) -> list[str]:
    """Write tagged and plain text of made-up words.

    Words, their lengths and the sentences' lengths are drawn evenly, so that text of ten times the
    length is of the same kind; no sentence is held back in memory.

    Args:
        folder: gets `{train,dev,test}.tsv`, `transfer.txt` and `labels.tsv`.
        transfer_sentences: lines of `transfer.txt`.
        labeled_sentences: lines of `train.tsv`; the others have a third of that.
        seed: of the draw.

    Returns:
        The flags of run_ner.py that name the files.
    """
    make_folder(folder)
    rng = random.Random(seed)
    words, names = _words_and_names(rng)
    sizes = _sizes(labeled_sentences)
    for split, size in sizes.items():
        with open(folder / f"{split}.tsv", "w", encoding="utf-8") as file:
            for pairs in _sentences(rng, words, names, size):
                tokens, tags = zip(*pairs, strict=True)
                file.write(f"{' '.join(tokens)}\t{' '.join(tags)}\n")
    with open(folder / "transfer.txt", "w", encoding="utf-8") as file:
        for pairs in _sentences(rng, words, names, transfer_sentences):
            file.write(" ".join(word for word, _ in pairs) + "\n")
    tags = ["O", *(f"{prefix}-{kind}" for kind in _TYPES for prefix in "BI")]
    (folder / "labels.tsv").write_text("\n".join(tags) + "\n", encoding="utf-8")
    flags = [f"--{split}_file={folder / split}.tsv" for split in sizes]
    return [
        *flags,
        f"--transfer_file={folder / 'transfer.txt'}",
        f"--labels_file={folder / 'labels.tsv'}",
    ]


def write_synthetic_texts(
    folder: Path, *, labeled_texts: int, pairs: bool = False, seed: int = 0
) -> list[str]:
    """Write labeled texts, or pairs, of made-up words; the class tells what kind of name is in it.

    Args:
        folder: gets `{train,dev,test}.tsv`.
        labeled_texts: lines of `train.tsv`; the others have a third of that.
        pairs: whether a line has two texts; its class then tells whether their kinds agree.
        seed: of the draw.

    Returns:
        The flag that names the folder.
    """
    make_folder(folder)
    rng = random.Random(seed)
    words, names = _words_and_names(rng)
    for split, size in _sizes(labeled_texts).items():
        sentences = _sentences(rng, words, names, size * (1 + pairs))
        with open(folder / f"{split}.tsv", "w", encoding="utf-8") as file:
            for texts in zip(*[sentences] * (1 + pairs), strict=True):
                kinds = {tag[2:] for text in texts for _, tag in text if tag != "O"}
                label = ("same" if len(kinds) == 1 else "other") if pairs else kinds.pop()
                columns = [" ".join(word for word, _ in text) for text in texts]
                file.write("\t".join([*columns, label]) + "\n")
    return [f"--data_dir={folder}"]


def made_up_sentences(rng: random.Random, size: int) -> Iterator[list[tuple[str, str]]]:
    """Sentences of made-up words with a name in each: words and tags."""
    return _sentences(rng, *_words_and_names(rng), size)


def _words_and_names(rng: random.Random) -> tuple[list[str], dict[str, list[str]]]:
    names = {kind: [_word(rng, 3).capitalize() for _ in range(200)] for kind in _TYPES}
    return [_word(rng, rng.randint(1, 3)) for _ in range(800)], names


def _sizes(labeled: int) -> dict[str, int]:
    return {"train": labeled, "dev": labeled // 3, "test": labeled // 3}


def _word(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choice(_SYLLABLES) for _ in range(syllables))


def _sentences(
    rng: random.Random, words: list[str], names: dict[str, list[str]], size: int
) -> Iterator[list[tuple[str, str]]]:
    for _ in range(size):
        pairs = [(rng.choice(words), "O") for _ in range(rng.randint(4, 14))]
        kind = rng.choice(_TYPES)
        place = rng.randint(0, len(pairs))
        span = [
            (rng.choice(names[kind]), f"{prefix}-{kind}") for prefix in "BI"[: rng.randint(1, 2)]
        ]
        yield pairs[:place] + span + pairs[place:]
