"""A whole distillation: teacher, targets, student, stages; each done once, however often run."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from xdistil.data.atomic_files import make_folder, read_json, write_json
from xdistil.data.batching import bucket_lengths
from xdistil.data.examples import EncodedExample
from xdistil.data.paths import AnyPath, as_path, remove_tree
from xdistil.data.records import RecordStore, read_records
from xdistil.data.vocabulary import PrunedVocabulary
from xdistil.distillation.encoded_text import EncodedText
from xdistil.distillation.frozen_states import FROZEN
from xdistil.distillation.projections import Projections
from xdistil.distillation.reuse import differing_origin, link_finished_teacher
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_records import RunRecords
from xdistil.distillation.run_settings import DistillationData, RunResult, RunSettings
from xdistil.distillation.seeds import derive_seed
from xdistil.distillation.stage_data import StageData
from xdistil.distillation.stage_trainer import StageTrainer
from xdistil.distillation.targets import fingerprint
from xdistil.distillation.workers import Workers
from xdistil.errors import InputError
from xdistil.models.inference import BatchedInference
from xdistil.tasks import Task, TrainedModel

logger = logging.getLogger("xdistil")


def teacher_origin(settings: RunSettings, data: DistillationData, task: Task) -> dict[str, Any]:
    """All that decides the fine-tuned teacher, by name."""
    return {
        "teacher": dataclasses.asdict(settings.teacher),
        "task": task.to_config(),
        "seed": settings.seed,
        "labels": data.labels.names,
        "labeled text": data.labeled_fingerprint or data.fingerprint,
        "tokenizer": task.encoder.fingerprint,
        "precision": keras.config.dtype_policy().name,
    }


class DistillationRun:
    """Distils a teacher into a student inside a run directory.

    Each step leaves its result in the directory and takes it from there when it is run again, so
    the same call goes on after a kill, and ends in the same student.

    Args:
        directory: An open `RunDirectory`.
        data: The text.
        settings: Everything else.
        task: What is to be learned, over the teacher's word pieces.
        make_teacher: Gives the teacher to start from; called only when there is no fine-tuned one.
        teacher: A fine-tuned teacher to take as it is, in place of `make_teacher`. Where no stage
            reads a teacher, any model.
        student_task: The same task over the student's own words, where it reads others than the
            teacher; teacher targets are then for whole texts, and computed beforehand.

    Example:
        ```python
        with RunDirectory.open("run", config) as directory:
            result = DistillationRun(directory, data, settings, task, make_teacher).run()
        print(result.student_test["f1"] / result.teacher_test["f1"])
        ```

    Reference:
        XtremeDistil, arXiv:2004.05686, Algorithm 1.
    """

    def __init__(
        self,
        directory: RunDirectory,
        data: DistillationData,
        settings: RunSettings,
        task: Task,
        make_teacher: Callable[[], keras.Model] | None = None,
        teacher: TrainedModel | None = None,
        student_task: Task | None = None,
    ):
        self.directory = directory
        self.data = data
        self.settings = settings
        self.make_teacher = make_teacher
        self.given_teacher = teacher
        self.task = task
        self.own_student_task = student_task
        self.student_task = student_task or task
        seq_len = max(task.encoder.seq_len, self.student_task.encoder.seq_len)
        self.lengths = (seq_len,) if settings.pad_to_seq_len else bucket_lengths(seq_len)
        self.reuse = as_path(settings.reuse_from) if settings.reuse_from else None
        self.workers = Workers.current()

    def run(self) -> RunResult:
        """Does what is not done yet.

        Raises:
            InputError: If the text cannot be used, or a loss turns NaN.
            StorageError: If there is no room; the same call goes on once there is.
        """
        teacher, teacher_test = self.prepare_teacher()
        stores = self.records.stores(teacher)
        student = self._student(teacher, stores)
        stages = self._distil(student, teacher, stores)
        with self.directory.clock.running("distillation"):
            student_test = self._test_scores(
                student, self.directory.student, self.text.student_test
            )
        return RunResult(
            *(
                teacher,
                student,
                teacher_test,
                student_test,
                stages,
                self.records.teacher_passes(stores, stages),
            ),
            truncation=self.text.truncation,
        )

    # The teacher

    def prepare_teacher(self) -> tuple[TrainedModel, dict[str, Any] | None]:
        """Encodes the labeled text and fine-tunes the teacher, unless that is done.

        Returns:
            The teacher, and its scores on test (`None` where there is no test text).
        """
        with self.directory.clock.running("tokenize"):
            self.text = EncodedText(self.task, self.data, self.own_student_task)
        self.records = RunRecords(
            self.directory,
            self.text,
            self.settings,
            text_fingerprint=self.data.fingerprint,
            transfer_size=self.data.transfer_size,
            task=self.task,
            student_task=self.own_student_task,
            lengths=self.lengths,
        )
        if self.given_teacher is not None:
            return self.given_teacher, None
        teacher = self._teacher()
        with self.directory.clock.running("teacher"):
            scores = self._test_scores(teacher, self.directory.teacher, self.text.test)
            return teacher, scores

    def _teacher(self) -> TrainedModel:
        folder = self.directory.teacher
        origin = teacher_origin(self.settings, self.data, self.task)
        if self.reuse:
            self.workers.in_chief(lambda: link_finished_teacher(self.reuse, self.directory, origin))
        if self.workers.agree_that((folder / "config.json").exists()):
            self.workers.wait_for_file(folder / "config.json")
            differing = differing_origin(folder, origin)
            if differing:
                raise InputError(
                    f"{folder}: holds a teacher made otherwise ({differing}); give another output "
                    "directory, or --overwrite."
                )
            return TrainedModel.load(folder)
        with self.directory.clock.running("teacher"):
            keras.utils.set_random_seed(derive_seed(self.settings.seed, 0, "teacher"))
            model = self.make_teacher()
            trained = TrainedModel(model, self.task)
            record: dict[str, Any] = {}
            if self.settings.teacher.epochs:
                record = self._fine_tune(trained)
            key = {"key": fingerprint(*origin.values()), "made_from": origin, **record}
            self.workers.in_chief(lambda: self._save_teacher(trained, key))
        return trained

    def _save_teacher(self, teacher: TrainedModel, key: dict[str, Any]) -> None:
        # Before the model, whose config.json comes last and says that the folder is whole.
        write_json(make_folder(self.directory.teacher) / "key.json", key, checked=True)
        epochs = f"{key.get('epochs', 0)} epochs"
        teacher.save(self.directory.teacher, facts={"Fine-tuned": epochs})

    def _fine_tune(self, trained: TrainedModel) -> dict[str, Any]:
        logger.info("teacher: fine-tuning on %d labeled examples", len(self.text.train))
        stage = self.settings.teacher.stage(self.task.label_positions)
        # Where teacher and student read alike, the stages on labels read the same records.
        name = "labeled" if self.own_student_task is None else "labeled_teacher"
        store = self.records.plain_store(name, self.text.train, self.task)
        trainer = StageTrainer(
            stage,
            0,
            trained.model,
            StageData([store], [], self.lengths),
            self.directory.stage(0, stage.name),
            dataclasses.replace(
                self.settings.training, jit_compile=self.settings.teacher_jit_compile
            ),
            score=self._dev_score(trained, self.text.dev),
            events=self.directory.events,
        )
        return trainer.run()

    def _dev_score(
        self, trained: TrainedModel, dev: Sequence[EncodedExample]
    ) -> Callable[[], float]:
        run = BatchedInference(
            trained.model, self.lengths, pad_to_bucket=self.settings.pad_to_seq_len
        )

        def score() -> float:
            scores = trained.task.evaluate(run, dev, self.data.dev)
            return trained.task.main_metric(scores)

        return score

    def _test_scores(
        self, trained: TrainedModel, folder: AnyPath, test: Sequence[EncodedExample]
    ) -> dict[str, Any] | None:
        # Nothing is decided by it: the chief alone reports it.
        if not self.data.test or not self.workers.is_chief:
            return None
        path = folder / "test.json"
        scores = read_json(path)
        if scores is None:
            scores = trained.task.evaluate(trained.inference, test, self.data.test)
            write_json(path, scores, checked=True)
        warning = trained.task.warning_of(scores, self.data.test)
        if warning:
            logger.warning("%s: %s", folder.name, warning)
        return scores

    # The student

    def _student(self, teacher: TrainedModel, stores: dict[str, RecordStore]) -> TrainedModel:
        kept = self.workers.chief_first(lambda: self._kept_pieces(stores))
        seed = self.settings.seed
        keras.utils.set_random_seed(derive_seed(seed, 0, "student"))
        student = self.settings.student.build(self.student_task, teacher.model, kept, seed)
        return TrainedModel(student, self.student_task)

    def _kept_pieces(self, stores: dict[str, RecordStore]) -> np.ndarray | None:
        """Ids of the pieces in train and transfer text as the student reads it, with the special
        ones."""
        minimum = self.settings.student.min_piece_count
        # Words with vectors of their own were chosen with these.
        if not minimum or getattr(self.settings.student, "vectors", None) is not None:
            return None
        path = self.directory.records / "kept_token_ids.json"
        kept = read_json(path)
        if kept is None:
            encoder = self.student_task.encoder
            counts = PrunedVocabulary.count(self.text.student_train, encoder.vocabulary_size)
            for token_ids in self._transfer_ids(stores):
                np.add.at(counts, token_ids, 1)
            vocabulary = PrunedVocabulary.from_counts(
                counts, special_ids=encoder.special_ids, unk_id=encoder.unk_id, min_count=minimum
            )
            kept = vocabulary.kept_ids.tolist()
            make_folder(path.parent)
            write_json(path, kept, checked=True)
        return np.asarray(kept, np.int32)

    def _transfer_ids(self, stores: dict[str, RecordStore]) -> Iterator[np.ndarray]:
        if "transfer" in stores:
            for features, _ in read_records([stores["transfer"]], shuffle=False):
                yield features["token_ids"].numpy()
        else:
            for example in self.text.examples("transfer", self.directory.records):
                yield example.token_ids

    # The stages

    def _distil(
        self, student: TrainedModel, teacher: TrainedModel, stores: dict[str, RecordStore]
    ) -> list[dict[str, Any]]:
        score = self._dev_score(student, self.text.student_dev)
        projections = Projections(self.settings.seed)
        frozen = self.directory.records / FROZEN
        records: list[dict[str, Any]] = []
        for number, stage in enumerate(self.settings.stages, 1):
            names = ("labeled", "transfer") if stage.data == "both" else (stage.data,)
            read = self.records.stores_of_stage(number, stores, teacher)
            data = StageData([read[name] for name in names], [read["dev"]], self.lengths)
            directory = self.directory.stage(number, stage.name)
            done = directory.is_done
            with self.directory.clock.running("distillation"):
                trainer = StageTrainer(
                    stage,
                    number,
                    student.model,
                    data,
                    directory,
                    self.settings.training,
                    score,
                    teacher=teacher.model if self.settings.online else None,
                    events=self.directory.events,
                    projections=projections,
                    frozen_folder=frozen,
                )
                record = trainer.run()
            logger.info(
                "stage %d/%d %s: dev metric %.4f%s",
                number,
                len(self.settings.stages),
                stage.name,
                record["dev_metric"],
                ", done before" if done else "",
            )
            records.append(record)
        if self.workers.is_chief:
            remove_tree(frozen, ignore_errors=True)
        for layers in student.model.layer_groups.values():
            for layer in layers:
                layer.trainable = True
        self.workers.in_chief(lambda: self._save_student(student, teacher))
        return records

    def _save_student(self, student: TrainedModel, teacher: TrainedModel) -> None:
        if not (self.directory.student / "config.json").exists():
            student.save(self.directory.student, facts=self._facts(teacher))

    def _facts(self, teacher: TrainedModel) -> dict[str, Any]:
        languages = sorted({sentence.language for sentence in self.data.train})
        origin = getattr(self.settings.student, "origin", None)
        taught = not origin or any(stage.needs_teacher for stage in self.settings.stages)
        described = f"{teacher.model.name}, {teacher.model.count_params():,} parameters"
        return {
            **({"Continued from": origin} if origin else {}),
            **({"Teacher": described} if taught else {}),
            "Languages of the labeled text": ", ".join(languages),
            "Stages": ", ".join(stage.name for stage in self.settings.stages),
            "Seed": self.settings.seed,
        }
