"""Readers: the formats, the language of a sentence, and every fault with its file and line."""

import gzip
import json
import os
import threading

import pytest

from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.data.lines import numbered_lines
from xdistil.data.read_report import ReadReport
from xdistil.data.readers import (
    expand_files,
    looks_like_a_language,
    read_folder,
    read_tagged,
    read_text,
    split_files,
)
from xdistil.errors import InputError

ADA = TaggedSentence(("Ada", "lives", "in", "Turin"), ("B-PER", "O", "O", "B-LOC"))
ROSA = TaggedSentence(("Rosa", "Lee", "left"), ("B-PER", "I-PER", "O"))

TAB_SEPARATED = "Ada lives in Turin\tB-PER O O B-LOC\nRosa Lee left\tB-PER I-PER O\n"
COLUMNS = (
    "-DOCSTART- -X- O\n\nAda NNP B-PER\nlives VBZ O\nin IN O\nTurin NNP B-LOC\n"
    "\n# id = 2\nRosa NNP B-PER\nLee NNP I-PER\nleft VBD O\n"
)
ROSA_IN_COLUMNS = "Rosa\tB-PER\nLee\tI-PER\nleft\tO\n"
JSON_LINES = "".join(
    json.dumps({"tokens": one.words, "tags": one.tags}) + "\n" for one in (ADA, ROSA)
)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", TAB_SEPARATED),
        ("a.conll", COLUMNS),
        ("a.bio", COLUMNS.replace(" ", "\t").replace("#\tid\t=\t", "# id = ")),
        ("a.jsonl", JSON_LINES),
        ("a.txt", TAB_SEPARATED),
        ("a.txt", COLUMNS),
        ("a.txt", JSON_LINES),
        (
            "tab_columns.txt",
            "Ada\tB-PER\nlives\tO\nin\tO\nTurin\tB-LOC\n\n" + ROSA_IN_COLUMNS,
        ),
        ("columns.tsv", "Ada\tB-PER\nlives\tO\nin\tO\nTurin\tB-LOC\n\n" + ROSA_IN_COLUMNS),
        ("a.tsv", COLUMNS.replace(" ", "\t").replace("#\tid\t=\t", "# id = ")),
        ("a.tsv", TAB_SEPARATED.replace("\n", "\n\n")),
        ("a.tsv", TAB_SEPARATED.replace("\n", "\r\n")),
        ("a.tsv", "\ufeff" + TAB_SEPARATED),
        ("a.tsv", "\n" + TAB_SEPARATED.rstrip("\n")),
        ("a.conll", COLUMNS.rstrip("\n")),
    ],
)
def test_each_format_gives_the_same_sentences(write, name, content, packed):
    assert list(read_tagged(write(name + packed, content))) == [ADA, ROSA]


def test_gzip_is_recognised_without_its_suffix(write):
    assert list(read_tagged(write("a.tsv", gzip.compress(TAB_SEPARATED.encode())))) == [ADA, ROSA]


def test_columns_of_one_sentence_in_a_tsv_file_are_told_by_the_blank_line_at_its_end(write):
    assert list(read_tagged(write("a.tsv", ROSA_IN_COLUMNS + "\n"))) == [ROSA]


@pytest.mark.parametrize("name", ["pipe", "pipe.tsv", "pipe.jsonl"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_whole(tmp_path, name, pack):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    content = JSON_LINES if "json" in name else TAB_SEPARATED
    writer = threading.Thread(
        target=lambda: pipe.write_bytes(pack(content.encode() * 300)), daemon=True
    )
    writer.start()
    found = []
    reader = threading.Thread(target=lambda: found.extend(read_tagged(pipe)), daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert found == [ADA, ROSA] * 300


def test_only_newlines_end_a_row_and_only_spaces_end_a_word(write):
    words = ("a\u2028b", "c\u00a0d", "e\x0cf", "g\x85h", "\u3000")
    path = write("a.tsv", " ".join(words) + "\tO O O O O\n")
    assert [sentence.words for sentence in read_tagged(path)] == [words]


def test_plain_text_is_split_at_white_space_of_any_kind(write):
    path = write("plain.txt", "Ada  lives\tin\u00a0Turin \n\n \nRosa left\r\n")
    assert [(sentence.words, sentence.tags) for sentence in read_text(path)] == [
        (ADA.words, None),
        (("Rosa", "left"), None),
    ]


def test_numbers_in_json_lines_stand_for_labels(write):
    path = write("a.jsonl", '{"words": ["Ada", "left"], "ner_tags": [1, 0]}\n')
    labels = Labels(["O", "B-PER", "I-PER"])
    assert next(iter(read_tagged(path, labels=labels))).tags == ("B-PER", "O")
    with pytest.raises(InputError, match=r"a\.jsonl:1: tag 1 is a number: give a labels file"):
        list(read_tagged(path))
    with pytest.raises(InputError, match="labels go from 0 to 0"):
        list(read_tagged(path, labels=Labels(["O"])))


def test_several_files_and_globs_are_read_in_order(write):
    first, second = write("b1.tsv", "x\tO\n"), write("b2.tsv", "y\tO\n")
    other = write("a.tsv", "z\tO\n")
    glob = first.replace("b1", "b*")
    assert expand_files(f"{other},{glob}") == [other, first, second]
    assert [sentence.words for sentence in read_tagged([glob, other])] == [("x",), ("y",), ("z",)]


def test_a_name_with_a_comma_or_bracket_is_a_name_if_it_exists(write):
    odd = write("a,b[1].tsv", "x\tO\n")
    assert expand_files(odd) == [odd]


def test_the_language_comes_from_the_nearest_source(tmp_path):
    folder = tmp_path / "fr"
    folder.mkdir()
    plain, prefixed = folder / "a.tsv", folder / "b.tsv"
    lines = folder / "c.jsonl"
    plain.write_text("x\tO\n")
    prefixed.write_text("x y\tsw:B-PER sw:O\n")
    lines.write_text('{"tokens": ["x"], "tags": ["O"], "language": "hi"}\n')

    def language(path, **options):
        return next(iter(read_tagged(path, **options))).language

    assert language(plain) == "fr"
    assert language(plain, language="de") == "de"
    assert language(prefixed, language="de") == "sw"
    assert next(iter(read_tagged(prefixed))).tags == ("B-PER", "O")
    assert language(lines) == "hi"
    assert language(lines, language="de") == "de"


def test_folders_that_only_look_like_languages_are_none():
    assert all(map(looks_like_a_language, ("de", "hau", "pt-BR", "zh-classical")))
    assert not any(map(looks_like_a_language, ("tmp", "dev", "data", "wikiann", "D", "")))


def test_a_folder_of_languages_is_read_in_the_order_asked(tmp_path):
    for language, name in (("de", "dev.tsv"), ("en", "validation.jsonl"), ("ru", "train.tsv")):
        (tmp_path / language).mkdir()
        content = '{"tokens": ["x"], "tags": ["O"]}\n' if "json" in name else "x\tO\n"
        (tmp_path / language / name).write_text(content)
    assert [one.language for one in read_folder(tmp_path, ["en", "de"], "dev")] == ["en", "de"]
    assert [one.language for one in read_folder(tmp_path, [], "dev")] == ["de", "en"]
    assert split_files(tmp_path, ["de"], "dev") == [(str(tmp_path / "de" / "dev.tsv"), "de")]
    with pytest.raises(InputError, match=r"ru: no dev\.tsv"):
        read_folder(tmp_path, ["ru"], "dev")
    with pytest.raises(InputError, match=r"languages of .* are de, en, ru"):
        read_folder(tmp_path, ["fr"], "dev")
    with pytest.raises(InputError, match=r"no subfolder has test\.tsv"):
        read_folder(tmp_path, [], "test")
    (tmp_path / "de" / "dev.tsv.gz").write_bytes(gzip.compress(b"x\tO\n"))
    with pytest.raises(InputError, match=r"dev\.tsv and dev\.tsv\.gz are both"):
        read_folder(tmp_path, ["de"], "dev")


def test_inside_tags_out_of_nowhere_are_kept_and_counted(write):
    path = write(
        "a.tsv",
        "x y\tO O\na b c d e\tI-PER I-PER O B-LOC I-PER\nf g\tB-PER I-PER\n",
    )
    report = ReadReport()
    sentences = list(read_tagged(path, report=report))
    assert sentences[1].tags == ("I-PER", "I-PER", "O", "B-LOC", "I-PER")
    assert report.orphan_inside == 2
    assert report.first_orphan == f"{path}:2 I-PER"
    assert len(report.warnings()) == 1
    assert f"{path}:2" in report.warnings()[0]


def test_the_report_counts_sentences_words_languages_and_tags(write):
    report = ReadReport()
    list(read_tagged(write("a.tsv", TAB_SEPARATED), report=report, language="en"))
    list(read_tagged(write("b.tsv", "x\tO\n"), report=report, language="de"))
    assert (report.sentences, report.words) == (3, 8)
    assert report.per_language == {"en": 2, "de": 1}
    assert report.tag_counts == {"O": 4, "B-PER": 2, "I-PER": 1, "B-LOC": 1}
    assert report.warnings() == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"", r"a\.tsv: the file is empty"),
        ("a.tsv.gz", b"", r"a\.tsv\.gz: the file is empty"),
        ("a.tsv", b"\n\n", r"a\.tsv: no sentence in it"),
        ("a.txt", b"\n\n", r"a\.txt: only blank lines"),
        ("a.tsv", b"x\tO\nx O\n", r"a\.tsv:2: no tab in the line 'x O': expected"),
        ("a.tsv", b"x\tO\nx\ty\tO\n", r"a\.tsv:2: 2 tabs in the line"),
        ("a.tsv", b"x y\tO O\nx y\tO\n", r"a\.tsv:2: 2 words but 1 tags"),
        ("a.tsv", b"\tO\n", r"a\.tsv:1: 0 words but 1 tags"),
        ("a.tsv", b"x\tO\n\xc3(\tO\n", r"a\.tsv:2: invalid UTF-8 \(byte 0xc3 at byte 1 "),
        ("a.tsv", b"x\tS-PER\n", r"a\.tsv:1: tag 'S-PER' is not a BIO tag: .*BIOES"),
        ("a.tsv", b"x\tPER\n", r"a\.tsv:1: tag 'PER' is not a BIO tag: expected O, B-TYPE"),
        ("a.tsv", b"x\tB-\n", r"a\.tsv:1: tag 'B-' is not a BIO tag"),
        ("a.tsv", b"x\tfr:0\n", r"a\.tsv:1: tag 'fr:0' is not a BIO tag"),
        ("a.tsv", b"x y\tfr:O de:O\n", r"a\.tsv:1: prefixes of two languages, fr and de"),
        ("a.conll", b"x O\n\nx O\ny\n", r"a\.conll:4: one column in the line 'y'"),
        ("a.conll", b"x O\n\nx O\ny B_PER\n", r"a\.conll:4: tag 'B_PER'"),
        ("a.jsonl", b'{"tokens": []\n', r"a\.jsonl:1: not JSON"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: not a JSON object"),
        ("a.jsonl", b'{"tokens": ["x"]}\n', r"a\.jsonl:1: no key 'tags' or 'ner_tags'"),
        ("a.jsonl", b'{"tokens": "x", "tags": ["O"]}\n', r":1: 'tokens' is not a list of strings"),
        ("a.jsonl", b'{"tokens": ["x"], "tags": [true]}\n', r":1: 'tags' is not a list of"),
        ("a.jsonl", b'{"tokens": ["\\ud800"], "tags": ["O"]}\n', r":1: half of a surrogate pair"),
        ("a.jsonl", b'{"tokens": ["x"], "tags": ["O"], "lang": 1}\n', r":1: the language is 1"),
        ("a.tsv.gz", b"x\tO\n", r"a\.tsv\.gz: not gzip data"),
        (
            "a.tsv.gz",
            gzip.compress(b"x\tO\n" * 5000, mtime=0)[:-10],
            r"gz:49\d\d: the gzip data is cut",
        ),
        ("a.tsv.gz", gzip.compress(b"x\tO\n")[:4] + b"\x00" * 20, r"gz:1: the gzip data is cut"),
    ],
)
def test_a_faulty_file_is_refused_in_one_line_that_names_the_place(
    tmp_path, name, content, message
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(read_tagged(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_tag_outside_the_label_file_is_refused_with_its_line(write):
    path = write("a.conll", "x O\n\ny O\nz B-LOC\n")
    with pytest.raises(InputError, match=r"a\.conll:4: tag 'B-LOC' is not one of the labels O, "):
        list(read_tagged(path, labels=Labels(["O", "B-PER", "I-PER"])))


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"no\.tsv: no such file"):
        read_tagged(tmp_path / "no.tsv")
    with pytest.raises(InputError, match="no file matches"):
        read_text(str(tmp_path / "*.txt"))
    with pytest.raises(InputError, match="is a folder"):
        read_tagged(tmp_path)
    with pytest.raises(InputError, match="no file given"):
        read_tagged(" , ")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_transfer_text_without_a_sentence_is_refused(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.txt"):
        list(read_text(path))


def test_the_sentences_before_a_fault_are_read(write):
    sentences = read_tagged(write("a.tsv", "x\tO\nbroken\n"))
    assert next(sentences).words == ("x",)
    with pytest.raises(InputError):
        next(sentences)


def test_real_files_are_read_whole(xdistil_data):
    paths = sorted(xdistil_data.glob("ner/*/*/test.tsv.gz"))[:4]
    assert paths
    for path in paths:
        with gzip.open(path, "rb") as file:
            lines = file.read().count(b"\n")
        report = ReadReport()
        assert sum(1 for _ in read_tagged(path, report=report)) == lines
        assert set(report.per_language) == {path.parent.name}


@pytest.mark.parametrize("most", [4, 5, 7, 64])
def test_long_lines_come_in_parts_that_make_the_line(tmp_path, most):
    text = "ab cdefgh i\tj\n\nлетящий 日本語のテキスト x\r\n        \nend"
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = [*numbered_lines(str(path), most)]
    whole = {}
    for number, part in found:
        whole[number] = whole.get(number, "") + part
        assert len(part.encode()) <= most
    assert whole == dict(numbered_lines(str(path)))


def test_an_error_in_a_part_tells_the_place_in_the_line(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"good\nabc def gh\xff i\n")
    for most in (None, 5):
        with pytest.raises(InputError, match=r"t\.txt:2: .*0xff at byte 11 of the line"):
            list(numbered_lines(str(path), most))
