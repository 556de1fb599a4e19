"""Counts, as results pass, what the model never saw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class CountedResult(Protocol):
    """A result that knows how many words of its input the model never saw."""

    @property
    def unseen_words(self) -> int: ...


Result = TypeVar("Result", bound=CountedResult)


class UnseenWords:
    """Counts, as results pass, what the model never saw.

    Args:
        inputs: what the inputs are called.
        outcome: what became of such words, and
        advice: what to do about it; each with the sign before it.

    Attributes:
        words: words that the model never saw.
        sentences: inputs with such a word.
    """

    def __init__(self, inputs: str = "sentences", outcome: str = "", advice: str = ""):
        self.words = 0
        self.sentences = 0
        self._inputs = inputs
        self._outcome = outcome
        self._advice = advice

    def count(self, results: Iterable[Result]) -> Iterator[Result]:
        """Hands the results on, one by one."""
        for result in results:
            unseen = result.unseen_words
            self.words += unseen
            self.sentences += bool(unseen)
            yield result

    def warnings(self) -> list[str]:
        """One line for people if there was any such word, else nothing."""
        if not self.words:
            return []
        return [
            f"{self.words} words in {self.sentences} {self._inputs} were not seen by the model"
            f"{self._outcome}: they lie beyond the longest input it takes, or hold only invisible "
            f"characters{self._advice}"
        ]
