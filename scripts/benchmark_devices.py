"""Subject `devices`: two devices, or two worker processes, against one: the same student?

    python scripts/benchmark.py devices --ways=mirrored,multi_worker

One run of each recipe on one device, on two devices that one CPU is split into, and in two worker
processes, with the same teacher and global batch. Dropout is off: its masks differ between devices.
All are compiled by XLA, as several devices always are: its rounding is not that of single
operations, and a high learning rate makes more of that than of devices. The distance of two
students is that of the tensor that differs most: the norm of the difference over the norm (see
`distance`).
"""

import concurrent.futures
import json
import random
import shlex
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from absl import flags
from benchmark_memory import work_folder
from benchmark_resume import WEIGHTS
from benchmark_runs import (
    SMALL_RUN,
    RunFailed,
    made_up_sentences,
    run_program,
    run_to_the_end,
    write_synthetic_corpus,
    write_synthetic_texts,
)

from xdistil.data.atomic_files import make_folder, read_json
from xdistil.errors import InputError
from xdistil.report.pretraining_report import load_pretraining_report
from xdistil.report.report import load_report
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
_FINE_TUNING = "fine-tuning"
#: Recipes by program, and the epochs in which each takes about 50 steps.
RECIPES = {
    "ner": {
        _FINE_TUNING: 5,
        "D0-S": 5,
        "D1": 3,
        "D2": 3,
        "D3.1": 2,
        "D3.2": 1,
        "D4.1": 2,
        "D4.2": 1,
    },
    "classification": {
        **{_FINE_TUNING: 5, "labels": 5, "hard": 3, "soft": 3, "joint": 3, "staged": 1, "tang": 3},
        **{"kd": 5, "pkd_skip": 5, "pkd_last": 5, "distilbert": 5, "hidden_states": 1},
    },
    "pairs": {_FINE_TUNING: 5, "tang": 3, "staged": 1, "pkd_skip": 5},
    "pretraining": {"masked LM": 5, "triple loss": 5},
}
_OF_LAYERS = ("pkd_skip", "pkd_last")
_OF_TRANSFORMERS = ("kd", "pkd_skip", "pkd_last", "distilbert", "hidden_states")
# A student of many stages begins Adam anew in each, which makes whole steps of gradients that are
# next to nothing; and where two positions are as good as equal, max pooling takes another one.
_LOW_RATE = (*_OF_TRANSFORMERS, "staged", "D4.2")
# Where with seed 0 no epoch of so few steps is better on dev than what it begins with.
_SEEDS = {
    **{("classification", recipe): 1 for recipe in _OF_LAYERS},
    **{("pairs", _FINE_TUNING): 1, ("pairs", "staged"): 1, ("pairs", "pkd_skip"): 2},
}
# Of siamese students, by default; its rates are of another kind.
_ADADELTA = ("--learning_rate=1",)
_WAYS = {
    "mirrored": ["--strategy=mirrored", "--logical_devices=2"],
    "multi_worker": ["--strategy=multi_worker"],
}
_BATCH, _EXAMPLES = 32, 320
#: Of recipes of so many stages that each can take but few steps.
_BATCHES = {"D3.2": 64, "D4.2": 64}
_WORKERS = 2
_NEXT_TO_NOTHING = 1e-4


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_list("programs", list(RECIPES), "Whose recipes are run.")
    flags.DEFINE_list("recipes", [], "Only these; default: all.")
    flags.DEFINE_list("ways", list(_WAYS), "What is held against one device.")
    flags.DEFINE_float("tolerance", 1e-5, "The distance up to which students are equal.")
    flags.DEFINE_string("run_flags", "", "Further flags of the programs, in quotes.")
    flags.DEFINE_string("work_dir", None, "Folder to keep; default: one that is removed after.")
    for name, known in (("programs", RECIPES), ("ways", _WAYS)):
        flags.register_validator(name, lambda values, known=known: set(values) <= set(known))


def measure() -> dict[str, Any]:
    """Every recipe, every way."""
    known = {recipe for program in FLAGS.programs for recipe in RECIPES[program]}
    if unknown := set(FLAGS.recipes) - known:
        raise InputError(f"--recipes={','.join(sorted(unknown))}: expected some of {sorted(known)}")
    rows = []
    with work_folder(FLAGS.work_dir) as folder:
        for program in FLAGS.programs:
            text = _text_flags(folder / f"{program}-text", program)
            make_row = _pretraining_row if program == "pretraining" else _row
            for recipe, epochs in RECIPES[program].items():
                if recipe in (FLAGS.recipes or RECIPES[program]):
                    place = folder / program / recipe.replace(" ", "-")
                    rows.append(make_row(place, program, recipe, epochs, text))
                    print(table({"rows": rows[-1:]}).splitlines()[1], flush=True)
    equal = sum(
        distance <= FLAGS.tolerance for row in rows for distance in row["distance"].values()
    )
    return {
        "rows": rows,
        "tolerance": FLAGS.tolerance,
        "compared": sum(len(row["distance"]) for row in rows),
        "equal": equal,
    }


def _row(
    folder: Path, program: str, recipe: str, epochs: int, text: Sequence[str]
) -> dict[str, Any]:
    seed = _SEEDS.get((program, recipe), 0)
    if program == "pairs" and recipe in ("tang", "staged"):
        text = [*text, *_ADADELTA]
    small = SMALL_RUN
    if recipe in _OF_LAYERS:  # which decide the size
        small = [flag for flag in SMALL_RUN if not flag.startswith(("--hidden", "--embedding"))]
    command = [*small, f"--seed={seed}", *run_flags(recipe, epochs), *text]
    command += shlex.split(FLAGS.run_flags)
    if recipe == _FINE_TUNING:
        command.append(f"--recipe={'D0-S' if program == 'ner' else 'labels'}")
        weights = Path("teacher", WEIGHTS.name)
    else:
        weights = WEIGHTS
    one = _one_device(folder, program, command)
    reuse = [] if recipe == _FINE_TUNING else [f"--reuse_from={one}"]
    distances = _distances(folder, program, [*command, *reuse], weights)
    if recipe == _FINE_TUNING:
        stages = [read_json(one / "stages" / "00-teacher" / "done")]
    else:
        stages = load_report(one)["stages"]
    return {
        "program": program,
        "recipe": recipe,
        "stages": len(stages),
        # A stage that no epoch bettered on dev gives back what it was given.
        "learned": sum(stage["best_epoch"] > 0 for stage in stages),
        "steps": sum(stage["steps"] for stage in stages),
        "distance": distances,
    }


def _pretraining_row(
    folder: Path, program: str, recipe: str, epochs: int, text: Sequence[str]
) -> dict[str, Any]:
    command = [*text, f"--epochs={epochs}", "--dropout=0"]
    command += ["--batch_size=32", "--micro_batch_size=16", "--learning_rate=1e-3", "--seq_len=32"]
    command += ["--jit_compile=true", *shlex.split(FLAGS.run_flags)]
    weights = WEIGHTS
    if recipe == "masked LM":
        command.append("--train=teacher")
        weights = Path("teacher", WEIGHTS.name)
    one = _one_device(folder, program, command)
    report = load_pretraining_report(one)
    return {
        "program": program,
        "recipe": recipe,
        "stages": 1,
        "learned": int(report["perplexity"] < report["perplexity_before"]),
        "steps": report["steps"],
        "distance": _distances(folder, program, command, weights),
    }


def _one_device(folder: Path, program: str, command: Sequence[str]) -> Path:
    one = make_folder(folder) / "one"
    run_to_the_end(
        [*command, f"--output_dir={one}", "--overwrite"], log=folder / "one.log", program=program
    )
    return one


def _distances(
    folder: Path, program: str, command: Sequence[str], weights: Path
) -> dict[str, float]:
    found = {}
    for way in FLAGS.ways:
        other = folder / way
        again = [*command, *_WAYS[way], f"--output_dir={other}", "--overwrite"]
        if way == "multi_worker":
            _run_workers(again, folder, program)
        else:
            run_to_the_end(again, log=folder / f"{way}.log", program=program)
        found[way] = distance(folder / "one" / weights, other / weights)
    return found


def run_flags(recipe: str, epochs: int) -> list[str]:
    """Flags of a recipe's run that do not differ between one device and two."""
    if recipe == _FINE_TUNING:
        found = [f"--teacher_epochs={epochs}", "--teacher_learning_rate=2e-3", "--epochs=1"]
    else:
        found = [f"--recipe={recipe}", f"--epochs={epochs}", "--patience=0"]
    found += [f"--batch_size={_BATCHES.get(recipe, _BATCH)}", "--dropout=0"]
    found += ["--jit_compile=true", "--teacher_dropout=0", "--learning_rate=1e-2"]
    if recipe in _LOW_RATE:
        found.append("--learning_rate=1e-3")
    if recipe in _OF_LAYERS:
        # Of as many layers as its teacher it were the teacher: nothing but rounding to learn.
        found += ["--student=transformer", "--student_layers=first", "--num_layers=2"]
        found.append("--teacher_layers=4")
    elif recipe in _OF_TRANSFORMERS:
        found += ["--student=transformer", "--num_heads=2"]
    return found


def _text_flags(folder: Path, program: str) -> list[str]:
    if program == "pretraining":
        return _pretraining_flags(folder)
    if program == "ner":
        return write_synthetic_corpus(
            folder, transfer_sentences=_EXAMPLES, labeled_sentences=_EXAMPLES
        )
    flags_of_text = write_synthetic_texts(
        folder, labeled_texts=2 * _EXAMPLES, pairs=program == "pairs"
    )
    labels = 2 if program == "pairs" else 3
    flags_of_text.append(f"--labeled_per_class={_EXAMPLES // labels}")
    return flags_of_text


def _pretraining_flags(folder: Path) -> list[str]:
    """Text, and a checkpoint of random weights that reads it."""
    import keras

    from xdistil.data import train_wordpiece
    from xdistil.data.examples import TaggedSentence
    from xdistil.models.checkpoint_writer import write_checkpoint
    from xdistil.models.encoder import EncoderConfig
    from xdistil.models.masked_lm import MaskedLM

    sentences = [
        [word for word, _ in sentence]
        for sentence in made_up_sentences(random.Random(0), 2 * _EXAMPLES)
    ]
    text, checkpoint = make_folder(folder) / "text.txt", folder / "checkpoint"
    text.write_text("".join(" ".join(words) + "\n" for words in sentences), encoding="utf-8")
    encoder = train_wordpiece((TaggedSentence(tuple(words)) for words in sentences), 1000)
    encoder.save(checkpoint)
    keras.utils.set_random_seed(0)
    config = EncoderConfig(
        vocabulary_size=encoder.vocabulary_size,
        hidden_dim=64,
        num_layers=2,
        num_heads=2,
        max_length=32,
        initializer_range=0.1,
    )
    model = MaskedLM(config)
    write_checkpoint(
        checkpoint,
        model.encoder,
        architecture="masked_lm",
        layers=model.head_layers,
        overwrite=True,
    )
    return [f"--teacher={checkpoint}", f"--text_file={text}"]


def _run_workers(command: Sequence[str], folder: Path, program: str) -> None:
    """The same command in worker processes that share its run directory."""
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as threads:
        ended = [
            threads.submit(
                run_program,
                command,
                log=folder / f"worker-{number}.log",
                program=program,
                environment={"TF_CONFIG": config},
            )
            for number, config in enumerate(cluster(_WORKERS))
        ]
    if any(one.result().status for one in ended):
        raise RunFailed(f"{folder}: a worker failed, see worker-*.log")


def cluster(workers: int) -> list[str]:
    """TF_CONFIG of each worker, on ports of this machine that are free."""
    sockets = [socket.socket() for _ in range(workers)]
    for one in sockets:
        one.bind(("localhost", 0))
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(workers)
    ]


def distance(first: Path, second: Path) -> float:
    """The largest relative distance of two tensors of one name in two files of weights.

    Of tensors that are zero but for rounding it is the absolute one, per number: softmax cancels
    the bias of attention's keys, so that rounding alone moves it.
    """
    one, two = (safetensors.numpy.load_file(path) for path in (first, second))
    if one.keys() != two.keys():
        raise InputError(f"{first} and {second} hold other tensors")
    return float(np.max([_relative(one[name], two[name]) for name in one]))  # NaN, if one is


def _relative(one: np.ndarray, two: np.ndarray) -> float:
    one = one.astype(np.float64)
    difference = np.linalg.norm(one - two)
    if max(np.abs(one).max(initial=0), np.abs(two).max(initial=0)) < _NEXT_TO_NOTHING:
        return float(difference / max(one.size, 1) ** 0.5)
    return 0.0 if difference == 0 else float(difference / np.linalg.norm(one))


def table(result: Mapping[str, Any]) -> str:
    """The result as text."""
    ways = list(result["rows"][0]["distance"]) if result["rows"] else []
    rows = [["", "recipe", "stages", "learned", "steps", *ways]]
    for row in result["rows"]:
        distances = [f"{row['distance'][way]:.1e}" for way in ways]
        numbers = [f"{row[name]:,}" for name in ("stages", "learned", "steps")]
        rows.append([row["program"], row["recipe"], *numbers, *distances])
    lines = [text_table(rows, left=2)]
    if "equal" in result:
        lines.append(
            f"{result['equal']} of {result['compared']} students within {result['tolerance']:g} of "
            "the one of one device"
        )
    return "\n".join(lines)
