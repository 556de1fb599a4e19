"""The text of a run as word pieces, and what `seq_len` cut off of it."""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from xdistil.data.atomic_files import make_folder, read_json, write_json
from xdistil.data.encoding import TruncationReport
from xdistil.data.examples import EncodedExample
from xdistil.data.paths import AnyPath
from xdistil.distillation.run_settings import DistillationData
from xdistil.distillation.workers import Workers
from xdistil.tasks import Task

logger = logging.getLogger("xdistil")
_FILE = "truncation.json"
_STUDENT_FILE = "truncation_student.json"
_CHUNK = 2048


class EncodedText:
    """Encodes train, dev and test at once, transfer text as it is read.

    Args:
        task: Labels and word pieces, as the teacher reads them.
        data: The text.
        student_task: The same task as the student reads it, where that differs.

    Attributes:
        train: List of encoded examples, as the teacher reads them; `dev` and `test` alike.
        student_dev: `dev` as the student reads it; `student_test` alike.
        truncation: For each split that was read, a `TruncationReport` as a dict.
    """

    def __init__(self, task: Task, data: DistillationData, student_task: Task | None = None):
        self._task = task
        self._student_task = student_task
        self._data = data
        self.truncation: dict[str, dict[str, int]] = {}
        self.train = list(self._encode("train", data.train))
        self.dev = list(self._encode("dev", data.dev))
        self.test = list(self._encode("test", data.test))
        self.student_train = list(self._as_student("train", data.train, self.train))
        self.student_dev = list(self._as_student("dev", data.dev, self.dev))
        self.student_test = list(self._as_student("test", data.test, self.test))

    def examples(self, name: str, folder: AnyPath) -> Iterable[EncodedExample]:
        """The examples of `transfer`, `labeled` or `dev`, as the student reads them.

        Args:
            name: One of the three.
            folder: Keeps the count of what was cut off the transfer text.
        """
        if name == "transfer":
            return self._transfer(folder)
        return self.student_train if name == "labeled" else self.student_dev

    def recall_truncation(self, name: str, folder: AnyPath) -> None:
        """Takes over the count of a call that read the text before this one."""
        for key, file, task in self.views(name):
            workers = range(Workers.current().count)
            parts = [read_json(folder / f"worker-{worker}.{file}") for worker in workers]
            if len(parts) == 1:  # one worker may finish what several began
                parts = [read_json(path) for path in sorted(folder.glob(f"worker-*.{file}"))]
            held = read_json(folder / file) or _added_up(parts)
            if key not in self.truncation and held:
                self._note(key, TruncationReport(**held), task)

    def _transfer(self, folder: AnyPath) -> Iterable[EncodedExample]:
        # Two views of one stream: no more of it is held than an encoder's chunk.
        workers = Workers.current()
        if workers.count > 1:
            return _SharedTransfer(self, folder, workers)
        examples, again = itertools.tee(self._data.transfer())
        encoded = self._encode("transfer", examples, folder)
        return self._as_student("transfer", again, encoded, folder)

    def views(self, name: str) -> list[tuple[str, str, Task]]:
        """How a text is read: by the teacher, and by a student that reads otherwise.

        Args:
            name: `transfer`, `labeled` or `dev`.

        Returns:
            For each, its key in `truncation`, the name of its file, and its task.
        """
        views = [(name, _FILE, self._task)]
        if self._student_task is not None:
            views.append((_of_student(name), _STUDENT_FILE, self._student_task))
        return views

    @property
    def data(self) -> DistillationData:
        """The text."""
        return self._data

    def _as_student(
        self,
        name: str,
        examples: Iterable[Any],
        encoded: Iterable[EncodedExample],
        folder: AnyPath | None = None,
    ) -> Iterable[EncodedExample]:
        """The examples as the student reads them; `teacher` holds the teacher's view."""
        if self._student_task is None:
            return encoded
        return self._joined(name, examples, encoded, folder)

    def _joined(
        self,
        name: str,
        examples: Iterable[Any],
        encoded: Iterable[EncodedExample],
        folder: AnyPath | None,
    ) -> Iterator[EncodedExample]:
        report = TruncationReport()
        of_student = self._student_task.encode(examples, report)
        for example, teacher in zip(of_student, encoded, strict=True):
            example.teacher = teacher
            yield example
        if folder is not None:
            write_json(
                make_folder(folder) / _STUDENT_FILE, dataclasses.asdict(report), checked=True
            )
        self._note(_of_student(name), report, self._student_task)

    def _encode(
        self, name: str, examples: Iterable[Any], folder: AnyPath | None = None
    ) -> Iterator[EncodedExample]:
        report = TruncationReport()
        yield from self._task.encode(examples, report)
        # Written before the store that reads this is finished: then the text is not read again.
        if folder is not None:
            write_json(make_folder(folder) / _FILE, dataclasses.asdict(report), checked=True)
        self._note(name, report, self._task)

    def _note(self, name: str, report: TruncationReport, task: Task) -> None:
        self.truncation[name] = dataclasses.asdict(report)
        for line in report.warnings(task.encoder.seq_len, **task.truncation_words):
            logger.warning("%s: %s", name, line)


class _SharedTransfer:
    """Transfer text of which each worker encodes its share, see `write_share`."""

    def __init__(self, text: EncodedText, folder: AnyPath, workers: Workers):
        self.text = text
        self.folder = folder
        self.views = text.views("transfer")
        self.prefix = f"worker-{workers.index}."

    def __iter__(self) -> Iterator[EncodedExample]:
        for chunk in self.chunks(_CHUNK, lambda index: True):
            yield from chunk

    def chunks(
        self, size: int, wanted: Callable[[int], bool]
    ) -> Iterator[list[EncodedExample] | int]:
        reports = [TruncationReport() for _ in self.views]
        examples = iter(self.text.data.transfer())
        for index in itertools.count():
            part = list(itertools.islice(examples, size))
            if not part:
                break
            yield self._encoded(part, reports) if wanted(index) else len(part)
        for (_, file, _), report in zip(self.views, reports, strict=True):
            write_json(
                make_folder(self.folder) / f"{self.prefix}{file}", dataclasses.asdict(report)
            )

    def _encoded(
        self, part: list[Any], reports: Sequence[TruncationReport]
    ) -> list[EncodedExample]:
        teacher, *student = (
            list(task.encode(part, report))
            for (_, _, task), report in zip(self.views, reports, strict=True)
        )
        if not student:
            return teacher
        for example, of_teacher in zip(student[0], teacher, strict=True):
            example.teacher = of_teacher
        return student[0]


def _added_up(parts: Sequence[dict[str, int]]) -> dict[str, int] | None:
    """Counts of several workers as one."""
    parts = [part for part in parts if part]
    if not parts:
        return None
    largest = ("longest",)
    return {
        name: (max if name in largest else sum)(part[name] for part in parts) for name in parts[0]
    }


def _of_student(name: str) -> str:
    """Where the count of a student that reads words of its own stands beside the teacher's."""
    return f"{name}_student"
