"""A whole distillation: teacher, targets, student, stages; each done once, however often run."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from xdistil.data.atomic_files import make_folder, read_json, write_json
from xdistil.data.batching import bucket_lengths
from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import EncodedExample
from xdistil.data.records import RecordStore, read_records, write_records
from xdistil.data.vocabulary import PrunedVocabulary
from xdistil.distillation.encoded_text import EncodedText
from xdistil.distillation.progress import Progress
from xdistil.distillation.reuse import link_finished_targets, link_finished_teacher
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_settings import DistillationData, RunResult, RunSettings
from xdistil.distillation.seeds import derive_seed
from xdistil.distillation.stage_trainer import StageData, StageTrainer
from xdistil.distillation.stages import needed_teacher_outputs
from xdistil.distillation.targets import TeacherRuns, compute_targets, fingerprint, targets_key
from xdistil.errors import InputError
from xdistil.models import BiLSTMStudent, Teacher
from xdistil.models.embeddings import compress_embeddings
from xdistil.models.inference import BatchedInference
from xdistil.tasks import Tagging, TrainedModel

logger = logging.getLogger("xdistil")
# Positions a batch of the teacher's pass. Under XLA the last batch of each bucket in a shard is
# filled up, so large batches would compute more padding than they save calls.
_TARGET_TOKENS = 1024


def teacher_key(settings: RunSettings, data: DistillationData, encoder: TextEncoder) -> str:
    """Fingerprint of all that decides the fine-tuned teacher."""
    return fingerprint(
        dataclasses.asdict(settings.teacher),
        settings.scheme,
        settings.seed,
        data.labels.names,
        data.fingerprint,
        encoder.fingerprint,
        keras.config.dtype_policy().name,
    )


class DistillationRun:
    """Distils a tagging teacher into a BiLSTM student inside a run directory.

    Each step leaves its result in the directory and takes it from there when it is run again, so
    the same call goes on after a kill, and ends in the same student.

    Args:
        directory: An open `RunDirectory`.
        data: The text.
        settings: Everything else.
        encoder: The teacher's word pieces.
        make_teacher: Gives the teacher to start from; called only when there is no fine-tuned one.
        teacher: A fine-tuned teacher to take as it is, in place of `make_teacher`.

    Example:
        ```python
        with RunDirectory.open("run", config) as directory:
            result = DistillationRun(directory, data, settings, encoder, make_teacher).run()
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
        encoder: TextEncoder,
        make_teacher: Callable[[], Teacher] | None = None,
        teacher: TrainedModel | None = None,
    ):
        self.directory = directory
        self.data = data
        self.settings = settings
        self.make_teacher = make_teacher
        self.given_teacher = teacher
        self.task = Tagging(data.labels, encoder, settings.scheme)
        self.lengths = bucket_lengths(encoder.seq_len)
        self.reuse = Path(settings.reuse_from) if settings.reuse_from else None

    def run(self) -> RunResult:
        """Does what is not done yet.

        Raises:
            InputError: If the text cannot be used, or a loss turns NaN.
            StorageError: If there is no room; the same call goes on once there is.
        """
        teacher, teacher_test = self.prepare_teacher()
        stores = self._stores(teacher)
        student = self._student(teacher, stores)
        stages = self._distil(student, teacher, stores)
        with self.directory.clock.running("distillation"):
            student_test = self._test_scores(student, self.directory.student)
        return RunResult(
            *(teacher, student, teacher_test, student_test, stages, self._passes(stores)),
            truncation=self.text.truncation,
        )

    # The teacher

    def prepare_teacher(self) -> tuple[TrainedModel, dict[str, Any] | None]:
        """Encodes the labeled text and fine-tunes the teacher, unless that is done.

        Returns:
            The teacher, and its scores on test (`None` where there is no test text).
        """
        with self.directory.clock.running("tokenize"):
            self.text = EncodedText(self.task, self.data)
        if self.given_teacher is not None:
            return self.given_teacher, None
        teacher = self._teacher()
        with self.directory.clock.running("teacher"):
            return teacher, self._test_scores(teacher, self.directory.teacher)

    def _teacher(self) -> TrainedModel:
        folder = self.directory.teacher
        key = teacher_key(self.settings, self.data, self.task.encoder)
        if self.reuse:
            link_finished_teacher(self.reuse, self.directory, key)
        if (folder / "config.json").exists():
            held = read_json(folder / "key.json")
            if not held or held["key"] != key:
                raise InputError(
                    f"{folder}: holds a teacher made from another checkpoint, text or labels; give "
                    "another output directory, or --overwrite."
                )
            return TrainedModel.load(folder)
        with self.directory.clock.running("teacher"):
            keras.utils.set_random_seed(derive_seed(self.settings.seed, 0, "teacher"))
            model = self.make_teacher()
            trained = TrainedModel(model, self.task)
            record: dict[str, Any] = {}
            if self.settings.teacher.epochs:
                record = self._fine_tune(trained)
            # Before the model, whose config.json comes last and says that the folder is whole.
            write_json(make_folder(folder) / "key.json", {"key": key, **record})
            trained.save(folder, facts={"Fine-tuned": f"{record.get('epochs', 0)} epochs"})
        return trained

    def _fine_tune(self, trained: TrainedModel) -> dict[str, Any]:
        logger.info("teacher: fine-tuning on %d labeled sentences", len(self.text.train))
        stage = self.settings.teacher.stage()
        store = self._plain_store("labeled", self.text.train)
        trainer = StageTrainer(
            stage,
            0,
            trained.model,
            StageData([store], [], self.lengths),
            self.directory.stage(0, stage.name),
            dataclasses.replace(
                self.settings.training, jit_compile=self.settings.teacher_jit_compile
            ),
            score=self._dev_score(trained),
            events=self.directory.events,
        )
        return trainer.run()

    def _dev_score(self, trained: TrainedModel) -> Callable[[], float]:
        run = BatchedInference(trained.model, self.lengths)

        def score() -> float:
            scores = self.task.evaluate(run, self.text.dev, self.data.dev)
            return self.task.main_metric(scores)

        return score

    def _test_scores(self, trained: TrainedModel, folder: Path) -> dict[str, Any] | None:
        if not self.data.test:
            return None
        path = folder / "test.json"
        scores = read_json(path)
        if scores is None:
            scores = self.task.evaluate(trained.inference, self.text.test, self.data.test)
            write_json(path, scores)
        return scores

    # The text, with the teacher's outputs

    def _plain_store(self, name: str, examples: Iterable[EncodedExample]) -> RecordStore:
        key = fingerprint("encoded", name, self.data.fingerprint, self.task.encoder.fingerprint)
        return write_records(self.directory.records / name, examples, key=key)

    def _stores(self, teacher: TrainedModel) -> dict[str, RecordStore]:
        """`transfer`, `labeled` and `dev`, as far as the stages read them."""
        needs = needed_teacher_outputs(self.settings.stages)
        kinds = {stage.data for stage in self.settings.stages}
        layers = tuple(sorted({layer for kind, _ in needs.values() for layer in kind}))
        any_logits = any(logits for _, logits in needs.values())
        stores = {}
        if kinds & {"transfer", "both"}:
            stores["transfer"] = self._store("transfer", teacher, *needs["transfer"])
        if kinds & {"labeled", "both"}:
            stores["labeled"] = self._store("labeled", teacher, *needs["labeled"])
        stores["dev"] = self._store("dev", teacher, layers, any_logits)
        return stores

    def _store(
        self, name: str, teacher: TrainedModel, layers: tuple[int, ...], logits: bool
    ) -> RecordStore:
        if self.settings.online or not (layers or logits):
            folder = self.directory.records / name
            with self.directory.clock.running("tokenize"):
                store = self._plain_store(name, self.text.examples(name, folder))
            self.text.recall_truncation(name, folder)
            return store
        folder = self.directory.teacher_targets / name
        text = fingerprint(name, self.data.fingerprint, self.task.encoder.fingerprint)
        layers, logits = link_finished_targets(
            self.reuse / "teacher_targets" / name if self.reuse else None,
            folder,
            (layers, logits),
            lambda *held: targets_key(teacher.model, text, *held),
        )
        logger.info("targets: the teacher reads the %s text", name)
        lengths = {"labeled": len(self.text.train), "dev": len(self.text.dev)}
        total = lengths.get(name, self.data.transfer_size)
        clock = self.directory.clock.running("targets")
        with clock, Progress(total, f"targets, {name}") as progress:
            store = compute_targets(
                folder,
                self.text.examples(name, folder),
                teacher=teacher.model,
                text=text,
                layers=layers,
                logits=logits,
                lengths=self.lengths,
                token_budget=_TARGET_TOKENS,
                jit_compile=self.settings.teacher_jit_compile,
                on_progress=progress.reach,
            )
        self.text.recall_truncation(name, folder)
        return store

    def _passes(self, stores: dict[str, RecordStore]) -> float:
        """How often the teacher's outputs were computed for the text, over all calls."""
        if self.settings.online:
            epochs = (
                entry["epochs"]
                for entry, stage in zip(self._stage_records, self.settings.stages, strict=True)
                if stage.needs_teacher
            )
            return float(sum(epochs))
        runs = [TeacherRuns.read(store.folder) for store in stores.values()]
        examples = sum(run.examples for run in runs)
        if examples:
            logger.info(
                "teacher: ran on %d sentences for %d; %d values beyond float16",
                sum(run.examples_run for run in runs),
                examples,
                sum(run.clipped for run in runs),
            )
        return sum(run.examples_kept for run in runs) / examples if examples else 0.0

    # The student

    def _student(self, teacher: TrainedModel, stores: dict[str, RecordStore]) -> TrainedModel:
        shape, model = self.settings.student, teacher.model
        kept = self._kept_pieces(stores)
        keras.utils.set_random_seed(derive_seed(self.settings.seed, 0, "student"))
        student = BiLSTMStudent(
            vocabulary_size=model.vocabulary_size if kept is None else len(kept),
            num_classes=self.task.num_classes,
            embedding_dim=shape.embedding_dim,
            hidden_dim=shape.hidden_dim,
            representation_dim=model.hidden_dim,
            dropout=shape.dropout,
            kept_token_ids=kept,
            unknown_token_id=self.task.encoder.unk_id,
        )
        matrix = model.embedding_matrix()
        rows = matrix if kept is None else matrix[kept]
        student.set_embeddings(
            compress_embeddings(
                rows,
                shape.embedding_dim,
                shape.embedding_init,
                seed=derive_seed(self.settings.seed, 0, "embeddings"),
            )
        )
        return TrainedModel(student, self.task)

    def _kept_pieces(self, stores: dict[str, RecordStore]) -> np.ndarray | None:
        """Teacher ids of the pieces in train and transfer text, with the special ones."""
        minimum = self.settings.student.min_piece_count
        if not minimum:
            return None
        path = self.directory.records / "kept_token_ids.json"
        kept = read_json(path)
        if kept is None:
            encoder = self.task.encoder
            counts = PrunedVocabulary.count(self.text.train, encoder.vocabulary_size)
            for token_ids in self._transfer_ids(stores):
                np.add.at(counts, token_ids, 1)
            vocabulary = PrunedVocabulary.from_counts(
                counts, special_ids=encoder.special_ids, unk_id=encoder.unk_id, min_count=minimum
            )
            kept = vocabulary.kept_ids.tolist()
            make_folder(path.parent)
            write_json(path, kept)
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
        score = self._dev_score(student)
        self._stage_records: list[dict[str, Any]] = []
        for number, stage in enumerate(self.settings.stages, 1):
            names = ("labeled", "transfer") if stage.data == "both" else (stage.data,)
            data = StageData([stores[name] for name in names], [stores["dev"]], self.lengths)
            directory = self.directory.stage(number, stage.name)
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
                )
                record = trainer.run()
            logger.info(
                "stage %d/%d %s: dev F1 %.4f",
                number,
                len(self.settings.stages),
                stage.name,
                record["dev_metric"],
            )
            self._stage_records.append(record)
        for layers in student.model.layer_groups.values():
            for layer in layers:
                layer.trainable = True
        if not (self.directory.student / "config.json").exists():
            student.save(self.directory.student, facts=self._facts(teacher))
        return self._stage_records

    def _facts(self, teacher: TrainedModel) -> dict[str, Any]:
        languages = sorted({sentence.language for sentence in self.data.train})
        return {
            "Teacher": f"{teacher.model.name}, {teacher.model.count_params():,} parameters",
            "Languages of the labeled text": ", ".join(languages),
            "Stages": ", ".join(stage.name for stage in self.settings.stages),
            "Seed": self.settings.seed,
        }
