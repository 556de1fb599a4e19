"""Subject `export`: do a run's exports give the tags or labels that the student in Keras gives?

Each reads all sentences, texts or pairs in a process of its own, by predict.py. Of exports in int8
the same is asked; there the answer is how often.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from benchmark_memory import work_folder

from xdistil.data.atomic_files import read_json
from xdistil.data.examples import LabeledText
from xdistil.data.lines import numbered_lines
from xdistil.data.readers import expand_files, read_tagged
from xdistil.data.text_formats import format_of
from xdistil.data.text_readers import read_labeled_text
from xdistil.errors import InputError
from xdistil.export.find_model import EXPORTS
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
PREDICT = Path(__file__).resolve().parent / "predict.py"
_TAGGED = (".tsv", ".conll", ".bio", ".iob", ".iob2", ".jsonl", ".ndjson", ".json")
_LABELED_TEXTS = (".tsv", ".csv", ".jsonl", ".ndjson", ".json")
_SHOWN = 5


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_string("model", None, "A finished run with its export.", required=True)
    flags.DEFINE_list(
        "input",
        None,
        "Files, globs too, comma-separated, gzip too: labeled (.tsv, .conll, .bio, .csv, .jsonl), "
        "or lines as predict.py reads them.",
        required=True,
    )
    flags.DEFINE_integer("sentences", 0, "Most sentences of each file; 0 = all.", lower_bound=0)
    flags.DEFINE_string("work_dir", None, "Folder to keep; default: one that is removed after.")


def measure() -> dict[str, Any]:
    """Tag all files by Keras and by every export, and compare line by line."""
    files = expand_files(FLAGS.input)
    exports = exports_of(Path(FLAGS.model))
    with work_folder(FLAGS.work_dir) as folder:
        text = folder / "sentences.txt"
        counts = write_sentences(files, text, FLAGS.sentences, task_of(FLAGS.model))
        keras = predict(FLAGS.model, text, folder / "keras.tsv")
        found = {}
        for export in exports:
            lines = predict(export, text, folder / f"{export.name}.tsv")
            found[export.name] = compare(files, counts, keras, lines)
        for name, difference in logits_differences(FLAGS.model, exports, text).items():
            found[name]["logits"] = difference
    return {"model": FLAGS.model, "exports": found}


def exports_of(run: Path) -> list[Path]:
    """The folders of a run's exports.

    Raises:
        InputError: there is none.
    """
    files = [export.file for export in EXPORTS.values()]
    folders = [
        path
        for path in sorted(run.glob("export/*"))
        if any((path / name).exists() for name in files)
    ]
    if not folders:
        raise InputError(f"{run}: holds no export; scripts/export.py writes one")
    return folders


def logits_differences(model: str, exports: Sequence[Path], text: Path) -> dict[str, float]:
    """The largest distance of each export's logits from those in Keras, over real positions.

    Args:
        model: the run.
        exports: its exports; those that give no logits are left out of the answer.
        text: a sentence, text or pair a line; some of them are in memory at once.
    """
    from xdistil.export.session_runtime import SessionInference, open_session
    from xdistil.tasks.trained_model import TrainedModel

    trained = TrainedModel.load(model)
    task = trained.task
    sessions = {export.name: open_session(export) for export in exports}
    runs = {
        name: SessionInference(session, task.encoder.seq_len)
        for name, session in sessions.items()
        if session is not None
    }
    found = dict.fromkeys(runs, 0.0)
    inputs = (input_of(line, task.name) for _, line in numbered_lines(text))
    examples = iter(task.encode(task.unlabeled(inputs)))
    while part := list(itertools.islice(examples, 512)):
        expected = trained.inference.run(part)
        for name, run in runs.items():
            pairs = zip(run.run(part), expected, strict=True)
            distances = [np.abs(one["logits"] - other["logits"]).max() for one, other in pairs]
            found[name] = max(found[name], float(max(distances)))
    return found


def input_of(line: str, task: str) -> Any:
    """What a model takes of a line: words, a text, or two texts."""
    if task == "tagging":
        return line.split()
    return tuple(line.split("\t")) if task == "pair_classification" else line


def task_of(model: str) -> str:
    """The task of a run: `"tagging"`, `"classification"` or `"pair_classification"`."""
    config = read_json(Path(model, "student", "config.json"))
    if config is None:
        raise InputError(f"{model}: no finished run: it holds no student")
    return config["task"]["name"]


def sentences_of(path: str, task: str = "tagging") -> Iterator[str]:
    """The lines that predict.py is given of a file; blank ones are left out.

    Args:
        path: labeled, or lines as they are.
        task: what the file is labeled for.
    """
    suffix = format_of(path)
    if task == "tagging" and suffix in _TAGGED:
        lines = (" ".join(sentence.words) for sentence in read_tagged(path))
    elif task != "tagging" and suffix in _LABELED_TEXTS:
        texts = read_labeled_text(path, pairs=task == "pair_classification")
        lines = (_line_of(text) for text in texts)
    else:
        lines = (line for _, line in numbered_lines(path))
    return (line.replace("\n", " ") for line in lines if line.strip())


def _line_of(text: LabeledText) -> str:
    texts = [text.text] if text.text_pair is None else [text.text, text.text_pair]
    return "\t".join(" ".join(one.split()) for one in texts)


def write_sentences(
    files: Sequence[str], text: Path, most: int = 0, task: str = "tagging"
) -> list[int]:
    """Write the sentences of all files, a line each.

    Args:
        files: the files, see `sentences_of`.
        text: gets the sentences.
        most: sentences of each file; 0 = all.
        task: see `sentences_of`.

    Returns:
        How many sentences each file gave.
    """
    counts = []
    with open(text, "w", encoding="utf-8", newline="\n") as output:
        for path in files:
            count = 0
            for count, sentence in enumerate(sentences_of(path, task), 1):
                output.write(f"{sentence}\n")
                if count == most:
                    break
            counts.append(count)
    if not sum(counts):
        raise InputError(f"{', '.join(files)}: only blank lines: give files with sentences")
    return counts


def predict(model: str | Path, text: Path, output: Path) -> list[str]:
    """What predict.py says, in a process of its own: text, a tab, tags or label; a line each.

    Raises:
        InputError: it did not end well; the message holds the last line that it printed.
    """
    flags_of_predict = [f"--model={model}", f"--input={text}", f"--output={output}"]
    done = subprocess.run(
        [sys.executable, str(PREDICT), *flags_of_predict],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        last = ["no output", *done.stderr.strip().splitlines()][-1].removeprefix("error: ")
        raise InputError(f"predict.py --model={model} ended with status {done.returncode}: {last}")
    return output.read_text(encoding="utf-8").split("\n")[:-1]


def compare(
    files: Sequence[str], counts: Sequence[int], keras: Sequence[str], export: Sequence[str]
) -> dict[str, Any]:
    """Where two outputs of predict.py differ.

    Args:
        files: the files.
        counts: sentences of each.
        keras: a line a sentence, all files one after the other.
        export: the same of an export.

    Returns:
        `sentences`, `differing` (how many sentences), `rows` (both numbers by file) and `shown`,
        the first few that differ: file, number of the sentence from 1, both lines.

    Raises:
        InputError: an output has not a line for each sentence.
    """
    for name, lines in (("Keras", keras), ("the export", export)):
        if len(lines) != sum(counts):
            raise InputError(
                f"predict.py of {name} wrote {len(lines)} lines for {sum(counts)} sentences"
            )
    rows, shown, start = [], [], 0
    for file, count in zip(files, counts, strict=True):
        differing = [i for i in range(start, start + count) if keras[i] != export[i]]
        rows.append({"file": file, "sentences": count, "differing": len(differing)})
        for i in differing[: _SHOWN - len(shown)]:
            lines = {"keras": keras[i], "export": export[i]}
            shown.append({"file": file, "sentence": i - start + 1, **lines})
        start += count
    differing = sum(row["differing"] for row in rows)
    return {"sentences": start, "differing": differing, "rows": rows, "shown": shown}


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    exports = result["exports"]
    cells = [["file", "sentences", *(f"{name} differs" for name in exports)]]
    for rows in zip(*(one["rows"] for one in exports.values()), strict=True):
        numbers = [f"{row['differing']:,}" for row in rows]
        cells.append([rows[0]["file"], f"{rows[0]['sentences']:,}", *numbers])
    lines = [text_table(cells, left=1)]
    for name, found in exports.items():
        for one in found["shown"]:
            lines.append(f"{one['file']}, sentence {one['sentence']}:")
            lines += [f"  {'keras':13}  {one['keras']}", f"  {name:13}  {one['export']}"]
    for name, found in exports.items():
        count = found["differing"]
        verdict = f"{count:,} DIFFER" if count else "the same for all"
        logits = found.get("logits")
        told = "" if logits is None else f"; logits within {logits:.1e}"
        lines.append(f"{found['sentences']:,} sentences, Keras against {name}: {verdict}{told}")
    return "\n".join(lines)
