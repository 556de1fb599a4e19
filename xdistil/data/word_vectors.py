"""Word vectors in text format, and the encoder of a student that reads words of its own."""

from __future__ import annotations

import functools
import os
import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from tokenizers import Tokenizer

from xdistil.data.encoding import TextEncoder
from xdistil.data.lines import numbered_lines
from xdistil.data.tokenizer_files import build_wordpiece
from xdistil.errors import InputError

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LONGEST_WORD = 100  # characters; WordPiece takes longer words for unknown ones
_UNKNOWN_RANGE = 0.25
_CACHED_WORDS = 100_000
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)")
_NO_TEXT = {
    ".bin": "a binary format: write the vectors as text, a word and its numbers a line",
    ".npy": "an array of NumPy: write the vectors as text, a word and its numbers a line",
    ".zip": "an archive: unpack it and give the file inside",
}


@dataclass(frozen=True, slots=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Args:
        words: the words, each once, in the order of the file.
        matrix: float32 `(number of words, dim)`, the vector of each.
        duplicates: lines left out because their word had come before.
    """

    words: tuple[str, ...]
    matrix: np.ndarray
    duplicates: int = 0

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.matrix.shape[1]

    def __len__(self) -> int:
        return len(self.words)


def read_word_vectors(path: str | os.PathLike, words: Collection[str] | None = None) -> WordVectors:
    """Reads vectors in the text format of word2vec, GloVe and fastText, plain or gzipped.

    One word and its numbers a line, between them a space or a tab. A first line of two whole
    numbers is word2vec's and fastText's header, the number of vectors and of numbers each; without
    one (GloVe) the first line tells how many numbers a vector has. A word may hold spaces, as some
    in GloVe do: the numbers are counted from the end. Where a word comes twice the first is kept.

    The file is streamed, and only the rows that are kept are in memory. Of a line that `words`
    leaves out the numbers are counted and not read.

    Args:
        path: the file.
        words: the words to keep, as they stand in the file. `None`: all.

    Raises:
        InputError: the file is not such text; a line has too few or too many numbers, or one that
            is none; there are not as many vectors as its header says; or none is left.

    Example:

    ```python
    words = words_with_vectors("glove.txt.gz", texts, lower_case=True)
    vectors = read_word_vectors("glove.txt.gz", words)
    encoder = word_encoder(vectors.words, lower_case=True, seq_len=64)
    student.set_embeddings(vectors_matrix(vectors, encoder, seed=1))
    ```
    """
    path = os.fspath(path)
    lines, dim, announced = _open(path)
    wanted = None if words is None else frozenset(words)
    kept: dict[str, None] = {}
    numbers = array("f")  # grows in place: one copy of the rows at a time
    found = duplicates = 0
    for number, line in lines:
        found += 1
        word, values = _split(line, dim, f"{path}:{number}")
        if wanted is not None and word not in wanted:
            continue
        if word in kept:
            duplicates += 1
            continue
        numbers.frombytes(_parse(values, f"{path}:{number}").tobytes())
        kept[word] = None
    if announced is not None and announced != found:
        raise InputError(
            f"{path}:1: the header says {announced} vectors, the file holds {found}: fetch it "
            "again, or correct the header"
        )
    if not kept:
        if wanted is None:
            raise InputError(f"{path}: holds no vectors: fetch the file again")
        raise InputError(
            f"{path}: holds a vector of none of the {len(wanted)} words asked for: check its "
            "language and case"
        )
    matrix = np.frombuffer(numbers, np.float32).reshape(-1, dim)
    return WordVectors(tuple(kept), matrix, duplicates)


def words_with_vectors(
    path: str | os.PathLike, texts: Iterable[str], lower_case: bool
) -> frozenset[str]:
    """The words of a text that a file has a vector of, words being what `word_encoder` looks up.

    The words of the file are in memory while it works, those of the text only if they are among
    them: however long the text is, memory does not grow.

    Args:
        path: the file, see `read_word_vectors`.
        texts: the text, streamed.
        lower_case: as for `word_encoder`.

    Raises:
        InputError: as in `read_word_vectors`.
    """
    path = os.fspath(path)
    lines, dim, _ = _open(path)
    of_file = {_split(line, dim, f"{path}:{number}")[0] for number, line in lines}
    splitter = _tokenizer(_SPECIAL, lower_case)
    parts = functools.lru_cache(_CACHED_WORDS)(functools.partial(_parts, splitter))
    found: set[str] = set()
    for text in texts:
        for word in text.split():
            found.update(of_file.intersection(parts(word)))
    if not found:
        raise InputError(
            f"{path}: holds a vector of no word of the text: check its language and case"
        )
    return frozenset(found)


def word_encoder(words: Iterable[str], lower_case: bool, seq_len: int = 128) -> TextEncoder:
    """An encoder whose every word is one id, that of the word or of `[UNK]`.

    Text is split at white space and punctuation, each Chinese character alone, as BERT does
    before it looks for pieces; accents stay. Its ids are those of the special tokens, then of
    `words` in their order. Words that no text can give, because they would be split further
    (`don't`) or lower-cased, get none.

    Args:
        words: the words, such as those of `WordVectors`.
        lower_case: whether text is lower-cased. It must suit the vectors: theirs are not changed.
        seq_len: int, the most words of an example, special tokens included.

    Raises:
        InputError: no word is left.
    """
    splitter = _tokenizer(_SPECIAL, lower_case)
    kept = [word for word in dict.fromkeys(words) if _is_one_word(splitter, word, lower_case)]
    if not kept:
        raise InputError(
            "none of the words can occur in text as it is split: give vectors of single words"
            + (", in lower case" if lower_case else "")
        )
    tokenizer = _tokenizer((*_SPECIAL, *kept), lower_case)
    return TextEncoder(tokenizer, seq_len, config={"tokenizer_class": "BertTokenizer"})


def vectors_matrix(vectors: WordVectors, encoder: TextEncoder, seed: int = 0) -> np.ndarray:
    """The rows of an embedding for the words of an encoder.

    A word without a vector, and each special token, gets a random one, uniform in (-0.25, 0.25);
    the padding token gets zeros.

    Args:
        vectors: the vectors.
        encoder: its vocabulary gives the order, see `word_encoder`.
        seed: int, of the random rows.

    Returns:
        float32 array `(encoder.vocabulary_size, vectors.dim)`.

    Reference:
        - [Tang et al., 2019](https://arxiv.org/abs/1903.12136)
    """
    row_of = {word: row for row, word in enumerate(vectors.words)}
    rows = np.array([row_of.get(word, -1) for word in encoder.vocabulary])
    known = rows >= 0
    matrix = np.empty((len(rows), vectors.dim), np.float32)
    matrix[known] = vectors.matrix[rows[known]]
    shape = (np.count_nonzero(~known), vectors.dim)
    generator = np.random.default_rng(seed)
    matrix[~known] = generator.uniform(-_UNKNOWN_RANGE, _UNKNOWN_RANGE, shape)
    matrix[encoder.pad_id] = 0.0
    return matrix


# The file


def _open(path: str) -> tuple[Iterator[tuple[int, str]], int, int | None]:
    """The lines of vectors, the numbers of each, and how many vectors a header announces."""
    kind = _NO_TEXT.get(os.path.splitext(path)[1].lower())
    if kind:
        raise InputError(f"{path}: {kind}")
    lines = numbered_lines(path)
    number, first = next(lines)
    fields = first.split()
    if len(fields) == 2 and all(field.isascii() and field.isdecimal() for field in fields):
        announced, dim = map(int, fields)
        if not dim:
            raise InputError(f"{path}:1: a header of vectors of 0 numbers: fetch the file again")
        return lines, dim, announced
    values = _clean(first).split(" ")
    dim = min(_trailing_numbers(values), len(values) - 1)
    if not dim:
        raise InputError(f"{path}:1: no vector: expected a word and its numbers")
    return chain([(number, first)], lines), dim, None


def _clean(line: str) -> str:
    """One space between fields. Only spaces and tabs part them: words hold other white space."""
    line = line.replace("\t", " ").strip(" ")
    return re.sub(" +", " ", line) if "  " in line else line


def _split(line: str, dim: int, where: str) -> tuple[str, str]:
    """The word and its numbers, still as text."""
    line = _clean(line)
    spaces = line.count(" ")
    if spaces == dim:
        word, _, values = line.partition(" ")
        return word, values
    if spaces > dim:
        word, *values = line.rsplit(" ", dim)
        if not _trailing_numbers(word.split(" ")):
            return word, " ".join(values)
    fields = line.split(" ") if line else []
    count = min(_trailing_numbers(fields), max(len(fields) - 1, 0))
    raise InputError(
        f"{where}: a word and {count} numbers, expected {dim} numbers: fetch the file again, or "
        "remove the line"
    )


def _trailing_numbers(fields: list[str]) -> int:
    """How many fields at the end are numbers."""
    for count, field in enumerate(reversed(fields)):
        if not _is_number(field):
            return count
    return len(fields)


def _is_number(field: str) -> bool:
    # `float` takes words for numbers too: a phrase may end in `infinity`.
    return _NUMBER.fullmatch(field) is not None


def _parse(values: str, where: str) -> np.ndarray:
    fields = values.split(" ")
    try:
        with np.errstate(over="ignore"):  # told below, as infinity
            row = np.array(fields, np.float32)
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        raise InputError(
            f"{where}: {wrong!r} is no number: expected {len(fields)} numbers after the word"
        ) from None
    if not np.isfinite(row).all():
        wrong = fields[int(np.flatnonzero(~np.isfinite(row))[0])]
        raise InputError(f"{where}: {wrong} is no finite number: correct or remove the line")
    return row


# The words


def _tokenizer(vocabulary: Iterable[str], lower_case: bool) -> Tokenizer:
    # BERT strips accents where it lower-cases; vectors of words know them.
    config = {"do_lower_case": lower_case, "strip_accents": False}
    return build_wordpiece(list(vocabulary), config)


def _parts(splitter: Tokenizer, word: str) -> list[str]:
    normal = splitter.normalizer.normalize_str(word)
    return [part for part, _ in splitter.pre_tokenizer.pre_tokenize_str(normal)]


def _is_one_word(splitter: Tokenizer, word: str, lower_case: bool) -> bool:
    if len(word) > _LONGEST_WORD:
        return False
    if word.isascii() and word.isalnum():  # most words, without a look by the tokenizer
        return not lower_case or word == word.lower()
    return _parts(splitter, word) == [word]
