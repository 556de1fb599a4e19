"""What a predictor says about one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass

from xdistil.export.entities import Entity

#: The formats of `TaggedResult.format`.
FORMATS = ("tsv", "conll", "jsonl")


@dataclass(frozen=True, slots=True)
class TaggedResult:
    """One sentence with its tags and entities.

    Args:
        text: the sentence as it came; of words, the words with one space between.
        words: its words.
        tags: one a word. A word that the model never saw has `O`: it was truncated, or it holds
            only invisible characters.
        scores: the probability of each tag; 0 for a word that the model never saw.
        entities: in the order of the text.
    """

    text: str
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    entities: tuple[Entity, ...] = ()

    @property
    def unseen_words(self) -> int:
        """Words that the model never saw. No word that it saw has a score of 0."""
        return sum(score == 0 for score in self.scores)

    def format(self, name: str) -> str:
        """The sentence in one of the formats, line breaks at the end included.

        - `tsv`: `w1 w2<TAB>t1 t2`, the format of the training data. A blank line for a blank line.
        - `conll`: `word tag` a line, and a blank line after the sentence.
        - `jsonl`: an object a line with `text`, `words`, `tags`, `scores` and `entities` (`label`,
          `start`, `end`, `text`, `score`); with empty lists for a blank line.

        Args:
            name: one of `FORMATS`.
        """
        if name == "tsv":
            return f"{' '.join(self.words)}\t{' '.join(self.tags)}\n" if self.words else "\n"
        if name == "conll":
            pairs = zip(self.words, self.tags, strict=True)
            return "".join(f"{word} {tag}\n" for word, tag in pairs) + "\n"
        if name == "jsonl":
            return json.dumps(self._to_json(), ensure_ascii=False) + "\n"
        raise ValueError(f"`name` must be one of {FORMATS}, received {name!r}.")

    def _to_json(self) -> dict:
        return {
            "text": self.text,
            "words": self.words,
            "tags": self.tags,
            "scores": [round(score, 6) for score in self.scores],
            "entities": [
                {
                    "label": entity.label,
                    "start": entity.start,
                    "end": entity.end,
                    "text": entity.text,
                    "score": round(entity.score, 6),
                }
                for entity in self.entities
            ],
        }
