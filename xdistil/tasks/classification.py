"""`Classification` and `PairClassification`: one label for a text, or for two."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, tee
from typing import Any

import numpy as np

from xdistil.data.encoding import TruncationReport
from xdistil.data.examples import EncodedExample, LabeledText
from xdistil.data.pair_encoding import encode_pairs, encode_texts
from xdistil.errors import InputError
from xdistil.metrics.classification import classification_scores
from xdistil.tasks.task import Run, Task

_NO_LABEL = -1


class Classification(Task):
    """Text classification: a label for each text.

    Args:
        labels: Names of the classes.
        encoder: From text to word pieces.

    Reference:
        arXiv:1910.01769; arXiv:1903.12136.
    """

    name = "classification"
    label_positions = "labeled_texts"
    logits_positions = "texts"
    hub_tag = "text-classification"
    example = '["some text"]'
    truncation_words = {"noun": "texts", "consequence": "are not read"}  # noqa: RUF012
    #: Whether an example is two texts.
    pairs = False

    def unlabeled(self, inputs: Iterable[str]) -> Iterator[LabeledText]:
        return (LabeledText(_text(text)) for text in inputs)

    def encode(
        self, examples: Iterable[LabeledText], report: TruncationReport | None = None
    ) -> Iterator[EncodedExample]:
        """Encodes texts; the class stands at the first position of `labels`, [CLS].

        Args:
            examples: Texts with or without labels; read lazily.
            report: Where truncation is counted; default: the encoder's own count.

        Yields:
            Examples in the order of the texts.
        """
        examples, again = tee(examples)
        for text, example in zip(again, self._in_groups(examples, report), strict=True):
            if text.label is not None:
                example.labels = np.full(len(example), _NO_LABEL, np.int32)
                example.labels[0] = self.labels.index(text.label)
            yield example

    def _in_groups(
        self, texts: Iterable[LabeledText], report: TruncationReport | None
    ) -> Iterator[EncodedExample]:
        # Text as people wrote it comes first and augmented rows after it: two groups.
        for mask_word, group in groupby(texts, key=lambda text: text.mask_word):
            yield from self._encode(group, report, mask_word)

    def _encode(
        self,
        texts: Iterable[LabeledText],
        report: TruncationReport | None,
        mask_word: str | None,
    ) -> Iterator[EncodedExample]:
        return encode_texts(self.encoder, texts, report, mask_word)

    def predict(self, run: Run, encoded: Sequence[EncodedExample]) -> list[str]:
        """The most probable label of each text."""
        return [self.class_names[found.argmax()] for found in self.probabilities(run, encoded)]

    def probabilities(self, run: Run, encoded: Sequence[EncodedExample]) -> np.ndarray:
        """The probability of each class, float32 `(texts, classes)`."""
        logits = [output["logits"].astype(np.float32) for output in run(encoded)]
        rows = np.reshape(logits, (len(logits), self.num_classes))
        powers = np.exp(rows - rows.max(-1, keepdims=True, initial=-np.inf))
        return powers / powers.sum(-1, keepdims=True)

    def evaluate(
        self, run: Run, encoded: Sequence[EncodedExample], examples: Sequence[LabeledText]
    ) -> dict[str, Any]:
        """Scores on labeled texts: `accuracy`, `f1_macro`, `per_language`."""
        return classification_scores(
            [example.label for example in examples],
            self.predict(run, encoded),
            [example.language for example in examples],
            labels=self.labels,
        )

    def main_metric(self, scores: dict[str, Any]) -> float:
        """Accuracy."""
        return scores["accuracy"]

    def score_of_one_answer(self, examples: Sequence[LabeledText]) -> float:
        """The share of the most frequent label."""
        counts = Counter(example.label for example in examples)
        return max(counts.values()) / len(examples)


class PairClassification(Classification):
    """A label for two texts: paraphrase, entailment.

    Teacher and student get both texts as one example, `[CLS] first [SEP] second [SEP]`, with
    segment ids; a siamese student takes them apart again.
    """

    name = "pair_classification"
    example = '[("one text", "another text")]'
    truncation_words = {"noun": "pairs", "consequence": "are not read"}  # noqa: RUF012
    pairs = True

    def unlabeled(self, inputs: Iterable[tuple[str, str]]) -> Iterator[LabeledText]:
        for pair in inputs:
            if isinstance(pair, str) or len(pair) != 2:
                raise InputError(f"predict: {pair!r} is no pair: give tuples of two texts")
            first, second = (_text(text) for text in pair)
            yield LabeledText(first, text_pair=second)

    def _encode(
        self,
        texts: Iterable[LabeledText],
        report: TruncationReport | None,
        mask_word: str | None,
    ) -> Iterator[EncodedExample]:
        return encode_pairs(self.encoder, texts, report, mask_word)


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise InputError(f"predict: {given!r} is no text: give a list of strings")
    return given
