"""Scalars for TensorBoard."""

from collections.abc import Mapping

import tensorflow as tf

from xdistil.data.atomic_files import storage_error
from xdistil.data.paths import AnyPath


def write_events(folder: AnyPath, step: int, scalars: Mapping[str, float]) -> None:
    """Adds what `tf.summary.scalar` writes; that function wants the package tensorboard installed.

    Args:
        folder: Of the events' files.
        step: Of the scalars, such as the epoch.
        scalars: Values by name.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    try:
        with tf.summary.create_file_writer(str(folder)).as_default():
            for name, value in scalars.items():
                tf.summary.write(name, tf.constant(value), step=step, metadata=metadata)
    except (OSError, tf.errors.OpError) as error:
        raise storage_error(folder, error) from error
