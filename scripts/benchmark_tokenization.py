"""Subject `tokenization`: sentences per second with words aligned, against the bare tokenizer.

    python scripts/benchmark.py tokenization --checkpoint=FOLDER --input=FILES

`bare` is the library tokenizers on the same words, as many at a time: `encode_batch`, and nothing
taken out of what it gives. `bare, ids alone` is its `encode_batch_fast`, which does not tell which
word a piece is of, so that nothing could be aligned. `encoder` makes examples with word starts and
word positions, as a run does; `read` also reads the files. In turns, medians.
"""

import functools
import itertools
import statistics
from pathlib import Path
from typing import Any

from absl import flags

from xdistil.errors import InputError
from xdistil.report.text_table import text_table

FLAGS = flags.FLAGS
_AT_ONCE = 1000


def define_flags() -> None:
    """The subject's flags."""
    flags.DEFINE_string("checkpoint", None, "Folder with a tokenizer.", required=True)
    flags.DEFINE_list("input", None, "Files of tagged sentences, globs too.", required=True)
    flags.DEFINE_integer("sentences", 20_000, "Most sentences; 0 = all.", lower_bound=0)
    flags.DEFINE_integer("seq_len", 128, "Most pieces of a sentence.", lower_bound=8)
    flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)


def measure() -> dict[str, Any]:
    """All three in turns."""
    from xdistil import metrics
    from xdistil.data.encoding import TextEncoder
    from xdistil.data.readers import expand_files

    encoder = TextEncoder.from_folder(FLAGS.checkpoint, seq_len=FLAGS.seq_len)
    files = expand_files(FLAGS.input)
    sentences = read(files)
    if not sentences:
        raise InputError(f"{', '.join(files)}: no sentences")
    words = [list(sentence.words) for sentence in sentences]
    chunks = [words[start : start + _AT_ONCE] for start in range(0, len(words), _AT_ONCE)]
    encode_batch = functools.partial(
        encoder.tokenizer.encode_batch, is_pretokenized=True, add_special_tokens=False
    )
    ids_alone = functools.partial(
        encoder.tokenizer.encode_batch_fast, is_pretokenized=True, add_special_tokens=False
    )
    calls = {
        "bare": lambda: sum(len(encode_batch(chunk)) for chunk in chunks),
        "bare, ids alone": lambda: sum(len(ids_alone(chunk)) for chunk in chunks),
        "encoder": lambda: sum(1 for _ in encoder.encode(sentences, batch=_AT_ONCE)),
        "read": lambda: sum(1 for _ in encoder.encode(read(files), batch=_AT_ONCE)),
    }
    latencies = metrics.measure_latency(calls, repeats=FLAGS.repeats, warm_up=1)
    return {
        "checkpoint": Path(FLAGS.checkpoint).name,
        "sentences": len(sentences),
        "words": sum(map(len, words)),
        "rows": [
            {
                "way": way,
                "sentences_per_second": 1e3 * len(sentences) / latencies.median_ms(way),
                "of_bare": statistics.median(latencies.ratios("bare", way)),
            }
            for way in calls
        ],
        "machine": metrics.thread_settings(),
    }


def read(files: list[str]) -> list[Any]:
    """The first sentences of all files."""
    from xdistil.data.readers import read_tagged

    everything = itertools.chain.from_iterable(map(read_tagged, files))
    return list(itertools.islice(everything, FLAGS.sentences or None))


def table(result: dict[str, Any]) -> str:
    """Sentences per second, and the share of the bare tokenizer's."""
    cells = [["", "sentences/s", "of bare"]]
    for row in result["rows"]:
        cells.append([row["way"], f"{row['sentences_per_second']:,.0f}", f"{row['of_bare']:.2f}"])
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return (
        f"{result['sentences']:,} sentences, {result['words']:,} words\n"
        f"{text_table(cells, left=1)}\n{machine}"
    )
