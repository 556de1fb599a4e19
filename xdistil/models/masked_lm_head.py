"""The masked-LM head that a pre-trained checkpoint brings along."""

from __future__ import annotations

import numpy as np

from xdistil.errors import InputError
from xdistil.models.checkpoints import Checkpoint, check_shape
from xdistil.models.encoder import EncoderConfig
from xdistil.models.families import FAMILIES, Family
from xdistil.models.stored_weights import from_stored, last_parts, stored_shape


def masked_lm_activation(config: EncoderConfig) -> str:
    """Our name of the activation between `mlm_dense` and `mlm_norm`, see `get_activation`."""
    return FAMILIES[config.family].masked_lm_activation or config.activation


def masked_lm_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Neutral names of the head's weights and their shapes here.

    The head computes `norm(activation(dense(x))) @ token_embedding.T + mlm_bias`: dense from
    `hidden_dim` to the width of the embeddings, the word-piece embedding as output matrix.

    Args:
        config: The encoder's settings.

    Returns:
        `mlm_dense.kernel` `(hidden_dim, embedding_dim)`, `mlm_dense.bias`, `mlm_norm.scale` and
        `mlm_norm.bias` `(embedding_dim,)`, `mlm_bias` `(vocabulary_size,)`.

    Reference:
        [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), section 3.1
    """
    width = config.embedding_dim
    return {
        "mlm_dense.kernel": (config.hidden_dim, width),
        "mlm_dense.bias": (width,),
        "mlm_norm.scale": (width,),
        "mlm_norm.bias": (width,),
        "mlm_bias": (config.vocabulary_size,),
    }


def masked_lm_names(family: Family, name: str) -> list[str]:
    """What a weight of the head may be called in a checkpoint, the name to write first.

    Args:
        family: The family.
        name: The neutral name, a key of `masked_lm_shapes`.
    """
    stem, _, part = name.rpartition(".")
    if not stem:
        return list(family.masked_lm[name])
    return [other for one in family.masked_lm[stem] for other in last_parts(one, part)]


def require_masked_lm_head(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """The masked-LM head of a checkpoint that must have one, see `load_masked_lm_head`.

    Raises:
        InputError: it has none, or `load_masked_lm_head` refuses it.
    """
    head = load_masked_lm_head(checkpoint)
    if head is None:
        raise InputError(
            f"{checkpoint.folder}: has no masked-LM head, so it predicts no pieces; train one "
            "first (run_pretraining.py --train=teacher)"
        )
    return head


def load_masked_lm_head(checkpoint: Checkpoint) -> dict[str, np.ndarray] | None:
    """The masked-LM head of a checkpoint, or None where it has none.

    Args:
        checkpoint: A pre-trained `...ForMaskedLM` or `...ForPreTraining` has one; a plain encoder,
            a fine-tuned model and an ELECTRA discriminator have not.

    Returns:
        float32 arrays of the names and shapes of `masked_lm_shapes`, ready to be assigned to Keras
        layers. There is no output matrix among them: it is the word-piece embedding.

    Raises:
        InputError: a part of the head is missing or of another shape, or the output matrix is not
            the word-piece embedding.

    Example:

    ```python
    head = load_masked_lm_head(Checkpoint("path/to/folder"))
    if head is not None:
        mlm_dense.set_weights([head["mlm_dense.kernel"], head["mlm_dense.bias"]])
    ```
    """
    shapes = masked_lm_shapes(checkpoint.encoder_config)
    tensors = {name: _find(checkpoint, name) for name in shapes}
    missing = [name for name, tensor in tensors.items() if tensor is None]
    if len(missing) == len(shapes):
        return None
    if missing:
        wanted = masked_lm_names(checkpoint.family, missing[0])[0]
        raise InputError(
            f"{checkpoint.folder}: has parts of a masked-LM head, but lacks {wanted!r}; is the "
            "file whole?"
        )
    for name, tensor in tensors.items():
        check_shape(checkpoint, tensor, stored_shape(name, shapes[name]), "by config.json")
    _check_tied(checkpoint)
    return {
        name: from_stored(name, checkpoint.read(tensor), shapes[name])
        for name, tensor in tensors.items()
    }


def _find(checkpoint: Checkpoint, name: str) -> str | None:
    names = masked_lm_names(checkpoint.family, name)
    return next((tensor for tensor in names if tensor in checkpoint), None)


def _check_tied(checkpoint: Checkpoint) -> None:
    embedding = f"{checkpoint.prefix}{checkpoint.family.weights['embeddings.token']}.weight"
    for decoder in checkpoint.family.masked_lm["mlm_decoder"]:
        if decoder in checkpoint and not _equal(checkpoint, decoder, embedding):
            raise InputError(
                f"{checkpoint.file_of(decoder)}: {decoder!r} is not {embedding!r}; a masked-LM "
                "head with an output matrix of its own is not known here"
            )


def _equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    if checkpoint.shape(one) != checkpoint.shape(other):
        return False
    return np.array_equal(checkpoint.read(one), checkpoint.read(other))
