"""Runs that benchmarks start end with them, whatever ends the benchmark."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def text_of(path, seconds=60):
    """What a file holds, once it is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.05)
    return path.read_text()


def is_alive(process_id):
    """Whether a process of another's runs; one that nobody waited for does not."""
    try:
        os.kill(process_id, 0)
        state = Path(f"/proc/{process_id}/stat")
        return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_does_not_outlive_its_benchmark(tmp_path, number):
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux kills the children of what was killed")
    (tmp_path / "run_ner.py").write_text(
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "os.replace(sys.argv[1], sys.argv[1] + '.whole')\n"
        "time.sleep(300)\n"
    )
    code = (
        "import pathlib, signal, sys, benchmark_runs\n"
        # Ignored where the tests were started by nohup, and so left alone by the benchmark.
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "benchmark_runs.SCRIPTS = folder\n"
        "benchmark_runs.run_program([str(folder / 'id')], log=folder / 'log')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=SCRIPTS)
    child = int(text_of(tmp_path / "id.whole"))
    process.send_signal(number)
    expected = -number if number == signal.SIGKILL else 128 + number
    assert process.wait(60) == expected
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_leaves_the_handlers_of_signals_as_they_were(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_runs

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    (tmp_path / "run_ner.py").write_text("")
    monkeypatch.setattr(benchmark_runs, "SCRIPTS", tmp_path)
    benchmark_runs.run_program([], log=tmp_path / "log")
    assert [signal.getsignal(number) for number in numbers] == before
