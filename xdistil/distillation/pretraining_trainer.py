"""Trains a masked language model, alone or beside its teacher, through steps of micro-batches."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xdistil.data.atomic_files import read_json, write_json
from xdistil.data.masked_steps import count_steps, held_out_batches, masked_steps
from xdistil.data.masking import Masker, MaskingSettings
from xdistil.data.paths import AnyPath
from xdistil.data.pretraining_text import PretrainingText
from xdistil.data.record_batches import Share
from xdistil.data.records import RecordStore
from xdistil.distillation.accumulating_distiller import AccumulatingDistiller
from xdistil.distillation.distiller import Distiller
from xdistil.distillation.masked_lm_scores import MaskedLMScorer
from xdistil.distillation.seeds import derive_seed
from xdistil.distillation.stage_data import StageData, StageSettings
from xdistil.distillation.stage_directory import StageDirectory
from xdistil.distillation.stage_trainer import StageTrainer
from xdistil.distillation.stages import Stage
from xdistil.distillation.step_watch import Position
from xdistil.errors import InputError

# Masks are drawn over a batch: another number here would make scores of older runs others.
_HELD_OUT_BATCH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedLMData(StageData):
    """What pre-training reads, and how it is masked.

    Args:
        train: Stores to train on.
        dev: Held-out stores.
        lengths: Bucket lengths, ascending.
        masker: For training.
        dev_masker: For held-out text; its masks are the same at each evaluation.
        micro_batch_size: Examples that a device computes at a time; divides the batch size.
        masked_only: Logits are computed at masked positions alone.
    """

    masker: Masker
    dev_masker: Masker
    micro_batch_size: int = 8
    masked_only: bool = False

    @classmethod
    def of_text(
        cls,
        text: PretrainingText,
        special_ids: Sequence[int],
        mask_id: int,
        *,
        masking: MaskingSettings,
        seed: int,
        data_seed: int = 0,
        **settings: Any,
    ) -> "MaskedLMData":
        """The data of a corpus.

        Args:
            text: The corpus.
            special_ids: Ids of pieces that are never masked.
            mask_id: Id of the mask token.
            masking: How much is masked.
            seed: Of the run: masks of what is learned from.
            data_seed: Masks of held-out text; the same for runs that are compared.
            **settings: `micro_batch_size`, `masked_only`.
        """
        train, dev = (
            Masker(text.piece_counts, special_ids, mask_id, masking, derive_seed(own, 0, purpose))
            for own, purpose in ((seed, "masks"), (data_seed, "dev masks"))
        )
        stores = ([text.train], [text.dev], text.lengths)
        return cls(*stores, masker=train, dev_masker=dev, **settings)

    def steps(self, batch_size: int, stores: Sequence[RecordStore] | None = None) -> int:
        batches = super().steps(self.micro_batch_size, stores)
        return count_steps(batches, batch_size // self.micro_batch_size)

    def held_out_batches(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """Held-out text under the same masks at each call, whatever the micro-batches' size."""
        return held_out_batches(
            self.dev,
            lengths=self.lengths,
            batch_size=_HELD_OUT_BATCH,
            masker=self.dev_masker,
        )

    @property
    def pieces(self) -> int:
        """Real positions of an epoch, special tokens counted."""
        return sum(
            length * int(count)
            for store in self.train
            for length, count in enumerate(store.length_histogram)
        )


class PretrainingTrainer(StageTrainer):
    """`StageTrainer` for masked language models: other steps, and perplexity on held-out text.

    The best epoch by held-out perplexity is handed on; the last one is kept beside it.

    Args:
        stage: Its batch size is that of a step, over all micro-batches and devices.
        model: The `MaskedLM` that learns; changed in place.
        data: What it reads.
        directory: Where its state lies.
        settings: How to train.
        teacher: The `MaskedLM` that it learns from, where the stage's losses want one.
        events: Folder for TensorBoard's events; `None` writes none.

    Raises:
        InputError: The batch size is no multiple of the micro-batches' over all devices; a loss
            turns NaN.
    """

    distiller_class = AccumulatingDistiller
    data: MaskedLMData

    def __init__(
        self,
        stage: Stage,
        model: keras.Model,
        data: MaskedLMData,
        directory: StageDirectory,
        settings: StageSettings,
        *,
        teacher: keras.Model | None = None,
        events: AnyPath | None = None,
    ):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if stage.batch_size % (data.micro_batch_size * replicas):
            raise InputError(
                f"batch_size {stage.batch_size} is no multiple of micro_batch_size "
                f"{data.micro_batch_size}" + (f" x {replicas} devices" if replicas > 1 else "")
            )
        # Through XLA on one device only: it cannot read what lies on several.
        self.scorer = MaskedLMScorer(
            model, data.held_out_batches, settings.jit_compile and replicas == 1
        )
        super().__init__(
            *(stage, 1, model, data, directory, settings),
            score=self._score,
            teacher=teacher,
            events=events,
        )

    @property
    def last(self) -> AnyPath:
        """Weights of the last epoch."""
        return self.directory.path / "last.safetensors"

    @property
    def before(self) -> dict[str, float]:
        """Scores on held-out text before the first step, `perplexity` and others; empty before."""
        return read_json(self.directory.path / "before.json") or {}

    def _score(self) -> float:
        self._scores = self.scorer.scores()
        return self.selection_score({"dev_perplexity": self._scores["perplexity"]})

    def train_batches(self, epoch: int, first_step: int) -> Any:
        def read(share: Share | None) -> tf.data.Dataset:
            return masked_steps(
                self.data.train,
                lengths=self.data.lengths,
                micro_batch_size=self.data.micro_batch_size,
                micro_batches=self.stage.batch_size // self.data.micro_batch_size,
                masker=self.data.masker,
                masked_only=self.data.masked_only,
                seed=derive_seed(self.settings.seed, self.number, "order"),
                epoch=epoch,
                first_step=first_step,
                share=share,
            )

        return self.dealt(read, self.steps - first_step)

    def dev_scores(self, distiller: Distiller) -> dict[str, float]:
        scores = self.scorer.scores().items()
        return {f"dev_{name}": self.workers.agree(value) for name, value in scores}

    def selection_score(self, logs: dict[str, float]) -> float:
        return -logs["dev_perplexity"]

    def _beginning(self) -> Position:
        position = super()._beginning()
        if position.best_score is not None and self.workers.is_chief:
            write_json(self.directory.path / "before.json", self._scores, checked=True)
        return position

    def _finish(self, position: Position) -> dict[str, Any]:
        self._save_weights(self.last)
        return super()._finish(position)
