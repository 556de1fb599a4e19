"""From BIO tags to entities, as conlleval and seqeval's default mode read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE = "O"
_MARKS = "BIES"
# Where a tag says nothing but the mark.
_NO_TYPE = "_"


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity in a sentence.

    Args:
        label: its type, such as `PER`.
        start: its first character, counted in Unicode code points of the text.
        end: one after its last character: `text[start:end]` is the entity.
        text: that piece of the text.
        score: the mean of the probabilities of its words' tags, between 0 and 1.
        first_word: the index of its first word.
        last_word: the index of its last word (included).
    """

    label: str
    start: int
    end: int
    text: str
    score: float
    first_word: int
    last_word: int


@dataclass(frozen=True, slots=True)
class Span:
    """The words of an entity: `words[first : last + 1]`."""

    label: str
    first: int
    last: int


def split_tag(tag: str) -> tuple[str, str]:
    """The mark and the type of a tag.

    `B-`, `I-`, `E-` and `S-` are read. A tag without a mark (`PER`) is read as `I-PER`.

    Example:
        >>> split_tag("B-PER"), split_tag("O"), split_tag("PER")
        (('B', 'PER'), ('O', ''), ('I', 'PER'))
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    mark, dash, name = tag.partition("-")
    if mark in _MARKS and len(mark) == 1:
        return mark, name if dash else _NO_TYPE
    return "I", tag


def decode_spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence's tags.

    A span begins at `B-` (and `S-`), at an `I-` (or `E-`) out of nowhere, and where the type
    changes; it ends before the next begins, before `O`, and after `E-` and `S-`.

    Args:
        tags: one a word.

    Example:
        >>> decode_spans(["I-LOC", "I-PER", "O"])
        [Span(label='LOC', first=0, last=0), Span(label='PER', first=1, last=1)]

    Reference:
        - [conlleval](https://www.clips.uantwerpen.be/conll2002/ner/bin/conlleval.txt).
        - [seqeval](https://github.com/chakki-works/seqeval).
    """
    spans: list[Span] = []
    before = (OUTSIDE, "")
    for index, tag in enumerate(tags):
        mark, name = split_tag(tag)
        if mark != OUTSIDE:
            if mark in "BS" or before[0] in "OES" or before[1] != name:
                spans.append(Span(name, index, index))
            else:
                spans[-1] = Span(name, spans[-1].first, index)
        before = (mark, name)
    return spans


def decode_entities(
    tags: Sequence[str],
    scores: Sequence[float],
    offsets: Sequence[tuple[int, int]],
    text: str,
) -> list[Entity]:
    """The entities of a tagged sentence.

    Args:
        tags: one a word.
        scores: the probability of each word's tag.
        offsets: first character of each word in `text`, and one after its last.
        text: the sentence.
    """
    entities = []
    for span in decode_spans(tags):
        start, end = offsets[span.first][0], offsets[span.last][1]
        members = scores[span.first : span.last + 1]
        score = float(sum(members)) / len(members)
        entities.append(
            Entity(span.label, start, end, text[start:end], score, span.first, span.last)
        )
    return entities
