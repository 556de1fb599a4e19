"""Writes a finished student in the formats that it is served in.

python scripts/export.py --model=runs/quickstart --formats=onnx,litert --precisions=float32,int8

Of a run directory the exports go into its folder `export/`: `saved_model/`, `onnx/`, `onnx_int8/`,
`litert/`, `litert_int8/`; of a run of the recipe D0, which has a student for each language, into
`export/<language>/`. predict.py and evaluate.py take them by `--runtime`, in int8 by `--model`:
their folder. ONNX and LiteRT want a package each: pip install '.[onnx]' or '.[litert]'.
"""

import functools
import importlib.util
from collections.abc import Callable

import program
from absl import flags

from xdistil.data.paths import AnyPath, as_path
from xdistil.errors import InputError
from xdistil.export.find_model import EXPORTS, PRECISIONS, export_folder_name
from xdistil.export.session import missing_package

FLAGS = flags.FLAGS
#: What each format cannot be written without: package, and the extra that brings it.
_PACKAGES = {
    "saved_model": (),
    "onnx": (("onnx", "onnx"), ("onnxruntime", "onnx")),
    "litert": (("ai_edge_litert", "litert"),),
}

flags.DEFINE_string(
    "model",
    None,
    "Run directory; with --output_dir any model's folder.",
    required=True,
)
flags.DEFINE_list("formats", None, f"Some of {', '.join(EXPORTS)}.", required=True)
flags.DEFINE_list(
    "precisions",
    ["float32"],
    f"Some of {', '.join(PRECISIONS)}: int8 (of ONNX and LiteRT) is about a quarter of the size, "
    "and costs some score.",
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
    exporters = {one: _exporter(*one) for one in wanted}
    models = _models(as_path(FLAGS.model))
    folders = [output / export_folder_name(*one) for output in models for one in wanted]
    there = [str(folder) for folder in folders if folder.exists()]
    if there and not FLAGS.overwrite:
        raise InputError(f"{', '.join(there)}: there already; give --overwrite to replace")

    from xdistil.metrics.footprint import bytes_on_disk
    from xdistil.tasks.trained_model import TrainedModel

    for output, model in models.items():
        trained = TrainedModel.load(model)
        for (form, precision), export in exporters.items():
            folder = output / export_folder_name(form, precision)
            export(trained, folder, overwrite=FLAGS.overwrite)
            size = sum(bytes_on_disk(path) for path in _model_files(folder))
            print(f"{form:11}  {precision:7}  {size / 1e6:8.2f} MB  {folder}", flush=True)


def _wanted() -> list[tuple[str, str]]:
    """Formats and precisions, each pair once."""
    for flag, values, known in (
        ("formats", FLAGS.formats, tuple(EXPORTS)),
        ("precisions", FLAGS.precisions, PRECISIONS),
    ):
        unknown = [value for value in values if value not in known]
        if unknown or not values:
            raise InputError(f"--{flag}={','.join(values)}: expected some of {', '.join(known)}")
    wanted = []
    for form in FLAGS.formats:
        possible = [one for one in FLAGS.precisions if one in EXPORTS[form].precisions]
        if not possible:
            raise InputError(
                f"--formats={form} --precisions={','.join(FLAGS.precisions)}: a "
                f"{EXPORTS[form].noun} is in {', '.join(EXPORTS[form].precisions)}; add that, or "
                "leave the format out"
            )
        wanted += [(form, precision) for precision in possible]
    if FLAGS.inputs != "auto" and "saved_model" not in FLAGS.formats:
        raise InputError("--inputs: is for SavedModels; the other formats take ids")
    return list(dict.fromkeys(wanted))


def _models(model: AnyPath) -> dict[AnyPath, AnyPath]:
    """The folders of models by where their exports go."""
    if not model.is_dir():
        raise InputError(f"{model}: no such folder; give a run directory or a student's folder")
    if FLAGS.output_dir:
        return {as_path(FLAGS.output_dir): model}
    if (model / "student" / "config.json").is_file():
        return {model / "export": model}
    students = sorted(model.glob("languages/*/student/config.json"))
    if not students:
        if (model / "model.safetensors").is_file():
            raise InputError(f"{model}: is a model and no run: say by --output_dir where it goes")
        raise InputError(
            f"{model}: no finished run, it holds no student; the command that began a run goes on"
        )
    languages = [path.parents[1] for path in students]
    return {model / "export" / language.name: language for language in languages}


def _exporter(form: str, precision: str) -> Callable[..., AnyPath]:
    for package, extra in _PACKAGES[form]:
        # Before anything is loaded or written.
        if importlib.util.find_spec(package) is None:
            raise missing_package(package, extra)
    # Each is slow to import.
    if form == "onnx":
        from xdistil.export.onnx_export import export_onnx

        return functools.partial(export_onnx, precision=precision)
    if form == "litert":
        from xdistil.export.litert_export import export_litert

        return functools.partial(export_litert, precision=precision)
    from xdistil.export.saved_model import export_saved_model

    inputs = None if FLAGS.inputs == "auto" else FLAGS.inputs
    return functools.partial(export_saved_model, inputs=inputs)


def _model_files(folder: AnyPath) -> list[AnyPath]:
    """The model itself, without tokenizer and labels."""
    names = (*(export.file for export in EXPORTS.values()), "variables")
    return [folder / name for name in names if (folder / name).exists()]


if __name__ == "__main__":
    program.run(main)
