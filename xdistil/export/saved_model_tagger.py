"""The SavedModel runtime of taggers: without Keras, without the tokenizers library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from xdistil.export.entities import OUTSIDE, Entity
from xdistil.export.tagged_result import TaggedResult
from xdistil.export.tagger import Sentence, Tagger

# As `export_tagger` names them; importing that would import Keras.
_TEXT_SIGNATURE = "serving_default"
_WORDS_SIGNATURE = "words"


class SavedModelTagger(Tagger):
    """Tags with a SavedModel that `export_tagger` wrote.

    Args:
        model: the SavedModel, loaded; it offers what `signatures` names.
        batch_size: sentences that the model gets at once.
    """

    #: The signatures by which a SavedModel is known as a tagger, and the inputs of each.
    signatures: ClassVar = {
        _TEXT_SIGNATURE: {"text"},
        _WORDS_SIGNATURE: {"words"},
    }

    def __init__(self, model: Any, batch_size: int = 128):
        super().__init__(batch_size)
        self._model = model

    def _tag(self, batch: list[Sentence], is_text: bool) -> list[TaggedResult]:
        if is_text:
            outputs = self._model.signatures[_TEXT_SIGNATURE](text=tf.constant(batch))
            texts = batch
        else:
            width = max(map(len, batch))
            padded = [[*words, *[""] * (width - len(words))] for words in batch]
            outputs = self._model.signatures[_WORDS_SIGNATURE](words=tf.constant(padded))
            texts = [" ".join(words) for words in batch]
        arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
        results = []
        for row, (sentence, text) in enumerate(zip(batch, texts, strict=True)):
            given = None if is_text else sentence
            results.append(_result({k: v[row] for k, v in arrays.items()}, text, given))
        return results


def _result(row: dict[str, np.ndarray], text: str, given: Sequence[str] | None) -> TaggedResult:
    count = int(row["n_words"])
    words = tuple(given) if given is not None else tuple(_strings(row["words"][:count]))
    # Empty words at the end of a sentence are padding to the graph.
    left = len(words) - count
    tags = (*_strings(row["tags"][:count]), *[OUTSIDE] * left)
    scores = (*row["tag_scores"][:count].tolist(), *[0.0] * left)
    entities = int(row["n_entities"])
    columns = (
        _strings(row["entity_label"][:entities]),
        row["entity_start"][:entities].tolist(),
        row["entity_end"][:entities].tolist(),
        _strings(row["entity_text"][:entities]),
        row["entity_score"][:entities].tolist(),
        row["entity_first_word"][:entities].tolist(),
        row["entity_last_word"][:entities].tolist(),
    )
    found = tuple(Entity(*values) for values in zip(*columns, strict=True))
    return TaggedResult(text, words, tags, scores, found)


def _strings(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8") for value in values]
