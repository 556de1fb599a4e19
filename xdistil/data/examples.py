"""What flows through the data room: tagged sentences, then examples made of word pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """One sentence as the reader found it: words, and their tags where it has any.

    Args:
        words: the words, in order.
        tags: one BIO tag a word (`O`, `B-PER`, `I-PER`), without a language prefix; `None` for
            plain text.
        language: language code, `"und"` where nothing tells it.

    Example:

    ```python
    TaggedSentence(("Ada", "lives", "in", "Turin"), ("B-PER", "O", "O", "B-LOC"), "en")
    ```
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None
    language: str = "und"


@dataclass(slots=True)
class EncodedExample:
    """One sentence as word pieces, never padded.

    Args:
        token_ids: int32 `(length,)`, from `[CLS]` to `[SEP]`.
        word_starts: uint8 `(length,)`, 1 on the first piece of each word.
        word_positions: int32 `(number of words,)`, the index of each word's first piece in
            `token_ids`; -1 for a word that has none, because the sentence was truncated before it
            or because the word holds only invisible characters.
        labels: int32 `(length,)`, the label of each piece; -1 where a piece carries none. `None`
            for text without labels.
        segment_ids: int32 `(length,)`; `None` stands for all 0.
        language: language code.
    """

    token_ids: np.ndarray
    word_starts: np.ndarray
    word_positions: np.ndarray
    labels: np.ndarray | None = None
    segment_ids: np.ndarray | None = None
    language: str = "und"

    def __len__(self) -> int:
        return len(self.token_ids)
