"""`Classifier`: what classifiers of every runtime share."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xdistil.data.formats import shortened
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.export.classified_result import FORMATS, ClassifiedResult
from xdistil.export.predictor import Predictor
from xdistil.export.unseen_words import UnseenWords

Texts = str | tuple[str, str]


class Classes(NamedTuple):
    """What a runtime says of a batch.

    Args:
        probabilities: float32 `(batch, classes)`.
        unseen_words: int `(batch,)`, words that the model never saw.
    """

    probabilities: np.ndarray
    unseen_words: np.ndarray


class Classifier(Predictor[ClassifiedResult]):
    """Classifies texts, or pairs of texts, each pair a tuple of two.

    A subclass says how a batch is classified.

    Args:
        labels: names of the classes.
        pairs: whether it takes pairs.
        batch_size: texts that the model gets at once; it changes speed only.
    """

    formats = FORMATS

    def __init__(self, labels: Labels, pairs: bool, batch_size: int = 128):
        super().__init__(batch_size)
        self.labels = labels
        self.pairs = pairs

    def parse_line(self, line: str, place: str) -> Texts:
        columns = line.split("\t")
        if not self.pairs:
            if len(columns) > 1 and line.strip():
                raise InputError(
                    f"{place}: {len(columns)} columns in the line {shortened(line)}: this model "
                    "takes a text alone; cut other columns off, and write tabs within it as spaces"
                )
            return line
        if not line.strip():
            return "", ""
        if len(columns) != 2:
            noun = "column" if len(columns) == 1 else "columns"
            raise InputError(
                f"{place}: {len(columns)} {noun} in the line {shortened(line)}: this model takes "
                "two texts with a tab between"
            )
        return columns[0], columns[1]

    def unseen_words(self) -> UnseenWords:
        return UnseenWords("pairs" if self.pairs else "texts")

    def _blank(self, given: Texts) -> ClassifiedResult | None:
        texts = self._checked(given)
        return None if any(map(str.strip, texts)) else ClassifiedResult(*texts)

    def _checked(self, given: Texts) -> tuple[str, ...]:
        texts = (given,) if isinstance(given, str) else tuple(given)
        if isinstance(given, str) == self.pairs or len(texts) != 1 + self.pairs:
            expected = "pairs of texts, each a tuple of two" if self.pairs else "texts, each a str"
            raise InputError(f"received {shortened(given)}: this model takes {expected}")
        return texts

    def _answer(self, batch: list[Texts], is_text: bool) -> list[ClassifiedResult]:
        found = self._classify(batch)
        rows = zip(batch, found.probabilities.tolist(), found.unseen_words.tolist(), strict=True)
        return [self._result(self._checked(given), *row) for given, *row in rows]

    def _result(
        self, texts: tuple[str, ...], probabilities: list[float], unseen_words: int
    ) -> ClassifiedResult:
        first, second = (*texts, None)[:2]
        score = max(probabilities)
        label = self.labels[probabilities.index(score)]
        by_label = dict(zip(self.labels, probabilities, strict=True))
        return ClassifiedResult(first, second, label, score, by_label, unseen_words)

    @abc.abstractmethod
    def _classify(self, batch: Sequence[Texts]) -> Classes:
        """Classifies one batch, at least one text of each element not blank."""
