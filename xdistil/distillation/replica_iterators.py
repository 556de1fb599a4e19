"""Iterators over batches, for one device or several, that end at once when they are dropped."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

try:
    from tensorflow.python.data.ops import multi_device_iterator_ops
except ImportError:  # another TensorFlow makes them otherwise: they stay as they are
    multi_device_iterator_ops = None


def untuned(batches: Any) -> Any:
    """The dataset without tf.data's autotuning; anything else as it is.

    The thread that autotunes sleeps through the iterator's end, see `untuned_iterators`; on one
    device too, now and then, for up to the time that the epoch took. What asks for
    `tf.data.AUTOTUNE` runs as parallel as there are cores.
    """
    if not isinstance(batches, tf.data.Dataset):
        return batches
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


@contextlib.contextmanager
def untuned_iterators(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Within it, the part of an iterator that prefetches to each replica is not autotuned.

    The thread that autotunes an iterator over several devices sleeps through the iterator's end
    (TensorFlow 2.21, `tensorflow::data::model::Model::OptimizeLoop`): whoever drops the iterator,
    as `fit` does after each epoch, waits for up to the time the epoch took, a minute at most.
    The parts' datasets are made within TensorFlow, which has no option for it. The dataset that is
    dealt out has a thread of its own: see `untuned`.
    """
    name = "_create_device_dataset"
    original = getattr(multi_device_iterator_ops, name, None)
    if original is None or strategy.num_replicas_in_sync == 1:
        yield
        return
    setattr(multi_device_iterator_ops, name, lambda *a, **k: untuned(original(*a, **k)))
    try:
        yield
    finally:
        setattr(multi_device_iterator_ops, name, original)
