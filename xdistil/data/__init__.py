"""Readers, labels, word pieces, pruned vocabularies, batches, and encoded examples on disk.

Names are loaded on first use, so that reading and encoding do not wait for TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xdistil.data.augmentation import AugmentationSettings as AugmentationSettings
    from xdistil.data.augmentation import Augmenter as Augmenter
    from xdistil.data.batching import bucket_lengths as bucket_lengths
    from xdistil.data.batching import bucketed_batches as bucketed_batches
    from xdistil.data.batching import in_memory_dataset as in_memory_dataset
    from xdistil.data.encoding import TextEncoder as TextEncoder
    from xdistil.data.encoding import train_wordpiece as train_wordpiece
    from xdistil.data.examples import EncodedExample as EncodedExample
    from xdistil.data.examples import LabeledText as LabeledText
    from xdistil.data.examples import TaggedSentence as TaggedSentence
    from xdistil.data.hub_datasets import open_hub_dataset as open_hub_dataset
    from xdistil.data.labels import Labels as Labels
    from xdistil.data.pair_encoding import encode_pairs as encode_pairs
    from xdistil.data.pair_encoding import encode_texts as encode_texts
    from xdistil.data.pos_tagging import PosTagger as PosTagger
    from xdistil.data.pos_tagging import pos_tagger_for as pos_tagger_for
    from xdistil.data.read_report import ReadReport as ReadReport
    from xdistil.data.read_report import TextReport as TextReport
    from xdistil.data.readers import read_folder as read_folder
    from xdistil.data.readers import read_tagged as read_tagged
    from xdistil.data.readers import read_text as read_text
    from xdistil.data.text_readers import read_labeled_text as read_labeled_text
    from xdistil.data.text_readers import read_unlabeled_text as read_unlabeled_text
    from xdistil.data.vocabulary import PrunedVocabulary as PrunedVocabulary
    from xdistil.data.word_vectors import WordVectors as WordVectors
    from xdistil.data.word_vectors import read_word_vectors as read_word_vectors
    from xdistil.data.word_vectors import vectors_matrix as vectors_matrix
    from xdistil.data.word_vectors import word_encoder as word_encoder
    from xdistil.data.word_vectors import words_with_vectors as words_with_vectors

_MODULES = {
    "augmentation": ("AugmentationSettings", "Augmenter"),
    "batching": ("bucket_lengths", "bucketed_batches", "in_memory_dataset"),
    "encoding": ("TextEncoder", "train_wordpiece"),
    "examples": ("EncodedExample", "LabeledText", "TaggedSentence"),
    "hub_datasets": ("open_hub_dataset",),
    "labels": ("Labels",),
    "pair_encoding": ("encode_pairs", "encode_texts"),
    "pos_tagging": ("PosTagger", "pos_tagger_for"),
    "read_report": ("ReadReport", "TextReport"),
    "readers": ("read_folder", "read_tagged", "read_text"),
    "text_readers": ("read_labeled_text", "read_unlabeled_text"),
    "vocabulary": ("PrunedVocabulary",),
    "word_vectors": (
        "WordVectors",
        "read_word_vectors",
        "vectors_matrix",
        "words_with_vectors",
        "word_encoder",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
