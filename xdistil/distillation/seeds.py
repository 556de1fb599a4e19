"""Seeds that depend on what they are for, not on how the process got there."""

import hashlib

import keras
import numpy as np


def derive_seed(seed: int, number: int, purpose: str) -> int:
    """A seed of 31 bits that differs between stages and purposes.

    Args:
        seed: Of the run.
        number: Of the stage.
        purpose: What it is for.
    """
    digest = hashlib.sha256(f"{seed} {number} {purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def seed_dropout(model: keras.Model, seed: int, number: int, epoch: int) -> None:
    """Sets the model's seed generators by run, stage and epoch alone.

    Under a `tf.distribute` strategy every replica draws the same mask for its share of a batch.

    Args:
        model: A built model.
        seed: Of the run.
        number: Of the stage.
        epoch: From 0.
    """
    states = [variable for variable in model.variables if "seed_generator" in variable.path]
    for place, variable in enumerate(states):
        value = derive_seed(seed, number, f"dropout {epoch} {place}")
        variable.assign(np.array([value, 0], dtype=np.uint32).astype(variable.dtype))
