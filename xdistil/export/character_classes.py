"""Which characters a tokenizer drops or splits at, found by asking it about every one."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterable

from tokenizers import normalizers, pre_tokenizers

# Letters and unassigned characters, four fifths of Unicode, are none of what is asked for here.
_NEVER = ("Cn", "Cs", "Lo")
_CHARACTERS = tuple(
    c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in _NEVER
)
# It is not among the characters that a normaliser changes, and no mark melts into it.
_BETWEEN = "|"


@functools.cache
def dropped_by_cleaning() -> frozenset[str]:
    """The characters that BERT's normaliser removes: control, format, private use, U+FFFD.

    They depend on the Unicode version that the tokenizer was built with, as do accents and
    punctuation: so TensorFlow's own classes, which are of another version, do not do.
    """
    cleaner = normalizers.BertNormalizer(True, False, False, False)
    return _removed_by(cleaner)


@functools.cache
def dropped_as_accents() -> frozenset[str]:
    """The characters that BERT's normaliser removes after it has decomposed the text."""
    return _removed_by(normalizers.BertNormalizer(False, False, True, False))


@functools.cache
def split_as_punctuation() -> frozenset[str]:
    """The characters that BERT's splitter makes words of their own."""
    splitter = pre_tokenizers.BertPreTokenizer()
    candidates = (c for c in _CHARACTERS if unicodedata.category(c)[0] not in "CLZ")
    parts = splitter.pre_tokenize_str(" ".join(f"a{c}b" for c in candidates))
    alone = {part for part, _ in parts if len(part) == 1}
    return frozenset(alone - {"a", "b"})


def regex_class(characters: Iterable[str]) -> str:
    """The inside of a character class of RE2, `[...]`, as ranges of code points.

    Example:
        >>> regex_class("abcx")
        '\\\\x{61}-\\\\x{63}\\\\x{78}'
    """
    points = sorted(map(ord, set(characters)))
    ranges: list[list[int]] = []
    for point in points:
        if ranges and point == ranges[-1][1] + 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "".join(
        rf"\x{{{low:x}}}" if low == high else rf"\x{{{low:x}}}-\x{{{high:x}}}"
        for low, high in ranges
    )


def _removed_by(normalizer: normalizers.Normalizer) -> frozenset[str]:
    characters = [c for c in _CHARACTERS if c != _BETWEEN]
    parts = normalizer.normalize_str(_BETWEEN.join(characters)).split(_BETWEEN)
    if len(parts) != len(characters):
        raise AssertionError("the tokenizer's normaliser adds or removes separators")
    return frozenset(c for c, part in zip(characters, parts, strict=True) if not part)
