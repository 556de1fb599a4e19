"""Runs the project's programs for tests, without a wait for the import of TensorFlow each time.

Each run is a process of its own, as when a user starts it, but forked from one that holds the
libraries already and has done nothing with them. Tests that kill a program, or look at how it
begins, start it by `subprocess` instead.
"""

import atexit
import functools
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

_STREAMS = ("stdin", "stdout", "stderr")


def run_forked(
    arguments: Sequence[object],
    *,
    stdin: bytes = b"",
    cwd: str | os.PathLike | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 400,
) -> subprocess.CompletedProcess:
    """What `subprocess.run([sys.executable, *arguments], capture_output=True)` does, sooner.

    Args:
        arguments: the program's path and its arguments.
        stdin: its standard input.
        cwd: its working directory; default: the caller's.
        env: variables that it has beside the caller's.
        timeout: seconds after which it is given up.

    Returns:
        Exit status, and what it wrote, as bytes.
    """
    arguments = [str(argument) for argument in arguments]
    if not hasattr(os, "fork"):
        return subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            check=False,
        )
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: str(Path(folder, name)) for name in _STREAMS}
        Path(streams["stdin"]).write_bytes(stdin)
        request = {
            "arguments": arguments,
            "cwd": str(cwd or Path.cwd()),
            "env": {**os.environ, **(env or {})},
            "timeout": timeout,
            **streams,
        }
        server = _server()
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that starts programs has ended ({server.wait()})")
        status = json.loads(answer)
        if status is None:
            raise subprocess.TimeoutExpired(arguments, timeout)
        outputs = [Path(streams[name]).read_bytes() for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(arguments, status, *outputs)


def as_text(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """The same with strings for what it wrote."""
    done.stdout, done.stderr = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    return done


@functools.cache
def _server() -> subprocess.Popen:
    # What its libraries print as they load is nobody's output.
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(server.kill)
    return server


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import keras  # noqa: F401
    import seqeval.metrics  # noqa: F401
    import tensorflow_text  # noqa: F401

    import xdistil.distillation.runner
    import xdistil.export
    import xdistil.models  # noqa: F401

    for line in requests:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
        answers.write(json.dumps(_wait(child, request["timeout"])).encode() + b"\n")
        answers.flush()


def _wait(child: int, timeout: float) -> int | None:
    """The exit status, negative for a signal; `None` if it took too long."""
    import signal
    import time

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _become(request: Mapping[str, object]) -> None:
    """Turns this process into the program; never returns."""
    status = 1
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        for number, (name, mode) in enumerate(zip(_STREAMS, ("rb", "wb", "wb"), strict=True)):
            with open(request[name], mode) as file:
                os.dup2(file.fileno(), number)
        encoding = request["env"].get("PYTHONIOENCODING", "utf-8")
        sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb"), encoding)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb"), encoding)
        sys.stderr = io.TextIOWrapper(
            os.fdopen(2, "wb", 0), encoding, errors="backslashreplace", write_through=True
        )
        sys.argv = request["arguments"]
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
        if not isinstance(status, int):
            if status is not None:
                print(status, file=sys.stderr)
            status = int(status is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
