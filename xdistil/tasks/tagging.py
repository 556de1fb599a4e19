"""`Tagging`: what is particular to sequence tagging, named entities above all."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from xdistil.data.encoding import TextEncoder, TruncationReport
from xdistil.data.examples import EncodedExample, TaggedSentence
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.metrics.spans import piece_span_scores, span_scores
from xdistil.tasks.task import Run, Task

NO_LABEL = -1
OUTSIDE = "O"
#: Classes that the pieces scheme adds: continuation pieces and the special tokens.
PIECE_CLASSES = ("X", "[CLS]", "[SEP]", "[PAD]")
SCHEMES = ("words", "pieces")


class Tagging(Task):
    """Sequence tagging: a label for each word of a sentence.

    Args:
        labels: The tags, such as `O B-LOC I-LOC`.
        encoder: From words to word pieces.
        scheme: `"words"` (default): the tag sits on a word's first piece, other positions carry
            no label, and F1 is scored on words, truncated words counted as O. `"pieces"`: the
            authors' scheme, for comparison: X on continuation pieces and [CLS], [SEP], [PAD] as
            classes of their own, F1 on pieces.

    Raises:
        ValueError: If the scheme is not one of the two.
        InputError: If `O` is not among the labels.

    Reference:
        XtremeDistil, arXiv:2004.05686, section 4.
    """

    name = "tagging"
    label_positions = "labeled"
    hub_tag = "token-classification"
    example = '[["some", "words"]]'

    def __init__(self, labels: Labels, encoder: TextEncoder, scheme: str = "words"):
        if scheme not in SCHEMES:
            raise ValueError(f"`scheme` must be one of {SCHEMES}, received {scheme!r}.")
        if OUTSIDE not in labels:
            raise InputError(
                f"The labels {', '.join(labels)} hold no O, the tag of words outside every entity; "
                "add the line O to the labels file."
            )
        super().__init__(labels, encoder)
        self.scheme = scheme

    @property
    def class_names(self) -> tuple[str, ...]:
        return (*self.labels, *(PIECE_CLASSES if self.scheme == "pieces" else ()))

    @property
    def logits_positions(self) -> str:
        """Where logits are matched: `"words"` or `"pieces"`, as labels are."""
        return self.scheme

    def unlabeled(self, inputs: Iterable[Sequence[str]]) -> Iterator[TaggedSentence]:
        return (TaggedSentence(tuple(words)) for words in inputs)

    def encode(
        self, sentences: Iterable[TaggedSentence], report: TruncationReport | None = None
    ) -> Iterator[EncodedExample]:
        """Encodes sentences; those with tags get labels.

        Args:
            sentences: Words with or without tags; read lazily.
            report: Where truncation is counted; default: the encoder's own count.

        Yields:
            Examples in the order of the sentences.
        """
        pending: deque[TaggedSentence] = deque()

        def remember() -> Iterator[TaggedSentence]:
            for sentence in sentences:
                pending.append(sentence)
                yield sentence

        for taken, example in enumerate(self.encoder.encode(remember(), report=report)):
            self._add_labels(example, pending.popleft(), taken)
            yield example

    def _add_labels(self, example: EncodedExample, sentence: TaggedSentence, number: int) -> None:
        if self.scheme == "pieces":
            example.word_starts = np.ones_like(example.word_starts)
        if sentence.tags is None:
            return
        if len(sentence.tags) != len(sentence.words):
            raise InputError(
                f"Sentence {number + 1} has {len(sentence.words)} words and {len(sentence.tags)} "
                "tags; each word needs one tag."
            )
        labels = np.full(len(example.token_ids), NO_LABEL, np.int32)
        if self.scheme == "pieces":
            names = self.class_names
            labels[:] = names.index("X")
            labels[0], labels[-1] = names.index("[CLS]"), names.index("[SEP]")
        for position, tag in zip(example.word_positions, sentence.tags, strict=True):
            if position >= 0:
                labels[position] = self.labels.index(tag)
        example.labels = labels

    def decode(self, example: EncodedExample, classes: np.ndarray) -> list[str]:
        """Tags of the words from the class ids of the pieces.

        Args:
            example: The encoded sentence.
            classes: int array `(length,)`, the best class at each position.

        Returns:
            A tag per word of the sentence. Words that were truncated or have no piece, and classes
            that are no tags, give `O`.
        """
        tags = [OUTSIDE] * len(example.word_positions)
        for word, position in enumerate(example.word_positions):
            if position >= 0 and classes[position] < len(self.labels):
                tags[word] = self.class_names[classes[position]]
        return tags

    def predict(
        self,
        run: Run,
        examples: Sequence[EncodedExample],
    ) -> list[list[str]]:
        """Tags of encoded sentences.

        Args:
            run: A `BatchedInference` over a teacher or student.
            examples: Encoded sentences.

        Returns:
            A list of tags for each sentence, in order.
        """
        outputs = run(examples)
        return [
            self.decode(example, output["logits"].argmax(-1))
            for example, output in zip(examples, outputs, strict=True)
        ]

    def evaluate(
        self,
        run: Run,
        examples: Sequence[EncodedExample],
        sentences: Sequence[TaggedSentence],
    ) -> dict[str, Any]:
        """Span scores on tagged sentences, the `test` entry of report.json.

        Args:
            run: A `BatchedInference` over a teacher or student.
            examples: The encoded sentences.
            sentences: The same sentences with their gold tags.

        Returns:
            `precision`, `recall`, `f1` (means over languages), `f1_variance`, `per_language`, …
        """
        languages = [sentence.language for sentence in sentences]
        if self.scheme == "pieces":
            return self._evaluate_pieces(run, examples, languages)
        gold = [list(sentence.tags or ()) for sentence in sentences]
        return span_scores(gold, self.predict(run, examples), languages)

    def _evaluate_pieces(
        self, run: Run, examples: Sequence[EncodedExample], languages: Sequence[str]
    ) -> dict[str, Any]:
        gold, predicted = [], []
        for example, output in zip(examples, run(examples), strict=True):
            gold.append([self._piece_tag(c) for c in example.labels])
            predicted.append([self._piece_tag(c) for c in output["logits"].argmax(-1)])
        return piece_span_scores(gold, predicted, languages)

    def _piece_tag(self, class_id: int) -> str:
        return self.class_names[class_id] if class_id < len(self.labels) else "X"

    def main_metric(self, scores: dict[str, Any]) -> float:
        """The number that dev selects by and the report compares: macro F1."""
        return scores["f1"]

    def with_encoder(self, encoder: TextEncoder) -> "Tagging":
        return Tagging(self.labels, encoder, self.scheme)

    def to_config(self) -> dict[str, Any]:
        return {"name": self.name, "scheme": self.scheme}

    @classmethod
    def from_config(cls, config: dict[str, Any], labels: Labels, encoder: TextEncoder) -> "Tagging":
        return cls(labels, encoder, scheme=config["scheme"])
