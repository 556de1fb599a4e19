"""Writes a finished student in the formats that it is served in.

python scripts/export.py --model=runs/quickstart --formats=onnx,litert --precisions=float32,int8

Of a run directory the exports go into its folder `export/`: `saved_model/`, `onnx/`, `onnx_int8/`,
`litert/`, `litert_int8/`, and predict.py, evaluate.py take them by `--runtime`. ONNX and LiteRT
want a package each: pip install '.[onnx]' or '.[litert]'.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import program
from absl import flags

from xdistil.data.atomic_files import make_folder
from xdistil.errors import InputError

FLAGS = flags.FLAGS
_FORMATS = ("saved_model", "onnx", "litert")
_PRECISIONS = ("float32", "int8")

flags.DEFINE_string(
    "model", None, "Run directory, or folder of a student or teacher.", required=True
)
flags.DEFINE_list("formats", ["saved_model"], f"Some of {', '.join(_FORMATS)}.")
flags.DEFINE_list(
    "precisions",
    ["float32"],
    f"Some of {', '.join(_PRECISIONS)}: int8 (of ONNX and LiteRT) is a quarter of the size, and "
    "costs some score.",
)
flags.DEFINE_enum(
    "inputs",
    "auto",
    ["auto", "text", "ids"],
    "What a SavedModel takes; auto: text where the tokenizer can be put into the graph.",
)
flags.DEFINE_string("output_dir", None, "Where the folders go; default: export/ in the run.")
flags.DEFINE_bool("overwrite", False, "Replace exports that are there.")


def main(_: list[str]) -> None:
    wanted = _wanted()
    output = _output_dir()
    folders = {output / _name(*one): one for one in wanted}
    there = [str(folder) for folder in folders if folder.exists()]
    if there and not FLAGS.overwrite:
        raise InputError(f"{', '.join(there)}: there already; give --overwrite to replace")

    from xdistil.metrics.footprint import bytes_on_disk
    from xdistil.report.text_table import text_table
    from xdistil.tasks.trained_model import TrainedModel

    trained = TrainedModel.load(FLAGS.model)
    rows = [["format", "weights", "MB", "folder"]]
    for folder, (form, precision) in folders.items():
        _exporter(form, precision)(trained, folder, overwrite=FLAGS.overwrite)
        size = sum(bytes_on_disk(path) for path in _model_files(folder))
        rows.append([form, precision, f"{size / 1e6:.2f}", str(folder)])
    print(text_table(rows, left=2))


def _wanted() -> list[tuple[str, str]]:
    """Formats and precisions, each pair once; a SavedModel is in float32."""
    for flag, values, known in (
        ("formats", FLAGS.formats, _FORMATS),
        ("precisions", FLAGS.precisions, _PRECISIONS),
    ):
        unknown = [value for value in values if value not in known]
        if unknown or not values:
            raise InputError(f"--{flag}={','.join(values)}: expected some of {', '.join(known)}")
    wanted = [
        (form, precision)
        for form in FLAGS.formats
        for precision in FLAGS.precisions
        if (form, precision) != ("saved_model", "int8")
    ]
    if not wanted:
        raise InputError("--precisions=int8: a SavedModel is in float32; add onnx or litert")
    return list(dict.fromkeys(wanted))


def _output_dir() -> Path:
    if FLAGS.output_dir:
        return make_folder(Path(FLAGS.output_dir))
    # What a run directory is told by: beside its student lies its configuration.
    if not Path(FLAGS.model, "student").is_dir():
        raise InputError(f"{FLAGS.model}: no finished run; give --output_dir for the exports")
    return make_folder(Path(FLAGS.model, "export"))


def _name(form: str, precision: str) -> str:
    return form if precision == "float32" else f"{form}_{precision}"


def _exporter(form: str, precision: str) -> Callable[..., Path]:
    # Each is slow to import, and wants packages that the others do not.
    if form == "onnx":
        from xdistil.export.onnx_export import export_onnx

        return functools.partial(export_onnx, precision=precision)
    if form == "litert":
        from xdistil.export.litert_export import export_litert

        return functools.partial(export_litert, precision=precision)
    from xdistil.export.saved_model import export_saved_model

    inputs = None if FLAGS.inputs == "auto" else FLAGS.inputs
    return functools.partial(export_saved_model, inputs=inputs)


def _model_files(folder: Path) -> list[Path]:
    """The model itself, without tokenizer and labels."""
    names = ("model.onnx", "model.tflite", "saved_model.pb", "variables")
    return [folder / name for name in names if (folder / name).exists()]


if __name__ == "__main__":
    program.run(main)
