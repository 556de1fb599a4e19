"""A step taken in parts is the step of the whole batch, however it is cut, padded and dealt out."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from forked_programs import run_forked
from tiny_masked_lm import masked_rows, step_of, steps_dataset, tiny_masked_lm

from xdistil.distillation.accumulating_distiller import AccumulatingDistiller
from xdistil.distillation.pretraining_settings import PretrainingSettings

ROWS = masked_rows(12)
FORMULA = PretrainingSettings()


def trained(steps, settings=FORMULA, clip=None, jit_compile=None):
    """Weights after training on the steps, and the logs; eagerly, unless XLA is chosen or not."""
    student, teacher = tiny_masked_lm(seed=2, layers=1), tiny_masked_lm(seed=1, layers=1)
    weights, losses = zip(*settings.losses(teacher.num_layers), strict=True)
    distiller = AccumulatingDistiller(student, losses, weights, teacher=teacher)
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=clip)
    eager = jit_compile is None
    distiller.compile(optimizer=optimizer, jit_compile=bool(jit_compile), run_eagerly=eager)
    logs = distiller.fit(steps_dataset(steps), epochs=1, verbose=0).history
    return student.get_weights(), {name: values[-1] for name, values in logs.items()}


def by_length(rows):
    return sorted(rows, key=lambda row: row.shape[1])


@pytest.fixture(scope="module")
def whole():
    return trained([step_of([ROWS], [12], 12)])


@pytest.mark.parametrize(
    ("parts", "lengths", "rows"),
    [
        # Four micro-batches of three, short ones together, each as wide as it needs.
        ([by_length(ROWS)[i : i + 3] for i in range(0, 12, 3)], None, 3),
        # The same with more padding, with empty rows, and with an empty micro-batch.
        ([by_length(ROWS)[i : i + 3] for i in range(0, 12, 3)], [20, 12, 20, 16], 5),
        ([ROWS[:1], ROWS[1:], []], [12, 12, 4], 11),
    ],
)
def test_micro_batches_take_the_step_of_the_whole_batch(whole, parts, lengths, rows):
    lengths = lengths or [max(row.shape[1] for row in part) for part in parts]
    weights, logs = trained([step_of(parts, lengths, rows)])
    for one, two in zip(whole[0], weights, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-6)
    assert logs == pytest.approx(whole[1], rel=1e-5)


def test_a_mean_of_means_would_be_another_step(whole):
    # What the test above can see: a short micro-batch weighs as much as it has positions.
    parts = [by_length(ROWS)[:6], by_length(ROWS)[6:]]
    totals = [sum(row.shape[1] for row in part) for part in parts]
    assert totals[0] < 0.8 * totals[1]
    alone = [trained([step_of([part], [12], 6)])[1] for part in parts]
    of_means = np.mean([logs["ce"] for logs in alone])
    weighted = np.average([logs["ce"] for logs in alone], weights=totals)
    assert weighted == pytest.approx(whole[1]["ce"], rel=1e-5)
    assert abs(of_means - weighted) > 1e-4 * weighted  # ten times what the tests above allow


def test_logits_at_masks_alone_give_the_losses_of_all_positions():
    settings = PretrainingSettings(masked_only=True)
    parts, lengths = [ROWS[:6], ROWS[6:]], [12, 12]
    every = trained([step_of(parts, lengths, 6)], settings)
    listed = trained([step_of(parts, lengths, 6, masked_only=True)], settings)
    for one, two in zip(every[0], listed[0], strict=True):
        np.testing.assert_allclose(one, two, atol=2e-6)
    assert listed[1] == pytest.approx(every[1], rel=1e-5)


def test_xla_takes_the_same_steps_in_parts():
    settings = PretrainingSettings(alpha_ce=0, alpha_cos=0)
    step = step_of([ROWS[:6], ROWS[6:]], [12, 12], 6, masked_only=True)
    plain, compiled = (trained([step], settings, jit_compile=how) for how in (None, True))
    for one, two in zip(plain[0], compiled[0], strict=True):
        np.testing.assert_allclose(one, two, atol=2e-6)
    assert plain[1] == pytest.approx(compiled[1], rel=1e-5)


def test_the_clip_is_that_of_the_whole_batch():
    whole = trained([step_of([ROWS], [12], 12)], clip=0.05)[0]
    parts = trained([step_of([ROWS[:4], ROWS[4:8], ROWS[8:]], [12] * 3, 4)], clip=0.05)[0]
    before = tiny_masked_lm(seed=2, layers=1).get_weights()
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(whole, before, strict=True)))
    assert moved == pytest.approx(0.1 * 0.05, rel=1e-3)
    for one, two in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_the_losses_are_the_formulas_of_the_paper(whole):
    """Triple loss of the first step, position by position in numpy, padding left out."""
    student, teacher = tiny_masked_lm(seed=2, layers=1), tiny_masked_lm(seed=1, layers=1)
    ce, mlm, cos = [], [], []
    for pieces, labels in ROWS:
        s, t = (model({"token_ids": pieces[None]}) for model in (student, teacher))
        p, q = (np.array(tf.nn.softmax(x["logits"][0] / 2.0), np.float64) for x in (t, s))
        ce += (4.0 * (p * np.log(p / q)).sum(-1)).tolist()
        log_q = np.array(tf.nn.log_softmax(s["logits"][0]))
        mlm += [-log_q[i, label] for i, label in enumerate(labels) if label >= 0]
        a, b = (np.array(x["hidden_states"][-1][0], np.float64) for x in (s, t))
        cos += (
            1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        ).tolist()
    expected = {"ce": np.mean(ce), "mlm": np.mean(mlm), "cos": np.mean(cos)}
    expected["loss"] = 5 * expected["ce"] + 2 * expected["mlm"] + expected["cos"]
    assert whole[1] == pytest.approx(expected, rel=1e-4)


TWO_DEVICES = """
import sys
sys.path[:0] = [{tests!r}, {folder!r}]
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
import test_accumulating_distiller as one
from xdistil.data.batching import sized
parts = [one.ROWS[:3], one.ROWS[3:5], one.ROWS[5:6], one.ROWS[6:9]]
steps = [one.step_of(parts, [12] * 4, 3)] * 2
one.steps_dataset = lambda steps, make=one.steps_dataset: sized(make(steps), len(steps))
alone = one.trained(steps, clip=0.05)
with strategy.scope():
    together = one.trained(steps, clip=0.05, jit_compile=False)
assert strategy.num_replicas_in_sync == 2
for a, b in zip(alone[0], together[0]):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
for name, value in alone[1].items():
    np.testing.assert_allclose(value, together[1][name], rtol=1e-5)
print("equal")
"""


def test_two_devices_take_the_steps_of_one(tmp_path):
    folder = Path(__file__).parent
    program = tmp_path / "two_devices.py"
    program.write_text(TWO_DEVICES.format(tests=str(folder.parent), folder=str(folder)), "utf-8")
    done = run_forked([program])
    assert done.stdout.decode().strip().endswith("equal"), done.stderr.decode()[-3000:]
