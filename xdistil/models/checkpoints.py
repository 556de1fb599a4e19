"""Checkpoints in the hub's format: config.json and safetensors, read without PyTorch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (lets safetensors read bfloat16 into numpy)
import numpy as np
import safetensors

from xdistil.data.paths import AnyPath, as_path, local_folder
from xdistil.errors import InputError
from xdistil.models.activations import activation_of_checkpoint
from xdistil.models.encoder import Encoder, EncoderConfig
from xdistil.models.families import FAMILIES, Family
from xdistil.models.presets import only_a_pickle
from xdistil.models.stored_weights import from_stored, stored_names, stored_shape

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class Checkpoint:
    """A checkpoint folder in the hub's format, opened and checked; tensors are read when asked for.

    Args:
        folder: Holds config.json and model.safetensors, or its shards with
            model.safetensors.index.json.

    Attributes:
        config: config.json as it stands.
        family: the `Family` of its `model_type`.
        encoder_config: the `EncoderConfig` that it describes.

    Raises:
        InputError: no such folder; no or a broken config.json; an unknown model type; no
            safetensors, or broken ones.

    Example:

    ```python
    checkpoint = Checkpoint("path/to/folder")
    encoder = Encoder(checkpoint.encoder_config)
    load_encoder_weights(encoder, checkpoint)
    ```
    """

    def __init__(self, folder: str | AnyPath):
        self.folder = local_folder(as_path(folder))
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder; expected a checkpoint's folder")
        self._config_file = self.folder / "config.json"
        self.config = _read_json(self._config_file, "the settings of a checkpoint")
        self.family = self._find_family()
        self.encoder_config = read_encoder_config(self.family, self.config, self._config_file)
        self._files = self._find_tensors()
        self.prefix = self._find_prefix()

    def _find_family(self) -> Family:
        model_type = self.config.get("model_type")
        if str(self.config.get("format")).startswith("xdistil "):
            raise InputError(_made_here(self.folder, self.config))
        if not isinstance(model_type, str) or model_type not in FAMILIES:
            raise InputError(
                f"{self._config_file}: model_type is {model_type!r}; "
                f"expected one of: {', '.join(sorted(FAMILIES))}"
            )
        return FAMILIES[model_type]

    def _find_tensors(self) -> dict[str, AnyPath]:
        """Name of each tensor -> the file that holds it."""
        whole, index = self.folder / _WEIGHTS, self.folder / _INDEX
        if whole.is_file():
            return dict.fromkeys(_tensor_names(whole), whole)
        if index.is_file():
            return self._read_index(index)
        if any(self.folder.glob("pytorch_model*.bin")):
            raise only_a_pickle(self.folder, self.config.get("architectures"))
        raise InputError(f"{self.folder}: holds no weights; expected {_WEIGHTS} or {_INDEX}")

    def _read_index(self, index: AnyPath) -> dict[str, AnyPath]:
        weight_map = _read_json(index, "an index of weight files").get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise InputError(f"{index}: has no 'weight_map'; expected tensor names and their files")
        shards = {str(file): self.folder / str(file) for file in weight_map.values()}
        for name, shard in shards.items():
            # A shard's name is a file of this folder, never a way out of it.
            if Path(name).name != name or name == "..":
                raise InputError(f"{index}: names the shard {name!r}; expected a bare file name")
            if not shard.is_file():
                raise InputError(f"{shard}: missing, though {_INDEX} names it; fetch it again")
        present = {name: set(_tensor_names(shard)) for name, shard in shards.items()}
        for tensor, file in weight_map.items():
            if tensor not in present[file]:
                raise InputError(f"{shards[file]}: has no {tensor!r}, though {_INDEX} says so")
        return {tensor: shards[file] for tensor, file in weight_map.items()}

    def _find_prefix(self) -> str:
        prefix = self.family.prefix
        return prefix if any(name.startswith(prefix) for name in self._files) else ""

    def _read_label_names(self, head: str) -> tuple[str, ...]:
        rows = self.shape(f"{head}.weight")[0]
        id2label = self.config.get("id2label") or {index: f"LABEL_{index}" for index in range(rows)}
        if not isinstance(id2label, dict) or not all(str(key).isdecimal() for key in id2label):
            raise InputError(
                f"{self._config_file}: id2label is no table of row numbers and names; write "
                'one such as {"0": "O", "1": "B-PER"}'
            )
        names = {int(index): str(name) for index, name in id2label.items()}
        if sorted(names) != list(range(rows)) or len(set(names.values())) != rows:
            raise InputError(
                f"{self._config_file}: id2label has {len(id2label)} entries, {head}.weight has "
                f"{rows} rows; expected one different name for each row, 0 to {rows - 1}"
            )
        return tuple(names[index] for index in range(rows))

    def _has_head(self, head: str, architecture: str, with_pooler: bool) -> bool:
        # Heads for tokens and for whole texts have the same name and shape in most families.
        if f"{head}.weight" not in self._files:
            return False
        architectures = self.config.get("architectures")
        if isinstance(architectures, str):
            architectures = [architectures]
        if architectures:
            if not isinstance(architectures, list):
                raise InputError(
                    f"{self._config_file}: architectures is {architectures!r}; expected a list of "
                    'names such as ["BertForTokenClassification"]'
                )
            return any(architecture in str(name) for name in architectures)
        return with_pooler == any(name.startswith(f"{self.pooler}.") for name in self._files)

    @property
    def pooler(self) -> str:
        """The name of the dense layer below the head of whole texts, prefix included."""
        prefix = self.prefix if self.family.pooler_in_encoder else ""
        return f"{prefix}{self.family.pooler}"

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the classes of a fine-tuned tagger, in the order of its rows; None where the
        checkpoint has no token-classification head.

        Raises:
            InputError: `id2label` of config.json does not fit the head.
        """
        head = self.family.head
        if not self._has_head(head, "ForTokenClassification", with_pooler=False):
            return None
        return self._read_label_names(head)

    @property
    def text_label_names(self) -> tuple[str, ...] | None:
        """As `label_names`, of a fine-tuned classifier of texts or pairs."""
        head = self.family.text_head
        if not self._has_head(head, "ForSequenceClassification", with_pooler=True):
            return None
        return self._read_label_names(head)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    @property
    def names(self) -> list[str]:
        """The names of all tensors, sorted."""
        return sorted(self._files)

    def file_of(self, name: str) -> AnyPath:
        """The file that holds a tensor."""
        return self._files[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        with safetensors.safe_open(self._files[name], framework="numpy") as file:
            return tuple(file.get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32, whatever float type it is stored in."""
        try:
            with safetensors.safe_open(self._files[name], framework="numpy") as file:
                return np.asarray(file.get_tensor(name)).astype(np.float32)
        except (safetensors.SafetensorError, TypeError, ValueError) as error:
            raise InputError(f"{self._files[name]}: cannot read {name!r}: {error}") from None


def _made_here(folder: AnyPath, config: dict[str, Any]) -> str:
    """What to do with a folder of ours where a checkpoint is asked for."""
    if str(config["format"]).startswith("xdistil run"):
        return (
            f"{folder}: the directory of a run, no checkpoint; give its export/hub, which "
            "transformer students have, or take the run up: its student by --continue_from, its "
            "teacher by --reuse_from"
        )
    model = config.get("model")
    name = str(model.get("class_name")) if isinstance(model, dict) else ""
    found = f"{folder}: a model in the format of xdistil, no checkpoint"
    if name.endswith("Teacher"):
        return (
            f"{found}; to teach another student by it, give --reuse_from its run; to make a "
            "checkpoint of it: xdistil.export_hub(xdistil.load(folder), another_folder)"
        )
    if name.startswith("Transformer"):
        return f"{found}; give its run's export/hub, or train it further by --continue_from"
    return f"{found}, and {name or 'such a model'} has none; train it further by --continue_from"


def read_encoder_config(family: Family, config: dict[str, Any], source: object) -> EncoderConfig:
    """The settings of an encoder out of a checkpoint's config.json.

    Args:
        family: The family of its `model_type`.
        config: Its content.
        source: What errors name, the file.

    Raises:
        InputError: a setting that is missing, broken, or beyond what `Encoder` computes.
    """
    fields = dict(family.defaults)
    for field, key in family.settings.items():
        if config.get(key) is not None:
            fields[field] = config[key]
        elif field not in fields:
            raise InputError(f"{source}: has no {key!r}; add it")
    for key in ("is_decoder", "add_cross_attention"):
        if config.get(key):
            raise InputError(
                f"{source}: {key} is {config[key]!r}: a decoder, whose pieces see only those "
                "before them; only encoders are known; give a checkpoint of one"
            )
    hidden_act = fields["activation"]
    fields["activation"] = activation_of_checkpoint(hidden_act)
    if fields["activation"] is None:
        raise InputError(
            f"{source}: {family.settings['activation']} is {hidden_act!r}; expected gelu, "
            "gelu_new, relu or silu"
        )
    for key, value in {"position_embedding_type": "absolute", **family.required}.items():
        if (config.get(key) or value) != value:
            raise InputError(f"{source}: {key} is {config[key]!r}; only {value!r} is known")
    try:
        read = EncoderConfig(family=family.name, **fields)
        return _counted_after_padding(read, config) if family.positions_after_padding else read
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _counted_after_padding(encoder_config: EncoderConfig, config: dict[str, Any]) -> EncoderConfig:
    pad = config.get("pad_token_id")
    pad = 1 if pad is None else pad
    if isinstance(pad, bool) or not isinstance(pad, int) or pad < 0:
        raise InputError(f"pad_token_id is {pad!r}: expected an integer of at least 0")
    return dataclasses.replace(
        encoder_config, position_offset=pad + 1, max_length=encoder_config.max_length - pad - 1
    )


def load_encoder_weights(encoder: Encoder, checkpoint: Checkpoint) -> list[str]:
    """Fills an encoder from a checkpoint; every weight of both must find its place.

    All names and shapes are checked before the first weight is read, so that a wrong file costs no
    time and changes nothing.

    Args:
        encoder: Built from the checkpoint's `encoder_config` (dropout may differ).
        checkpoint: Where the weights are.

    Returns:
        Names of tensors that are neither the encoder's nor known parts that an encoder has no use
        for (pooler, language-model head): those of a head, such as `classifier.weight`.

    Raises:
        InputError: a weight that is missing, left over inside the encoder, or of another shape.
    """
    named_weights = encoder.named_weights()
    tensors = _find_tensors(checkpoint, named_weights)
    left_over = _left_over(checkpoint, used=set(tensors.values()))
    for name, variable in named_weights.items():
        expected = stored_shape(name, tuple(variable.shape))
        check_shape(checkpoint, tensors[name], expected, "by config.json")
    for name, variable in named_weights.items():
        value = checkpoint.read(tensors[name])
        variable.assign(from_stored(name, value, tuple(variable.shape)))
    return left_over


def check_shape(checkpoint: Checkpoint, tensor: str, expected: tuple[int, ...], why: str) -> None:
    """Compares a tensor's shape with the one expected.

    Raises:
        InputError: they differ; the message names the file, the tensor and both shapes.
    """
    found = checkpoint.shape(tensor)
    if found != expected:
        raise InputError(
            f"{checkpoint.file_of(tensor)}: {tensor!r} has shape {found}; expected {expected} {why}"
        )


def _find_tensors(checkpoint: Checkpoint, named_weights: dict[str, Any]) -> dict[str, str]:
    """Neutral name of each weight -> name of its tensor in the checkpoint."""
    tensors, missing = {}, []
    for name, variable in named_weights.items():
        candidates = [
            checkpoint.prefix + tensor for tensor in stored_names(checkpoint.family, name)
        ]
        present = [tensor for tensor in candidates if tensor in checkpoint]
        if present:
            tensors[name] = present[0]
        else:
            missing.append((candidates[0], stored_shape(name, tuple(variable.shape))))
    if missing:
        tensor, shape = missing[0]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"{checkpoint.folder}: the weights lack {tensor!r} of shape {shape}{more}, which "
            "config.json asks for; is the file whole, and does it belong to this config.json?"
        )
    return tensors


def _left_over(checkpoint: Checkpoint, used: set[str]) -> list[str]:
    family = checkpoint.family
    heads, unplaced = [], []
    for tensor in checkpoint.names:
        name = tensor.removeprefix(checkpoint.prefix)
        if tensor in used or name.split(".")[-1] in family.ignored:
            continue
        if name.startswith(family.other_heads):
            continue
        inside = name.startswith(family.scopes) and tensor.startswith(checkpoint.prefix)
        (unplaced if inside else heads).append(tensor)
    if unplaced:
        more = f" and {len(unplaced) - 1} more" if len(unplaced) > 1 else ""
        raise InputError(
            f"{checkpoint.file_of(unplaced[0])}: holds {unplaced[0]!r} of shape "
            f"{checkpoint.shape(unplaced[0])}{more}, which config.json has no place for; do the "
            "weights belong to this config.json?"
        )
    return heads


def _read_json(path: AnyPath, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; expected {what}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no UTF-8 text; expected {what}") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: broken JSON ({error.msg}); expected {what}"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; expected {what}, an object")
    return content


def _tensor_names(path: AnyPath) -> list[str]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: broken or cut short ({error}); expected safetensors; fetch it again"
        ) from None
