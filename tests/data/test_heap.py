"""Memory that a step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import tensorflow as tf
from xdistil.data.heap import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
one = tf.TensorSpec((), tf.int32)
list(tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=one))
blocks = []
for step in range(110):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [tf.fill([1 << 18], float(step)) for _ in range(4)]  # 1 MiB, 256 pages each
    blocks.clear()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    kept, count = done.stdout.split()[-2:]
    return kept == "True", int(count)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="only glibc has the thresholds that TensorFlow lowers and xdistil.data.heap raises",
)
def test_freed_memory_is_used_again_without_page_faults():
    kept, count = faults("keep")
    assert kept and count < 100 * 4 * 256 / 10
