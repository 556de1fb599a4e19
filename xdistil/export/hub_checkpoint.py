"""A transformer model as a checkpoint in the hub's format, which transformers can load."""

import os
from pathlib import Path

from xdistil.errors import InputError
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.tasks import TrainedModel


def export_hub(trained: TrainedModel, folder: str | os.PathLike[str]) -> Path:
    """Writes config.json, model.safetensors and the tokenizer, as the hub has them.

    transformers' own classes load the folder (`AutoModelForTokenClassification` or
    `AutoModelForSequenceClassification`) and give the same outputs; so does `--teacher=FOLDER`.

    Args:
        trained: A transformer student or a teacher.
        folder: Made where it is not there.

    Returns:
        The folder.

    Raises:
        InputError: The model is no transformer, reads a pruned vocabulary (without its other
            pieces a tokenizer would cut words otherwise), or is none that its family can store.
        StorageError: There is no room.
    """
    model = trained.model
    if not isinstance(model, EncoderWithHead):
        raise InputError(f"{type(model).__name__}: only transformers have a format of the hub")
    if getattr(model, "kept_token_ids", None) is not None:
        raise InputError(
            "the hub's format has no place for a pruned vocabulary: without its other pieces the "
            "tokenizer would cut words otherwise; keep all pieces (--min_piece_count=0)"
        )
    groups = model.layer_groups
    try:
        write_checkpoint(
            folder,
            model.encoder,
            architecture=model.hub_architecture,
            layers={name: groups[name][0] for name in (*model.groups_below_head, "head")},
            label_names=trained.task.class_names,
            pad_token_id=trained.task.encoder.pad_id,
        )
    except ValueError as error:
        raise InputError(f"the student cannot be written in the hub's format: {error}") from error
    trained.task.encoder.save(folder)
    return Path(folder)
