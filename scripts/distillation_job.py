"""What a run does between its flags and its report, whatever the task."""

import abc
import functools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from continued_student import ContinuedStudent
from device_flags import shared_directory, strategy_scope
from shared_flags import IRRELEVANT_FLAGS
from student_plan import StudentPlan
from teacher_source import TeacherSource
from transformer_flags import TRANSFORMER
from transformer_student import plan_transformer

from xdistil.data.atomic_files import make_folder, read_json
from xdistil.data.corpus import Corpus
from xdistil.data.encoding import TextEncoder
from xdistil.data.paths import AnyPath, as_path
from xdistil.distillation.recipes import RecipeSettings, recipe
from xdistil.distillation.reuse import check_finished_teacher
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_settings import (
    DistillationData,
    RunResult,
    RunSettings,
    TeacherSettings,
)
from xdistil.distillation.runner import DistillationRun, teacher_origin
from xdistil.distillation.stage_data import StageSettings
from xdistil.distillation.stages import OptimizerSettings, Stage, format_stages
from xdistil.distillation.student_settings import StudentSettings
from xdistil.errors import InputError
from xdistil.metrics.footprint import count_parameters
from xdistil.metrics.speedup import random_features, speedup_row
from xdistil.models.encoder_student import EncoderStudent
from xdistil.report.console import report_table
from xdistil.report.page import write_page
from xdistil.report.report import build_report, write_report
from xdistil.tasks import Task, TrainedModel

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
LATENCY_BATCH_SIZES = (1, 32)
LATENCY_LENGTH = 32
_SCHEDULES = {"adam": "cosine_restarts", "adamw": "linear_warmup", "adadelta": "constant"}


class DistillationJob(abc.ABC):
    """What the programs that distil have in common; a subclass says what its task needs.

    Args:
        corpus: The text.
        config: All settings, for config.json.
    """

    def __init__(self, corpus: Corpus, config: Mapping[str, Any]):
        keras.config.set_dtype_policy(FLAGS.precision)
        self.corpus = corpus
        self.config = dict(config)
        self.continued = ContinuedStudent() if FLAGS.continue_from else None
        self.source = self.open_teacher() if FLAGS.teacher else self.continued.stand_in()
        self.task = self.make_task(self.source.encoder)
        self.student_task: Task | None = None
        self.inputs = {"teacher": self.source.fingerprint}
        self.plan = self._plan_student()
        self.data = DistillationData(
            labels=corpus.labels,
            train=corpus.train,
            dev=corpus.dev,
            test=corpus.test,
            transfer=corpus.transfer,
            fingerprint=corpus.fingerprint,
            transfer_size=corpus.transfer_size,
        )

    #: What --student=transformer makes of this task.
    transformer_class: type[EncoderStudent]

    def _plan_student(self) -> StudentPlan | None:
        """`None` for a new BiLSTM, which `student_settings` describes."""
        if self.continued is not None:
            plan = self.continued.plan(self.source, self.task)
        elif FLAGS.student == TRANSFORMER:
            plan = plan_transformer(self.source, self.transformer_class)
        else:
            return None
        if plan.encoder is not None:
            self.student_task = self.task.with_encoder(plan.encoder)
        if plan.fingerprint is not None:
            self.inputs["student"] = plan.fingerprint
        return plan

    @abc.abstractmethod
    def open_teacher(self) -> TeacherSource:
        """Finds the teacher that the flags name."""

    @abc.abstractmethod
    def make_task(self, encoder: TextEncoder) -> Task:
        """The task over the teacher's pieces."""

    @abc.abstractmethod
    def recipe_settings(self, common: Mapping[str, Any]) -> RecipeSettings:
        """What the recipe leaves open, beyond what the shared flags say."""

    @abc.abstractmethod
    def student_settings(self) -> StudentSettings:
        """The student's shape."""

    @abc.abstractmethod
    def student_name(self) -> str:
        """The student in the report."""

    def check(self, stages: Sequence[Stage]) -> None:
        """Refuses, before the teacher is trained, what would fail only after.

        Raises:
            InputError: The flags, the text and the teacher do not go together.
        """
        if not FLAGS.teacher and any(stage.needs_teacher for stage in stages):
            raise InputError(f"--recipe={FLAGS.recipe} learns from a teacher; give --teacher.")
        if self.plan is not None:
            self.plan.check(self.source, stages)
        compressed = not (self.plan or self.student_task or FLAGS.embedding_init == "random")
        if compressed and FLAGS.embedding_dim > self.source.embedding_dim:
            raise InputError(
                f"--embedding_dim={FLAGS.embedding_dim}: --embedding_init={FLAGS.embedding_init} "
                f"gives at most the teacher's {self.source.embedding_dim}; lower it, or "
                "--embedding_init=random."
            )
        if not self.data.transfer_size and any(stage.data != "labeled" for stage in stages):
            raise InputError(
                f"--recipe={FLAGS.recipe} learns from transfer text, and there is none; give "
                f"--transfer_file, or {self.more_text}."
            )

    #: Where transfer text comes from, beside --transfer_file.
    more_text = "--labeled_per_language, so that the rest of train becomes it"

    def distil(self, job: DistillationRun) -> RunResult:
        """Runs the stages."""
        return job.run()

    def features(
        self, encoder: TextEncoder, batch_size: int, sequence_length: int
    ) -> dict[str, np.ndarray]:
        """Made-up input to measure on, for a model that reads this encoder's pieces."""
        return random_features(
            encoder.vocabulary_size, batch_size=batch_size, sequence_length=sequence_length
        )

    def run(self) -> dict[str, Any] | None:
        """Distils, exports, measures, reports.

        Returns:
            The report; `None` in workers other than the chief.
        """
        stages = recipe(FLAGS.recipe, self.recipe_settings(self._common_recipe_settings()))
        self.check(stages)
        settings = self._settings(stages)
        output = as_path(FLAGS.output_dir)
        if FLAGS.reuse_from:
            _check_reuse(output, teacher_origin(settings, self.data, self.task))
        open_directory = functools.partial(
            RunDirectory.open,
            output,
            self.config,
            overwrite=FLAGS.overwrite,
            inputs={"text": self.data.fingerprint, **self.inputs},
            files=self.corpus.inputs,
            irrelevant=IRRELEVANT_FLAGS,
        )
        report = None
        with shared_directory(open_directory, output) as (directory, workers):
            directory.log_to_file(logger)
            for line in directory.version_warnings:
                logger.warning("%s", line)
            logger.info("recipe %s:\n%s", FLAGS.recipe, format_stages(stages))
            with strategy_scope():
                job = DistillationRun(
                    directory,
                    self.data,
                    settings,
                    self.task,
                    self.source.make,
                    teacher=None if FLAGS.teacher else self.continued.trained,
                    student_task=self.student_task,
                )
                result = self.distil(job)
            if workers.is_chief:
                report = self._finish(directory, result)
        return report

    def _finish(self, directory: RunDirectory, result: RunResult) -> dict[str, Any]:
        report = self._report(directory, result)
        write_report(directory.report_json, report)
        write_page(
            directory.report_html,
            report,
            settings=read_json(directory.config_path),
            histories=_histories(directory),
        )
        # After the report: what cannot be exported must not cost it.
        if FLAGS.export:
            _export(directory, result)
        directory.seal()
        print(report_table(report))
        made = "Student, export and report" if FLAGS.export else "Student and report"
        print(f"{made} are in {directory.path}")
        logger.debug("finished: %s are in %s", made, directory.path)
        return report

    def _common_recipe_settings(self) -> dict[str, Any]:
        epochs = {
            f"{kind}_epochs": FLAGS[f"{kind}_epochs"].value or FLAGS.epochs  # None: not given
            for kind in ("representation", "logits", "labels")
        }
        of_student = {}
        if self.plan:
            whole_texts = self.task.logits_positions == "texts"
            of_student = self.plan.recipe_settings(self.source, whole_texts)
        return {
            "representation": FLAGS.representation_loss,
            "batch_size": FLAGS.batch_size,
            "patience": FLAGS.patience,
            "optimizer": OptimizerSettings(
                FLAGS.optimizer,
                FLAGS.learning_rate,
                schedule=_SCHEDULES[FLAGS.optimizer],
                period_epochs=FLAGS.learning_rate_period,
                clip_norm=1.0 if FLAGS.optimizer == "adamw" else 0.0,
            ),
            "unfreeze_representation": FLAGS.unfreeze_representation,
            "fresh_head": FLAGS.fresh_head,
            "alpha": FLAGS.alpha,
            # Its default is that of `joint` alone.
            "beta": FLAGS.beta if FLAGS["beta"].present else None,
            "temperature": FLAGS.temperature,
            "normalize_patience": FLAGS.normalize_patience,
            "patience_reduction": FLAGS.patience_reduction,
            "distil_transfer": FLAGS.distil_transfer,
            "attentions": FLAGS.attention_loss,
            **of_student,
            **epochs,
        }

    def _settings(self, stages: Sequence[Stage]) -> RunSettings:
        return RunSettings(
            stages=stages,
            teacher=TeacherSettings(
                epochs=FLAGS.teacher_epochs,
                learning_rate=FLAGS.teacher_learning_rate,
                batch_size=FLAGS.teacher_batch_size,
                warmup_fraction=FLAGS.teacher_warmup,
                dropout=FLAGS.teacher_dropout,
                source=self.source.fingerprint,
            ),
            student=self.plan.settings if self.plan else self.student_settings(),
            seed=FLAGS.seed,
            online=FLAGS.teacher_targets == "online",
            targets_each_stage=FLAGS.teacher_targets == "each_stage",
            pad_to_seq_len=FLAGS.pad_to_seq_len,
            training=StageSettings(
                seed=FLAGS.seed,
                jit_compile=_jit_compile(0),
                checkpoint_seconds=60 * FLAGS.checkpoint_minutes,
                reuse_frozen=FLAGS.reuse_frozen,
                learning_rate_factor=FLAGS.learning_rate_factor,
            ),
            teacher_jit_compile=_jit_compile(len(self.data.train) * FLAGS.teacher_epochs),
            reuse_from=FLAGS.reuse_from,
        )

    def _latency(self, directory: RunDirectory, result: RunResult) -> list[dict[str, Any]]:
        rows = read_json(directory.export / "latency.json")
        if rows is None and not (FLAGS.measure_latency and FLAGS.teacher):
            return []
        if rows is None:
            logger.info("measuring teacher against student")
            with directory.clock.running("latency"):
                rows = [self._speedup(result, size) for size in LATENCY_BATCH_SIZES]
                make_folder(directory.export)
                directory.write_json("export/latency.json", rows)
        return rows

    def _speedup(self, result: RunResult, batch_size: int) -> dict[str, Any]:
        length = min(LATENCY_LENGTH, FLAGS.seq_len)
        row, _ = speedup_row(
            result.teacher.model,
            result.student.model,
            batch_size=batch_size,
            sequence_length=length,
            max_seconds=20,
            features=tuple(
                self.features(model.task.encoder, batch_size, length)
                for model in (result.teacher, result.student)
            ),
        )
        return row

    def _report(self, directory: RunDirectory, result: RunResult) -> dict[str, Any]:
        latency = self._latency(directory, result)
        seconds = directory.seconds()
        # Export comes after the report.
        total = sum(spent for phase, spent in seconds.items() if phase != "export")
        students = list((result.per_language or {"": result.student}).values())
        name = self.plan.name if self.plan else self.student_name()
        phases = ("tokenize", "teacher", "targets", "distillation")
        return build_report(
            task=result.student.task.name,
            recipe=FLAGS.recipe,
            seed=FLAGS.seed,
            teacher={
                "name": FLAGS.teacher or "none",
                "parameters": count_parameters(result.teacher.model) if FLAGS.teacher else 0,
                "test": result.teacher_test,
            },
            student={
                "name": f"{len(students)} x {name}" if result.per_language else name,
                "parameters": sum(count_parameters(student.model) for student in students),
                "test": result.student_test,
            },
            latency=latency,
            stages=result.stages,
            seconds={**{p: seconds.get(p, 0.0) for p in phases}, "total": total},
            peak_memory_bytes=directory.clock.peak_memory_bytes(),
            truncation=result.truncation,
            teacher_passes=math.ceil(result.teacher_passes - 1e-9),
        )


def _check_reuse(output: AnyPath, origin: Mapping[str, Any]) -> None:
    """Before anything is removed by --overwrite."""
    source = as_path(FLAGS.reuse_from)
    if source.resolve() == output.resolve():
        raise InputError(f"--reuse_from={source} is --output_dir itself; give another run.")
    if not (output / "teacher" / "config.json").exists() or FLAGS.overwrite:
        check_finished_teacher(source, origin)


def _jit_compile(teacher_sentences: int) -> bool:
    if FLAGS.jit_compile != "auto":
        return FLAGS.jit_compile == "true"
    # Each bucket takes seconds to compile. On a CPU neither the encoder, whose products are fused
    # with what follows them without XLA, nor the student's recurrence gains anything from it.
    return teacher_sentences >= 20_000 and bool(tf.config.list_physical_devices("GPU"))


def _export(directory: RunDirectory, result: RunResult) -> None:
    from xdistil.export import export_saved_model

    inputs = None if FLAGS.export_inputs == "auto" else FLAGS.export_inputs
    models = {directory.export / "saved_model": result.student}
    if result.per_language:
        models = {
            directory.export / language / "saved_model": student
            for language, student in result.per_language.items()
        }
    with directory.clock.running("export"):
        for folder, student in models.items():
            if not folder.exists():
                export_saved_model(student, folder, inputs=inputs)
            _export_hub(student, folder.parent / "hub")


def _export_hub(student: TrainedModel, folder: AnyPath) -> None:
    """A transformer in the hub's format; where that has no place for it, the log says so."""
    from xdistil.export import export_hub

    # The tokenizer's settings are written last: with them the folder is whole.
    if not isinstance(student.model, EncoderStudent) or (folder / "tokenizer_config.json").exists():
        return
    try:
        # What is there is not whole: a run that was killed left it.
        export_hub(student, folder, overwrite=True)
    except InputError as error:
        logger.warning("%s: not written: %s", folder, error)


def _histories(directory: RunDirectory) -> dict[str, list[dict[str, Any]]]:
    """Losses and dev scores by epoch, of the teacher's fine-tuning and of each stage."""
    folders = sorted((directory.path / "stages").glob("*"))
    return {
        folder.name.split("-", 1)[1]: read_json(folder / "history.json") or []
        for folder in folders
        if "-" in folder.name
    }
