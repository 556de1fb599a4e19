"""`Task`: all that differs between tagging, classification and pairs."""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xdistil.data.encoding import TextEncoder, TruncationReport
from xdistil.data.examples import EncodedExample
from xdistil.data.labels import Labels

#: A `BatchedInference` over a teacher or student.
Run = Callable[[Iterable[EncodedExample]], Iterator[dict[str, np.ndarray]]]


class Task(abc.ABC):
    """What a teacher and its student are to do: examples in, model outputs turned into answers.

    Args:
        labels: Names of the answers, in the order of the classes.
        encoder: From text to word pieces.
    """

    #: Name in config.json and report.json.
    name: str
    #: Where gold labels and the logits stand, see `DistillationLoss`.
    label_positions: str
    logits_positions: str
    #: For the model card: the hub's tag, and what `TrainedModel.predict` may be given.
    hub_tag: str
    example: str
    #: How a `TruncationReport` speaks of it: `noun`, and `consequence` of what was cut off.
    truncation_words: Mapping[str, str] = {}

    def __init__(self, labels: Labels, encoder: TextEncoder):
        self.labels = labels
        self.encoder = encoder

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class of a head."""
        return tuple(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @abc.abstractmethod
    def unlabeled(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """Turns what a user has (words, a text, two texts) into examples without labels."""

    @abc.abstractmethod
    def encode(
        self, examples: Iterable[Any], report: TruncationReport | None = None
    ) -> Iterator[EncodedExample]:
        """Encodes examples in their order; those with a label get it.

        Args:
            examples: Read lazily.
            report: Where truncation is counted; default: the encoder's own count.
        """

    @abc.abstractmethod
    def predict(self, run: Run, encoded: Sequence[EncodedExample]) -> list[Any]:
        """The answer to each encoded example, in order."""

    @abc.abstractmethod
    def evaluate(
        self, run: Run, encoded: Sequence[EncodedExample], examples: Sequence[Any]
    ) -> dict[str, Any]:
        """Scores on labeled examples, the `test` entry of report.json."""

    @abc.abstractmethod
    def main_metric(self, scores: dict[str, Any]) -> float:
        """The number that dev selects by and the report compares."""

    def score_of_one_answer(self, examples: Sequence[Any]) -> float:
        """The most that `main_metric` reaches by one and the same answer for all examples."""
        return 0.0

    def warning_of(self, scores: dict[str, Any], examples: Sequence[Any]) -> str | None:
        """A line for people where a model's scores on labeled examples say that it is useless."""
        reached, least = self.main_metric(scores), self.score_of_one_answer(examples)
        if reached > least:
            return None
        beside = f", and one answer for all would score {least:.2%}" if least else ""
        return (
            f"scores {reached:.2%} on test{beside}: it has learned nothing; give more epochs or "
            "labels, or another learning rate"
        )

    def with_encoder(self, encoder: TextEncoder) -> "Task":
        """The same task over other pieces, such as a student's own words."""
        return type(self)(self.labels, encoder)

    def to_config(self) -> dict[str, Any]:
        """What `config.json` keeps beside labels and tokenizer; `name` tells the class."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], labels: Labels, encoder: TextEncoder) -> "Task":
        """The task that `to_config` described."""
        return cls(labels, encoder)
