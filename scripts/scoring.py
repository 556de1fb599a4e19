"""What evaluate.py reads, asks and prints for each kind of model."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xdistil.data.corpus_kinds import CorpusKind, LabeledTexts, TaggedSentences
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.labels import Labels
from xdistil.data.read_report import ReadReport, TextReport
from xdistil.errors import InputError
from xdistil.export.classified_result import ClassifiedResult
from xdistil.export.classifier import Classifier, Texts
from xdistil.export.predictor import Predictor
from xdistil.export.tagged_result import TaggedResult
from xdistil.export.tagger import Tagger
from xdistil.report.text_table import text_table


class Scoring(abc.ABC):
    """How one kind of model is scored.

    Attributes:
        kind: how labeled files for it are read.
    """

    kind: CorpusKind

    @abc.abstractmethod
    def labels(self, path: str | None) -> Labels | None:
        """The labels that the files may hold.

        Args:
            path: the labels file, if there is one.
        """

    @abc.abstractmethod
    def warnings(self, report: Any) -> list[str]:
        """Lines for people about what looks wrong in the files.

        Args:
            report: what `kind` counted while it read them.
        """

    @abc.abstractmethod
    def input_of(self, example: Any) -> Any:
        """What the model is given of a labeled example."""

    @abc.abstractmethod
    def scores(self, examples: Sequence[Any], results: Iterable[Any]) -> dict[str, Any]:
        """The scores of the model's results, in the order of the examples."""

    @abc.abstractmethod
    def table(self, scores: Mapping[str, Any]) -> str:
        """The scores in percent, a line a language."""


class TaggerScoring(Scoring):
    """Precision, recall and F1 of entities."""

    kind = TaggedSentences()

    def __init__(self, tagger: Tagger):
        self._known = tagger.labels

    def labels(self, path: str | None) -> Labels | None:
        return Labels.from_file(path) if path else None

    def warnings(self, report: ReadReport) -> list[str]:
        return [*report.warnings(), *self._foreign(report)]

    def _foreign(self, report: ReadReport) -> list[str]:
        """A line if the files hold types of entities that the model has never heard of."""
        if self._known is None:
            return []
        types = {tag[2:] for tag in report.tag_counts if tag != "O"}
        foreign = sorted(types - {tag[2:] for tag in self._known})
        if not foreign:
            return []
        known = ", ".join(sorted({tag[2:] for tag in self._known if tag != "O"}))
        return [
            f"{', '.join(foreign)}: not among the types that the model knows ({known}); entities "
            "of such types count as missed"
        ]

    def input_of(self, example: TaggedSentence) -> tuple[str, ...]:
        return example.words

    def scores(
        self, examples: Sequence[TaggedSentence], results: Iterable[TaggedResult]
    ) -> dict[str, Any]:
        predicted = [result.tags for result in results]
        # seqeval, behind it, is slow to import.
        from xdistil.metrics.spans import span_scores

        gold = [example.tags for example in examples]
        return span_scores(gold, predicted, [example.language for example in examples])

    def table(self, scores: Mapping[str, Any]) -> str:
        """A line a language, their mean, and all spans pooled."""
        names = ("precision", "recall", "f1")
        micro = scores["micro"]
        rows = [["language", "precision", "recall", "F1", "entities"]]
        for language, row in scores["per_language"].items():
            rows.append([language, *_percent(row, names), f"{row['support']:,}"])
        variance = f"variance {1e4 * scores['f1_variance']:.2f}"
        rows.append(["mean", *_percent(scores, names), variance])
        rows.append(["micro", *_percent(micro, names), f"{micro['support']:,}"])
        return text_table(rows, left=1)


class ClassifierScoring(Scoring):
    """Accuracy and macro F1 of texts or pairs."""

    def __init__(self, classifier: Classifier):
        self.kind = LabeledTexts(classifier.pairs)
        self._labels = classifier.labels

    def labels(self, path: str | None) -> Labels:
        """Those of the file, which must be the model's in any order; else the model's.

        What a number stands for only a file tells: the model's own order may be that of the
        alphabet.
        """
        if path is None:
            return Labels(self._labels, numbered=False)
        labels = Labels.from_file(path)
        unknown = next((name for name in labels if name not in self._labels), None)
        if unknown is not None:
            raise InputError(
                f"{path}: the label {unknown!r} is not one of the model's, "
                f"{', '.join(self._labels)}: give the labels file of its training"
            )
        return labels

    def warnings(self, report: TextReport) -> list[str]:
        return []

    def input_of(self, example: LabeledText) -> Texts:
        if example.text_pair is None:
            return example.text
        return example.text, example.text_pair

    def scores(
        self, examples: Sequence[LabeledText], results: Iterable[ClassifiedResult]
    ) -> dict[str, Any]:
        predicted = [result.label for result in results]
        # scikit-learn, behind it, is slow to import.
        from xdistil.metrics.classification import classification_scores

        gold = [example.label for example in examples]
        languages = [example.language for example in examples]
        return classification_scores(gold, predicted, languages, labels=self._labels)

    def table(self, scores: Mapping[str, Any]) -> str:
        """A line a language, and all texts together."""
        names = ("accuracy", "f1_macro")
        languages = scores["per_language"]
        rows = [["language", "accuracy", "macro F1", "texts"]]
        for language, row in languages.items():
            rows.append([language, *_percent(row, names), f"{row['support']:,}"])
        texts = sum(row["support"] for row in languages.values())
        rows.append(["all", *_percent(scores, names), f"{texts:,}"])
        return text_table(rows, left=1)


_SCORINGS = {Tagger: TaggerScoring, Classifier: ClassifierScoring}


def scoring_of(predictor: Predictor[Any]) -> Scoring:
    """How a model is scored."""
    for kind, scoring in _SCORINGS.items():
        if isinstance(predictor, kind):
            return scoring(predictor)
    raise TypeError(f"`predictor` is a {type(predictor).__name__}, which cannot be scored.")


def _percent(row: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{100 * row[name]:.2f}" for name in names]
