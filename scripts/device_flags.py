"""Flags that say where a program trains and on what, and what they mean."""

import contextlib
import functools
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from absl import flags

from xdistil.errors import InputError

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
_ALWAYS_XLA = "--jit_compile=false: several devices always train through XLA; leave it out."


def define_device_flags() -> None:
    """Where and on what a program that trains runs."""
    flags.DEFINE_string("output_dir", None, "The run's directory.", required=True)
    flags.DEFINE_bool("overwrite", False, "Begin anew in a directory that holds another run.")
    flags.DEFINE_enum(
        "strategy",
        "default",
        ["default", "mirrored", "multi_worker"],
        "`mirrored`: all devices of this machine; `multi_worker`: of all that TF_CONFIG names "
        "(docs/multi_worker.md).",
    )
    flags.DEFINE_integer(
        "logical_devices", 1, "Split the CPU, to try --strategy without GPUs.", lower_bound=1
    )
    flags.DEFINE_enum(
        "jit_compile",
        "auto",
        ["auto", "true", "false"],
        "Compile steps by XLA; several replicas always do.",
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "Policy of the student's and teacher's layers; losses are float32 always.",
    )
    flags.DEFINE_bool(
        "deterministic_ops",
        False,
        "The same bits each time on a GPU too, by slower operations (docs/determinism.md).",
    )
    flags.DEFINE_float("checkpoint_minutes", 2.0, "Minutes between checkpoints within an epoch.")
    flags.DEFINE_float(
        "learning_rate_factor",
        1.0,
        "Multiplies every learning rate of what is left to do: for a run that stopped at a loss of "
        "NaN, and goes on from its last good checkpoint.",
        lower_bound=1e-6,
        upper_bound=1.0,
    )


def check_devices() -> None:
    """Refuses flags of devices that contradict each other.

    Raises:
        InputError: They do.
    """
    if FLAGS.logical_devices > 1 and FLAGS.strategy != "mirrored":
        raise InputError("--logical_devices wants --strategy=mirrored; else one device is used.")
    if FLAGS.logical_devices > 1 and FLAGS.jit_compile == "false":
        raise InputError(_ALWAYS_XLA)
    if FLAGS.strategy == "multi_worker":
        check_cluster(os.environ.get("TF_CONFIG"))


def check_cluster(config: str | None) -> None:
    """Refuses a TF_CONFIG that does not say which workers there are and which one this is.

    Raises:
        InputError: It does not.
    """
    try:
        read = json.loads(config or "")
        cluster, task = read["cluster"], read["task"]
        addresses = cluster[task["type"]]
        index = int(task["index"])
        known = set(cluster) <= {"chief", "worker"} and 0 <= index < len(addresses)
        known = known and all(":" in address for address in addresses)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(
            "--strategy=multi_worker wants the environment variable TF_CONFIG, such as "
            '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", '
            f'"index": 0}}}}; it is {config or "not set"} (docs/multi_worker.md)'
        )


def prepare_devices() -> None:
    """Makes the logical devices and operations that the flags ask for, finds the other workers, and
    refuses what those found cannot do.

    Raises:
        InputError: --jit_compile=false with several devices.
    """
    if FLAGS.deterministic_ops:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    if FLAGS.logical_devices > 1:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_devices
        tf.config.set_logical_device_configuration(cpu, parts)
    if FLAGS.strategy == "multi_worker":
        logger.info("waiting for the other workers of TF_CONFIG")
        _strategy()
        logger.info("all workers are here: %d devices", count_replicas())
    # How many GPUs there are is not known before TensorFlow is asked.
    if FLAGS.jit_compile == "false" and count_replicas() > 1:
        raise InputError(_ALWAYS_XLA)


def count_replicas() -> int:
    """Devices that share each step."""
    if FLAGS.strategy == "mirrored":
        return len(_device_names())
    return 1 if FLAGS.strategy == "default" else _strategy().num_replicas_in_sync


def _device_names() -> list[str]:
    import tensorflow as tf

    # Never both kinds: a CPU beside GPUs would get as large a share of each batch.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


@functools.lru_cache(maxsize=1)
def _strategy() -> Any:
    import tensorflow as tf

    if FLAGS.strategy == "multi_worker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow's own handler, which waits for a preemption that nobody here asks about, has
        # come before the program's.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        return strategy
    return tf.distribute.MirroredStrategy(_device_names())


def strategy_scope() -> contextlib.AbstractContextManager:
    """The scope of the strategy that the flags ask for."""
    return contextlib.nullcontext() if FLAGS.strategy == "default" else _strategy().scope()


@contextlib.contextmanager
def shared_directory(
    open_directory: Callable[..., Any], output: str | os.PathLike
) -> Iterator[tuple[Any, Any]]:
    """A run directory that all workers share, and these; at its end they wait for each other.

    Args:
        open_directory: `RunDirectory.open` with all its arguments but `worker`.
        output: The directory.
    """
    from xdistil.data.paths import as_path
    from xdistil.distillation.workers import Workers

    with strategy_scope():
        workers = Workers.current()
        directory = workers.chief_first(
            lambda: open_directory(worker=workers.index), written=as_path(output, "config.json")
        )
    with directory:
        yield directory, workers
        # A worker that ends would end the others.
        with strategy_scope():
            workers.wait()
