"""Batches hold examples of similar length, and answers come back in order."""

import numpy as np
import pytest

from xdistil.data.examples import EncodedExample
from xdistil.errors import InputError
from xdistil.models.bucketed_inference import BucketedInference

LENGTHS = (9, 3, 20, 4, 3, 11, 20, 2, 5)


class Recorded(BucketedInference):
    """Answers each position with its token id, and remembers the shapes of batches."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.shapes = []

    def compute(self, features):
        self.shapes.append(features["token_ids"].shape)
        # Padding is told as such.
        assert (features["padding_mask"] == (features["token_ids"] != 0)).all()
        return {"ids": features["token_ids"][..., None], "first": features["token_ids"][:, :1]}


@pytest.fixture
def examples():
    return [
        EncodedExample(
            np.arange(1, length + 1, dtype=np.int32) + 100 * number,
            np.ones(length, np.uint8),
            np.arange(length),
        )
        for number, length in enumerate(LENGTHS)
    ]


@pytest.mark.parametrize("fixed_shapes", [False, True])
@pytest.mark.parametrize("budget", [1, 24, 4096])
def test_each_example_gets_its_own_answer(examples, fixed_shapes, budget):
    run = Recorded((8, 16, 32), budget, fixed_shapes)
    for example, found in zip(examples, run.run(examples), strict=True):
        np.testing.assert_array_equal(found["ids"][:, 0], example.token_ids)
        assert found["first"] == example.token_ids[0]
    assert run.run([]) == []


def test_a_batch_is_as_long_as_its_longest_example(examples):
    run = Recorded((32,), 40)
    run.run(examples)
    assert run.shapes == [(2, 20), (3, 11), (4, 4)]


def test_fixed_shapes_are_one_a_bucket(examples):
    run = Recorded((8, 16, 32), 40, fixed_shapes=True)
    run.run(examples)
    assert set(run.shapes) == {(1, 32), (2, 16), (5, 8)}


def test_an_example_beyond_the_longest_bucket_is_refused(examples):
    with pytest.raises(InputError, match="has 20 pieces; the longest bucket has 16"):
        Recorded((8, 16)).run(examples)


def test_batches_are_as_long_as_their_bucket_where_that_is_asked_for(examples):
    run = Recorded((16, 32), 64, pad_to_bucket=True)
    run.run(examples)
    assert run.shapes == [(2, 32), (4, 16), (3, 16)]
