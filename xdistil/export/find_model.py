"""Which model a path means, and which runtime it wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xdistil.data.paths import AnyPath
from xdistil.errors import InputError


@dataclass(frozen=True, slots=True)
class _Export:
    """Where a run directory holds an export.

    Args:
        article: of the noun.
        noun: what people call it.
        file: what makes a folder one.
        precisions: what its weights may be kept in.
    """

    article: str
    noun: str
    file: str
    precisions: tuple[str, ...]


#: What weights may be kept in.
PRECISIONS = ("float32", "int8")
#: By runtime.
EXPORTS = {
    "saved_model": _Export("a", "SavedModel", "saved_model.pb", ("float32",)),
    "onnx": _Export("an", "ONNX model", "model.onnx", PRECISIONS),
    "litert": _Export("a", "LiteRT model", "model.tflite", PRECISIONS),
}
#: The runtimes that `load_predictor` knows.
RUNTIMES = ("keras", *EXPORTS)


def export_folder_name(runtime: str, precision: str = "float32") -> str:
    """The name of an export's folder below a run's `export/`."""
    return runtime if precision == "float32" else f"{runtime}_{precision}"


def find_model(path: AnyPath, runtime: str | None) -> tuple[str, AnyPath]:
    """The runtime and folder of a model.

    Args:
        path: a run directory, the folder of a student or teacher, or of an export.
        runtime: one of `RUNTIMES`; None: what `path` is, for a run its student in Keras.

    Raises:
        InputError: there is no such model.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}: expected one of {', '.join(RUNTIMES)}")
    if path.is_file():
        raise InputError(f"{path}: is a file: give the folder that it lies in")
    if not path.is_dir():
        raise InputError(
            f"{path}: no such folder: give a run directory, a student or an exported model"
        )
    for name, export in EXPORTS.items():
        if (path / export.file).is_file():
            if runtime not in (None, name):
                raise InputError(
                    f"{path}: is {export.article} {export.noun}: it runs with --runtime={name} only"
                )
            return name, path
    if runtime in (None, "keras"):
        return "keras", path
    return runtime, _exported(path, runtime)


def _exported(path: AnyPath, runtime: str) -> AnyPath:
    export = EXPORTS[runtime]
    folders = [export_folder_name(runtime, precision) for precision in export.precisions]
    for folder in folders:
        if (path / "export" / folder / export.file).is_file():
            return path / "export" / folder
    # A run of the recipe D0 exports a student for each language.
    per_language = [
        found
        for folder in folders
        for found in sorted(path.glob(f"export/*/{folder}/{export.file}"))
    ]
    if per_language:
        languages = ", ".join(dict.fromkeys(found.parent.parent.name for found in per_language))
        raise InputError(
            f"{path}: has {export.article} {export.noun} for each language ({languages}); give one "
            f"of them, such as {per_language[0].parent}"
        )
    advice = "scripts/export.py writes it, or use --runtime=keras"
    if (path / "model.safetensors").is_file():
        advice = "scripts/export.py --output_dir writes it elsewhere, or use --runtime=keras"
    elif not (path / "student" / "config.json").is_file():
        advice = "finish the run first, the same command again goes on"
    raise InputError(
        f"{path}: no {export.noun} in it: expected {export.file} there or in "
        f"{Path('export', folders[0])}; {advice}"
    )
