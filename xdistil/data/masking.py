"""Dynamic masking for masked language modeling: other positions each time a text is seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

#: The shares of the chosen positions that become the mask token, and another piece.
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1


@dataclasses.dataclass(frozen=True)
class MaskingSettings:
    """How much is masked, and what is preferred.

    Args:
        share: Of a batch's real positions, special tokens counted, that are predicted.
        smoothing: Exponent s: a position is drawn with weight max(count, 1)^-s of its piece, so
            that rare pieces are predicted more often than their share. 0: all alike.

    Raises:
        ValueError: `share` is outside (0, 1), or `smoothing` below 0.

    Reference:
        - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), section 3.1, for 15%
        - the authors' code of [Sanh et al., 2019](https://arxiv.org/abs/1910.01108), for 0.7
    """

    share: float = 0.15
    smoothing: float = 0.7

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise ValueError(f"`share` must be between 0 and 1, received {self.share!r}.")
        if not self.smoothing >= 0:
            raise ValueError(f"`smoothing` must not be below 0, received {self.smoothing!r}.")


class Masker:
    """Chooses the positions of a batch that a model has to predict, and hides them.

    `ceil(share · n)` of the batch's n real positions are drawn without replacement. Of these 80%
    become the mask token, 10% a piece drawn evenly from those that are not special, 10% stay (each
    position draws for itself). Special tokens are never chosen.

    What is drawn is a function of the seed, the numbers given with the batch, and its real pieces
    in their order; padding changes nothing, and nor does what was masked before.

    Args:
        piece_counts: int array `(vocabulary_size,)`, how often each piece occurs in the corpus.
        special_ids: Ids of the special tokens.
        mask_id: Id of the mask token.
        settings: How much is masked.
        seed: Non-negative.

    Raises:
        ValueError: The vocabulary holds special tokens alone.

    Example:

    ```python
    masker = Masker(counts, encoder.special_ids, encoder.mask_id, MaskingSettings(), seed=1)
    inputs, labels = masker.mask(token_ids, padding_mask, epoch, batch)
    ```
    """

    def __init__(
        self,
        piece_counts: np.ndarray,
        special_ids: Sequence[int],
        mask_id: int,
        settings: MaskingSettings | None = None,
        seed: int = 0,
    ):
        self.settings = settings or MaskingSettings()
        self.seed = int(seed)
        self.mask_id = int(mask_id)
        counts = np.maximum(np.asarray(piece_counts, np.float64), 1.0)
        is_special = np.zeros(len(counts), bool)
        is_special[list(special_ids)] = True
        self._ordinary_ids = np.flatnonzero(~is_special).astype(np.int32)
        if not len(self._ordinary_ids):
            raise ValueError("`piece_counts` must have a piece that is not special.")
        self._log_weights = np.where(is_special, -np.inf, -self.settings.smoothing * np.log(counts))

    def mask(
        self, token_ids: np.ndarray, padding_mask: np.ndarray, *numbers: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Masks one batch.

        Args:
            token_ids: int32, of any shape.
            padding_mask: The same shape, 1 = real.
            *numbers: Non-negative; which batch this is, such as epoch and step.

        Returns:
            `inputs`, int32 of the same shape, what the model reads; and `labels`, int32 of the same
            shape, the piece that was there at the chosen positions, -1 elsewhere.
        """
        inputs = np.array(token_ids, np.int32)
        labels = np.full(inputs.shape, -1, np.int32)
        real = np.flatnonzero(np.asarray(padding_mask))
        pieces = inputs.ravel()[real]
        random = np.random.default_rng([self.seed, *numbers])
        places = self._draw(pieces, random)
        chosen = pieces[places]
        labels.ravel()[real[places]] = chosen
        inputs.ravel()[real[places]] = self._hide(chosen, random)
        return inputs, labels

    def _draw(self, pieces: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Sorted places of the pieces that are chosen."""
        log_weights = self._log_weights[pieces]
        size = min(
            math.ceil(self.settings.share * len(pieces)), int(np.isfinite(log_weights).sum())
        )
        if not size:
            return np.zeros(0, np.int64)
        # The largest of weights on a log scale, each with Gumbel noise, are a weighted draw
        # without replacement (Vieira 2014; Efraimidis and Spirakis 2006): no loop over draws.
        keys = log_weights + random.gumbel(size=len(pieces))
        return np.sort(np.argpartition(keys, len(keys) - size)[-size:])

    def _hide(self, chosen: np.ndarray, random: np.random.Generator) -> np.ndarray:
        dice = random.random(len(chosen))
        other = random.choice(self._ordinary_ids, size=len(chosen))
        shown = np.where(dice < MASK_SHARE + RANDOM_SHARE, other, chosen)
        return np.where(dice < MASK_SHARE, np.int32(self.mask_id), shown).astype(np.int32)
