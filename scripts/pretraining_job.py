"""What run_pretraining.py does between its flags and its report."""

import functools
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import keras
from absl import flags
from device_flags import shared_directory, strategy_scope
from pretraining_flags import IRRELEVANT_FLAGS, RULES
from teacher_source import checkpoint_digest, encoder_of

from xdistil.data.masking import MaskingSettings
from xdistil.data.pretraining_text import PretrainingText, TextSettings, write_pretraining_text
from xdistil.data.readers import refuse_shared_files
from xdistil.distillation.pretraining import PretrainingResult, PretrainingRun
from xdistil.distillation.pretraining_settings import PretrainingSettings
from xdistil.distillation.progress import Progress
from xdistil.distillation.run_directory import RunDirectory, hash_files
from xdistil.distillation.seeds import derive_seed
from xdistil.distillation.stage_data import StageSettings
from xdistil.errors import InputError
from xdistil.metrics.footprint import count_parameters
from xdistil.models.checkpoints import Checkpoint
from xdistil.models.layer_choice import chosen_layers
from xdistil.models.masked_lm import MaskedLM
from xdistil.models.masked_lm_head import require_masked_lm_head
from xdistil.models.masked_lm_student import masked_lm_student
from xdistil.models.presets import find_checkpoint
from xdistil.report.pretraining_report import (
    PRETRAINING_REPORT,
    build_pretraining_report,
    pretraining_table,
)

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
# Examples from which on compiling a few dozen shapes by XLA pays.
_MANY_EXAMPLES = 20_000


class PretrainingJob:
    """One call of the program.

    Args:
        config: All settings, for config.json.

    Raises:
        InputError: The teacher cannot be used, or flags do not fit it.
    """

    def __init__(self, config: Mapping[str, Any]):
        keras.config.set_dtype_policy(FLAGS.precision)
        self.config = dict(config)
        self.folder = find_checkpoint(FLAGS.teacher)
        checkpoint = Checkpoint(self.folder)
        self.teacher_config = checkpoint.encoder_config
        self.encoder = encoder_of(checkpoint, "teacher")
        self.layers = None
        if FLAGS.train == "student":
            self.layers = self._layers()
            if FLAGS.alpha_ce:
                require_masked_lm_head(checkpoint)

    def _layers(self) -> list[int]:
        """The teacher's layers that the student begins with, from 1."""
        depth = self.teacher_config.num_layers
        if FLAGS.student_layers in RULES:
            size = FLAGS.num_layers or max(1, depth // 2)
            if size > depth:
                raise InputError(f"--num_layers={size}: the teacher has {depth}.")
            return list(chosen_layers(FLAGS.student_layers, depth, size))
        layers = [int(layer) for layer in FLAGS.student_layers.split(",")]
        if layers != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] <= depth:
            raise InputError(
                f"--student_layers={FLAGS.student_layers}: expected numbers from 1 to {depth}, "
                "ascending."
            )
        return layers

    def run(self) -> dict[str, Any] | None:
        """Trains, writes the model and the report.

        Returns:
            The report; `None` in workers other than the chief.
        """
        files = hash_files([*FLAGS.text_file, *FLAGS.dev_file])
        refuse_shared_files(FLAGS.text_file, FLAGS.dev_file, files)
        text_hash = _fingerprint(files[path] for path in FLAGS.text_file) + _fingerprint(
            files[path] for path in FLAGS.dev_file
        )
        open_directory = functools.partial(
            RunDirectory.open,
            FLAGS.output_dir,
            self.config,
            overwrite=FLAGS.overwrite,
            inputs={"teacher": self._teacher_fingerprint(), "text": text_hash},
            files=files,
            irrelevant=IRRELEVANT_FLAGS,
        )
        with shared_directory(open_directory, FLAGS.output_dir) as (directory, workers):
            directory.log_to_file(logger)
            for line in directory.version_warnings:
                logger.warning("%s", line)
            with strategy_scope():
                # Before the text, which may take hours: a checkpoint that cannot be used is told.
                model, teacher = self._models()
                # The chief writes it; the others then find it finished.
                text = workers.in_turn(lambda: self._text(directory, text_hash))
                run = PretrainingRun(
                    directory, text, self.encoder, self._settings(text), model, teacher
                )
                result = run.run()
            if result is None:
                return None
            report = self._report(directory, run, result, teacher)
            directory.write_json(PRETRAINING_REPORT, report)
            directory.seal()
        print(pretraining_table(report))
        print(f"The {FLAGS.train} is in {result.folder}")
        return report

    def _text(self, directory: RunDirectory, text_hash: str) -> PretrainingText:
        settings = TextSettings(
            packed=FLAGS.pack_lines,
            min_length=FLAGS.min_length,
            dev_share=FLAGS.dev_share,
            seed=FLAGS.data_seed,
            max_examples=FLAGS.train_examples,
            max_dev_examples=FLAGS.dev_examples,
        )
        with directory.clock.running("tokenize"), Progress(0, "text") as progress:
            return write_pretraining_text(
                directory.records,
                FLAGS.text_file,
                self.encoder,
                settings,
                dev_files=FLAGS.dev_file,
                fingerprint=text_hash,
                on_progress=progress.reach,
            )

    def _models(self) -> tuple[MaskedLM, MaskedLM | None]:
        """What learns, and what it learns from."""
        keras.utils.set_random_seed(derive_seed(FLAGS.seed, 0, FLAGS.train))
        if self.layers is None:
            return MaskedLM.from_preset(self.folder, dropout=FLAGS.dropout), None
        # Without the softened pieces a teacher needs no head: only hidden states are read.
        teacher = MaskedLM.from_preset(self.folder, need_head=bool(FLAGS.alpha_ce))
        student = masked_lm_student(
            teacher,
            self.layers,
            from_teacher=FLAGS.student_init == "teacher",
            fold_segments=FLAGS.fold_segments,
            dropout=FLAGS.dropout,
        )
        return student, teacher

    def _settings(self, text: PretrainingText) -> PretrainingSettings:
        jit_compile = FLAGS.jit_compile == "true"
        if FLAGS.jit_compile == "auto":
            jit_compile = text.train.examples * FLAGS.epochs >= _MANY_EXAMPLES
        return PretrainingSettings(
            alpha_ce=FLAGS.alpha_ce,
            alpha_mlm=FLAGS.alpha_mlm,
            alpha_cos=FLAGS.alpha_cos,
            temperature=FLAGS.temperature,
            masked_only=FLAGS.masked_only,
            masking=MaskingSettings(FLAGS.mask_share, FLAGS.mask_smoothing),
            epochs=FLAGS.epochs,
            batch_size=FLAGS.batch_size,
            micro_batch_size=FLAGS.micro_batch_size,
            learning_rate=FLAGS.learning_rate,
            warmup_fraction=FLAGS.warmup,
            weight_decay=FLAGS.weight_decay,
            clip_norm=FLAGS.clip_norm,
            seed=FLAGS.seed,
            data_seed=FLAGS.data_seed,
            training=StageSettings(
                seed=FLAGS.seed,
                jit_compile=jit_compile,
                checkpoint_seconds=60 * FLAGS.checkpoint_minutes,
                learning_rate_factor=FLAGS.learning_rate_factor,
            ),
        )

    def _teacher_fingerprint(self) -> str:
        return checkpoint_digest(self.folder, self.encoder.fingerprint, separator="\n")

    def _report(
        self,
        directory: RunDirectory,
        run: PretrainingRun,
        result: PretrainingResult,
        teacher: MaskedLM | None,
    ) -> dict[str, Any]:
        return build_pretraining_report(
            trained=FLAGS.train,
            seed=FLAGS.seed,
            parameters=count_parameters(result.model),
            layers=self.layers if FLAGS.student_init == "teacher" else None,
            teacher={
                "name": FLAGS.teacher,
                "parameters": count_parameters(teacher or result.model),
                "perplexity": result.teacher_perplexity,
            },
            text={
                "examples": run.data.examples,
                "pieces": run.data.pieces,
                "held_out_examples": sum(store.examples for store in run.data.dev),
            },
            before=result.before,
            history=result.history,
            best_epoch=result.record["best_epoch"],
            steps=result.record["steps"],
            pieces_per_second=result.pieces_per_second,
            seconds=directory.seconds(),
            peak_memory_bytes=directory.clock.peak_memory_bytes(),
        )


def _fingerprint(parts: Any) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
