"""Subject `fuzz`: made-up and mutilated input for each reader, for tokenization and the exports.

    python scripts/benchmark.py fuzz --minutes=30 --model=RUN

Each target runs in a process of its own, on cases that are drawn from hostile text and mutated from
files that are fine. A case must end within seconds, in a result or in an `InputError`, in bounded
memory. Anything else is a fault: another exception, a hang, a process that died. The case that did
it stays in --work_dir.
"""

import gzip
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import flags
from benchmark_memory import work_folder

from xdistil.errors import InputError
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
# A process needs no more than this beyond what it had at first.
_MORE_MEMORY = 1 << 30
_GOOD = {
    ".tsv": b"Ada left Turin\tB-PER O B-LOC\n\xc3\x89mile slept\tB-PER O\n",
    ".conll": b"-DOCSTART- O\n\nAda NNP B-PER\nleft VB O\n\nTurin NNP B-LOC\n",
    ".jsonl": b'{"tokens": ["Ada", "left"], "ner_tags": ["B-PER", "O"]}\n'
    b'{"text": "It rains.", "label": "weather"}\n',
    ".csv": b'text,label\n"It rains, again",weather\n"two\nlines",food\n',
    ".txt": b"It rains again .\nAnd   again\n\nThe end\n",
    ".vec": b"2 3\nrain 0.1 0.2 0.3\nsun -1e-3 2 3.5\n",
}
_HOSTILE = (
    *("", " ", "\t", "\n", "\r\n", "\x00", "\ufeff", "\u2028", "\x85", "\x1c", "\u200f\u202e"),
    *(
        "\u0301" * 50,
        "👩‍👩‍👧‍👦",
        "\U0010ffff",
        "ﷺ" * 20,
        "İı",
        "[SEP]",
        "##a",
        "x" * 300,
        "北" * 300,
    ),
    *("nan", "1e999", "-", '"', '""', ",", "{", "[[", "}", "\\u0000", "\\ud800", "B-", "I-X", "O"),
)
# Bytes that are no UTF-8: a lone surrogate, an overlong form, a cut one, a byte order mark.
_BROKEN = (b"\xed\xa0\x80", b"\xc0\xaf", b"\xe5\x8c", b"\xff\xfe", b"\xff" * 9, b"\x1f\x8b\x08")


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_float("minutes", 1.0, "For each target.", lower_bound=0.0)
    flags.DEFINE_list("targets", [], f"Which; empty = all: {', '.join(TARGETS)}.")
    flags.DEFINE_string("model", None, "A run with a SavedModel; without it that is left out.")
    flags.DEFINE_float(
        "case_seconds", 20.0, "A case that takes longer is a hang. Give more on a shared core."
    )
    flags.DEFINE_integer("seed", 0, "Of the draw.")
    flags.DEFINE_string("work_dir", None, "Folder to keep; default: one that is removed after.")
    flags.register_validator("targets", lambda v: set(v) <= set(TARGETS), ", ".join(TARGETS))


def measure() -> dict[str, Any]:
    """Each target in turn."""
    names = FLAGS.targets or [name for name in TARGETS if FLAGS.model or name not in _OF_MODEL]
    rows = []
    with work_folder(FLAGS.work_dir) as folder:
        for name in names:
            print(f"{name}: {FLAGS.minutes:g} min", flush=True)
            rows.append({"target": name, **_run_target(name, folder)})
    return {"rows": rows, "minutes": FLAGS.minutes}


def _run_target(name: str, folder: Path) -> dict[str, int]:
    """Cases, refusals and faults; begun again after a process that died."""
    total = {"cases": 0, "refused": 0, "faults": 0}
    until = time.monotonic() + 60 * FLAGS.minutes
    seed = FLAGS.seed
    while (left := until - time.monotonic()) > 0:
        seed += 1
        own = folder / f"{name}-{seed}"
        own.mkdir(parents=True, exist_ok=True)
        task = {"target": name, "seconds": left, "seed": seed, "folder": str(own)}
        task |= {"model": FLAGS.model, "case_seconds": FLAGS.case_seconds}
        with open(own / "stderr.log", "wb") as log:
            child = subprocess.Popen(
                [sys.executable, __file__, json.dumps(task)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        last = {"cases": 0, "refused": 0, "case": ""}
        for line in child.stdout or ():
            if line.startswith("{"):
                last = json.loads(line)
        status = child.wait()
        total["cases"] += last["cases"]
        total["refused"] += last["refused"]
        if status != 0:
            total["faults"] += 1
            said = (own / "stderr.log").read_text("utf-8", errors="replace")
            print(f"{name}: status {status}, {last.get('fault', 'died')}; see {own}", flush=True)
            print(said[-2000:], flush=True)
    return total


def table(result: dict[str, Any]) -> str:
    """The tally."""
    rows = [["target", "cases", "refused", "faults"]]
    for row in result["rows"]:
        rows.append([row["target"], *(f"{row[name]:,}" for name in ("cases", "refused", "faults"))])
    faults = sum(row["faults"] for row in result["rows"])
    return (
        f"{text_table(rows, left=1)}\n{faults} faults in {result['minutes']:g} min for each target"
    )


# Cases


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them changed, cut out, doubled, or hostile ones put in."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        place = draw.randint(0, len(changed))
        way = draw.randrange(6)
        if way == 0 and changed:
            changed[min(place, len(changed) - 1)] ^= 1 << draw.randrange(8)
        elif way == 1:
            del changed[place : place + draw.randint(1, 20)]
        elif way == 2:
            changed[place:place] = changed[place : place + draw.randint(1, 200)]
        elif way == 3:
            changed[place:place] = draw.choice(_BROKEN)
        else:
            changed[place:place] = draw.choice(_HOSTILE).encode()
    if draw.random() < 0.01:
        # One line, or one word, far longer than any other.
        changed[place:place] = draw.choice([b"a ", b"a", b"\xc3\xa9"]) * draw.choice([10**5, 10**6])
    return bytes(changed)


def hostile_text(draw: random.Random) -> str:
    """A text of hostile parts and any characters at all; lone surrogates among them."""
    parts = []
    for _ in range(draw.randint(0, 12)):
        way = draw.randrange(4)
        if way == 0:
            parts.append(draw.choice(_HOSTILE))
        elif way == 1:
            parts.append(chr(draw.randrange(0x110000)))
        elif way == 2:
            parts.append("".join(chr(draw.randrange(0x3000)) for _ in range(draw.randint(1, 30))))
        else:
            parts.append(draw.choice(["rain", "Turin", " ", "  ", ". "]))
    if draw.random() < 0.005:
        parts.append(draw.choice(["a ", "a", "北", "🦜"]) * 10**6)
    return "".join(parts)


def _file_cases(
    suffixes: tuple[str, ...], read: Callable[[Path], Any]
) -> Callable[[random.Random, Path, Any], Iterator[Callable[[], Any]]]:
    def cases(draw: random.Random, folder: Path, model: Any) -> Iterator[Callable[[], Any]]:
        while True:
            suffix = draw.choice(suffixes)
            content = mutated(draw.choice(list(_GOOD.values())) * draw.randint(0, 3), draw)
            packed = draw.random() < 0.1
            path = folder / f"case{suffix}{'.gz' if packed else ''}"
            if packed:
                content = gzip.compress(content)
                content = content if draw.random() < 0.5 else mutated(content, draw)
            path.write_bytes(content)
            yield lambda path=path: read(path)
            path.unlink()

    return cases


def _reads(name: str, **options: Any) -> Callable[[Path], Any]:
    """Reads a file to its end by a reader of `xdistil.data`."""

    def read(path: Path) -> Any:
        import xdistil.data

        return sum(1 for _ in getattr(xdistil.data, name)(str(path), **options))

    return read


def _read_labels(path: Path) -> Any:
    from xdistil.data import Labels

    return Labels.from_file(path)


def _read_vectors(path: Path) -> Any:
    from xdistil.data import read_word_vectors

    return read_word_vectors(path)


def _encoder() -> Any:
    from xdistil.data import TaggedSentence, train_wordpiece

    words = tuple(b" ".join(_GOOD.values()).decode("utf-8").split())
    return train_wordpiece([TaggedSentence(words)], 300, lower_case=True, seq_len=32)


def _encoding_cases(draw: random.Random, folder: Path, model: Any) -> Iterator[Callable[[], Any]]:
    from xdistil.data import LabeledText, TaggedSentence, encode_texts

    encoder = _encoder()

    def encode(texts: list[str]) -> None:
        sentences = [TaggedSentence(tuple(text.split())) for text in texts]
        examples = [
            *zip(encoder.encode(sentences), sentences, strict=True),
            *zip(encode_texts(encoder, map(LabeledText, texts)), texts, strict=True),
        ]
        for example, given in examples:
            if len(example) > encoder.seq_len or len(example.word_starts) != len(example):
                raise AssertionError(f"{given!r}: {example}")
            positions = example.word_positions[example.word_positions >= 0]
            if not example.word_starts[positions].all() or (positions >= len(example)).any():
                raise AssertionError(f"{given!r}: words at {positions}")
            if isinstance(given, TaggedSentence) and len(example.word_positions) != len(
                given.words
            ):
                raise AssertionError(f"{given!r}: {len(example.word_positions)} words")

    while True:
        texts = [hostile_text(draw) for _ in range(draw.randint(1, 5))]
        (folder / "case.json").write_text(json.dumps(texts)[: 10**7])
        yield lambda texts=texts: encode(texts)


def _predictor_cases(draw: random.Random, folder: Path, model: Any) -> Iterator[Callable[[], Any]]:
    from xdistil.export.predictor import load_predictor

    predictor = load_predictor(model, "saved_model")
    while True:
        texts = [hostile_text(draw) for _ in range(draw.choice([0, 1, 3]))]
        (folder / "case.json").write_text(json.dumps(texts)[: 10**7])
        yield lambda texts=texts: list(predictor.predict(texts))


def _saved_model_cases(
    draw: random.Random, folder: Path, model: Any
) -> Iterator[Callable[[], Any]]:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  registers the tokenizer's ops

    path = Path(model, "export", "saved_model")
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = sorted(signature.structured_input_signature[1])

    def call(texts: list[bytes]) -> None:
        given = {name: tf.constant(texts, tf.string, (len(texts),)) for name in inputs}
        for value in signature(**given).values():
            if value.shape[0] != len(texts):
                raise AssertionError(f"{len(texts)} texts, {value.shape}")

    while True:
        texts = [
            mutated(hostile_text(draw).encode("utf-8", "surrogatepass"), draw)
            for _ in range(draw.choice([0, 1, 3]))
        ]
        (folder / "case.txt").write_text(repr(texts)[: 10**7])
        yield lambda texts=texts: call(texts)


_TEXTS = (".tsv", ".csv", ".jsonl", ".txt")
TARGETS = {
    "read_tagged": _file_cases((".tsv", ".conll", ".jsonl", ".bio", ".txt"), _reads("read_tagged")),
    "read_text": _file_cases((".txt",), _reads("read_text")),
    "read_labeled_text": _file_cases(_TEXTS, _reads("read_labeled_text")),
    "read_pairs": _file_cases(_TEXTS, _reads("read_labeled_text", pairs=True)),
    "read_unlabeled_text": _file_cases(_TEXTS, _reads("read_unlabeled_text")),
    "labels": _file_cases((".tsv", ".txt"), _read_labels),
    "word_vectors": _file_cases((".vec", ".txt"), _read_vectors),
    "encoding": _encoding_cases,
    "predictor": _predictor_cases,
    "saved_model": _saved_model_cases,
}
_OF_MODEL = ("predictor", "saved_model")


def run_cases(task: dict[str, Any]) -> int:
    """What the process of a target does: a line of counts a second; the exit status."""
    import faulthandler

    from xdistil.metrics.footprint import peak_memory_bytes

    draw = random.Random(f"{task['target']} {task['seed']}")
    folder = Path(task["folder"])
    counts = {"cases": 0, "refused": 0}
    cases = TARGETS[task["target"]](draw, folder, task["model"])
    base = 0
    until, said = time.monotonic() + task["seconds"], 0.0
    for case in cases:
        faulthandler.dump_traceback_later(task["case_seconds"], exit=True, file=sys.__stderr__)
        try:
            try:
                case()
            finally:
                faulthandler.cancel_dump_traceback_later()
        except InputError as error:
            counts["refused"] += 1
            if "\n" in str(error):
                return _fault(counts, f"an error of several lines: {error}")
        except Exception as error:
            return _fault(counts, f"{type(error).__name__}: {error}")
        counts["cases"] += 1
        memory = peak_memory_bytes()
        if counts["cases"] <= 100:
            base = memory
        if memory > base + _MORE_MEMORY:
            return _fault(counts, f"{memory >> 20} MiB of memory, {base >> 20} at first")
        if time.monotonic() - said > 1:
            said = time.monotonic()
            print(json.dumps(counts), flush=True)
        if said > until:
            break
    print(json.dumps(counts), flush=True)
    return 0


def _fault(counts: dict[str, int], what: str) -> int:
    print(json.dumps({**counts, "fault": what[:300]}), flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(run_cases(json.loads(sys.argv[1])))
