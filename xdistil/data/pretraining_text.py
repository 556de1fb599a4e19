"""Plain text for masked language modeling: cut into examples once, kept as records on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import safetensors

from xdistil.data.batching import bucket_lengths
from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import EncodedExample
from xdistil.data.lines import numbered_lines
from xdistil.data.paths import AnyPath, as_path, local_file
from xdistil.data.piece_arrays import frame_of
from xdistil.data.readers import expand_files, refuse_shared_files
from xdistil.data.record_batches import iterate_batches
from xdistil.data.records import RecordStore, write_records
from xdistil.data.tensor_files import write_tensors
from xdistil.data.text_formats import Wanted, format_of, read_text_rows
from xdistil.errors import InputError

logger = logging.getLogger("xdistil")
_TABLES = (".tsv", ".csv", ".jsonl", ".ndjson", ".json")
# What is tokenized at a time: pieces take some sixty times the room of their text.
_LINES_AT_A_TIME = 1000
_CHARACTERS_AT_A_TIME = 2**20
# Of a line that is read at once; of a longer one the parts are lines of their own.
_LINE_BYTES = 2**16
# Packed text is held out by whole documents, which their beginning decides; one without blank
# lines by sections of this length.
_SECTION_CHARACTERS = 100_000
_BEGINNING_CHARACTERS = 1000
_COUNTS = "piece_counts.safetensors"


@dataclasses.dataclass(frozen=True)
class TextSettings:
    """How text becomes examples.

    Args:
        packed: False: each line is an example of its own, and one longer than the encoder's
            `seq_len` is cut into several, as in DistilBERT's code. True: lines are put together
            until `seq_len` is full; a blank line, and the end of a file, end the example.
        min_length: Examples of fewer pieces, special tokens counted, are left out; the code drops
            those of 11 and fewer.
        dev_share: Of the lines, held out where there are no files of held-out text. Which ones is
            a function of their content: the same line twice is on one side. Where `packed`, of the
            documents (up to a blank line; one of more than 100,000 characters in sections), by
            how they begin: examples of both sides are then made of lines that belong together.
        seed: Of the choice.
        max_examples: Most examples to learn from, from the beginning of the text; 0 = all.
        max_dev_examples: Most examples held out; 0 = all.

    Raises:
        ValueError: `min_length` is below 1, `dev_share` outside (0, 1), or a limit below 0.

    Reference:
        the authors' code of [Sanh et al., 2019](https://arxiv.org/abs/1910.01108)
    """

    packed: bool = False
    min_length: int = 12
    dev_share: float = 0.01
    seed: int = 0
    max_examples: int = 0
    max_dev_examples: int = 0

    def __post_init__(self):
        if min(self.max_examples, self.max_dev_examples) < 0:
            raise ValueError(
                "`max_examples` and `max_dev_examples` must not be below 0, received "
                f"{self.max_examples!r} and {self.max_dev_examples!r}."
            )
        if self.min_length < 1:
            raise ValueError(f"`min_length` must be at least 1, received {self.min_length!r}.")
        if not 0 < self.dev_share < 1:
            raise ValueError(f"`dev_share` must be between 0 and 1, received {self.dev_share!r}.")


@dataclasses.dataclass(frozen=True)
class PretrainingText:
    """Text as examples on disk.

    Args:
        train: What is learned from.
        dev: What is held out.
        piece_counts: int64 `(vocabulary_size,)`, how often each piece occurs in `train`.
        lengths: Bucket lengths.
    """

    train: RecordStore
    dev: RecordStore
    piece_counts: np.ndarray
    lengths: tuple[int, ...]


def write_pretraining_text(
    folder: str | os.PathLike,
    files: Sequence[str],
    encoder: TextEncoder,
    settings: TextSettings | None = None,
    *,
    dev_files: Sequence[str] = (),
    fingerprint: str,
    on_progress: Callable[[int], None] | None = None,
) -> PretrainingText:
    """Encodes text once and keeps it; called again, it goes on where it stopped.

    Files are plain text, a line an example or a part of one, or (by their suffix) `.tsv`, `.csv`
    and `.jsonl` as `read_unlabeled_text` reads them; each may be gzipped. About 1 MB of text at a
    time, and one shard of examples, are in memory: of a line above 64 KiB each part is an example,
    or a part of one.

    Args:
        folder: Gets `train/`, `dev/` and the counts.
        files: Paths or globs.
        encoder: From text to pieces; its `seq_len` is the longest example.
        settings: How text becomes examples.
        dev_files: Held-out text; without it a share of `files` is held out.
        fingerprint: Hash of the files' contents.
        on_progress: Called with the number of examples of `train` done.

    Raises:
        InputError: A file is missing, empty, cut or not UTF-8 (with the line), or is on both
            sides, or there is no example to learn from, or none held out.
        StorageError: The disk is full.
    """
    settings = settings or TextSettings()
    folder = as_path(folder)
    if dev_files:
        refuse_shared_files(expand_files(files), expand_files(dev_files))
    source = _Source(encoder, settings)
    train_lines = source.lines(files, None if dev_files else False)
    dev_lines = source.lines(dev_files, None) if dev_files else source.lines(files, True)
    parts = [fingerprint, encoder.fingerprint, repr(settings)]
    stores = {}
    for name, lines, limit, report in (
        ("dev", dev_lines, settings.max_dev_examples, None),
        ("train", train_lines, settings.max_examples, on_progress),
    ):
        key = hashlib.sha256("\n".join([name, *parts]).encode()).hexdigest()
        source.short = 0
        stores[name] = write_records(
            folder / name,
            islice(source.examples(lines), limit or None),
            key=key,
            on_progress=report,
        )
        if source.short:
            logger.info(
                "text: %d %s examples of fewer than %d pieces are left out",
                *(source.short, name, settings.min_length),
            )
    _refuse_empty(stores, files, dev_files, settings)
    lengths = bucket_lengths(encoder.seq_len)
    counts = _piece_counts(folder / _COUNTS, stores["train"], lengths, encoder.vocabulary_size)
    return PretrainingText(stores["train"], stores["dev"], counts, lengths)


def _refuse_empty(stores, files, dev_files, settings: TextSettings) -> None:
    if not stores["train"].examples:
        raise InputError(
            f"{_named(files)}: no example of at least {settings.min_length} pieces: "
            "give more text, put its lines together, or lower the least length"
        )
    if not stores["dev"].examples:
        share = "" if dev_files else f" in the held-out share of {settings.dev_share:g}"
        raise InputError(
            f"{_named(dev_files or files)}: no held-out example of at least "
            f"{settings.min_length} pieces{share}: give more text, a larger share, or files of "
            "held-out text"
        )


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(map(str, files[:3])) + more


class _Source:
    """Lines of files, and the examples that are made of them."""

    def __init__(self, encoder: TextEncoder, settings: TextSettings):
        self.encoder = encoder
        self.settings = settings
        frame = frame_of(encoder.tokenizer, 1, encoder.cls_id, encoder.sep_id)
        self.before, self.after = (np.array(ids, np.int32) for ids in frame.specials)
        self.room = encoder.seq_len - frame.size
        self.short = 0

    def lines(self, files: Sequence[str], held_out: bool | None) -> Iterator[str]:
        """Lines without white space around them; an empty one after each document.

        Args:
            files: Paths or globs.
            held_out: Which side of the share to take; `None`: every line.
        """
        for path in expand_files(files):
            lines = _refuse_blank(path, _lines_of(path))
            if held_out is None:
                yield from lines
            elif self.settings.packed:
                yield from self._documents(lines, held_out)
            else:
                yield from (x for x in lines if not x or self._is_held_out(x) == held_out)
            yield ""

    def _documents(self, lines: Iterable[str], held_out: bool) -> Iterator[str]:
        """The lines of documents on one side, an empty one after each."""
        beginning: list[str] = []  # of a document that is not decided yet
        length, taken = 0, None
        for line in itertools.chain(lines, [""]):
            ends = not line or length >= _SECTION_CHARACTERS
            if taken is None and beginning and (ends or length >= _BEGINNING_CHARACTERS):
                taken = self._is_held_out("\n".join(beginning)) == held_out
                if taken:
                    yield from beginning
                beginning = []
            if ends:
                if taken:
                    yield ""
                length, taken = 0, None
            if not line:
                continue
            length += len(line)
            if taken is None:
                beginning.append(line)
            elif taken:
                yield line

    def _is_held_out(self, text: str) -> bool:
        digest = hashlib.blake2b(f"{self.settings.seed} {text}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") < self.settings.dev_share * 2**64

    def examples(self, lines: Iterable[str]) -> Iterator[EncodedExample]:
        """Examples of at least the least length."""
        for ids, starts in self._cut(self._encoded(lines)):
            if len(ids) + len(self.before) + len(self.after) < self.settings.min_length:
                self.short += 1
                continue
            word_starts = np.concatenate(
                [np.zeros_like(self.before), starts, np.zeros_like(self.after)]
            ).astype(np.uint8)
            yield EncodedExample(
                np.concatenate([self.before, ids, self.after]),
                word_starts,
                np.flatnonzero(word_starts).astype(np.int32),
            )

    def _encoded(self, lines: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
        """Ids and word starts of each line, whatever its length; `None` for an empty one."""
        for chunk in _chunks(lines):
            pieces = self.encoder.pieces([line.split() for line in chunk])
            ends = np.cumsum(pieces.lengths)
            for line, end, length in zip(chunk, ends, pieces.lengths, strict=True):
                part = slice(end - length, end)
                yield (pieces.ids[part], pieces.starts[part]) if line else None

    def _cut(
        self, encoded: Iterable[tuple[np.ndarray, np.ndarray] | None]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Parts that fit between the special tokens."""
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        for line in encoded:
            if line is not None:
                kept.append(line)
            if self.settings.packed and line is not None:
                full = sum(len(ids) for ids, _ in kept) // self.room * self.room
            else:
                full = None  # all of it: the example ends here
            if not kept or full == 0:
                continue
            ids, starts = (np.concatenate(parts) for parts in zip(*kept, strict=True))
            end = len(ids) if full is None else full
            for begin in range(0, end, self.room):
                part = slice(begin, min(begin + self.room, end))
                yield ids[part], starts[part]
            kept = [(ids[end:], starts[end:])] if end < len(ids) else []


def _lines_of(path: str) -> Iterator[str]:
    """Lines, or parts of long ones; an empty one for each blank line and for nothing else."""
    if format_of(path) in _TABLES:
        for row in read_text_rows(path, Wanted(pairs=False, labeled=False)):
            yield from _parts_of(row.text.strip())
        return
    last = 0
    for number, line in numbered_lines(path, _LINE_BYTES):
        line = line.strip()
        if line or number != last:
            yield line
        last = number


def _parts_of(text: str) -> Iterator[str]:
    """The same for a text that is in memory already."""
    begin = 0
    while len(text) - begin > _LINE_BYTES:
        end = text.rfind(" ", begin, begin + _LINE_BYTES) + 1 or begin + _LINE_BYTES
        if part := text[begin:end].strip():
            yield part
        begin = end
    yield text[begin:].strip()


def _refuse_blank(path: str, lines: Iterable[str]) -> Iterator[str]:
    found = False
    for line in lines:
        found = found or bool(line)
        yield line
    if not found:
        raise InputError(f"{path}: only blank lines in it: expected text")


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines that are tokenized together: not too many, and not too long."""
    chunk: list[str] = []
    length = 0
    for line in lines:
        chunk.append(line)
        length += len(line)
        if len(chunk) == _LINES_AT_A_TIME or length >= _CHARACTERS_AT_A_TIME:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk


def _piece_counts(
    path: AnyPath, store: RecordStore, lengths: Sequence[int], vocabulary_size: int
) -> np.ndarray:
    """How often each piece occurs, counted in one pass over the records and kept."""
    try:
        with local_file(path) as local, safetensors.safe_open(local, framework="numpy") as file:
            if (file.metadata() or {}).get("key") == store.key:
                return file.get_tensor("piece_counts")
    except (OSError, safetensors.SafetensorError):
        pass  # not counted yet, or not wholly written
    counts = np.zeros(vocabulary_size, np.int64)
    for features, _ in iterate_batches([store], lengths=lengths, batch_size=1024, shuffle=False):
        pieces = features["token_ids"][features["padding_mask"] == 1]
        counts += np.bincount(pieces, minlength=vocabulary_size)
    write_tensors(path, {"piece_counts": counts}, {"key": store.key})
    return counts
