"""The text of a run on the disk, with what the teacher says of it."""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xdistil.data.examples import EncodedExample
from xdistil.data.paths import AnyPath, as_path
from xdistil.data.records import RecordStore, write_records
from xdistil.distillation.encoded_text import EncodedText
from xdistil.distillation.progress import Progress
from xdistil.distillation.reuse import link_finished_targets
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_settings import RunSettings
from xdistil.distillation.stages import Stage, needed_teacher_outputs
from xdistil.distillation.targets import (
    TeacherRuns,
    compute_targets,
    fingerprint,
    open_shared,
    targets_key,
)
from xdistil.distillation.workers import Workers
from xdistil.errors import InputError
from xdistil.tasks import Task, TrainedModel

logger = logging.getLogger("xdistil")
# Positions a batch of the teacher's pass. Under XLA the last batch of each bucket in a shard is
# filled up, so large batches would compute more padding than they save calls.
_TARGET_TOKENS = 1024


class RunRecords:
    """The stores that stages read: `transfer`, `labeled` and `dev`.

    Args:
        directory: The run's.
        text: Encodes what is written.
        settings: Of the run: which outputs of the teacher its stages read, and when it runs.
        text_fingerprint: Changes with the text.
        transfer_size: Examples in the transfer text, for the progress bar; 0 = not known.
        task: As the teacher reads text.
        student_task: As the student does, where that differs.
        lengths: Bucket lengths.
    """

    def __init__(
        self,
        directory: RunDirectory,
        text: EncodedText,
        settings: RunSettings,
        *,
        text_fingerprint: str,
        transfer_size: int,
        task: Task,
        student_task: Task | None,
        lengths: Sequence[int],
    ):
        self.directory = directory
        self.text = text
        self.settings = settings
        self.text_fingerprint = text_fingerprint
        self.transfer_size = transfer_size
        self.task = task
        self.own_student_task = student_task
        self.student_task = student_task or task
        self.lengths = lengths
        self.workers = Workers.current()
        self._reuse = as_path(settings.reuse_from) if settings.reuse_from else None

    def plain_store(self, name: str, examples: Iterable[EncodedExample], task: Task) -> RecordStore:
        """Encoded text without outputs of the teacher; the chief writes it."""
        key = fingerprint("encoded", name, self.text_fingerprint, task.encoder.fingerprint)
        folder = self.directory.records / name
        return self.workers.chief_first(
            lambda: (
                write_records(folder, examples, key=key)
                if self.workers.is_chief
                else open_shared(folder, self.workers)
            )
        )

    def stores(self, teacher: TrainedModel) -> dict[str, RecordStore]:
        """What the stages read, as far as they do; with the teacher's outputs, where it runs once
        beforehand."""
        if self.settings.online or self.settings.targets_each_stage:
            return self._plain_stores()
        folder = self.directory.teacher_targets
        return self._targets(teacher, self.settings.stages, folder, reused=True)

    def stores_of_stage(
        self, number: int, stores: dict[str, RecordStore], teacher: TrainedModel
    ) -> dict[str, RecordStore]:
        """What one stage reads: `stores`, or targets of its own where the teacher runs before each.

        Args:
            number: The stage's place in the recipe, from 1.
            stores: What `stores` gave.
            teacher: The teacher.
        """
        stage = self.settings.stages[number - 1]
        own = self.settings.targets_each_stage and stage.needs_teacher
        directory = self.directory.stage(number, stage.name)
        if not own or self.workers.agree_that(directory.is_done):
            return stores
        return self._targets(teacher, [stage], self.directory.teacher_targets / directory.name)

    def _plain_stores(self) -> dict[str, RecordStore]:
        return {name: self._tokenized(name) for name in (*_names_read(self.settings.stages), "dev")}

    def _targets(
        self, teacher: TrainedModel, stages: Sequence[Stage], folder: AnyPath, reused: bool = False
    ) -> dict[str, RecordStore]:
        needs = needed_teacher_outputs(stages)
        outputs = {name: needs[name] for name in _names_read(stages)}
        outputs["dev"] = sorted({*needs["transfer"], *needs["labeled"]})
        return {
            name: self._read_by_teacher(name, teacher, names, folder / name, reused)
            if names
            else self._tokenized(name)
            for name, names in outputs.items()
        }

    def _tokenized(self, name: str) -> RecordStore:
        folder = self.directory.records / name
        with self.directory.clock.running("tokenize"):
            examples = self.text.examples(name, folder)
            store = self.plain_store(name, examples, self.student_task)
        self.text.recall_truncation(name, folder)
        return store

    def _read_by_teacher(
        self,
        name: str,
        teacher: TrainedModel,
        outputs: Sequence[str],
        folder: AnyPath,
        reused: bool,
    ) -> RecordStore:
        text = self._text_fingerprint(name)
        source = self._reuse / "teacher_targets" / name if self._reuse and reused else None
        find = functools.partial(
            link_finished_targets,
            target=folder,
            needs=outputs,
            key=lambda held: targets_key(teacher.model, text, held),
        )
        # The chief alone links; the others look when they see what it has linked.
        held: list[str] = []
        self.workers.in_chief(lambda: held.extend(find(source)))
        finished = self.workers.agree_that(_is_finished(folder))
        if not self.workers.is_chief:
            if finished:
                open_shared(folder, self.workers)
            held.extend(find(None))
        if finished:
            logger.info("targets: the %s text was done before", name)
        else:
            logger.info("targets: the teacher reads the %s text", name)
        lengths = {"labeled": len(self.text.train), "dev": len(self.text.dev)}
        total = lengths.get(name, self.transfer_size)
        clock = self.directory.clock.running("targets")
        with clock, Progress(total, f"targets, {name}") as progress:
            store = compute_targets(
                folder,
                self.text.examples(name, folder),
                teacher=teacher.model,
                text=text,
                outputs=held,
                lengths=self.lengths,
                token_budget=_TARGET_TOKENS,
                jit_compile=self.settings.teacher_jit_compile,
                pad_to_bucket=self.settings.pad_to_seq_len,
                on_progress=progress.reach,
            )
        self.text.recall_truncation(name, folder)
        return store

    def _text_fingerprint(self, name: str) -> str:
        encoders = [self.task.encoder.fingerprint]
        if self.own_student_task is not None:
            encoders.append(self.own_student_task.encoder.fingerprint)
        return fingerprint(name, self.text_fingerprint, *encoders)

    def teacher_passes(
        self, stores: Mapping[str, RecordStore], records: Sequence[Mapping[str, Any]]
    ) -> float:
        """How often the teacher's outputs were computed for the text, over all calls.

        Args:
            stores: What `stores` gave.
            records: Of all stages, as in report.json.
        """
        stages = self.settings.stages
        if self.settings.online:
            epochs = [record["epochs"] for record in records]
            return float(
                sum(n for n, stage in zip(epochs, stages, strict=True) if stage.needs_teacher)
            )
        if not self.settings.targets_each_stage:
            return _passes([TeacherRuns.read(store.folder) for store in stores.values()])
        folders = [
            self.directory.teacher_targets / self.directory.stage(number, stage.name).name
            for number, stage in enumerate(stages, 1)
            if stage.needs_teacher
        ]
        return sum(
            _passes([TeacherRuns.read(folder / name) for name in stores]) for folder in folders
        )


def _names_read(stages: Sequence[Stage]) -> list[str]:
    kinds = {stage.data for stage in stages}
    return [name for name in ("transfer", "labeled") if kinds & {name, "both"}]


def _passes(runs: Sequence[TeacherRuns]) -> float:
    examples = sum(run.examples for run in runs)
    if examples:
        logger.info(
            "targets: outputs of the teacher for %d examples, for which it read %d; %d of their "
            "values are beyond float16 and were cut to its range",
            examples,
            sum(run.examples_run for run in runs),
            sum(run.clipped for run in runs),
        )
    return sum(run.examples_kept for run in runs) / examples if examples else 0.0


def _is_finished(folder: AnyPath) -> bool:
    try:
        RecordStore.open(folder, verify=False)
    except InputError:
        return False
    return True
