"""Activations of encoder checkpoints, registered so that a saved model finds them again."""

import keras
from keras import ops

from xdistil.errors import InputError


@keras.saving.register_keras_serializable(package="xdistil")
def gelu(x):
    """Exact GELU, `x/2 · (1 + erf(x/√2))`.

    Equal to `keras.activations.gelu(x, approximate=False)` within 1e-6, which takes `erfc`
    instead: slower on a CPU, and an operation that ONNX Runtime refuses after export.
    """
    return 0.5 * x * (1.0 + ops.erf(x * 0.7071067811865476))


@keras.saving.register_keras_serializable(package="xdistil")
def gelu_tanh(x):
    """The tanh form of GELU (`gelu_new` in checkpoints), `x³` as products rather than a power."""
    return 0.5 * x * (1.0 + ops.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


_ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
    "tanh": keras.activations.tanh,
}

# The words of `hidden_act` in checkpoints' config.json.
_CHECKPOINT_NAMES = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def get_activation(name: str):
    """The function of an activation by our own name: `gelu`, `gelu_tanh`, `relu`, `silu`, `tanh`.

    Raises:
        InputError: another name.
    """
    if name not in _ACTIVATIONS:
        raise InputError(f"activation {name!r}: expected one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def activation_of_checkpoint(hidden_act: object) -> str | None:
    """Our name of what a checkpoint's `hidden_act` says; None where we have no such activation."""
    return _CHECKPOINT_NAMES.get(hidden_act) if isinstance(hidden_act, str) else None


def activation_for_checkpoint(name: str) -> str:
    """What a checkpoint's config.json calls an activation of ours; `activation_of_checkpoint`
    backwards.

    Raises:
        ValueError: checkpoints have no word for it.
    """
    for hidden_act, ours in _CHECKPOINT_NAMES.items():
        if ours == name:
            return hidden_act
    raise ValueError(f"`name` must be an activation of checkpoints, received {name!r}.")
