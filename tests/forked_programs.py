"""Runs the project's programs for tests, without a wait for the import of TensorFlow each time.

Each run is a process of its own, as when a user starts it, but forked from one that holds the
libraries already and has done nothing with them. Tests that look at how a program begins, or that
want a hash seed of its own for it, start it by `subprocess` instead.
"""

import atexit
import functools
import gc
import io
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
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
    if not hasattr(os, "fork"):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            check=False,
        )
    process = ForkedProgram(arguments, stdin=stdin, cwd=cwd, env=env)
    status = process.wait(timeout)
    return subprocess.CompletedProcess(process.arguments, status, process.stdout, process.stderr)


class ForkedProgram:
    """A program that runs while the test goes on, as `subprocess.Popen` starts one.

    Args:
        arguments, stdin, cwd, env: as for `run_forked`.
        file_size: bytes that none of its files may outgrow, as if the disk were full.
        unprivileged: whether root too may read and write only what the modes of files allow.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        stdin: bytes = b"",
        cwd: str | os.PathLike | None = None,
        env: Mapping[str, str] | None = None,
        file_size: int | None = None,
        unprivileged: bool = False,
    ):
        self.arguments = [str(argument) for argument in arguments]
        self._folder = tempfile.TemporaryDirectory()
        streams = {name: str(Path(self._folder.name, name)) for name in _STREAMS}
        for name in _STREAMS:  # all are there before the program is
            Path(streams[name]).write_bytes(stdin if name == "stdin" else b"")
        self._streams = {name: Path(path) for name, path in streams.items()}
        self._status: int | None = None
        request = {
            "arguments": self.arguments,
            "cwd": str(cwd or Path.cwd()),
            "env": {**os.environ, **(env or {})},
            "file_size": file_size,
            "unprivileged": unprivileged,
            **streams,
        }
        self.pid = _ask(request)

    @property
    def stdout(self) -> bytes:
        return self._streams["stdout"].read_bytes()

    @property
    def stderr(self) -> bytes:
        return self._streams["stderr"].read_bytes()

    def poll(self) -> int | None:
        """The exit status, negative for a signal; `None` while it runs."""
        if self._status is None:
            self._status = _ask({"ended": self.pid})
        return self._status

    def wait(self, timeout: float = 400) -> int:
        """The exit status; it is killed if it takes longer than the seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.arguments, timeout)
            time.sleep(0.02)
        return self._status

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait_for(self, path: Path, timeout: float = 300) -> None:
        """Waits until the program has made the file or folder."""
        deadline = time.monotonic() + timeout
        while not path.exists():
            assert self.poll() is None, self.stderr.decode("utf-8")[-3000:]
            assert time.monotonic() < deadline, f"no {path} in {timeout} s"
            time.sleep(0.01)


def as_text(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """The same with strings for what it wrote."""
    done.stdout, done.stderr = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    return done


def _ask(request: Mapping[str, object]) -> int | None:
    server = _server()
    server.stdin.write(json.dumps(request).encode() + b"\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    if not answer:
        raise RuntimeError(f"the process that starts programs has ended ({server.wait()})")
    return json.loads(answer)


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
    import xdistil.export.predictor
    import xdistil.export.saved_model
    import xdistil.models  # noqa: F401

    # Nothing that is loaded by now is ever freed: no collection need look at it again.
    gc.collect()
    gc.freeze()
    for line in requests:
        request = json.loads(line)
        if "ended" in request:
            ended, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(request)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _give_up_capabilities() -> None:
    """Root without its rights (Linux): a file's mode then holds for it too."""
    import ctypes
    import struct

    libc = ctypes.CDLL(None, use_errno=True)
    version_3, this_process = 0x20080522, 0
    # Effective, permitted and inheritable ones: none of 64.
    if libc.capset(struct.pack("Ii", version_3, this_process), struct.pack("6I", *[0] * 6)):
        raise OSError(ctypes.get_errno(), "capset")


def _become(request: Mapping[str, object]) -> None:
    """Turns this process into the program; never returns."""
    status = 1
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        if request["file_size"]:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
        if request["unprivileged"] and os.geteuid() == 0:
            _give_up_capabilities()
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
