"""Keeps freed memory in the process, so that each training step does not ask the kernel anew."""

import ctypes
import functools

import tensorflow as tf

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_BYTES = 256 << 20
_MMAP_BYTES = 32 << 20  # the most that glibc takes on 64 bits


@functools.cache
def keep_freed_memory() -> bool:
    """Raises glibc's thresholds for giving memory back, once a process.

    TensorFlow lowers one of them to 128 KiB when the first `Dataset.from_generator` is iterated,
    which also ends glibc's own adapting of the other. From then on every larger tensor is mapped
    and unmapped, page by page, in every step.

    Returns:
        Whether thresholds were set; False without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # TensorFlow does its part once a process: let it be over.
    signature = tf.TensorSpec((), tf.int32)
    for _ in tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=signature):
        pass
    done = mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES) and mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    return bool(done)
