"""New texts out of a few: words masked, replaced within their part of speech, and n-grams."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xdistil.data.examples import LabeledText
from xdistil.data.pos_tagging import PosTagger, pos_tagger_for
from xdistil.errors import InputError

# Stands for a masked word in new rows; elsewhere it is text.
MASK_WORD = "[MASK]"

_LONGEST_NGRAM = 5
_SINGLE_ITERATIONS, _PAIR_ITERATIONS = 20, 10
# The authors draw one of the three each time; in turn they come as often.
_CHANGED_SIDES = ((True, False), (False, True), (True, True))

# What stays where it is when the word that it is attached to is replaced. An apostrophe is not in
# it: it belongs to "'s" and "n't", which are words in tokenized text.
_ATTACHED = '.,;:!?…()[]{}"“”„«»¿¡،؛؟。，！？、；：「」（）।'


@dataclass(frozen=True)
class AugmentationSettings:
    """How new texts are made.

    Args:
        mask: probability that a word is masked.
        pos: probability that it is replaced by a word of the same part of speech.
        ngram: probability that only an n-gram of the text is kept.
        iterations: texts made from each text; of a pair in turn with a new first text, with a new
            second, and with both new. `None`: 20 for texts, 10 for pairs.
        seed: decides everything drawn.

    Raises:
        InputError: a number is out of its range.

    Reference: Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural
    Networks", 2019, section 3.3.
    """

    mask: float = 0.1
    pos: float = 0.1
    ngram: float = 0.25
    iterations: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("mask", "pos", "ngram"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"the probability {name} of the augmentation is {getattr(self, name)}: "
                    "expected 0 to 1"
                )
        if self.mask + self.pos > 1:
            raise InputError(
                f"the probabilities mask ({self.mask}) and pos ({self.pos}) of the augmentation "
                "make more than 1 together: give smaller ones"
            )
        if self.iterations is not None and self.iterations < 1:
            raise InputError(
                f"the iterations of the augmentation are {self.iterations}: expected at least 1"
            )


class Augmenter:
    """Makes new texts, or pairs of texts, for a teacher to label.

    For each word `X ~ U(0, 1)` decides: below `mask` it becomes `mask_word`; below `mask + pos` it
    is replaced by a word of its part of speech, drawn by frequency among those that `fit` counted
    in texts of the same language, and those that `add_words` added. Then, with probability
    `ngram`, only an n-gram is kept, n being drawn from 1 to 5 (a shorter text is kept whole).
    Punctuation at the edges of a word (`"warm,"`) is no part of it: the tagger does not see it, and
    it stays when the word is replaced.

    A row comes out the same whatever its place among the others, in every process. Rows stream
    through. What is kept in memory is the words that were counted, and a hash of 8 bytes for each
    text seen or made, to drop duplicates: with Python's set around it, about 90 bytes each.

    Args:
        settings: the probabilities, and how many rows are made.
        pos_tagger: tags every language; default: `pos_tagger_for` the language of each row.
        mask_word: stands for a masked word. Each new row names it in `LabeledText.mask_word`, so
            that it becomes the model's mask token there, and in no other row. Such a word in the
            text itself is left out of the new rows: no text can mask a word.

    Raises:
        InputError: when a text is tagged whose language has a tagger that is not installed.

    Example:

    ```python
    augmenter = Augmenter(AugmentationSettings(seed=1)).fit(train)
    for row in augmenter.augment(train):
        print(row.text)  # row.label is None
    ```
    """

    def __init__(
        self,
        settings: AugmentationSettings | None = None,
        pos_tagger: PosTagger | None = None,
        mask_word: str = MASK_WORD,
    ):
        if mask_word.split() != [mask_word]:
            raise InputError(f"the mask word is {mask_word!r}: expected one word")
        self.settings = settings or AugmentationSettings()
        self.mask_word = mask_word
        self._given_tagger = pos_tagger
        self._taggers: dict[str, PosTagger] = {}
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._drawers: dict[tuple[str, str], _Drawer] = {}
        self._originals: set[int] = set()

    def fit(self, texts: Iterable[LabeledText]) -> Augmenter:
        """Counts the words of each part of speech; called again, it counts on.

        Args:
            texts: the training texts, read once; none of them will come out of `augment`.
        """
        for row in texts:
            self._originals.add(_digest(row))
            for text in (row.text, row.text_pair or ""):
                for word in self._read(text, row.language):
                    self._counts.setdefault(word.group, Counter())[word.core] += 1
        return self._count_on()

    def add_words(self, words: Iterable[str], language: str = "und") -> Augmenter:
        """Counts words once more, so that those which no text holds replace others too.

        The paper draws from the training texts alone. From few texts a student then never meets
        most words that its teacher knows.

        Args:
            words: words of the language; each is tagged alone.
            language: the texts' language in which they replace words.
        """
        tagger = self._tagger(language)
        for word in words:
            (tag,) = tagger.tag([word])
            self._counts.setdefault((language, tag), Counter())[word] += 1
        return self._count_on()

    def lexicon(self, language: str) -> Sequence[str] | None:
        """The words that the tagger of a language knows, sorted; `None` for one without a list."""
        return getattr(self._tagger(language), "lexicon", None)

    def _count_on(self) -> Augmenter:
        self._drawers = {group: _Drawer(counts) for group, counts in self._counts.items()}
        return self

    def augment(self, rows: Iterable[LabeledText]) -> Iterator[LabeledText]:
        """Makes new rows.

        Args:
            rows: the originals, read lazily.

        Yields:
            New rows alone, without a label, in the order of the rows they come from. No row comes
            twice, and none is a text that `fit`, or `augment` before it, has read. A row without
            words gives nothing.

        Raises:
            InputError: at once if words are to be replaced, and none were counted.
        """
        if self.settings.pos and not self._drawers:
            raise InputError(
                "the augmentation has no words to draw from: call fit with the training texts, or "
                "set pos to 0"
            )
        return self._augment(rows)

    def _augment(self, rows: Iterable[LabeledText]) -> Iterator[LabeledText]:
        seen = set(self._originals)
        for row in rows:
            seen.add(_digest(row))
            for new in self._variants(row):
                digest = _digest(new)
                if digest not in seen:
                    seen.add(digest)
                    yield new

    def _variants(self, row: LabeledText) -> Iterator[LabeledText]:
        """All rows made of one, duplicates too."""
        texts = [row.text] if row.text_pair is None else [row.text, row.text_pair]
        words = [self._read(text, row.language) for text in texts]
        if not all(words):
            return
        draw = random.Random("\t".join((str(self.settings.seed), row.language, *texts)))
        if row.text_pair is None:
            for _ in range(self.settings.iterations or _SINGLE_ITERATIONS):
                yield self._row(row, self._vary(words[0], draw))
            return
        iterations = self.settings.iterations or _PAIR_ITERATIONS
        for changed in itertools.islice(itertools.cycle(_CHANGED_SIDES), iterations):
            first, second = (
                self._vary(words[i], draw) if changed[i] else _joined(words[i]) for i in (0, 1)
            )
            yield self._row(row, first, second)

    def _row(self, original: LabeledText, text: str, text_pair: str | None = None) -> LabeledText:
        language, mask_word = original.language, self.mask_word
        return LabeledText(text, text_pair=text_pair, language=language, mask_word=mask_word)

    def _vary(self, words: Sequence[_Word], draw: random.Random) -> str:
        settings = self.settings
        made = []
        for word in words:
            chance = draw.random()
            if chance < settings.mask:
                made.append(self.mask_word)
            elif chance < settings.mask + settings.pos and word.group in self._drawers:
                made.append(self._replaced(word, draw))
            else:
                made.append(word.whole)
        if draw.random() < settings.ngram:
            size = min(draw.randint(1, _LONGEST_NGRAM), len(made))
            begin = draw.randint(0, len(made) - size)
            made = made[begin : begin + size]
        return " ".join(made)

    def _replaced(self, word: _Word, draw: random.Random) -> str:
        core = self._drawers[word.group].draw(draw)
        new = word._replace(core=core).whole
        # "MASK" drawn into "[card]" would look masked.
        return word.whole if new == self.mask_word else new

    def _read(self, text: str, language: str) -> list[_Word]:
        parts = [_take_apart(word) for word in text.split() if word != self.mask_word]
        if not parts:
            return []
        tags = self._tagger(language).tag([core for _, core, _ in parts])
        return [
            _Word(before, core, after, (language, tag))
            for (before, core, after), tag in zip(parts, tags, strict=True)
        ]

    def _tagger(self, language: str) -> PosTagger:
        if self._given_tagger is not None:
            return self._given_tagger
        if language not in self._taggers:
            self._taggers[language] = pos_tagger_for(language)
        return self._taggers[language]


class _Word(NamedTuple):
    """A word, the punctuation around it, and its language and part of speech."""

    before: str
    core: str
    after: str
    group: tuple[str, str]

    @property
    def whole(self) -> str:
        return f"{self.before}{self.core}{self.after}"


class _Drawer:
    """Draws words by their frequency; the order in which they were counted does not matter."""

    def __init__(self, counts: Counter[str]):
        self._words = sorted(counts)
        self._sums = list(itertools.accumulate(counts[word] for word in self._words))

    def draw(self, draw: random.Random) -> str:
        return draw.choices(self._words, cum_weights=self._sums)[0]


def _take_apart(word: str) -> tuple[str, str, str]:
    core = word.strip(_ATTACHED)
    if not core:
        return "", word, ""
    before, _, after = word.partition(core)
    return before, core, after


def _joined(words: Sequence[_Word]) -> str:
    return " ".join(word.whole for word in words)


def _digest(row: LabeledText) -> int:
    """8 bytes that stand for a text or pair, however its words are spaced."""
    texts = (" ".join(text.split()) for text in (row.text, row.text_pair) if text is not None)
    return int.from_bytes(hashlib.blake2b("\t".join(texts).encode(), digest_size=8).digest())
