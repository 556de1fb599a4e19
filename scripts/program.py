"""How the programs begin and end: quiet, and with one line where something is wrong."""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence

# 3: on a machine without a GPU TensorFlow writes errors that are none.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
from absl import logging as absl_logging

from xdistil.data.paths import as_given, remove_copies
from xdistil.errors import InputError

FLAGS = flags.FLAGS
_SECONDS_TO_REST = 2.0


def run(main: Callable[[list[str]], None], goes_on: bool = False) -> None:
    """Runs a script: bad input and bad flags end in one line and exit status 2.

    Args:
        main: Gets what is left of the command line.
        goes_on: Whether the same command goes on where a kill stopped it; it then ends at once at
            Ctrl-C, and at SIGTERM after a checkpoint. The exit status is 130 and 143, as in a
            shell.
    """
    # A handler of our own: absl's puts date, process and line before each message.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.setLevel(logging.INFO)
    logger = logging.getLogger("xdistil")
    logger.setLevel(logging.DEBUG)  # run.log holds more than the screen
    logger.addHandler(handler)
    logger.propagate = False
    # It warns of each new shape that XLA compiles, which is the plan here: one a bucket.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    def guarded(arguments: list[str]) -> None:
        if goes_on:
            signal.signal(signal.SIGINT, _stop)
            signal.signal(signal.SIGTERM, _stop_after_checkpoint)
        if not FLAGS["verbosity"].present:  # what TensorFlow says while it exports
            absl_logging.set_verbosity(absl_logging.WARNING)
        try:
            if len(arguments) > 1:
                raise InputError(f"unexpected argument {arguments[1]!r}; flags begin with --")
            main(arguments)
        except InputError as error:
            _fail(str(error))
        except OSError as error:
            # Of a file or folder that may not be read, has too long a name, is on a full disk...
            if not isinstance(error.filename, str | bytes):
                raise
            _fail(f"{os.fsdecode(error.filename)}: {error.strerror}")
        except Exception as error:
            if _was_stopped(error):
                _say_stopped("stopped after a checkpoint")
                sys.exit(128 + signal.SIGTERM)
            if _worker_is_gone(error):
                _begin_again(error)
            if not _is_out_of_memory(error):
                raise
            _fail(_memory_error(str(error), goes_on))
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            sys.exit(130)

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            return FLAGS(list(arguments))
        except flags.Error as error:
            _fail(_flag_error(str(error)))
        except SystemExit:  # after --help, which absl takes for a failure
            sys.exit(0)

    app.run(guarded, flags_parser=parse)


def _is_out_of_memory(error: Exception) -> bool:
    # Not imported here: a program that fails early has not waited for TensorFlow.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.ResourceExhaustedError):
        return False
    return "No space left" not in str(error)  # a full disk is called the same


def _worker_is_gone(error: Exception) -> bool:
    if "strategy" not in FLAGS or FLAGS.strategy != "multi_worker":
        return False
    if "tensorflow" not in sys.modules:
        return False
    errors = sys.modules["tensorflow"].errors
    # What a collective operation ends in where a process that takes part in it has died.
    gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError)
    return isinstance(error, (*gone, errors.DeadlineExceededError))


def _begin_again(error: Exception) -> None:
    """This program in place of itself, with the same process number: it waits until all workers
    are there, and goes on from the last checkpoint."""
    logging.getLogger("xdistil").warning(
        "a worker is gone (%s); start it again with the same command: all go on from the last "
        "checkpoint",
        type(error).__name__,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(_SECONDS_TO_REST)
    # The port and the run directory's lock are free before the program begins again.
    remove_copies()
    os.closerange(3, 65536)
    # What --overwrite was to empty is what it goes on from.
    os.execv(sys.executable, [sys.executable, *sys.argv, "--nooverwrite"])


def _memory_error(message: str, goes_on: bool) -> str:
    """What a user can do where the device has no room; TensorFlow says it in many lines."""
    names = ("micro_batch_size", "batch_size", "teacher_batch_size", "seq_len")
    sizes = [f"--{name}" for name in names if name in FLAGS]
    if "micro_batch_size" in FLAGS:
        sizes.remove("--batch_size")  # of no matter to memory: it is computed in parts
    advice = f"lower {' or '.join(sizes)}" if sizes else "take a device with more memory"
    if goes_on:
        advice += (
            " and give another --output_dir, since other sizes are another run; where it was "
            "another process that took the memory, the same command goes on from the last "
            "checkpoint"
        )
    first = next(iter(message.strip().splitlines()), "")[:200]
    return f"out of memory on the device: {advice} ({first})"


def _stop(number: int, frame: object) -> None:
    # Not by an exception: raised inside one of TensorFlow's callbacks it would be lost. The run
    # directory is whole at any moment.
    _say_stopped("interrupted")
    remove_copies()
    os._exit(128 + number)


def _stop_after_checkpoint(number: int, frame: object) -> None:
    """What schedulers send some seconds before they kill."""
    stopping = sys.modules.get("xdistil.distillation.stopping")
    if stopping is None or not stopping.STOP.make():
        _stop(number, frame)


def _was_stopped(error: Exception) -> bool:
    stopping = sys.modules.get("xdistil.distillation.stopping")
    return stopping is not None and isinstance(error, stopping.Stopped)


def _say_stopped(how: str) -> None:
    line = f"{how}: run the same command again, it goes on where it stopped"
    print(f"\n{line}", file=sys.stderr, flush=True)


def _flag_error(message: str) -> str:
    """absl's message in our words, where its own are none."""
    missing = dict.fromkeys(re.findall(r"flag --(\w+)=None: Flag", message))
    if missing:
        wanted = (f"--{name}: {FLAGS[name].help.rstrip('.')}" for name in missing)
        return f"give {'; '.join(wanted)}"
    if "flagfile" in message:
        return (
            f"{message.removeprefix('ERROR:: ')}; a flagfile that is named inside another is "
            "looked for from the folder that you run in"
        )
    return message


def _fail(message: str) -> None:
    print("error: " + " ".join(as_given(message).split()), file=sys.stderr)
    sys.exit(2)
