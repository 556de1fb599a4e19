"""Flags that say where a program trains and on what, and what they mean."""

import contextlib

from absl import flags

from xdistil.errors import InputError

FLAGS = flags.FLAGS
_ALWAYS_XLA = "--jit_compile=false: several devices always train through XLA; leave it out."


def define_device_flags() -> None:
    """Where and on what a program that trains runs."""
    flags.DEFINE_string("output_dir", None, "The run's directory.", required=True)
    flags.DEFINE_bool("overwrite", False, "Begin anew in a directory that holds another run.")
    flags.DEFINE_enum(
        "strategy", "default", ["default", "mirrored"], "`mirrored`: all devices of this machine."
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
    flags.DEFINE_float("checkpoint_minutes", 2.0, "Minutes between checkpoints within an epoch.")


def check_devices() -> None:
    """Refuses flags of devices that contradict each other.

    Raises:
        InputError: They do.
    """
    if FLAGS.logical_devices > 1 and FLAGS.strategy == "default":
        raise InputError("--logical_devices wants --strategy=mirrored; else one device is used.")
    if FLAGS.logical_devices > 1 and FLAGS.jit_compile == "false":
        raise InputError(_ALWAYS_XLA)


def prepare_devices() -> None:
    """Makes the logical devices that the flags ask for, and refuses what those found cannot do.

    Raises:
        InputError: --jit_compile=false with several devices.
    """
    if FLAGS.logical_devices > 1:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_devices
        tf.config.set_logical_device_configuration(cpu, parts)
    # How many GPUs there are is not known before TensorFlow is asked.
    if FLAGS.jit_compile == "false" and count_replicas() > 1:
        raise InputError(_ALWAYS_XLA)


def count_replicas() -> int:
    """Devices that share each step."""
    return 1 if FLAGS.strategy == "default" else len(_device_names())


def _device_names() -> list[str]:
    import tensorflow as tf

    # Never both kinds: a CPU beside GPUs would get as large a share of each batch.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def strategy_scope() -> contextlib.AbstractContextManager:
    """The scope of the strategy that the flags ask for."""
    if FLAGS.strategy == "default":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(_device_names()).scope()
