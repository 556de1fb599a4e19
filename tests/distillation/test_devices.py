"""`Distiller` on two and four devices: the steps, losses and weights of one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from forked_programs import as_text, run_forked

# Devices are split before TensorFlow starts. Batches are uneven, some devices' share of one holds
# empty rows alone; dropout is off. The one device takes its steps op by op, several by XLA.
BEGINNING = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np, keras, tensorflow as tf
count, policy = int(sys.argv[1]), sys.argv[2]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
strategy = tf.distribute.MirroredStrategy([f"CPU:{{number}}" for number in range(count)])
from test_distiller import LOSSES, dataset, with_targets
from tiny_models import *
from xdistil.distillation.distiller import Distiller
from xdistil.distillation.fused_optimizers import FusedAdam
from xdistil.distillation import distiller as module
teacher = tiny_teacher()
batches = [
    with_targets(teacher, padded_batch(sentences(n, seed=n), 9, empty_rows=e))
    for n, e in ((7, 1), (2, 6), (8, 0))
]
data = dataset(batches)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
data = data.with_options(options)
eagerly = {{"run_eagerly": True, "jit_compile": False}}
"""

# Frozen layers, no clipping, and a norm that some steps are clipped to.
IN_FLOAT32 = """
# Both calls make their iterators without autotuning, whose thread would sleep through their end.
made = []
def made_untuned(strategy, original=module.untuned_iterators):
    made.append(strategy.num_replicas_in_sync)
    return original(strategy)
module.untuned_iterators = made_untuned
dealt = []
def remembered(batches, original=module.untuned):
    dealt.append(original(batches))
    return dealt[-1]
module.untuned = remembered

class Norms(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.norms, self.before = [], self.model.student.get_weights()
    def on_train_batch_end(self, batch, logs=None):
        after = self.model.student.get_weights()
        step = [((a - b) ** 2).sum() for a, b in zip(after, self.before)]
        self.norms.append(float(np.sqrt(sum(step))) / 0.1)
        self.before = after

def train(clip_norm, **how):
    student = tiny_student()
    student.layer_groups["embedding"][0].trainable = False
    distiller = Distiller(student, LOSSES)
    # On two devices over all variables, on four each by itself.
    clip = "global_clipnorm" if count == 2 else "clipnorm"
    optimizer = keras.optimizers.SGD(0.1, **{clip: clip_norm})
    distiller.compile(optimizer=optimizer, **how)
    norms = Norms()
    history = distiller.fit(data, epochs=2, verbose=0, callbacks=[norms]).history
    scores = distiller.evaluate(data, verbose=0, return_dict=True)
    history |= {f"evaluated {name}": value for name, value in scores.items()}
    assert made[-2:] == [distiller.distribute_strategy.num_replicas_in_sync] * 2
    assert [batches.options().autotune.enabled for batches in dealt[-2:]] == [False, False]
    return student.get_weights(), history, norms.norms

free = train(None, **eagerly)
clip_norm = float(np.median(free[2])) / count * 2
clipped = train(clip_norm, **eagerly)
assert max(np.abs(a - b).max() for a, b in zip(free[0], clipped[0])) > 1e-3  # it clips
if count == 2:
    assert min(clipped[2]) < 0.99 * clip_norm and max(clipped[2]) > 0.999 * clip_norm, clipped[2]
for norm, alone in ((None, free), (clip_norm, clipped))[count == 4 :]:  # XLA takes its time
    with strategy.scope():
        together = train(norm)
    assert strategy.num_replicas_in_sync == count
    for a, b in zip(alone[0], together[0]):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name, values in alone[1].items():
        np.testing.assert_allclose(values, together[1][name], rtol=1e-5)
print("equal")
"""

# A batch is poisoned in its first row, which one device sees: where float16 overflows, all leave
# the step out and halve the scale of the loss, as one does.
IN_LESS = """
half = policy == "mixed_float16"
if half:
    features, targets = with_targets(teacher, padded_batch(sentences(8), 9))
    logits = np.array(targets["logits"])
    logits[0] = 1e6
    poisoned = (features, {**targets, "logits": tf.constant(logits)})
    data = dataset([*batches[:2], poisoned, *batches[2:]]).with_options(options)

clip = {"global_clipnorm": 1.0} if half else {"clipvalue": 1e-2}

def train(clip=clip, **how):
    student = tiny_student(dtype=policy)
    distiller = Distiller(student, LOSSES)
    optimizer = FusedAdam(1e-2, **clip)
    if half:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
    distiller.compile(optimizer=optimizer, **how)
    before = student.get_weights()
    history = distiller.fit(data, epochs=8, verbose=0).history
    history |= distiller.evaluate(data, verbose=0, return_dict=True)
    scale = getattr(optimizer, "dynamic_scale", 1)
    taken = int(keras.ops.convert_to_numpy(optimizer.iterations))
    moved = max(np.abs(a - b).max() for a, b in zip(before, student.get_weights()))
    scale = float(keras.ops.convert_to_numpy(scale))
    return student.get_weights(), history, (scale, taken), moved

alone = train(**eagerly)
with strategy.scope():
    together = train()
assert alone[2] == together[2] == ((4 if half else 1), 24), (alone[2], together[2])
assert alone[3] > 0.05
if not half:
    free = train({}, **eagerly)
    assert max(np.abs(a - b).max() for a, b in zip(free[0], alone[0])) > 0.05  # it clips
tolerance = {"mixed_bfloat16": 5e-3, "mixed_float16": 1e-3}[policy]
for name, values in alone[1].items():
    np.testing.assert_allclose(together[1][name], values, rtol=tolerance, err_msg=name)
size = max(np.abs(values).max() for values in alone[0])
for a, b in zip(alone[0], together[0]):
    np.testing.assert_allclose(b, a, atol=tolerance * size)
print("equal")
"""


@pytest.mark.parametrize(
    ("devices", "policy"),
    [(2, "float32"), (4, "float32"), (2, "mixed_bfloat16"), (4, "mixed_float16")],
)
def test_several_devices_take_the_steps_of_one(devices, policy, tmp_path):
    program = tmp_path / "devices.py"
    beginning = BEGINNING.format(folder=str(Path(__file__).parent))
    program.write_text(beginning + (IN_FLOAT32 if policy == "float32" else IN_LESS), "utf-8")
    done = as_text(run_forked([program, devices, policy]))
    assert done.stdout.strip().endswith("equal"), done.stdout + done.stderr[-3000:]
