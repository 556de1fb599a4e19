"""The text of a run with rows that augmentation makes of the labeled ones."""

import dataclasses
import logging
import warnings
from collections.abc import Iterable, Iterator

from xdistil.data.augmentation import AugmentationSettings, Augmenter
from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import LabeledText
from xdistil.data.pos_tagging import pos_tagger_for, tagger_version
from xdistil.distillation.run_settings import DistillationData
from xdistil.distillation.targets import fingerprint
from xdistil.errors import InputError

logger = logging.getLogger("xdistil")


def with_augmented(
    data: DistillationData,
    settings: AugmentationSettings,
    *,
    language: str | None = None,
    only: bool = False,
    encoder: TextEncoder | None = None,
) -> DistillationData:
    """The text of a run with new rows, made of the labeled ones, behind its transfer text.

    The rows are made anew each time that the transfer text is read, and are the same each time.

    Args:
        data: The text.
        settings: How rows are made.
        language: Whose tagger reads all texts; `None`: each text's own.
        only: Leaves the other transfer text out.
        encoder: The teacher's, whose words replace others too: those of the tagger's lexicon that
            are one piece to it. `None`: only words of the labeled texts do, as in the paper.

    Raises:
        InputError: A language has a tagger, and its package is not installed; or there is an
            encoder, and no tagger has a lexicon, or none of its words is one piece.

    Reference:
        arXiv:1903.12136.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tagger = pos_tagger_for(language) if language else None
        augmenter = Augmenter(settings, tagger).fit(data.train)
        words = _add_words_of(encoder, augmenter, data, language) if encoder else []
        count = sum(1 for _ in augmenter.augment(data.train))
    # Not what the taggers' own code is warned of.
    ours = (str(one.message) for one in told if one.category is UserWarning)
    for message in dict.fromkeys(ours):
        logger.warning("augmentation: %s", message)
    logger.info("augmentation: %d new texts", count)

    def transfer() -> Iterator[LabeledText]:
        if not only:
            yield from data.transfer()
        yield from augmenter.augment(data.train)

    languages = [language] if language else sorted({text.language for text in data.train})
    taggers = {name: tagger_version(name) for name in languages}
    parts = (dataclasses.asdict(settings), language, only, taggers, *words)
    return dataclasses.replace(
        data,
        transfer=transfer,
        transfer_size=count + (0 if only else data.transfer_size),
        fingerprint=fingerprint(data.fingerprint, *parts),
        # The teacher never learns from these rows: another run's teacher will do.
        labeled_fingerprint=data.fingerprint,
    )


def _add_words_of(
    encoder: TextEncoder, augmenter: Augmenter, data: DistillationData, language: str | None
) -> list[str]:
    """Adds the words that are one piece to an encoder; returns them."""
    names = sorted({text.language for text in data.train})
    lexicons = {name: augmenter.lexicon(name) for name in names}
    told = language or ", ".join(names)
    if not any(lexicons.values()):
        raise InputError(
            "words of the teacher cannot replace others: no part-of-speech tagger of the languages "
            f"of the text ({told}) has a lexicon; the one for English has (--augment_language=en)"
        )
    added: set[str] = set()
    for name, lexicon in lexicons.items():
        words = whole_words(encoder, lexicon or ())
        augmenter.add_words(words, name)
        added.update(words)
    if not added:
        raise InputError(
            "words of the teacher cannot replace others: no word of the lexicon of the language "
            f"({told}) is one piece to the teacher; leave --augment_words=teacher out"
        )
    logger.info("augmentation: %d words of the teacher may replace others", len(added))
    return sorted(added)


def whole_words(encoder: TextEncoder, words: Iterable[str]) -> list[str]:
    """The words that an encoder takes for one piece.

    Args:
        encoder: Any.
        words: Words; to one that lowers case, those with capitals are no words.
    """
    # Each asks the tokenizer anew.
    lower_case, unknown = encoder.lower_case, encoder.unk_id
    words = [word for word in words if not lower_case or word == word.lower()]
    encoded = encoder.tokenizer.encode_batch(
        [[word] for word in words], is_pretokenized=True, add_special_tokens=False
    )
    return [
        word
        for word, pieces in zip(words, encoded, strict=True)
        if len(pieces.ids) == 1 and pieces.ids[0] != unknown
    ]
