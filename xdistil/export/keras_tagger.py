"""The Keras runtime of taggers."""

from __future__ import annotations

import re

import numpy as np

from xdistil.data.examples import EncodedExample, TaggedSentence
from xdistil.export.entities import OUTSIDE, decode_entities
from xdistil.export.tagged_result import TaggedResult
from xdistil.export.tagger import Sentence, Tagger
from xdistil.tasks.tagging import Tagging
from xdistil.tasks.trained_model import TrainedModel

_WORD = re.compile(r"\S+")


class KerasTagger(Tagger):
    """Tags with a teacher or student in Keras.

    Args:
        trained: the tagger.
        batch_size: sentences that the model gets at once.
    """

    def __init__(self, trained: TrainedModel, batch_size: int = 128):
        super().__init__(batch_size)
        self._trained = trained
        self.labels = tuple(trained.task.labels)
        self._tags = tags_of_classes(trained.task)

    def _tag(self, batch: list[Sentence], is_text: bool) -> list[TaggedResult]:
        split = [_split_text(text) if is_text else _join_words(text) for text in batch]
        sentences = [TaggedSentence(words) for _, words, _ in split]
        examples = list(self._trained.task.encode(sentences))
        outputs = self._trained.inference.run(examples)
        return [
            self._result(*parts, example, output["logits"])
            for parts, example, output in zip(split, examples, outputs, strict=True)
        ]

    def _result(
        self,
        text: str,
        words: tuple[str, ...],
        offsets: list[tuple[int, int]],
        example: EncodedExample,
        logits: np.ndarray,
    ) -> TaggedResult:
        positions = example.word_positions
        at_words = _softmax(logits[np.maximum(positions, 0)].astype(np.float32))
        classes = at_words.argmax(-1)
        seen = positions >= 0
        tags = tuple(
            self._tags[k] if real else OUTSIDE for k, real in zip(classes, seen, strict=True)
        )
        scores = tuple(np.where(seen, at_words.max(-1), 0.0).tolist())
        return TaggedResult(
            text, words, tags, scores, tuple(decode_entities(tags, scores, offsets, text))
        )


def tags_of_classes(task: Tagging) -> list[str]:
    """The tag of each class of a head; `O` for classes that are no tags (the pieces scheme's)."""
    return [*task.labels, *[OUTSIDE] * (len(task.class_names) - len(task.labels))]


def _split_text(text: str) -> tuple[str, tuple[str, ...], list[tuple[int, int]]]:
    # `\S` of a str is what `str.split()` keeps.
    found = list(_WORD.finditer(text))
    return text, tuple(match.group() for match in found), [match.span() for match in found]


def _join_words(words: Sentence) -> tuple[str, tuple[str, ...], list[tuple[int, int]]]:
    offsets, begin = [], 0
    for word in words:
        offsets.append((begin, begin + len(word)))
        begin += len(word) + 1
    return " ".join(words), tuple(words), offsets


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
