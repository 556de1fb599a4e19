"""`TrainedModel`: a model with its task, kept as a folder of open formats."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

import xdistil.models
from xdistil.data.atomic_files import json_bytes, make_folder, read_json, write_bytes, write_json
from xdistil.data.batching import bucket_lengths
from xdistil.data.checksums import verify_checksums, write_checksums
from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.data.paths import AnyPath, as_path, local_file
from xdistil.data.tensor_files import write_tensors
from xdistil.errors import InputError
from xdistil.metrics.footprint import count_parameters
from xdistil.models.inference import BatchedInference
from xdistil.tasks.classification import Classification, PairClassification
from xdistil.tasks.tagging import Tagging
from xdistil.tasks.task import Task

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
LABELS_FILE = "labels.tsv"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_FORMAT = "xdistil model 1"
# As `RunDirectory` writes it, whatever its version.
_RUN_FORMAT = "xdistil run directory"
_KEPT = "kept_token_ids"
_POLICIES = ("float32", "float64", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16")
# Only these classes are ever built from a folder: what a config names is looked up, not imported.
_MODELS = (
    "BiLSTMStudent",
    "BiLSTMTextStudent",
    "SiameseBiLSTMStudent",
    "Teacher",
    "TextTeacher",
    "TransformerStudent",
    "TransformerTextStudent",
)
#: By the name in config.json.
TASKS = {task.name: task for task in (Tagging, Classification, PairClassification)}


class TrainedModel:
    """A teacher or student with what it needs to read text: the final product of a run.

    Args:
        model: A `Teacher` or a student.
        task: The task, which holds the labels and the encoder.

    Example:
        ```python
        trained = xdistil.load("runs/quickstart/student")
        print(trained.predict([["Ada", "Lovelace", "lived", "in", "London"]]))
        ```
    """

    def __init__(self, model: keras.Model, task: Task):
        self.model = model
        self.task = task
        self._run: BatchedInference | None = None

    @property
    def inference(self) -> BatchedInference:
        """The model over encoded examples, traced once."""
        if self._run is None:
            lengths = bucket_lengths(self.task.encoder.seq_len)
            self._run = BatchedInference(self.model, lengths)
        return self._run

    def predict(self, inputs: Iterable[Any]) -> list[Any]:
        """Answers of the model.

        Args:
            inputs: For tagging, sentences, each a sequence of words; for classification, texts; for
                pairs, tuples of two texts.

        Returns:
            One answer each, in order: for tagging a list of tags, one a word; else a label.

        Raises:
            InputError: `inputs` is one text itself.
        """
        if isinstance(inputs, str):
            raise InputError(f"predict: {inputs[:40]!r} is one text: give a list of them")
        examples = self.task.unlabeled(inputs)
        return self.task.predict(self.inference, list(self.task.encode(examples)))

    def evaluate(self, examples: Iterable[Any]) -> dict[str, Any]:
        """Scores on labeled examples, see the task's `evaluate`."""
        examples = list(examples)
        return self.task.evaluate(self.inference, list(self.task.encode(examples)), examples)

    def save(self, folder: str | AnyPath, facts: dict[str, Any] | None = None) -> None:
        """Writes the model as a folder: config, weights, tokenizer, labels, model card.

        Args:
            folder: Made where it is not there. config.json is written last: a folder with one is
                whole.
            facts: What the model card should tell: names to values.

        Raises:
            StorageError: If there is no room; what was there before stays.
        """
        folder = make_folder(folder)
        config = self.model.get_config()
        tensors = {name: variable.numpy() for name, variable in _named_weights(self.model)}
        kept = config.pop(_KEPT, None)
        if kept is not None:
            tensors[_KEPT] = np.asarray(kept, np.int32)
        write_tensors(folder / WEIGHTS_FILE, tensors)
        self.task.encoder.save(folder)
        write_bytes(folder / LABELS_FILE, "".join(f"{n}\n" for n in self.task.labels).encode())
        class_name = type(self.model).__name__
        write_bytes(folder / "README.md", self._model_card(class_name, facts or {}).encode())
        config = {
            "format": _FORMAT,
            "task": self.task.to_config() | {"seq_len": self.task.encoder.seq_len},
            "model": {"class_name": class_name, "config": config},
        }
        # Not of the card, which people may write in.
        files = (folder / name for name in (WEIGHTS_FILE, LABELS_FILE, *_TOKENIZER_FILES))
        write_checksums(folder, files, {CONFIG_FILE: json_bytes(config)})
        write_json(folder / CONFIG_FILE, config)

    @classmethod
    def load(cls, folder: str | AnyPath) -> "TrainedModel":
        """Reads what `save` wrote. Nothing in the folder is executed.

        Args:
            folder: A folder with config.json, or a run directory (then its student is taken).

        Raises:
            InputError: If the folder is none of ours, is incomplete, or is damaged.
        """
        folder = _find_model(as_path(folder))
        config = _read_config(folder)
        verify_checksums(folder, "copy or make the model again")
        tensors = _read_tensors(folder / WEIGHTS_FILE)
        labels = Labels.from_file(folder / LABELS_FILE)
        try:
            encoder = TextEncoder.from_folder(folder, seq_len=config["task"]["seq_len"])
            task = _find_task(folder, config["task"]).from_config(config["task"], labels, encoder)
            model = _build_model(folder, config["model"], tensors)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise InputError(
                f"{folder / CONFIG_FILE}: does not describe a model ({reason}); copy or make the "
                "model again."
            ) from error
        if model.num_classes != task.num_classes:
            raise InputError(
                f"{folder / LABELS_FILE}: {task.num_classes} labels, but the head of the model "
                f"has the shape of {model.num_classes}; put the labels of its training back."
            )
        return cls(model, task)

    def _model_card(self, class_name: str, facts: dict[str, Any]) -> str:
        rows = {
            "Model": class_name,
            "Task": self.task.name,
            "Parameters": f"{count_parameters(self.model):,}",
            "Labels": ", ".join(self.task.labels),
            **facts,
        }
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        return (
            f"---\nlibrary_name: xdistil\ntags:\n- {self.task.hub_tag}\n- distillation\n---\n\n"
            f"# {class_name}, made by xdistil\n\n| what | value |\n|---|---|\n{table}\n\n"
            "```python\nimport xdistil\n\n"
            'trained = xdistil.load("this folder")\n'
            f"print(trained.predict({self.task.example}))\n```\n"
        )


def load(folder: str | AnyPath) -> TrainedModel:
    """Loads a trained model from its folder or from a run directory.

    Args:
        folder: `RUN/student`, `RUN/teacher`, or `RUN`, which means its student.

    Returns:
        The model with its task: `.model`, `.task`, `.predict(sentences)`.

    Raises:
        InputError: If there is no whole model of ours in the folder.
    """
    return TrainedModel.load(folder)


def _named_weights(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Weights with names that are stable across processes; seed generators are none."""
    seen: set[int] = set()
    for group, members in model.layer_groups.items():
        for number, layer in enumerate(members):
            for weight_number, weight in enumerate(layer.weights):
                seen.add(id(weight))
                yield f"{group}.{number}.{weight_number}.{weight.name}", weight
    left = [weight.path for weight in model.weights if id(weight) not in seen]
    if left:
        raise ValueError(f"Weights outside the layer groups: {left}")


def _find_model(folder: AnyPath) -> AnyPath:
    """The folder itself, or the student of a run directory."""
    if (folder / "student" / CONFIG_FILE).is_file():
        return folder / "student"
    if (folder / "saved_model.pb").is_file():
        raise InputError(
            f"{folder}: a SavedModel, which tf.saved_model.load and xdistil.load_predictor open; "
            "give the folder of a model or of a run."
        )
    if any((folder / name).is_file() for name in ("model.onnx", "model.tflite")):
        raise InputError(
            f"{folder}: an export, which xdistil.load_predictor opens; give the folder of a model "
            "or of a run."
        )
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"{folder}: no finished model here: there is neither {CONFIG_FILE} of a model "
            "nor student/ of a finished run; give the folder of a model or of a run."
        )
    if not str(_config_of(folder).get("format")).startswith(_RUN_FORMAT):
        return folder
    students = sorted(folder.glob(f"languages/*/student/{CONFIG_FILE}"))
    if not students:
        raise InputError(
            f"{folder}: this run is not finished, there is no student yet; run the same command "
            "again, it goes on where it stopped."
        )
    languages = [path.parent.parent.name for path in students]
    raise InputError(
        f"{folder}: this run has a student for each language ({', '.join(languages)}); give one "
        f"of them, such as {folder / 'languages' / languages[0]}."
    )


def _config_of(folder: AnyPath) -> dict[str, Any]:
    config = read_json(folder / CONFIG_FILE)
    return config if isinstance(config, dict) else {}


def _read_config(folder: AnyPath) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    config = _config_of(folder)
    if config.get("format") != _FORMAT:
        raise InputError(
            f"{path}: not the configuration of an xdistil model (format {_FORMAT!r} expected); "
            "of a run give its own folder. A checkpoint in hub format is for --teacher, and for "
            "`from_preset` of Teacher and TextTeacher."
        )
    return config


def _find_task(folder: AnyPath, config: dict[str, Any]) -> type[Task]:
    if config["name"] not in TASKS:
        raise InputError(
            f"{folder / CONFIG_FILE}: unknown task {config['name']!r}; known are "
            f"{', '.join(TASKS)}."
        )
    return TASKS[config["name"]]


def _read_tensors(path: AnyPath) -> dict[str, np.ndarray]:
    try:
        with local_file(path) as local:
            return safetensors.numpy.load_file(local)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: cannot be read: {error}; make the model again.") from error


def _plain_settings(folder: AnyPath, config: dict[str, Any]) -> dict[str, Any]:
    """A model's settings as plain data, and its precision.

    Keras builds objects, by the names of their classes and modules, out of what a configuration
    holds; here nothing but data is let through to it.
    """
    settings = {}
    for name, value in config.items():
        if name == "dtype":
            policy = value["config"]["name"] if isinstance(value, dict) else value
            if policy not in _POLICIES:
                raise InputError(
                    f"{folder / CONFIG_FILE}: unknown precision {policy!r}; known are "
                    f"{', '.join(_POLICIES)}."
                )
            settings[name] = keras.DTypePolicy(policy)
        elif _is_plain(value) or (
            isinstance(value, dict) and name == "encoder" and all(map(_is_plain, value.values()))
        ):
            settings[name] = value
        else:
            raise InputError(
                f"{folder / CONFIG_FILE}: {name} is no plain value; copy or make the model again."
            )
    return settings


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _build_model(folder: AnyPath, config: dict[str, Any], tensors: dict[str, Any]) -> keras.Model:
    class_name = config.get("class_name")
    if class_name not in _MODELS:
        raise InputError(
            f"{folder / CONFIG_FILE}: unknown model class {class_name!r}; known are "
            f"{', '.join(_MODELS)}."
        )
    settings = _plain_settings(folder, config["config"])
    kept = tensors.pop(_KEPT, None)
    if kept is not None:
        settings[_KEPT] = kept.tolist()
    model = getattr(xdistil.models, class_name).from_config(settings)
    weights = dict(_named_weights(model))
    if weights.keys() != tensors.keys():
        odd = sorted(weights.keys() ^ tensors.keys())
        raise InputError(
            f"{folder / WEIGHTS_FILE}: weights do not belong to the configuration beside it; "
            f"missing or left over: {', '.join(odd[:5])}."
        )
    for name, weight in weights.items():
        if tuple(weight.shape) != tensors[name].shape:
            raise InputError(
                f"{folder / WEIGHTS_FILE}: {name} has shape {tensors[name].shape}, the "
                f"configuration says {tuple(weight.shape)}."
            )
        weight.assign(tensors[name])
    return model
