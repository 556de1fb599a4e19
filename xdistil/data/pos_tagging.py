"""Parts of speech of words, from what pip installs: nothing is downloaded at run time."""

from __future__ import annotations

import importlib.metadata
import re
import warnings
from collections.abc import Sequence
from typing import Protocol

from xdistil.errors import InputError

_LANGUAGES = {"en": "en", "eng": "en", "de": "de", "deu": "de", "ger": "de"}

# HanTa's time grows with the square of a word's length: an address of 2,000 characters would take
# half a minute. The end of a German word decides what it is.
_LONGEST = 60


class PosTagger(Protocol):
    """What `Augmenter` asks of a tagger; any object with this method will do.

    One with an attribute `lexicon`, all words that it knows, can offer them to
    `Augmenter.add_words` (`--augment_words=teacher`).

    Example:

    ```python
    class MyTagger:
        def tag(self, words):
            return [token.pos_ for token in pipeline(Doc(pipeline.vocab, list(words)))]
    ```
    """

    def tag(self, words: Sequence[str]) -> list[str]:
        """Tags the words of a text.

        Args:
            words: the words, in order, without white space in them; none is empty.

        Returns:
            One tag a word. Words of one tag may stand for each other; its name does not matter.
        """
        ...


class EnglishTagger:
    """Tags English words as the Penn Treebank does: `NN`, `VBZ`, `JJ`.

    It is the tagger by lexicon and rules (Brill) that the package textblob carries: MIT licence,
    hundreds of thousands of words a second. Text in capitals or without any loses proper names.

    Raises:
        InputError: textblob is not installed.

    Example:

    ```python
    EnglishTagger().tag(["the", "dogs", "ran"])  # ["DT", "NNS", "VBD"]
    ```

    Reference: Brill, "A simple rule-based part of speech tagger", 1992.
    """

    def __init__(self) -> None:
        try:
            from textblob.en import parser
        except ImportError:
            raise _missing("English", "textblob", "augmentation") from None
        self._parser = parser

    @property
    def lexicon(self) -> list[str]:
        """The words that it knows by heart, sorted: those of three letters and more."""
        return sorted(word for word in self._parser.lexicon if len(word) > 2 and word.isalpha())

    def tag(self, words: Sequence[str]) -> list[str]:
        """Tags the words of a text; see `PosTagger.tag`."""
        return [tag for _, tag in self._parser.find_tags(list(words))]


class GermanTagger:
    """Tags German words: `NN`, `VV(FIN)`, `ADJ(A)`.

    It is the hidden Markov model that the package HanTa carries: LGPL licence, therefore in an
    extra of its own; thousands of words a second.

    Raises:
        InputError: HanTa is not installed.

    Example:

    ```python
    GermanTagger().tag(["das", "neue", "Konto"])  # ["ART", "ADJ(A)", "NN"]
    ```
    """

    def __init__(self) -> None:
        try:
            from HanTa.HanoverTagger import HanoverTagger
        except ImportError:
            raise _missing("German", "HanTa", "augmentation-de") from None
        self._tagger = HanoverTagger("morphmodel_ger.pgz")

    def tag(self, words: Sequence[str]) -> list[str]:
        """Tags the words of a text; see `PosTagger.tag`."""
        return self._tagger.tag_sent([word[-_LONGEST:] for word in words], taglevel=0)


class ShapeTagger:
    """Tells numbers, punctuation and words apart by their characters, in any language.

    It knows no parts of speech: with it, a word is replaced by any other word, by frequency.

    Example:

    ```python
    ShapeTagger().tag(["12,5", "!", "moja"])  # ["number", "punctuation", "word"]
    ```
    """

    def tag(self, words: Sequence[str]) -> list[str]:
        """Tags the words of a text; see `PosTagger.tag`."""
        return [_shape(word) for word in words]


_TAGGERS: dict[str, type[EnglishTagger] | type[GermanTagger]] = {
    "en": EnglishTagger,
    "de": GermanTagger,
}
_PACKAGES = {"en": "textblob", "de": "HanTa"}


def pos_tagger_for(language: str) -> PosTagger:
    """The tagger of a language: `EnglishTagger`, `GermanTagger`, for all others `ShapeTagger`.

    With `ShapeTagger` a warning says so, since its replacements are poorer.

    Args:
        language: a code such as `"en"`, `"deu"` or `"en-GB"`; `"und"` where nothing is known.

    Raises:
        InputError: the language has a tagger, but its package is not installed.

    Example:

    ```python
    pos_tagger_for("en").tag(["Turin", "is", "warm"])
    ```
    """
    known = _known_language(language)
    if known is not None:
        return _TAGGERS[known]()
    warnings.warn(
        f"there is no part-of-speech tagger for the language {language!r}: in its text a word is "
        "replaced by any other word, by frequency; give the text's language (--augment_language), "
        "or a tagger of your own",
        stacklevel=2,
    )
    return ShapeTagger()


def tagger_version(language: str) -> str | None:
    """The package behind the tagger of a language, with its version; `None` for `ShapeTagger`.

    Args:
        language: as for `pos_tagger_for`.
    """
    known = _known_language(language)
    if known is None:
        return None
    package = _PACKAGES[known]
    return f"{package} {importlib.metadata.version(package)}"


def _known_language(language: str) -> str | None:
    return _LANGUAGES.get(re.split("[-_]", language.lower())[0])


def _shape(word: str) -> str:
    if any(character.isalpha() for character in word):
        return "word"
    return "number" if any(character.isnumeric() for character in word) else "punctuation"


def _missing(language: str, package: str, extra: str) -> InputError:
    return InputError(
        f"{language} words need the package {package} to be told apart by part of speech: "
        f"pip install 'xdistil[{extra}]', or give a tagger of your own"
    )
