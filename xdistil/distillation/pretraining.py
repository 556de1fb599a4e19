"""Pre-training of a masked language model, alone or from its teacher, in a run directory."""

import contextlib
import dataclasses
import logging
from typing import Any

from xdistil.data.atomic_files import read_json, write_json
from xdistil.data.encoding import TextEncoder
from xdistil.data.paths import AnyPath
from xdistil.data.pretraining_text import PretrainingText
from xdistil.distillation.masked_lm_scores import MaskedLMScorer
from xdistil.distillation.pretraining_settings import PretrainingSettings
from xdistil.distillation.pretraining_trainer import MaskedLMData, PretrainingTrainer
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.state import load_state
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.masked_lm import MaskedLM

logger = logging.getLogger("xdistil")
_FEW_STEPS = 100


@dataclasses.dataclass(frozen=True)
class PretrainingResult:
    """What a pre-training has come to.

    Args:
        model: With the weights of the best epoch.
        folder: Where it lies as a checkpoint in the hub's format.
        record: What the trainer tells of the stage.
        history: A dict an epoch: `epoch`, `loss`, each term, `dev_mlm`, `dev_perplexity`,
            `dev_accuracy`.
        before: `perplexity` and `accuracy` on held-out text, before the first step.
        teacher_perplexity: Of the teacher on the same masks; None without one, and where its head
            is a fresh one.
        pieces_per_second: Real positions that were learned from.
    """

    model: MaskedLM
    folder: AnyPath
    record: dict[str, Any]
    history: list[dict[str, float]]
    before: dict[str, float]
    teacher_perplexity: float | None
    pieces_per_second: float


class PretrainingRun:
    """Trains a masked language model, and writes it as a checkpoint in the hub's format.

    With a teacher the model is a student of the triple loss; without one it learns from masked
    text alone: continued pre-training of a teacher, before it is fine-tuned or distilled. Done
    again, it goes on where it stopped, also in the middle of an epoch, and ends in the same bits.

    What it writes into the run directory: `student/` (or `teacher/`, where it learns alone), the
    best epoch by perplexity on held-out text; `last/`, the last epoch, where that is another one.

    Args:
        directory: The run directory.
        text: The text, encoded.
        encoder: From text to pieces; written beside the model.
        settings: How it is trained.
        model: What learns; changed in place.
        teacher: What it learns from.

    Example:

    ```python
    teacher = MaskedLM.from_preset("teacher", need_head=True)
    student = masked_lm_student(teacher, chosen_layers("spread", teacher.num_layers, 6))
    encoder = TextEncoder.from_folder("teacher", seq_len=512)
    with RunDirectory.open("run", {"what": "distilbert"}) as directory:
        text = write_pretraining_text(
            directory.records, ["text/*.txt.gz"], encoder, fingerprint="text 1"
        )
        settings = PretrainingSettings()
        result = PretrainingRun(directory, text, encoder, settings, student, teacher).run()
    ```

    Reference:
        [Sanh et al., 2019](https://arxiv.org/abs/1910.01108)
    """

    def __init__(
        self,
        directory: RunDirectory,
        text: PretrainingText,
        encoder: TextEncoder,
        settings: PretrainingSettings,
        model: MaskedLM,
        teacher: MaskedLM | None = None,
    ):
        self.directory = directory
        self.encoder = encoder
        self.settings = settings if teacher is not None else settings.alone()
        self.model = model
        self.teacher = teacher
        self.data = MaskedLMData.of_text(
            text,
            encoder.special_ids,
            encoder.mask_id,
            masking=settings.masking,
            seed=settings.seed,
            data_seed=settings.data_seed,
            micro_batch_size=settings.micro_batch_size,
            masked_only=self.settings.logits_at_masks,
        )
        name = "masked_lm" if teacher is None else "distillation"
        depth = (teacher or model).num_layers
        self.trainer = PretrainingTrainer(
            self.settings.stage(name, depth),
            model,
            self.data,
            directory.stage(1, name),
            dataclasses.replace(settings.training, seed=settings.seed),
            teacher=teacher,
            events=directory.events,
        )

    @property
    def folder(self) -> AnyPath:
        """Where the trained model goes."""
        return self.directory.teacher if self.teacher is None else self.directory.student

    def run(self) -> PretrainingResult | None:
        """Does what is not done yet.

        Returns:
            What came of it; `None` in workers other than the chief, who writes and scores.

        Raises:
            InputError: A loss turns NaN.
            StorageError: There is no room; the same call goes on once there is.
        """
        self._say_what_comes()
        with self.directory.clock.running("distillation"):
            record = self.trainer.run()
        for layers in self.model.layer_groups.values():
            for layer in layers:
                layer.trainable = True
        if not self.trainer.workers.is_chief:
            return None
        self._say_what_came(record)
        history = self.trainer.directory.history()
        self._write_models(record)
        return PretrainingResult(
            model=self.model,
            folder=self.folder,
            record=record,
            history=history,
            before=self.trainer.before,
            teacher_perplexity=self._teacher_perplexity(),
            pieces_per_second=(
                self.data.pieces * record["epochs"] / record["seconds"]
                if record["seconds"]
                else 0.0
            ),
        )

    def _say_what_comes(self) -> None:
        steps = self.trainer.steps * self.settings.epochs
        logger.info(
            "text: %d examples of %d pieces to learn from, %d held out; %d steps of %d examples",
            self.data.examples,
            self.data.pieces,
            sum(store.examples for store in self.data.dev),
            steps,
            self.settings.batch_size,
        )
        if steps < _FEW_STEPS:
            logger.warning("only %d steps: a smaller batch size gives more of them", steps)

    def _say_what_came(self, record: dict[str, Any]) -> None:
        perplexity = -record["dev_metric"]
        if record["best_epoch"]:
            logger.info(
                "%s: held-out perplexity %.2f after epoch %d of %d",
                *(record["name"], perplexity, record["best_epoch"], record["epochs"]),
            )
            return
        logger.warning(
            "%s: no epoch came below the held-out perplexity %.2f of the beginning, so %s/ is the "
            "model as it began; lower the learning rate, or give more steps or more text",
            *(record["name"], perplexity, self.folder.name),
        )

    def _write_models(self, record: dict[str, Any]) -> None:
        if not (self.folder / "config.json").exists():
            self._write(self.folder)
        last = self.directory.path / "last"
        if record["best_epoch"] == record["epochs"] or (last / "config.json").exists():
            return
        with self._weights_of(self.trainer.last):
            self._write(last)

    @contextlib.contextmanager
    def _weights_of(self, path: AnyPath):
        load_state(path, self.trainer.weights)
        try:
            yield
        finally:
            load_state(self.trainer.directory.final, self.trainer.weights)

    def _write(self, folder: AnyPath) -> None:
        # As long as the model reads, not only as long as it was trained here. The tokenizer first:
        # a folder with config.json is whole.
        TextEncoder(
            self.encoder.tokenizer,
            self.model.encoder_config.max_length,
            special_tokens=self.encoder.special_tokens,
            config=self.encoder.config,
        ).save(folder, segments=self.model.encoder_config.num_segments > 0)
        write_checkpoint(
            folder,
            self.model.encoder,
            architecture="masked_lm",
            layers=self.model.head_layers,
            pad_token_id=self.encoder.pad_id,
        )

    def _teacher_perplexity(self) -> float | None:
        if self.teacher is None:
            return None
        if self.teacher.has_fresh_head:
            logger.info("teacher: has no masked-LM head of its own, so no perplexity either")
            return None
        path = self.trainer.directory.path / "teacher.json"
        kept = read_json(path)
        if kept is None:
            kept = MaskedLMScorer(self.teacher, self.data.held_out_batches).scores()
            write_json(path, kept, checked=True)
        return kept["perplexity"]
