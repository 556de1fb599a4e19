"""`Predictor`: one interface over every task and every runtime."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

from xdistil.data.checksums import verify_checksums
from xdistil.data.paths import as_path, local_folder
from xdistil.data.surrogates import without_surrogates
from xdistil.errors import InputError
from xdistil.export.find_model import find_model
from xdistil.export.unseen_words import UnseenWords

_CHUNK = 4096

Input = str | Sequence[str]
Result = TypeVar("Result")


class Predictor(abc.ABC, Generic[Result]):
    """Answers inputs, in their order.

    A subclass says how a batch is answered; this class streams, sorts by length within a chunk, and
    puts the results back in order.

    Args:
        batch_size: most inputs that the model gets at once; of long ones it gets fewer, as many as
            have some 4,096 word pieces together. It changes speed only.
    """

    #: The formats of its results, see their `format`.
    formats: tuple[str, ...]

    def __init__(self, batch_size: int = 128):
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, received {batch_size}.")
        self.batch_size = batch_size

    def predict(self, inputs: Iterable[Input], chunk: int = _CHUNK) -> Iterator[Result]:
        """One result an input, blank ones included, in order.

        Args:
            inputs: for a tagger, sentences: each a line of text, split at white space as
                `str.split()` does, or a sequence of words. For a classifier, texts; for one of
                pairs, tuples of two texts. Read lazily, `chunk` at a time.
            chunk: inputs in memory at once.

        Lone surrogates count as U+FFFD, whose place they take in what is returned too.

        Raises:
            InputError: at once if `inputs` is one text itself.
        """
        if isinstance(inputs, str):
            raise InputError(f"predict: {inputs[:40]!r} is one text: give a list of them")
        return self._predict(iter(inputs), chunk)

    def _predict(self, inputs: Iterator[Input], chunk: int) -> Iterator[Result]:
        while part := list(islice(inputs, chunk)):
            yield from self._predict_chunk(part)

    def _predict_chunk(self, inputs: list[Input]) -> list[Result]:
        inputs = [_valid(given) for given in inputs]
        results: list[Result | None] = [self._blank(given) for given in inputs]
        waiting: dict[bool, list[int]] = {True: [], False: []}
        for index, given in enumerate(inputs):
            if results[index] is None:
                waiting[isinstance(given, str)].append(index)
        for is_text, indices in waiting.items():
            indices.sort(key=lambda i: _length(inputs[i]))
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                answers = self._answer([inputs[i] for i in batch], is_text)
                for index, result in zip(batch, answers, strict=True):
                    results[index] = result
        return results

    @abc.abstractmethod
    def _blank(self, given: Input) -> Result | None:
        """What is said of an input that holds nothing; `None` for one that the model answers."""

    @abc.abstractmethod
    def _answer(self, batch: list[Input], is_text: bool) -> list[Result]:
        """Answers one batch, all of it strings or none of it, none of it blank."""

    @abc.abstractmethod
    def parse_line(self, line: str, place: str) -> Input:
        """The input that a line of a file stands for.

        Args:
            line: the line, without its line break.
            place: `file:line`, for the error.

        Raises:
            InputError: the line does not hold what this model takes.
        """

    @abc.abstractmethod
    def unseen_words(self) -> UnseenWords:
        """A counter, to be put around results, of the words that the model never saw."""


def load_predictor(
    path: str | os.PathLike, runtime: str | None = None, *, batch_size: int = 128
) -> Predictor:
    """Loads a model for use, whatever its task and whatever it is kept in.

    Args:
        path: a run directory, the folder of a student (or teacher), or of an export.
        runtime: `"keras"`, `"saved_model"`, `"onnx"` or `"litert"`. Default: what `path` is; for a
            run directory, its student in Keras. Of a run directory's exports the one in float32 is
            taken, the one in int8 where there is no other.
        batch_size: most inputs that the model gets at once; of long ones it gets fewer. It changes
            speed only (of exports in int8 also the last digits: they are rounded by the range of
            the batch).

    Raises:
        InputError: there is no such model in the folder, or it is damaged.

    Example:

    ```python
    predictor = load_predictor("runs/quickstart")
    for result in predictor.predict(["Ada lives in Turin", "Nothing here"]):
        print(result.tags, [(entity.text, entity.label) for entity in result.entities])
    ```
    """
    found, folder = find_model(as_path(path), runtime)
    if found != "keras":  # which compares them itself
        folder = local_folder(folder)
        verify_checksums(folder, "export it again")
    # Each runtime is slow to import, and one does not need the other.
    if found == "saved_model":
        from xdistil.export.saved_model_runtime import open_saved_model

        return open_saved_model(folder, batch_size)
    if found in ("onnx", "litert"):
        from xdistil.export.session_runtime import open_session, session_predictor

        return session_predictor(open_session(folder), folder, batch_size)
    from xdistil.export.keras_runtime import keras_predictor
    from xdistil.tasks.trained_model import TrainedModel

    return keras_predictor(TrainedModel.load(folder), batch_size)


def _valid(given: Input) -> Input:
    """The input in characters that every runtime takes."""
    if isinstance(given, str):
        return without_surrogates(given)
    return [*map(_valid, given)] if isinstance(given, list) else tuple(map(_valid, given))


def _length(given: Input) -> int:
    return len(given) if isinstance(given, str) else sum(map(len, given))
