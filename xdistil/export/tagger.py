"""`Tagger`: what taggers of every runtime share."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from xdistil.export.predictor import Predictor
from xdistil.export.tagged_result import FORMATS, TaggedResult
from xdistil.export.unseen_words import UnseenWords

Sentence = str | Sequence[str]


class Tagger(Predictor[TaggedResult]):
    """Tags sentences: lines of text, split at white space, or sequences of words.

    A subclass says how a batch is tagged.

    Args:
        batch_size: sentences that the model gets at once; it changes speed only.
    """

    formats = FORMATS
    #: The tags that the model knows; `None` where the runtime cannot tell.
    labels: Sequence[str] | None = None

    def parse_line(self, line: str, place: str) -> str:
        return line

    def unseen_words(self) -> UnseenWords:
        return UnseenWords("sentences", " and got O", "; split long sentences")

    def _blank(self, given: Sentence) -> TaggedResult | None:
        is_text = isinstance(given, str)
        if given.strip() if is_text else given:
            return None
        return TaggedResult(given if is_text else "")

    def _answer(self, batch: list[Sentence], is_text: bool) -> list[TaggedResult]:
        return self._tag(batch, is_text)

    @abc.abstractmethod
    def _tag(self, batch: list[Sentence], is_text: bool) -> list[TaggedResult]:
        """Tags one batch, all of it text or all of it words, none of it blank."""
