"""What a predictor says about one text, or about a pair of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

#: The formats of `ClassifiedResult.format`.
FORMATS = ("tsv", "jsonl")


@dataclass(frozen=True, slots=True)
class ClassifiedResult:
    """One text, or pair of texts, with its label.

    Args:
        text: the text as it came, or the first of two.
        text_pair: the second text; `None` where there is one text alone.
        label: the most probable label; `None` for a blank text, which the model is not asked.
        score: the probability of the label; 0 for a blank text.
        probabilities: the probability of every label, by name, in the order of the labels; empty
            for a blank text.
        unseen_words: words that the model never saw: they were truncated, or hold only invisible
            characters.
    """

    text: str
    text_pair: str | None = None
    label: str | None = None
    score: float = 0.0
    probabilities: Mapping[str, float] = field(default_factory=dict)
    unseen_words: int = 0

    def format(self, name: str) -> str:
        """The text and its label in one of the formats, the line break at the end included.

        - `tsv`: `text<TAB>label`, of a pair `text<TAB>text<TAB>label`: the format of the training
          data. White space of any kind becomes one space. A blank line for a blank text.
        - `jsonl`: an object a line with `text`, `text_pair` (of a pair), `label`, `score` and
          `probabilities` by label; `label` is null for a blank text.

        Args:
            name: one of `FORMATS`.
        """
        if name == "tsv":
            if self.label is None:
                return "\n"
            return (
                "\t".join([*(" ".join(text.split()) for text in self._texts()), self.label]) + "\n"
            )
        if name == "jsonl":
            return json.dumps(self._to_json(), ensure_ascii=False) + "\n"
        raise ValueError(f"`name` must be one of {FORMATS}, received {name!r}.")

    def _texts(self) -> list[str]:
        return [self.text] if self.text_pair is None else [self.text, self.text_pair]

    def _to_json(self) -> dict:
        return {
            **dict(zip(("text", "text_pair"), self._texts(), strict=False)),
            "label": self.label,
            "score": round(self.score, 6),
            "probabilities": {
                label: round(probability, 6) for label, probability in self.probabilities.items()
            },
        }
