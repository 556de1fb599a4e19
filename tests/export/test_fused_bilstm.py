"""The recurrence of SavedModels gives what the layer gives."""

import numpy as np
import pytest
import tensorflow as tf

from xdistil.export.fused_bilstm import FusedBiLSTM
from xdistil.models.recurrence import BidirectionalLSTM


@pytest.mark.parametrize("rows, length", [(4, 9), (7, 9), (8, 9), (12, 9), (1, 1), (8, 1), (0, 3)])
def test_it_gives_the_states_of_the_layer_whatever_is_masked(rows, length):
    layer = BidirectionalLSTM(7)
    layer.build((None, None, 5))
    numbers = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(numbers.normal(size=weight.shape))
    inputs = numbers.normal(size=(rows, length, 5)).astype("float32")
    mask = np.ones((rows, length), bool)
    if rows > 3 and length > 8:
        mask[1, 5:] = mask[2] = False
        mask[3, [0, 4, 8]] = False
    fused = FusedBiLSTM(layer)
    specs = [tf.TensorSpec([None, None, 5]), tf.TensorSpec([None, None], tf.bool)]
    found = tf.function(lambda *given: fused(*given), input_signature=specs)(inputs, mask)
    assert found.shape == (rows, length, 14)
    if rows:
        np.testing.assert_allclose(found, layer(inputs, mask=mask), atol=1e-6)
    assert not found.numpy()[~mask].any()
