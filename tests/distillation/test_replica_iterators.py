"""Iterators over several replicas have no autotuning thread: it would sleep through their end."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from forked_programs import as_text, run_forked

TWO_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
from xdistil.distillation.replica_iterators import untuned, untuned_iterators

def tuned():
    batches = untuned(tf.data.Dataset.range(8).batch(2))
    assert not batches.options().autotune.enabled
    (dealt,) = iter(strategy.experimental_distribute_dataset(batches))._iterators
    parts = dealt._iterator._device_iterators
    return [part._dataset.options().autotune.enabled is not False for part in parts]

with untuned_iterators(tf.distribute.get_strategy()):
    assert tuned() == [True, True]
with untuned_iterators(strategy):
    assert tuned() == [False, False]
assert tuned() == [True, True]
print("as it should be")
"""


def test_iterators_of_several_replicas_are_not_autotuned_within_and_are_again_after(tmp_path):
    program = tmp_path / "two_devices.py"
    program.write_text(TWO_DEVICES, "utf-8")
    done = as_text(run_forked([program]))
    assert done.stdout.strip().endswith("as it should be"), done.stderr[-3000:]
