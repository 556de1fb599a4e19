"""What a reader saw, for people and for the labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from xdistil.data.examples import LabeledText, TaggedSentence


@dataclass(slots=True)
class ReadReport:
    """Counts of what was read, to be given to several readers one after the other.

    Args:
        sentences: sentences read.
        words: words read.
        orphan_inside: `I-` tags that continue no tag of their type; they were kept.
        first_orphan: where the first of them is: `"file:line"` and what it is.
        per_language: sentences by language.
        tag_counts: words by tag, from which `Labels.from_tags` makes the label set.
    """

    sentences: int = 0
    words: int = 0
    orphan_inside: int = 0
    first_orphan: str | None = None
    per_language: Counter[str] = field(default_factory=Counter)
    tag_counts: Counter[str] = field(default_factory=Counter)

    def add(self, sentence: TaggedSentence) -> None:
        """Counts a sentence."""
        self.sentences += 1
        self.words += len(sentence.words)
        self.per_language[sentence.language] += 1
        self.tag_counts.update(sentence.tags or ())

    def add_orphan(self, place: str) -> None:
        """Counts an `I-` tag that continues nothing; `place` is file, line and tag."""
        self.orphan_inside += 1
        self.first_orphan = self.first_orphan or place

    def warnings(self) -> list[str]:
        """Lines for people about what looks wrong in the data, none if nothing does."""
        if not self.orphan_inside:
            return []
        noun = "tag continues" if self.orphan_inside == 1 else "tags continue"
        return [
            f"{self.orphan_inside} I- {noun} no entity of the same type (the first: "
            f"{self.first_orphan}); kept as they are, an entity begins there. BIO data has B- at "
            "the first word of each entity; in IOB1 data many entities begin with I-"
        ]


@dataclass(slots=True)
class TextReport:
    """Counts of the texts that were read, to be given to several readers one after the other.

    Args:
        texts: texts, or pairs of texts, read.
        words: words of all of them.
        per_language: texts by language.
        label_counts: texts by label, from which `Labels.from_names` makes the label set.
        first_rows: `"file:line"` and label of the first row of each table, where it holds no column
            names that are known.
    """

    texts: int = 0
    words: int = 0
    per_language: Counter[str] = field(default_factory=Counter)
    label_counts: Counter[str] = field(default_factory=Counter)
    first_rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, text: LabeledText) -> None:
        """Counts a text or a pair."""
        self.texts += 1
        self.words += len(text.text.split()) + len((text.text_pair or "").split())
        self.per_language[text.language] += 1
        if text.label is not None:
            self.label_counts[text.label] += 1
