"""A transformer model as a checkpoint in the hub's format, which transformers can load."""

import os

from xdistil.data.atomic_files import make_folder, partial_path, replace_folder, storage_error
from xdistil.data.paths import AnyPath, as_path, remove_tree
from xdistil.errors import InputError
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.tasks import TrainedModel


def export_hub(
    trained: TrainedModel, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> AnyPath:
    """Writes config.json, model.safetensors and the tokenizer, as the hub has them.

    transformers' own classes load the folder (`AutoModelForTokenClassification` or
    `AutoModelForSequenceClassification`) and give the same outputs; so does `--teacher=FOLDER`.

    Args:
        trained: A transformer student or a teacher.
        folder: It appears whole or not at all.
        overwrite: Whether to replace a folder that is there.

    Returns:
        The folder.

    Raises:
        InputError: The folder is there already and not empty; the model is no transformer, reads
            a pruned vocabulary (without its other pieces a tokenizer would cut words otherwise), or
            is none that its family can store.
        StorageError: There is no room; what was there before stays.
    """
    model = trained.model
    if not isinstance(model, EncoderWithHead):
        raise InputError(f"{type(model).__name__}: only transformers have a format of the hub")
    if getattr(model, "kept_token_ids", None) is not None:
        raise InputError(
            "the hub's format has no place for a pruned vocabulary: without its other pieces the "
            "tokenizer would cut words otherwise; keep all pieces (--min_piece_count=0)"
        )
    folder = as_path(folder)
    if folder.exists() and _holds_something(folder) and not (overwrite and folder.is_dir()):
        raise InputError(
            f"{folder}: is there already and not empty; give another folder, or overwrite=True"
        )
    make_folder(folder.parent)
    partial = partial_path(folder)
    try:
        remove_tree(partial, ignore_errors=True)
        _write(trained, partial)
        replace_folder(partial, folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        remove_tree(partial, ignore_errors=True)
    return folder


def _holds_something(path: AnyPath) -> bool:
    return not path.is_dir() or any(path.iterdir())


def _write(trained: TrainedModel, folder: AnyPath) -> None:
    model, encoder = trained.model, trained.task.encoder
    groups = model.layer_groups
    try:
        write_checkpoint(
            folder,
            model.encoder,
            architecture=model.hub_architecture,
            layers={name: groups[name][0] for name in (*model.groups_below_head, "head")},
            label_names=trained.task.class_names,
            pad_token_id=encoder.pad_id,
            head_dropout=model.dropout,
        )
    except ValueError as error:
        raise InputError(f"the student cannot be written in the hub's format: {error}") from error
    encoder.save(
        folder,
        segments=model.encoder_config.num_segments > 0,
        whole_texts=trained.task.logits_positions == "texts",
    )
