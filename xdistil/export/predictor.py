"""`Predictor`: one interface over every runtime that tags text."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from xdistil.errors import InputError
from xdistil.export.tagged_result import TaggedResult

#: The runtimes that `load_predictor` knows.
RUNTIMES = ("keras", "saved_model")
#: Where a run directory holds its student and its SavedModel.
STUDENT_FOLDER = "student"
SAVED_MODEL_FOLDER = Path("export", "saved_model")

_CHUNK = 4096

Sentence = str | Sequence[str]


class Predictor(abc.ABC):
    """Tags sentences, in their order.

    A subclass says how a batch is tagged; this class streams, sorts by length within a chunk, and
    puts the results back in order.

    Args:
        batch_size: sentences that the model gets at once; it changes speed only.
    """

    def __init__(self, batch_size: int = 128):
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, received {batch_size}.")
        self.batch_size = batch_size

    def predict(self, sentences: Iterable[Sentence], chunk: int = _CHUNK) -> Iterator[TaggedResult]:
        """Yields one result a sentence, blank ones included, in order.

        Args:
            sentences: each a line of text, split at white space as `str.split()` does, or a
                sequence of words. Read lazily, `chunk` at a time.
            chunk: sentences in memory at once.
        """
        sentences = iter(sentences)
        while part := list(islice(sentences, chunk)):
            yield from self._predict_chunk(part)

    def _predict_chunk(self, sentences: list[Sentence]) -> list[TaggedResult]:
        results: list[TaggedResult | None] = [None] * len(sentences)
        waiting: dict[bool, list[int]] = {True: [], False: []}
        for index, sentence in enumerate(sentences):
            is_text = isinstance(sentence, str)
            if sentence.strip() if is_text else sentence:
                waiting[is_text].append(index)
            else:
                results[index] = TaggedResult(sentence if is_text else "")
        for is_text, indices in waiting.items():
            indices.sort(key=lambda i: _length(sentences[i]))
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                tagged = self._tag([sentences[i] for i in batch], is_text)
                for index, result in zip(batch, tagged, strict=True):
                    results[index] = result
        return results

    @abc.abstractmethod
    def _tag(self, batch: list[Sentence], is_text: bool) -> list[TaggedResult]:
        """Tags one batch, all of it text or all of it words, none of it blank."""


def load_predictor(
    path: str | os.PathLike, runtime: str | None = None, *, batch_size: int = 128
) -> Predictor:
    """Loads a tagger for use, whatever it is kept in.

    Args:
        path: a run directory, the folder of a student (or teacher), or a SavedModel.
        runtime: `"keras"` or `"saved_model"`. Default: what `path` is; for a run directory, its
            student in Keras.
        batch_size: sentences that the model gets at once; it changes speed only.

    Raises:
        InputError: there is no such model in the folder, or it is damaged.

    Example:

    ```python
    predictor = load_predictor("runs/quickstart")
    for result in predictor.predict(["Ada lives in Turin", "Nothing here"]):
        print(result.tags, [(entity.text, entity.label) for entity in result.entities])
    ```
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}: expected one of {', '.join(RUNTIMES)}")
    found, folder = _find_model(Path(path), runtime)
    # Each runtime is slow to import, and one does not need the other.
    if found == "saved_model":
        from xdistil.export.saved_model_predictor import SavedModelPredictor

        return SavedModelPredictor(folder, batch_size)
    from xdistil.export.keras_predictor import KerasPredictor
    from xdistil.tasks.trained_model import TrainedModel

    return KerasPredictor(TrainedModel.load(folder), batch_size)


def _find_model(path: Path, runtime: str | None) -> tuple[str, Path]:
    if not path.is_dir():
        raise InputError(f"{path}: no such folder: give a run directory, a student or a SavedModel")
    if (path / "saved_model.pb").is_file():
        if runtime == "keras":
            raise InputError(f"{path}: is a SavedModel: it runs with --runtime=saved_model only")
        return "saved_model", path
    if runtime != "saved_model":
        return "keras", path
    saved = path / SAVED_MODEL_FOLDER
    if (saved / "saved_model.pb").is_file():
        return "saved_model", saved
    # A run of the recipe D0 exports a student for each language.
    per_language = sorted(path.glob("export/*/saved_model/saved_model.pb"))
    if per_language:
        languages = ", ".join(found.parent.parent.name for found in per_language)
        raise InputError(
            f"{path}: has a SavedModel for each language ({languages}); give one of them, such as "
            f"{per_language[0].parent}"
        )
    raise InputError(
        f"{path}: no SavedModel in it: expected saved_model.pb there or in {SAVED_MODEL_FOLDER}; "
        "finish the run with --export (the same command again goes on), or use --runtime=keras"
    )


def _length(sentence: Sentence) -> int:
    return len(sentence) if isinstance(sentence, str) else sum(map(len, sentence))
