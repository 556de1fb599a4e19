"""What flows through the data room: sentences and texts, then examples made of word pieces."""

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


@dataclass(frozen=True, slots=True)
class LabeledText:
    """One text, or a pair of texts, as the reader found it, and its class where it has one.

    The words of a text are always `text.split()`.

    Args:
        text: the text, or the first of two.
        label: the name of its class; `None` for text without a label.
        text_pair: the second text; `None` where there is one text alone.
        language: language code, `"und"` where nothing tells it.
        mask_word: words of the text spelled like this are mask tokens; only the rows that an
            `Augmenter` made have one.

    Example:

    ```python
    LabeledText("Will it rain in Turin?", "weather", language="en")
    LabeledText("It rains.", "neutral", text_pair="Nobody is outside.")
    ```
    """

    text: str
    label: str | None = None
    text_pair: str | None = None
    language: str = "und"
    mask_word: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text, and of the second one after them."""
        return (*self.text.split(), *(self.text_pair or "").split())


@dataclass(slots=True)
class EncodedExample:
    """One sentence, text or pair of texts as word pieces, never padded.

    A pair is one example: `[CLS] first [SEP] second [SEP]`, and the words of both count as one
    list. The class of a whole text is the label of its first position, `[CLS]`.

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
        teacher: what the teacher reads instead, where a student has a vocabulary of its own;
            `None`: both read these ids.
    """

    token_ids: np.ndarray
    word_starts: np.ndarray
    word_positions: np.ndarray
    labels: np.ndarray | None = None
    segment_ids: np.ndarray | None = None
    language: str = "und"
    teacher: EncodedExample | None = None

    def __len__(self) -> int:
        return len(self.token_ids)
