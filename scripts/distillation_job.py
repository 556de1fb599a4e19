"""What a run does between its flags and its report."""

import contextlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import flags
from shared_flags import IRRELEVANT_FLAGS
from teacher_source import TeacherSource, open_teacher

from xdistil.data.atomic_files import make_folder, read_json
from xdistil.data.corpus import TaggingCorpus
from xdistil.distillation.losses import teacher_layers
from xdistil.distillation.per_language import distil_per_language, shared_languages
from xdistil.distillation.recipes import RecipeSettings, recipe
from xdistil.distillation.reuse import check_finished_teacher
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_settings import (
    DistillationData,
    RunResult,
    RunSettings,
    TeacherSettings,
)
from xdistil.distillation.runner import DistillationRun, teacher_key
from xdistil.distillation.stage_trainer import StageSettings
from xdistil.distillation.stages import OptimizerSettings, Stage, format_stages
from xdistil.distillation.student_settings import StudentSettings
from xdistil.errors import InputError
from xdistil.metrics.footprint import count_parameters
from xdistil.metrics.speedup import speedup_row
from xdistil.report.console import report_table
from xdistil.report.page import write_page
from xdistil.report.report import build_report, write_report
from xdistil.tasks import Tagging

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
LATENCY_BATCH_SIZES = (1, 32)
LATENCY_LENGTH = 32


def run(corpus: TaggingCorpus, config: Mapping[str, Any]) -> dict[str, Any]:
    """Distils, exports, measures, reports. Returns the report."""
    keras.config.set_dtype_policy(FLAGS.precision)
    source = open_teacher(corpus)
    task = Tagging(corpus.labels, source.encoder, FLAGS.scheme)
    stages = _stages(source)
    _check(corpus, source, stages)
    settings, data = _settings(corpus, source, stages), _data(corpus)
    output = Path(FLAGS.output_dir)
    if FLAGS.reuse_from:
        _check_reuse(output, teacher_key(settings, data, task))
    with RunDirectory.open(
        output,
        config,
        overwrite=FLAGS.overwrite,
        inputs={"text": corpus.fingerprint, "teacher": source.fingerprint},
        files=corpus.inputs,
        irrelevant=IRRELEVANT_FLAGS,
    ) as directory:
        directory.log_to_file(logger)
        for line in directory.version_warnings:
            logger.warning("%s", line)
        logger.info("recipe %s:\n%s", FLAGS.recipe, format_stages(stages))
        with _strategy_scope():
            job = DistillationRun(directory, data, settings, task, source.make)
            result = distil_per_language(job) if FLAGS.recipe == "D0" else job.run()
        report = _report(directory, result)
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
    print(report_table(report))
    print(f"Student, export and report are in {output}")
    return report


def _stages(source: TeacherSource) -> list[Stage]:
    layer = FLAGS.teacher_layer
    if layer is None:
        layer = source.num_layers // 2 + 1
    epochs = {
        f"{kind}_epochs": FLAGS[f"{kind}_epochs"].value or FLAGS.epochs  # None: not given
        for kind in ("representation", "logits", "labels")
    }
    settings = RecipeSettings(
        teacher_layer=layer,
        representation=FLAGS.representation_loss,
        logits_positions=FLAGS.scheme,
        batch_size=FLAGS.batch_size,
        patience=FLAGS.patience,
        optimizer=OptimizerSettings(
            learning_rate=FLAGS.learning_rate, period_epochs=FLAGS.learning_rate_period
        ),
        unfreeze_representation=FLAGS.unfreeze_representation,
        fresh_head=FLAGS.fresh_head,
        **epochs,
    )
    return recipe(FLAGS.recipe, settings)


def _check(corpus: TaggingCorpus, source: TeacherSource, stages: list[Stage]) -> None:
    """What would fail only after the teacher was trained is refused before."""
    for layer in {layer for stage in stages for layer in teacher_layers(stage.terms)}:
        if not 0 <= layer <= source.num_layers:
            raise InputError(
                f"--teacher_layer={layer}: the teacher has hidden states 0 to {source.num_layers}."
            )
    if FLAGS.embedding_init != "random" and FLAGS.embedding_dim > source.embedding_dim:
        raise InputError(
            f"--embedding_dim={FLAGS.embedding_dim}: --embedding_init={FLAGS.embedding_init} gives "
            f"at most the teacher's {source.embedding_dim}; lower it, or --embedding_init=random."
        )
    if FLAGS.recipe == "D0":
        shared_languages(corpus)
    if not corpus.transfer_size and any(stage.data != "labeled" for stage in stages):
        raise InputError(
            f"--recipe={FLAGS.recipe} learns from transfer text, and there is none; give "
            "--transfer_file, or --labeled_per_language so that the rest of train becomes it."
        )


def _check_reuse(output: Path, key: str) -> None:
    """Before anything is removed by --overwrite."""
    source = Path(FLAGS.reuse_from)
    if source.resolve() == output.resolve():
        raise InputError(f"--reuse_from={source} is --output_dir itself; give another run.")
    if not (output / "teacher" / "config.json").exists() or FLAGS.overwrite:
        check_finished_teacher(source, key)


def _settings(corpus: TaggingCorpus, source: TeacherSource, stages: list[Stage]) -> RunSettings:
    return RunSettings(
        stages=stages,
        teacher=TeacherSettings(
            epochs=FLAGS.teacher_epochs,
            learning_rate=FLAGS.teacher_learning_rate,
            batch_size=FLAGS.teacher_batch_size,
            warmup_fraction=FLAGS.teacher_warmup,
            dropout=FLAGS.teacher_dropout,
            source=source.fingerprint,
        ),
        student=StudentSettings(
            embedding_dim=FLAGS.embedding_dim,
            hidden_dim=FLAGS.hidden_dim,
            dropout=FLAGS.dropout,
            embedding_init=FLAGS.embedding_init,
            min_piece_count=FLAGS.min_piece_count,
        ),
        seed=FLAGS.seed,
        online=FLAGS.teacher_targets == "online",
        training=StageSettings(
            seed=FLAGS.seed,
            jit_compile=_jit_compile(0),
            checkpoint_seconds=60 * FLAGS.checkpoint_minutes,
        ),
        teacher_jit_compile=_jit_compile(len(corpus.train) * FLAGS.teacher_epochs),
        reuse_from=FLAGS.reuse_from,
    )


def _data(corpus: TaggingCorpus) -> DistillationData:
    return DistillationData(
        labels=corpus.labels,
        train=corpus.train,
        dev=corpus.dev,
        test=corpus.test,
        transfer=corpus.transfer,
        fingerprint=corpus.fingerprint,
        transfer_size=corpus.transfer_size,
    )


def _jit_compile(teacher_sentences: int) -> bool:
    if FLAGS.jit_compile != "auto":
        return FLAGS.jit_compile == "true"
    # XLA runs a BERT 1.4 times faster on CPU, but takes seconds to compile each bucket; the
    # student's own recurrence gains nothing from it there.
    return teacher_sentences >= 20_000


def _strategy_scope() -> contextlib.AbstractContextManager:
    if FLAGS.strategy == "default":
        return contextlib.nullcontext()
    # Never both kinds: a CPU beside GPUs would get as large a share of each batch.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()


def _export(directory: RunDirectory, result: RunResult) -> None:
    from xdistil.export.saved_model import export_tagger

    models = {directory.export / "saved_model": result.student}
    if result.per_language:
        models = {
            directory.export / language / "saved_model": student
            for language, student in result.per_language.items()
        }
    with directory.clock.running("export"):
        for folder, student in models.items():
            if not folder.exists():
                export_tagger(student, folder)


def _latency(directory: RunDirectory, result: RunResult) -> list[dict[str, Any]]:
    rows = read_json(directory.export / "latency.json")
    if rows is None:
        logger.info("measuring teacher against student")
        with directory.clock.running("latency"):
            rows = [
                speedup_row(
                    result.teacher.model,
                    result.student.model,
                    batch_size=batch_size,
                    sequence_length=min(LATENCY_LENGTH, FLAGS.seq_len),
                    max_seconds=20,
                )[0]
                for batch_size in LATENCY_BATCH_SIZES
            ]
            make_folder(directory.export)
            directory.write_json("export/latency.json", rows)
    return rows


def _histories(directory: RunDirectory) -> dict[str, list[dict[str, Any]]]:
    """Losses and dev scores by epoch, of the teacher's fine-tuning and of each stage."""
    folders = sorted((directory.path / "stages").glob("*"))
    return {
        folder.name.split("-", 1)[1]: read_json(folder / "history.json") or []
        for folder in folders
        if "-" in folder.name
    }


def _report(directory: RunDirectory, result: RunResult) -> dict[str, Any]:
    latency = _latency(directory, result) if FLAGS.measure_latency else []
    seconds = directory.seconds()
    # Export comes after the report.
    total = sum(spent for phase, spent in seconds.items() if phase != "export")
    students = list((result.per_language or {"": result.student}).values())
    shape = f"BiLSTM ({FLAGS.embedding_dim}, {FLAGS.hidden_dim})"
    phases = ("tokenize", "teacher", "targets", "distillation")
    return build_report(
        task=result.student.task.name,
        recipe=FLAGS.recipe,
        seed=FLAGS.seed,
        teacher={
            "name": FLAGS.teacher,
            "parameters": count_parameters(result.teacher.model),
            "test": result.teacher_test,
        },
        student={
            "name": f"{len(students)} x {shape}" if result.per_language else shape,
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
