"""Whole texts, and pairs of texts, as word pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from xdistil.data.encoding import TextEncoder, TruncationReport, examples_of
from xdistil.data.examples import EncodedExample, LabeledText, TaggedSentence
from xdistil.data.piece_arrays import Frame, frame_of, put_into_frame
from xdistil.errors import InputError

_CHUNK = 1000


def encode_texts(
    encoder: TextEncoder,
    texts: Iterable[LabeledText],
    report: TruncationReport | None = None,
    mask_word: str | None = None,
) -> Iterator[EncodedExample]:
    """Encodes texts one after the other; `labels` stay `None`.

    Args:
        encoder: from words to word pieces.
        texts: any number of them, read lazily; a second text is not looked at.
        report: where truncation is counted; default: `encoder.truncation`.
        mask_word: words spelled like this become the mask token, as the rows of `Augmenter` ask
            for; default: all words are text.

    Yields:
        An example for each text, in order.

    Example:

    ```python
    for example in encode_texts(encoder, [LabeledText("Will it rain?", "weather")]):
        print(example.token_ids)
    ```
    """
    sentences = (TaggedSentence(tuple(one.text.split()), None, one.language) for one in texts)
    return encoder.encode(sentences, _CHUNK, report, mask_word)


def encode_pairs(
    encoder: TextEncoder,
    pairs: Iterable[LabeledText],
    report: TruncationReport | None = None,
    mask_word: str | None = None,
) -> Iterator[EncodedExample]:
    """Encodes pairs of texts, each as one example; `labels` stay `None`.

    An example is `[CLS] first [SEP] second [SEP]`, with the segments 0 and 1, or whatever the
    tokenizer puts around a pair. What is longer than `encoder.seq_len` loses pieces at the end of
    its longer text, then of both, as in transformers with `truncation="longest_first"`.
    `word_positions` has the words of the first text, then those of the second.

    Args:
        encoder: from words to word pieces.
        pairs: any number of them, read lazily.
        report: where truncation is counted, lengths being those of whole pairs; default:
            `encoder.truncation`.
        mask_word: as in `encode_texts`.

    Yields:
        An example for each pair, in order.

    Raises:
        InputError: at once if `seq_len` leaves no room for a piece of each text; while encoding
            for a text that has no second text.

    Example:

    ```python
    pair = LabeledText("It rains.", "neutral", text_pair="Nobody is outside.")
    example = next(encode_pairs(encoder, [pair]))
    print(example.token_ids, example.segment_ids)
    ```
    """
    frame = frame_of(encoder.tokenizer, 2, encoder.cls_id, encoder.sep_id)
    if encoder.seq_len < frame.size + 2:
        raise InputError(
            f"seq_len is {encoder.seq_len}: a pair of texts needs at least {frame.size + 2}, "
            "special tokens and a piece of each text"
        )
    report = encoder.truncation if report is None else report
    return _encode_pairs(encoder, frame, iter(pairs), report, mask_word)


def _encode_pairs(
    encoder: TextEncoder,
    frame: Frame,
    pairs: Iterator[LabeledText],
    report: TruncationReport,
    mask_word: str | None,
) -> Iterator[EncodedExample]:
    while chunk := list(islice(pairs, _CHUNK)):
        texts = [text.split() for pair in chunk for text in _both(pair)]
        pieces = encoder.pieces(texts, mask_word)
        lengths = pieces.lengths.reshape(-1, 2)
        kept = _longest_first(lengths, encoder.seq_len - frame.size)
        framed = put_into_frame(pieces, kept.ravel(), frame)
        report.add(lengths.sum(1) + frame.size, framed)
        yield from examples_of(framed, [pair.language for pair in chunk])


def _both(pair: LabeledText) -> tuple[str, str]:
    if pair.text_pair is None:
        raise InputError(
            f"the text {pair.text[:40]!r} has no second text: give two texts, or use a model for "
            "single texts"
        )
    return pair.text, pair.text_pair


def _longest_first(lengths: np.ndarray, room: int) -> np.ndarray:
    """How many pieces of each text are kept, `(pairs, 2)`.

    The shorter text keeps up to half of the room, the longer gets the rest; of two texts of one
    length the first counts as the shorter.
    """
    first, second = lengths.T
    shorter = np.minimum(np.minimum(first, second), room // 2)
    longer = np.minimum(np.maximum(first, second), room - shorter)
    swapped = (first > second)[:, None]
    return np.where(swapped, np.stack([longer, shorter], 1), np.stack([shorter, longer], 1))
