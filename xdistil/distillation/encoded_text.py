"""The text of a run as word pieces, and what `seq_len` cut off of it."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from xdistil.data.atomic_files import make_folder, read_json, write_json
from xdistil.data.encoding import TruncationReport
from xdistil.data.examples import EncodedExample, TaggedSentence
from xdistil.distillation.run_settings import DistillationData
from xdistil.tasks import Tagging

logger = logging.getLogger("xdistil")
_FILE = "truncation.json"


class EncodedText:
    """Encodes train, dev and test at once, transfer text as it is read.

    Args:
        task: Labels and word pieces.
        data: The text.

    Attributes:
        train: List of encoded examples; `dev` and `test` alike.
        truncation: For each split that was read, a `TruncationReport` as a dict.
    """

    def __init__(self, task: Tagging, data: DistillationData):
        self._task = task
        self._data = data
        self.truncation: dict[str, dict[str, int]] = {}
        self.train = list(self._encode("train", data.train))
        self.dev = list(self._encode("dev", data.dev))
        self.test = list(self._encode("test", data.test))

    def examples(self, name: str, folder: Path) -> Iterable[EncodedExample]:
        """The examples of `transfer`, `labeled` or `dev`.

        Args:
            name: One of the three.
            folder: Keeps the count of what was cut off the transfer text.
        """
        if name == "transfer":
            return self._encode(name, self._data.transfer(), folder)
        return self.train if name == "labeled" else self.dev

    def recall_truncation(self, name: str, folder: Path) -> None:
        """Takes over the count of a call that read the text before this one."""
        held = read_json(folder / _FILE)
        if name not in self.truncation and held:
            self._note(name, TruncationReport(**held))

    def _encode(
        self, name: str, sentences: Iterable[TaggedSentence], folder: Path | None = None
    ) -> Iterator[EncodedExample]:
        report = TruncationReport()
        yield from self._task.encode(sentences, report)
        # Written before the store that reads this is finished: then the text is not read again.
        if folder is not None:
            write_json(make_folder(folder) / _FILE, dataclasses.asdict(report))
        self._note(name, report)

    def _note(self, name: str, report: TruncationReport) -> None:
        self.truncation[name] = dataclasses.asdict(report)
        for line in report.warnings(self._task.encoder.seq_len):
            logger.warning("%s: %s", name, line)
