"""Plain text becomes examples on disk: cut or packed, held out by content, counted once."""

import gzip

import numpy as np
import pytest

from xdistil.data import pretraining_text
from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import TaggedSentence
from xdistil.data.pretraining_text import TextSettings, write_pretraining_text
from xdistil.data.readers import refuse_shared_files
from xdistil.data.records import read_records
from xdistil.errors import InputError

WORDS = [a + b for a in ("ba", "de", "fi", "go") for b in ("ka", "le", "mi", "no")]
SEQ_LEN = 10


def lines(count, seed=0, most=30):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(1, most))) for _ in range(count)]


@pytest.fixture(scope="module")
def encoder():
    words = (TaggedSentence(tuple(line.split())) for line in lines(200))
    return train_wordpiece(words, 60, seq_len=SEQ_LEN)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(lines(60)) + "\n", "utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n\n".join(lines(40, seed=1)) + "\n")
    return [str(tmp_path / "*.txt*")]


def write(tmp_path, files, encoder, name="out", **settings):
    own = {"min_length": 4, "dev_share": 0.2, **settings}
    dev = {"dev_files": own.pop("dev_files")} if "dev_files" in own else {}
    return write_pretraining_text(
        tmp_path / name, files, encoder, TextSettings(**own), fingerprint="f", **dev
    )


def rows(store):
    return [
        features["token_ids"].tolist()
        for features, _ in read_records([store], shuffle=False).as_numpy_iterator()
    ]


def pieces_of(encoder, text):
    return encoder.pieces([text.split()]).ids.tolist()


def test_each_line_is_cut_into_examples_and_short_ones_are_left_out(tmp_path, encoder):
    (tmp_path / "t.txt").write_text("\n".join(["ba", *lines(30)]) + "\n", "utf-8")
    (tmp_path / "d.txt").write_text(lines(1, seed=9)[0] + "\n", "utf-8")
    text = write(tmp_path, [tmp_path / "t.txt"], encoder, dev_files=[tmp_path / "d.txt"])
    parts = []
    for line in ["ba", *lines(30)]:
        pieces = pieces_of(encoder, line)
        parts += [pieces[i : i + SEQ_LEN - 2] for i in range(0, len(pieces), SEQ_LEN - 2)]
    long_enough = [part for part in parts if len(part) + 2 >= 4]
    # "ba" is too short, and so is the end of another line.
    assert len(long_enough) < len(parts) - 1
    assert rows(text.train) == [[encoder.cls_id, *part, encoder.sep_id] for part in long_enough]


def test_packed_lines_fill_every_example_but_the_last_of_a_document(tmp_path, encoder):
    documents = [lines(12), lines(7, seed=3)]
    content = "\n\n".join("\n".join(document) for document in documents) + "\n"
    (tmp_path / "t.txt").write_text(content, "utf-8")
    (tmp_path / "d.txt").write_text(lines(1, seed=9)[0] + "\n", "utf-8")
    text = write(
        tmp_path, [tmp_path / "t.txt"], encoder, packed=True, dev_files=[tmp_path / "d.txt"]
    )
    expected = []
    for document in documents:
        pieces = [piece for line in document for piece in pieces_of(encoder, line)]
        parts = [pieces[i : i + SEQ_LEN - 2] for i in range(0, len(pieces), SEQ_LEN - 2)]
        expected += [[encoder.cls_id, *p, encoder.sep_id] for p in parts if len(p) + 2 >= 4]
    assert rows(text.train) == expected


def test_a_share_of_the_lines_is_held_out_by_what_they_say(tmp_path, files, encoder):
    text = write(tmp_path, files, encoder)
    (tmp_path / "other").write_text(lines(1, seed=9)[0] + "\n", "utf-8")
    everything = write(tmp_path, files, encoder, "all", dev_files=[tmp_path / "other"])
    assert sorted(rows(text.train) + rows(text.dev)) == sorted(rows(everything.train))
    assert 0.08 < text.dev.examples / everything.train.examples < 0.35
    # The same lines twice, in another order and beside others: each is on the side it was on.
    path = tmp_path / "twice.txt"
    path.write_text("\n".join([*lines(40, seed=1), *lines(60), *lines(60)]) + "\n", "utf-8")
    again = write(tmp_path, [path], encoder, "twice")
    assert {*map(tuple, rows(again.dev))} == {*map(tuple, rows(text.dev))}
    assert again.dev.examples > text.dev.examples
    other = write(tmp_path, files, encoder, "seed", seed=1)
    assert rows(other.dev) != rows(text.dev)


def test_packed_text_is_held_out_by_whole_documents(tmp_path, encoder):
    documents = [lines(6, seed=seed, most=12) for seed in range(40)]
    content = "\n\n".join("\n".join(document) for document in documents) + "\n"
    (tmp_path / "t.txt").write_text(content, "utf-8")
    text = write(tmp_path, [tmp_path / "t.txt"], encoder, packed=True, dev_share=0.3)
    expected, written = [], [rows(store) for store in (text.dev, text.train)]
    for document in documents:
        pieces = [piece for line in document for piece in pieces_of(encoder, line)]
        parts = [pieces[i : i + SEQ_LEN - 2] for i in range(0, len(pieces), SEQ_LEN - 2)]
        own = [[encoder.cls_id, *p, encoder.sep_id] for p in parts if len(p) + 2 >= 4]
        sides = [all(row in side for row in own) for side in written]
        assert any(sides)
        expected += own
    assert sorted(written[0] + written[1]) == sorted(expected)
    assert 0.1 < text.dev.examples / len(expected) < 0.5


def test_packed_text_without_blank_lines_is_held_out_by_sections(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(pretraining_text, "_SECTION_CHARACTERS", 300)
    monkeypatch.setattr(pretraining_text, "_BEGINNING_CHARACTERS", 40)
    whole = lines(100, most=12)
    (tmp_path / "t.txt").write_text("\n".join(whole) + "\n", "utf-8")
    source = pretraining_text._Source(encoder, TextSettings(packed=True, dev_share=0.3))
    sides = {}
    for held_out in (True, False):
        taken = [*source.lines([str(tmp_path / "t.txt")], held_out)]
        sections = [line.split("\n") for line in "\n".join(taken).strip().split("\n\n")]
        sides[held_out] = [section for section in sections if section != [""]]
        for section in sides[held_out]:
            # Lines that follow each other, not more than a section and the line that ends it.
            assert any(whole[i : i + len(section)] == section for i in range(len(whole)))
            assert 0 < sum(map(len, section[:-1])) < 300
    together = [line for side in sides.values() for section in side for line in section]
    assert sorted(together) == sorted(whole) and min(map(len, sides.values())) > 3


@pytest.mark.parametrize("suffix", ["txt", "txt.gz", "jsonl"])
def test_text_on_one_line_is_read_in_parts(tmp_path, encoder, monkeypatch, suffix):
    words = " ".join(lines(40))
    path = tmp_path / f"t.{suffix}"
    content = (f'{{"text": "{words}"}}' if suffix == "jsonl" else words).encode() + b"\n"
    path.write_bytes(gzip.compress(content) if suffix == "txt.gz" else content)
    monkeypatch.setattr(pretraining_text, "_LINE_BYTES", 64)
    monkeypatch.setattr(pretraining_text, "_CHARACTERS_AT_A_TIME", 200)
    sizes = []
    pieces = encoder.pieces
    monkeypatch.setattr(
        encoder, "pieces", lambda texts: sizes.append(sum(map(len, texts))) or pieces(texts)
    )
    source = pretraining_text._Source(encoder, TextSettings())
    parts = [*source.lines([str(path)], None)]
    assert parts.pop() == ""
    assert " ".join(parts) == words and all(0 < len(part) <= 64 for part in parts)
    assert sum(1 for _ in source._encoded(parts)) == len(parts)
    assert len(sizes) > 5 and max(sizes) < 100  # words


def test_pieces_are_counted_once_and_the_counts_are_kept(tmp_path, files, encoder, monkeypatch):
    text = write(tmp_path, files, encoder)
    flat = [piece for row in rows(text.train) for piece in row]
    expected = np.bincount(flat, minlength=encoder.vocabulary_size)
    np.testing.assert_array_equal(text.piece_counts, expected)
    monkeypatch.setattr("xdistil.data.pretraining_text.iterate_batches", None)
    np.testing.assert_array_equal(write(tmp_path, files, encoder).piece_counts, expected)


def test_a_second_call_writes_nothing_and_one_after_a_kill_ends_in_the_same_bytes(
    tmp_path, files, encoder, monkeypatch
):
    text = write(tmp_path, files, encoder)
    before = {path: path.stat().st_mtime_ns for path in text.train.files}
    write(tmp_path, files, encoder)
    assert {path: path.stat().st_mtime_ns for path in text.train.files} == before

    def die(path, values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xdistil.data.record_writer._write_file", die)
        write(tmp_path, files, encoder, "killed")
    killed = write(tmp_path, files, encoder, "killed")
    for one, two in zip(text.train.files, killed.train.files, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_limits_take_the_beginning(tmp_path, files, encoder):
    text = write(tmp_path, files, encoder)
    small = write(tmp_path, files, encoder, "small", max_examples=7, max_dev_examples=3)
    assert rows(small.train) == rows(text.train)[:7]
    assert rows(small.dev) == rows(text.dev)[:3]


def test_lines_are_read_one_after_the_other(tmp_path, encoder, monkeypatch):
    reads = 0

    def endless(path):
        nonlocal reads
        while True:
            reads += 1
            yield "ba de fi go " * 3

    monkeypatch.setattr(pretraining_text, "_lines_of", endless)
    (tmp_path / "t.txt").write_text("x\n", "utf-8")
    (tmp_path / "d.txt").write_text("x\n", "utf-8")
    text = write(
        *(tmp_path, [tmp_path / "t.txt"], encoder),
        dev_files=[tmp_path / "d.txt"],
        max_examples=2500,
        max_dev_examples=10,
    )
    assert text.train.examples == 2500
    assert reads < 5000


def test_tables_of_texts_are_read_too(tmp_path, encoder):
    paths = [tmp_path / f"{name}.jsonl" for name in ("train", "dev")]
    for path in paths:
        path.write_text(f'{{"text": "{lines(1)[0]}"}}\n' * 3, "utf-8")
    text = write(tmp_path, paths[:1], encoder, dev_files=paths[1:])
    assert rows(text.train) == rows(text.dev) != []


def test_a_file_that_is_learned_from_is_not_held_out_as_well(tmp_path, files, encoder):
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    with pytest.raises(
        InputError, match=r"link: held out by --dev_file.* as .*a\.txt.*--text_file"
    ):
        write(tmp_path, files, encoder, dev_files=[tmp_path / "link"])
    hashes = {"a": "1", "b": "2", "c": "1"}
    with pytest.raises(InputError, match="c: held out by --dev_file, and learned from as a"):
        refuse_shared_files(["a", "b"], ["c"], hashes)
    refuse_shared_files(["a"], ["b"], hashes)


def broken(path, kind):
    good = "\n".join(lines(400)).encode() + b"\n"
    if kind == "utf8":
        path.write_bytes(b"ba de fi\n" * 4 + b"ba \xff de\n")
        return rf"{path}:5: invalid UTF-8"
    if kind == "gzip":
        path.write_bytes(gzip.compress(good)[:-200])
        return rf"{path}:\d+: the gzip data is cut"
    path.write_bytes({"empty": b"", "blank": b"\n \n\t\n", "short": b"ba\nde\n"}[kind])
    return {
        "empty": f"{path}: the file is empty",
        "blank": f"{path}: only blank lines",
        "short": f"{path}: no example of at least 9 pieces",
    }[kind]


@pytest.mark.parametrize("kind", ["utf8", "gzip", "empty", "blank", "short"])
def test_bad_text_is_told_with_file_and_line(tmp_path, encoder, kind):
    path = tmp_path / "bad.txt"
    message = broken(path, kind)
    with pytest.raises(InputError, match=message):
        write(tmp_path, [path], encoder, min_length=9)


def test_text_that_is_held_out_wholly_or_missing_is_told(tmp_path, files, encoder):
    with pytest.raises(InputError, match=r"no example of at least 10 pieces.*lower"):
        path = tmp_path / "short"
        path.write_text("ba de\n", "utf-8")
        write(tmp_path, [path], encoder, min_length=10, dev_files=files)
    with pytest.raises(InputError, match=r"held-out share of 1e-06"):
        write(tmp_path, files, encoder, "share", dev_share=1e-6)
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        write(tmp_path, [tmp_path / "nowhere.txt"], encoder, "nowhere")


@pytest.mark.parametrize(
    "settings", [{"min_length": 0}, {"dev_share": 0.0}, {"dev_share": 1.0}, {"max_examples": -1}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        TextSettings(**settings)
