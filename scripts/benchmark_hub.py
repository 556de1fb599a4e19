"""Subject `hub`: does PyTorch, with transformers' own classes, compute what Keras computes?

    pip install torch
    python scripts/benchmark.py hub --model=RUN --input=FILES

Of a run whose student is a transformer: `export/hub/`, its text cut by transformers' tokenizer and
run, padded, by transformers' PyTorch model.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from benchmark_export import input_of, sentences_of, task_of

from xdistil.data.readers import expand_files
from xdistil.errors import InputError
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
# From words, texts or pairs of texts to the pieces and the logits of each.
Model = Callable[[Sequence[Any]], tuple[list[list[int]], list[np.ndarray]]]
_TOGETHER = 32


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_string("model", None, "A finished run that wrote export/hub.", required=True)
    flags.DEFINE_list(
        "input",
        None,
        "Files, globs too: labeled, or lines as predict.py reads them.",
        required=True,
    )
    flags.DEFINE_integer("sentences", 0, "Most sentences of each file; 0 = all.", lower_bound=0)


def measure() -> dict[str, Any]:
    """Both models' answers for all files."""
    from xdistil.tasks.trained_model import TrainedModel

    run = Path(FLAGS.model)
    folder = run / "export" / "hub"
    if not (folder / "config.json").exists():
        raise InputError(f"{folder}: is not there; runs with a transformer student write it")
    files = expand_files(FLAGS.input)
    task = task_of(FLAGS.model)
    trained = TrainedModel.load(run)
    theirs = open_in_torch(folder, task, trained.task.encoder.seq_len)
    rows = [
        {"file": file, **compare(trained, theirs, inputs_of(file, task, FLAGS.sentences))}
        for file in files
    ]
    return {"model": FLAGS.model, "rows": rows}


def inputs_of(file: str, task: str, most: int) -> Iterator[Any]:
    """The first sentences of a file as a model takes them: words, a text, or two."""
    lines = sentences_of(file, task)
    return (input_of(line, task) for line in itertools.islice(lines, most or None))


def open_in_torch(folder: Path, task: str, seq_len: int) -> Model:
    """The checkpoint as transformers reads it.

    Args:
        folder: In hub format.
        task: `"tagging"`, `"classification"` or `"pair_classification"`.
        seq_len: Pieces at most.

    Raises:
        InputError: PyTorch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise InputError(f"{error}: pip install torch transformers") from error

    tagging = task == "tagging"
    kind = "TokenClassification" if tagging else "SequenceClassification"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(folder).eval()

    def run(inputs: Sequence[Any]) -> tuple[list[list[int]], list[np.ndarray]]:
        pairs = [one if isinstance(one, tuple) else (one,) for one in inputs]
        batch = tokenizer(
            *map(list, zip(*pairs, strict=True)),
            is_split_into_words=tagging,
            padding=True,
            truncation=True,
            max_length=seq_len,
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = model(**batch).logits.numpy()
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        token_ids = [
            row[:length].tolist() for row, length in zip(batch["input_ids"], lengths, strict=True)
        ]
        if tagging:
            logits = [row[:length] for row, length in zip(logits, lengths, strict=True)]
        return token_ids, list(logits)

    return run


def compare(trained: Any, theirs: Model, inputs: Iterator[Any]) -> dict[str, Any]:
    """How far two models are apart.

    Args:
        trained: A `TrainedModel`.
        theirs: The other one, see `open_in_torch`.
        inputs: Words, texts or pairs; some of them are in memory at once.

    Returns:
        `sentences`; `cut_otherwise`, of how many the pieces differ; of the others `labels_differ`
        and `logits`, the largest distance of a logit.
    """
    task = trained.task
    found = {"sentences": 0, "cut_otherwise": 0, "labels_differ": 0, "logits": 0.0}
    while part := list(itertools.islice(inputs, _TOGETHER)):
        examples = list(task.encode(task.unlabeled(part)))
        ours = [one["logits"] for one in trained.inference.run(examples)]
        for example, expected, token_ids, logits in zip(examples, ours, *theirs(part), strict=True):
            found["sentences"] += 1
            if example.token_ids.tolist() != token_ids:
                found["cut_otherwise"] += 1
                continue
            found["labels_differ"] += bool((expected.argmax(-1) != logits.argmax(-1)).any())
            found["logits"] = max(found["logits"], float(np.abs(expected - logits).max()))
    return found


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    cells = [["file", "sentences", "cut otherwise", "another label", "logits within"]]
    for row in result["rows"]:
        counts = (f"{row[key]:,}" for key in ("sentences", "cut_otherwise", "labels_differ"))
        cells.append([row["file"], *counts, f"{row['logits']:.1e}"])
    return text_table(cells, left=1)
