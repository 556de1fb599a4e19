"""The text of a run with rows that augmentation makes of the labeled ones."""

import dataclasses
import logging
import warnings
from collections.abc import Iterator

from xdistil.data.augmentation import AugmentationSettings, Augmenter
from xdistil.data.examples import LabeledText
from xdistil.data.pos_tagging import pos_tagger_for, tagger_version
from xdistil.distillation.run_settings import DistillationData
from xdistil.distillation.targets import fingerprint

logger = logging.getLogger("xdistil")


def with_augmented(
    data: DistillationData,
    settings: AugmentationSettings,
    *,
    language: str | None = None,
    only: bool = False,
) -> DistillationData:
    """The text of a run with new rows, made of the labeled ones, behind its transfer text.

    The rows are made anew each time that the transfer text is read, and are the same each time.

    Args:
        data: The text.
        settings: How rows are made.
        language: Whose tagger reads all texts; `None`: each text's own.
        only: Leaves the other transfer text out.

    Raises:
        InputError: A language has a tagger, and its package is not installed.

    Reference:
        arXiv:1903.12136.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tagger = pos_tagger_for(language) if language else None
        augmenter = Augmenter(settings, tagger).fit(data.train)
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
    parts = (dataclasses.asdict(settings), language, only, taggers)
    return dataclasses.replace(
        data,
        transfer=transfer,
        transfer_size=count + (0 if only else data.transfer_size),
        fingerprint=fingerprint(data.fingerprint, *parts),
        # The teacher never learns from these rows: another run's teacher will do.
        labeled_fingerprint=data.fingerprint,
    )
