"""From words to word pieces: fast tokenizers, aligned with the words, in linear time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from xdistil.data.atomic_files import make_folder, write_bytes, write_json
from xdistil.data.examples import EncodedExample, TaggedSentence
from xdistil.data.paths import as_path
from xdistil.data.piece_arrays import (
    FramedPieces,
    Pieces,
    frame_of,
    mask_pieces,
    pieces_of,
    put_into_frame,
)
from xdistil.data.tokenizer_files import (
    build_wordpiece,
    marks_words,
    read_tokenizer,
    separate_words,
    with_plain_spaces,
)
from xdistil.data.truncation_report import TruncationReport
from xdistil.errors import InputError

# The two spellings of the special tokens in use: BERT's, and that of RoBERTa and XLM-R.
_SPECIAL_SPELLINGS = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}


class TextEncoder:
    """Turns sentences that are split into words into word pieces.

    It wraps a tokenizer of the library `tokenizers`; transformers is not needed. Padding and
    truncation that a checkpoint's tokenizer.json may have baked in are switched off.

    Words are told apart whatever the tokenizer: each begins as after a space, also where a
    tokenizer of RoBERTa leaves that space away at the beginning of a text (`add_prefix_space`).

    Special tokens written out in the text, such as a word `[SEP]`, are text like any other, as in
    `transformers` with `split_special_tokens=True`: nothing in the data can end a sentence early.
    The mask token alone can be asked for, see `encode`.

    Args:
        tokenizer: the tokenizer; a copy of it is kept.
        seq_len: int, the most pieces of an example, special tokens included. Longer sentences keep
            the pieces that fit; a word cut in the middle keeps its first pieces and its label.
        special_tokens: names of the special tokens by role (`pad`, `unk`, `cls`, `sep`, `mask`),
            for those that are not spelled as in BERT or RoBERTa.
        config: what else `tokenizer_config.json` is to hold when the encoder is saved.

    Raises:
        InputError: a special token is missing, or `seq_len` leaves no room for text.

    Example:

    ```python
    encoder = TextEncoder.from_folder("path/to/checkpoint", seq_len=64)
    for example in encoder.encode([TaggedSentence(("Ada", "lives", "in", "Turin"))]):
        print(example.token_ids, example.word_positions)
    ```
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        seq_len: int = 128,
        *,
        special_tokens: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ):
        tokenizer = separate_words(Tokenizer.from_str(tokenizer.to_str()))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.config = dict(config or {})
        self._special_tokens = _find_special_tokens(tokenizer, special_tokens or {})
        known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        tokenizer.add_special_tokens(
            [name for name in self._special_tokens.values() if name not in known]
        )
        ids = {role: tokenizer.token_to_id(name) for role, name in self._special_tokens.items()}
        self.pad_id: int = ids["pad"]
        self.unk_id: int = ids["unk"]
        self.cls_id: int = ids["cls"]
        self.sep_id: int = ids["sep"]
        self.mask_id: int = ids["mask"]
        self._frame = frame_of(tokenizer, 1, self.cls_id, self.sep_id)
        if seq_len <= self._frame.size:
            raise InputError(
                f"seq_len is {seq_len}: expected at least {self._frame.size + 1}, special tokens "
                "and one piece"
            )
        self.seq_len = int(seq_len)
        self.truncation = TruncationReport()

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of pad, unk, cls, sep and mask, in this order."""
        return self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id

    @property
    def special_tokens(self) -> dict[str, str]:
        """Names of the special tokens by role: pad, unk, cls, sep, mask."""
        return dict(self._special_tokens)

    @property
    def vocabulary(self) -> list[str]:
        """All pieces in the order of their ids; an id that no piece has is an empty string."""
        pieces = self.tokenizer.get_vocab(with_added_tokens=True)
        vocabulary = [""] * (max(pieces.values()) + 1)
        for piece, index in pieces.items():
            vocabulary[index] = piece
        return vocabulary

    @property
    def vocabulary_size(self) -> int:
        """One more than the largest id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return any(
            part.get("lowercase", part["type"] == "Lowercase") for part in self._normalizers()
        )

    @property
    def strip_accents(self) -> bool:
        """Whether accents are removed; BERT does so where it lower-cases, unless told."""
        return any(_strips_accents(part) for part in self._normalizers())

    @property
    def split_chinese_characters(self) -> bool:
        """Whether each Chinese character is a piece of its own."""
        return any(part.get("handle_chinese_chars", False) for part in self._normalizers())

    def _normalizers(self) -> list[dict]:
        normalizer = json.loads(self.tokenizer.to_str())["normalizer"]
        if normalizer is None:
            return []
        return normalizer.get("normalizers", [normalizer])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the pieces: the tokenizer and `seq_len`."""
        text = f"{self.seq_len}\n{self.tokenizer.to_str()}"
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    @property
    def truncated_sentences(self) -> int:
        """Sentences that lost at least one piece, over all calls without a report of their own."""
        return self.truncation.truncated_sentences

    @property
    def truncated_words(self) -> int:
        """Words of which no piece is left, over all calls without a report of their own."""
        return self.truncation.truncated_words

    def encode(
        self,
        sentences: Iterable[TaggedSentence],
        batch: int = 1000,
        report: TruncationReport | None = None,
        mask_word: str | None = None,
    ) -> Iterator[EncodedExample]:
        """Encodes sentences one after the other; `labels` stay `None`.

        Args:
            sentences: any number of them; `batch` are in memory at a time.
            batch: int, sentences that the tokenizer gets at once; it changes speed only.
            report: where truncation is counted; default: `self.truncation`.
            mask_word: words spelled like this become the mask token; for texts that a program has
                masked, such as those of `Augmenter`. Default: none, all words are text.

        Raises:
            InputError: while encoding, if the tokenizer drops the mask word.
        """
        report = self.truncation if report is None else report
        sentences = iter(sentences)
        while chunk := list(islice(sentences, batch)):
            yield from self._encode_chunk(chunk, report, mask_word)

    def _encode_chunk(
        self, sentences: list[TaggedSentence], report: TruncationReport, mask_word: str | None
    ) -> list[EncodedExample]:
        pieces = self.pieces([sentence.words for sentence in sentences], mask_word)
        room = self.seq_len - self._frame.size
        framed = put_into_frame(pieces, np.minimum(pieces.lengths, room), self._frame)
        report.add(pieces.lengths + self._frame.size, framed)
        return examples_of(framed, [sentence.language for sentence in sentences])

    def pieces(self, texts: Sequence[Sequence[str]], mask_word: str | None = None) -> Pieces:
        """Cuts texts into pieces, without special tokens and whatever their length.

        Args:
            texts: the words of each text; at least one text.
            mask_word: as in `encode`.
        """
        pieces = pieces_of(self.tokenizer, texts)
        if mask_word is None:
            return pieces
        return mask_pieces(pieces, texts, mask_word, self.mask_id)

    def save(
        self,
        folder: str | os.PathLike,
        segments: bool | None = None,
        whole_texts: bool = False,
    ) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, as hub and `from_folder` read them.

        Args:
            folder: the folder; it is made if it is missing.
            segments: whether the model beside it reads segments (BERT), or has none (DistilBERT):
                transformers then gives it just that. None: not known; segments are given where
                the tokenizer tells both texts of a pair apart.
            whole_texts: whether others will give it whole texts, in which white space must count
                as it does for `encode_texts`, and never words with white space in them.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
        """
        folder = make_folder(folder)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.config}
        config["model_max_length"] = self.seq_len
        config.update({f"{role}_token": name for role, name in self._special_tokens.items()})
        for part in self._normalizers():
            if part["type"] == "BertNormalizer":
                config["do_lower_case"] = part["lowercase"]
                config["strip_accents"] = part["strip_accents"]
                config["tokenize_chinese_chars"] = part["handle_chinese_chars"]
        tells_apart = frame_of(self.tokenizer, 2, self.cls_id, self.sep_id).has_segments
        # transformers 5 gives no segments unless this says so.
        if tells_apart and segments is not False:
            config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        elif segments is False:
            config["model_input_names"] = ["input_ids", "attention_mask"]
        tokenizer = self.tokenizer
        if marks_words(tokenizer):
            config["add_prefix_space"] = True
            if whole_texts:
                # transformers 5 makes other classes anew and leaves the normalizer out.
                config["tokenizer_class"] = "PreTrainedTokenizerFast"
                tokenizer = with_plain_spaces(tokenizer)
        write_bytes(folder / "tokenizer.json", tokenizer.to_str(pretty=True).encode("utf-8"))
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike, seq_len: int = 128) -> TextEncoder:
        """Reads the tokenizer of a checkpoint folder: `tokenizer.json`, else `vocab.txt`
        (WordPiece), else `vocab.json` and `merges.txt` (byte-level BPE).

        What `tokenizer_config.json` says of lower case, accents and Chinese characters holds, also
        where it contradicts `tokenizer.json`: so do transformers' fast tokenizers.

        Args:
            folder: a checkpoint folder as the hub has it.
            seq_len: int, the most pieces of an example, special tokens included.

        Raises:
            InputError: the folder holds none of these, or one that is not what its name says.
        """
        tokenizer, config = read_tokenizer(as_path(folder))
        names = {role: config.get(f"{role}_token") for role in _SPECIAL_SPELLINGS}
        names = {role: name for role, name in names.items() if name is not None}
        return cls(tokenizer, seq_len, special_tokens=names, config=config)


def examples_of(framed: FramedPieces, languages: Sequence[str]) -> list[EncodedExample]:
    """Takes a chunk of examples apart; `labels` stay `None`.

    Args:
        framed: the examples, end to end.
        languages: the language of each.
    """
    ends, word_ends = np.cumsum(framed.sizes), np.cumsum(framed.word_counts)
    bounds = zip(
        (ends - framed.sizes).tolist(),
        ends.tolist(),
        (word_ends - framed.word_counts).tolist(),
        word_ends.tolist(),
        languages,
        strict=True,
    )
    segments = framed.segment_ids
    return [
        EncodedExample(
            framed.token_ids[begin:end],
            framed.word_starts[begin:end],
            framed.word_positions[word_begin:word_end],
            None,
            None if segments is None else segments[begin:end],
            language,
        )
        for begin, end, word_begin, word_end, language in bounds
    ]


def train_wordpiece(
    sentences: Iterable[TaggedSentence],
    vocabulary_size: int,
    lower_case: bool = False,
    seq_len: int = 128,
) -> TextEncoder:
    """Learns word pieces from text, for a teacher that is trained from nothing.

    The same sentences give the same vocabulary in every process.

    Args:
        sentences: the text; read once.
        vocabulary_size: int, the most pieces, special tokens included.
        lower_case: whether text is lower-cased (and accents removed) first.
        seq_len: int, the most pieces of an example.

    Raises:
        InputError: no text, or a vocabulary too small for its characters.
    """
    special = [spellings[0] for spellings in _SPECIAL_SPELLINGS.values()]
    tokenizer = build_wordpiece(special, {"do_lower_case": lower_case})
    words: dict[str, int] = {}
    for sentence in sentences:
        for word in sentence.words:
            normal = tokenizer.normalizer.normalize_str(word)
            for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
                words[piece] = words.get(piece, 0) + 1
    if not words:
        raise InputError("no text to learn word pieces from: give at least one sentence")
    alphabet = sorted(set(chain.from_iterable(words)))
    # The trainer numbers continuations ("##a") in the order of a hash table and breaks ties by
    # these numbers. Naming them beforehand, in order, makes it deterministic.
    pieces = special + alphabet + [f"##{character}" for character in alphabet]
    if len(pieces) > vocabulary_size:
        raise InputError(
            f"vocabulary_size is {vocabulary_size}: the text has {len(alphabet)} characters and "
            f"needs at least {len(pieces)} pieces"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size, special_tokens=pieces, show_progress=False
    )
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(
        (" ".join([word] * count) for word, count in sorted(words.items())), trainer
    )
    vocabulary = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    config = {"do_lower_case": lower_case}
    tokenizer = build_wordpiece([piece for piece, _ in vocabulary], config)
    return TextEncoder(tokenizer, seq_len, config={"tokenizer_class": "BertTokenizer"})


def _strips_accents(part: dict) -> bool:
    if part["type"] != "BertNormalizer":
        return part["type"] == "StripAccents"
    return part["lowercase"] if part["strip_accents"] is None else part["strip_accents"]


def _find_special_tokens(tokenizer: Tokenizer, given: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for role, spellings in _SPECIAL_SPELLINGS.items():
        candidates = [given[role]] if role in given else []
        candidates += spellings
        names = [name for name in candidates if tokenizer.token_to_id(name) is not None]
        if not names:
            raise InputError(
                f"the tokenizer has no {role} token: expected one of {', '.join(candidates)} "
                "in its vocabulary"
            )
        found[role] = names[0]
    return found
