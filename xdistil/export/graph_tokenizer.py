"""BERT's tokenizer as TensorFlow ops: the pieces that training saw, from raw strings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from xdistil.data.encoding import TextEncoder
from xdistil.data.piece_arrays import Frame, frame_of
from xdistil.errors import InputError
from xdistil.export.character_classes import (
    dropped_as_accents,
    dropped_by_cleaning,
    regex_class,
    split_as_punctuation,
)

# What `str.split()` splits at, and what `tokenizers` takes for a space inside a given word.
_SPACES = (
    r"[\x{9}-\x{d}\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}]"
)
_CHINESE = (
    r"\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}"
    r"\x{2b740}-\x{2b81f}\x{2b920}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}"
)
# Text holds no private-use character once it is normalised, so these match nothing in it.
_NO_PIECE = "\ue000"
# Bytes of the longest word that is not [UNK] by its length, 4 bytes a character, and room to spare.
_BYTES_PER_CHARACTER = 5


class SplitText(NamedTuple):
    """Strings that are split at white space.

    Args:
        words: ragged string `(batch, words)`, as they stand in the text.
        normalized: the same words, normalised; some are empty.
        starts: ragged int32 `(batch, words)`, the first character of each word, counted in Unicode
            code points of the text.
        ends: one after the last character.
    """

    words: tf.RaggedTensor
    normalized: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


class _TextPieces(NamedTuple):
    """The pieces of texts.

    Args:
        ids: ragged int32 `(batch, pieces)`.
        starts: ragged int32 `(batch, pieces)`, 1 where a word begins.
        firsts: ragged int32 `(batch, words)`, the index of each word's first piece within its
            text; -1 for a word that has none.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    firsts: tf.RaggedTensor

    @property
    def lengths(self) -> tf.Tensor:
        return tf.cast(self.ids.row_lengths(), tf.int32)


class GraphTokenizer(tf.Module):
    """The word pieces of a `TextEncoder`, computed by TensorFlow ops inside a graph.

    tensorflow-text's own BERT tokenizers normalise otherwise than the fast tokenizers that the
    teacher and the student were trained with; here only its WordPiece is used, after a
    normalisation that agrees with them. Special tokens written out in the text, such as `[SEP]`,
    are text like any other, as they are for `TextEncoder`. Which characters are invisible, accents
    or punctuation is asked of the encoder's library when the graph is built (two seconds), so that
    both agree on every character, whatever version of Unicode each has.

    Args:
        encoder: the encoder of the trained model; a WordPiece one with BERT's normaliser.

    Raises:
        InputError: the encoder is of another kind, or has added tokens that are not special.

    Example:

    ```python
    tokenizer = GraphTokenizer(trained.task.encoder)
    split = tokenizer.split(tf.constant(["Ada lives in Turin"]))
    features, positions = tokenizer.encode(split.normalized)
    ```

    Reference:
        Song et al., "Fast WordPiece Tokenization", arXiv:2012.15524.
    """

    def __init__(self, encoder: TextEncoder):
        super().__init__(name="graph_tokenizer")
        settings = _read_settings(encoder)
        model = settings["model"]
        self.seq_len = encoder.seq_len
        self.pad_id = encoder.pad_id
        self._frame, self._pair_frame = (
            frame_of(encoder.tokenizer, texts, encoder.cls_id, encoder.sep_id) for texts in (1, 2)
        )
        self._lower_case = encoder.lower_case
        self._strip_accents = encoder.strip_accents
        self._clean_text = settings["normalizer"].get("clean_text", True)
        self._max_characters = model.get("max_input_chars_per_word", 100)
        vocabulary = [
            piece or f"{_NO_PIECE}{index}" for index, piece in enumerate(encoder.vocabulary)
        ]
        arguments = {
            "vocab": vocabulary,
            "suffix_indicator": model.get("continuing_subword_prefix", "##"),
            "unknown_token": model["unk_token"],
            "max_bytes_per_word": _BYTES_PER_CHARACTER * self._max_characters,
            "token_out_type": tf.int32,
        }
        # The splitter and the normaliser of tensorflow-text are of another Unicode version than
        # the tokenizer's: only its WordPiece is used.
        self._word_piece = tf_text.FastWordpieceTokenizer(**arguments, no_pretokenization=True)
        self._invisible = f"[{regex_class(dropped_by_cleaning())}]+"
        self._accents = f"[{regex_class(dropped_as_accents())}]+"
        alone = regex_class(split_as_punctuation())
        alone += _CHINESE if encoder.split_chinese_characters else ""
        self._alone = f"([{alone}])"

    def split(self, text: tf.Tensor) -> SplitText:
        """Splits strings where `str.split()` does.

        Args:
            text: string `(batch,)`, UTF-8. Invalid bytes are first replaced by U+FFFD, and offsets
                count these.
        """
        # One space for each, so that characters keep their places.
        spaced = tf.strings.regex_replace(valid_utf8(text), _SPACES, " ")
        parts = tf.strings.split(spaced, sep=" ")
        # Normalising makes no spaces and loses none: whole strings are quicker than words.
        normalized = tf.strings.split(self.normalize(spaced), sep=" ")
        lengths = tf.strings.length(parts.flat_values, unit="UTF8_CHAR")
        after = tf.cumsum(lengths + 1)
        before = after - lengths - 1
        # `before` runs through the batch: take away where each row begins.
        row_begins = tf.gather(tf.concat([before, [0]], 0), parts.row_starts())
        starts = before - tf.gather(row_begins, parts.value_rowids())
        keep = parts.with_flat_values(lengths > 0)
        return SplitText(
            *(
                tf.ragged.boolean_mask(parts.with_flat_values(values), keep)
                for values in (
                    parts.flat_values,
                    normalized.flat_values,
                    starts,
                    starts + lengths,
                )
            )
        )

    def normalize(self, text: tf.Tensor) -> tf.Tensor:
        """What the tokenizer does to characters before it splits: same shape, string."""
        if self._clean_text:
            text = tf.strings.regex_replace(text, self._invisible, "")
        else:  # a NUL would end the string for the ops below; it is in no piece
            text = tf.strings.regex_replace(text, r"\x{0}", _NO_PIECE)
        text = tf.strings.regex_replace(text, _SPACES, " ")
        if self._strip_accents:
            text = tf_text.normalize_utf8(text, "NFD")
            text = tf.strings.regex_replace(text, self._accents, "")
        if self._lower_case:
            # Lower-casing by context makes a sigma at a word's end ς; the tokenizer goes character
            # by character.
            text = tf.strings.regex_replace(text, "Σ", "σ")
            text = tf.strings.lower(text, encoding="utf-8")
        return text

    def encode(self, normalized: tf.RaggedTensor) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor]:
        """From normalised words to the features of a model.

        Args:
            normalized: ragged string `(batch, words)`.

        Returns:
            The features: int32 `(batch, length)`: `token_ids`, `segment_ids`, `padding_mask`,
            `word_starts`, as long as the longest sentence and at most `seq_len`. And the ragged
            int32 `(batch, words)` index of each word's first piece; -1 for a word that has none:
            truncated, or made of invisible characters.
        """
        text = self._pieces(normalized)
        kept = tf.minimum(text.lengths, self.seq_len - self._frame.size)
        return self._lay_out([text], [kept], self._frame)

    def encode_pairs(
        self, first: tf.RaggedTensor, second: tf.RaggedTensor
    ) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor]:
        """From the normalised words of two texts to the features of a model, laid out and cut as
        `encode_pairs` of `xdistil.data.pair_encoding` does.

        Args:
            first: ragged string `(batch, words)`.
            second: the same of the second text of each pair.

        Returns:
            As `encode` does: the features, with the segments of both texts; and the index of each
            word's first piece, the words of the first text before those of the second.
        """
        texts = [self._pieces(first), self._pieces(second)]
        room = self.seq_len - self._pair_frame.size
        kept = _longest_first(texts[0].lengths, texts[1].lengths, room)
        return self._lay_out(texts, kept, self._pair_frame)

    def _pieces(self, normalized: tf.RaggedTensor) -> _TextPieces:
        parts = tf.strings.split(
            tf.strings.regex_replace(normalized.flat_values, self._alone, r" \1 ")
        )
        too_long = tf.strings.length(parts.flat_values, unit="UTF8_CHAR") > self._max_characters
        parts = parts.with_flat_values(tf.where(too_long, _NO_PIECE, parts.flat_values))
        pieces = self._word_piece.tokenize(parts).merge_dims(1, 2)
        per_word = tf.cast(pieces.row_lengths(), tf.int32)
        before = tf.cumsum(per_word, exclusive=True)
        padded = tf.concat([before, tf.reduce_sum(per_word, keepdims=True)], 0)
        row_begins = tf.gather(padded, normalized.row_starts())
        firsts = before - tf.gather(row_begins, normalized.value_rowids())
        firsts = normalized.with_flat_values(tf.where(per_word > 0, firsts, -1))
        ids = normalized.with_flat_values(pieces).merge_dims(1, 2)
        starts = tf.cast(tf.ragged.range(per_word).flat_values == 0, tf.int32)
        return _TextPieces(ids, ids.with_flat_values(starts), firsts)

    def _lay_out(
        self, texts: Sequence[_TextPieces], kept: Sequence[tf.Tensor], frame: Frame
    ) -> tuple[dict[str, tf.Tensor], tf.RaggedTensor]:
        """Texts, each cut to `kept` pieces, between their special tokens."""
        ids, segments, starts, positions = [], [], [], []
        begin = tf.zeros_like(kept[0])
        column = begin[:, None]
        for place, special in enumerate(frame.specials):
            ids.append(column + tf.constant([special], tf.int32))
            segments.append(column + tf.constant([frame.special_segments[place]], tf.int32))
            starts.append(column + tf.zeros([1, len(special)], tf.int32))
            begin += len(special)
            if place < len(texts):
                text, length = texts[place], kept[place]
                ids.append(_cut(text.ids, length))
                segments.append(tf.zeros_like(ids[-1]) + frame.text_segments[place])
                starts.append(_cut(text.starts, length))
                positions.append(_positions(text.firsts, begin, length))
                begin += length
        token_ids = tf.concat(ids, axis=1).to_tensor(self.pad_id)
        zeros = tf.zeros_like(token_ids)
        features = {
            "token_ids": token_ids,
            "segment_ids": tf.concat(segments, axis=1).to_tensor() if frame.has_segments else zeros,
            "padding_mask": tf.sequence_mask(begin, tf.shape(token_ids)[1], tf.int32),
            "word_starts": tf.concat(starts, axis=1).to_tensor(),
        }
        return features, tf.concat(positions, axis=1)


def valid_utf8(text: tf.Tensor) -> tf.Tensor:
    """The strings with invalid bytes replaced by U+FFFD."""
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _longest_first(first: tf.Tensor, second: tf.Tensor, room: int) -> list[tf.Tensor]:
    """How many pieces of each text are kept, by the rule of `encode_pairs` in the data room."""
    shorter = tf.minimum(tf.minimum(first, second), room // 2)
    longer = tf.minimum(tf.maximum(first, second), room - shorter)
    swapped = first > second
    return [tf.where(swapped, longer, shorter), tf.where(swapped, shorter, longer)]


def _cut(pieces: tf.RaggedTensor, kept: tf.Tensor) -> tf.RaggedTensor:
    """The first `kept` of each row."""
    places = tf.ragged.range(pieces.row_lengths()).flat_values
    kept = tf.cast(kept, places.dtype)
    is_kept = places < tf.gather(kept, pieces.value_rowids())
    return tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(pieces.flat_values, is_kept), kept, validate=False
    )


def _positions(firsts: tf.RaggedTensor, begin: tf.Tensor, kept: tf.Tensor) -> tf.RaggedTensor:
    """Where the words of a text begin that begins at `begin` and keeps `kept` pieces."""
    found, rows = firsts.flat_values, firsts.value_rowids()
    is_kept = (found >= 0) & (found < tf.gather(kept, rows))
    return firsts.with_flat_values(tf.where(is_kept, found + tf.gather(begin, rows), -1))


def why_not_in_graph(encoder: TextEncoder) -> str | None:
    """What keeps a tokenizer out of a graph, in half a sentence; None for one that goes in."""
    settings = json.loads(encoder.tokenizer.to_str())
    kinds = {
        "model": "WordPiece",
        "normalizer": "BertNormalizer",
        "pre_tokenizer": "BertPreTokenizer",
    }
    for part, expected in kinds.items():
        found = (settings[part] or {}).get("type")
        if found != expected:
            return (
                f"the tokenizer's {part} is {found}, and a SavedModel holds {expected} tokenizers "
                "(BERT, mBERT, MiniLM, DistilBERT, ELECTRA and their kin) only"
            )
    added = [token["content"] for token in settings["added_tokens"] if not token["special"]]
    if added:
        return (
            f"the tokenizer has added tokens that are not special, such as {added[0]!r}, which a "
            "SavedModel's tokenizer cannot find"
        )
    return None


def _read_settings(encoder: TextEncoder) -> dict:
    reason = why_not_in_graph(encoder)
    if reason is not None:
        raise InputError(
            f'{reason}; export it for token ids (inputs="ids"), or use the Keras runtime'
        )
    return json.loads(encoder.tokenizer.to_str())
