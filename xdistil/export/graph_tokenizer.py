"""BERT's tokenizer as TensorFlow ops: the pieces that training saw, from raw strings."""

from __future__ import annotations

import json
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from xdistil.data.encoding import TextEncoder
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
        self.cls_id = encoder.cls_id
        self.sep_id = encoder.sep_id
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
        first = before - tf.gather(row_begins, normalized.value_rowids())
        has_piece = (per_word > 0) & (first < self.seq_len - 2)
        positions = normalized.with_flat_values(tf.where(has_piece, first + 1, -1))

        sentences = normalized.with_flat_values(pieces).merge_dims(1, 2)[:, : self.seq_len - 2]
        row = tf.zeros_like(sentences.row_lengths(), tf.int32)[:, None]
        sentences = tf.concat([row + self.cls_id, sentences, row + self.sep_id], axis=1)
        token_ids = sentences.to_tensor(self.pad_id)
        mask = tf.sequence_mask(sentences.row_lengths(), tf.shape(token_ids)[1], tf.int32)
        features = {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": mask,
            "word_starts": _mark(positions, tf.shape(token_ids)),
        }
        return features, positions


def valid_utf8(text: tf.Tensor) -> tf.Tensor:
    """The strings with invalid bytes replaced by U+FFFD."""
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _mark(positions: tf.RaggedTensor, shape: tf.Tensor) -> tf.Tensor:
    columns = positions.flat_values
    rows = tf.cast(positions.value_rowids(), tf.int32)
    indices = tf.boolean_mask(tf.stack([rows, columns], axis=1), columns >= 0)
    return tf.scatter_nd(indices, tf.ones(tf.shape(indices)[:1], tf.int32), shape)


def _read_settings(encoder: TextEncoder) -> dict:
    settings = json.loads(encoder.tokenizer.to_str())
    kinds = {
        "model": "WordPiece",
        "normalizer": "BertNormalizer",
        "pre_tokenizer": "BertPreTokenizer",
    }
    for part, expected in kinds.items():
        found = (settings[part] or {}).get("type")
        if found != expected:
            raise InputError(
                f"the tokenizer's {part} is {found}: a SavedModel holds {expected} tokenizers "
                "(BERT, mBERT, MiniLM and their kin) only; use the Keras runtime instead"
            )
    added = [token["content"] for token in settings["added_tokens"] if not token["special"]]
    if added:
        raise InputError(
            f"the tokenizer has added tokens that are not special, such as {added[0]!r}: a "
            "SavedModel's tokenizer cannot find these; use the Keras runtime instead"
        )
    return settings
