"""Readers of texts and pairs: the formats, the labels, and every fault with its file and line."""

import gzip
import itertools
import json
import os
import threading

import pytest

from xdistil.data.examples import LabeledText
from xdistil.data.labels import Labels
from xdistil.data.read_report import TextReport
from xdistil.data.text_readers import read_labeled_text, read_unlabeled_text
from xdistil.errors import InputError

RAIN = LabeledText("Will it rain, or snow?", "weather")
SONG = LabeledText('Play "Blue Moon" now', "music")
RAINS = LabeledText("It rains.", "no", "Nobody, it seems, is outside.")
SUN = LabeledText("The sun is out.", "yes", 'He said "sun".')


def as_json(text, names=("text", "text_pair")):
    values = (text.text, text.text_pair)[: len(names)]
    return json.dumps({**dict(zip(names, values, strict=True)), "label": text.label}) + "\n"


def as_csv(value):
    return '"' + value.replace('"', '""') + '"'


TSV = "".join(f"{one.text}\t{one.label}\n" for one in (RAIN, SONG))
CSV = "".join(f"{as_csv(one.text)},{one.label}\n" for one in (RAIN, SONG))
JSON_LINES = "".join(as_json(one, ("text",)) for one in (RAIN, SONG))
PAIR_TSV = "".join(f"{one.text}\t{one.text_pair}\t{one.label}\n" for one in (RAINS, SUN))
PAIR_CSV = "".join(
    f"{as_csv(one.text)},{as_csv(one.text_pair)},{one.label}\n" for one in (RAINS, SUN)
)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", TSV),
        ("a.tsv", TSV.replace("\n", "\r\n")),
        ("a.tsv", "\ufeff" + TSV.replace("\n", "\n\n").rstrip("\n")),
        ("a.tsv", "sentence\tlabel\n" + TSV),
        ("a.txt", TSV),
        ("a.txt", "\n" + JSON_LINES),
        ("a.csv", CSV),
        ("a.csv", CSV.replace("\n", "\r\n")),
        ("a.csv", "\n" + CSV.replace("\n", "\n\n")),
        ("a.csv", "text,label\n" + CSV),
        ("a.csv", "Question,Class\n" + CSV),
        ("a.csv", "utterance,intent\n" + CSV),
        ("a.csv", "review,sentiment\n" + CSV),
        ("a.jsonl", JSON_LINES),
        ("a.jsonl", JSON_LINES.replace('"text"', '"sentence"')),
    ],
)
def test_each_format_gives_the_same_texts(write, name, content, packed):
    assert list(read_labeled_text(write(name + packed, content))) == [RAIN, SONG]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", PAIR_TSV),
        ("a.tsv", "sentence1\tsentence2\tlabel\n" + PAIR_TSV),
        ("a.csv", PAIR_CSV),
        ("a.csv", "premise,hypothesis,label\n" + PAIR_CSV),
        ("a.csv", "first,second,label\n" + PAIR_CSV),
        *(
            ("a.jsonl", "".join(as_json(one, names) for one in (RAINS, SUN)))
            for names in (
                ("text", "text_pair"),
                ("text1", "text2"),
                ("sentence1", "sentence2"),
                ("premise", "hypothesis"),
                ("question1", "question2"),
            )
        ),
    ],
)
def test_each_format_gives_the_same_pairs(write, name, content):
    assert list(read_labeled_text(write(name, content), pairs=True)) == [RAINS, SUN]


def test_a_header_finds_its_columns_by_name_in_any_order(write):
    path = write("a.csv", "id,label,lang,text\n7,music,fr,Joue\n8,weather,,Rain\n")
    assert list(read_labeled_text(path)) == [
        LabeledText("Joue", "music", language="fr"),
        LabeledText("Rain", "weather"),
    ]
    pairs = write("b.tsv", "id\tquestion2\tquestion1\tis_duplicate\n1\tb\ta\t0\n")
    assert list(read_labeled_text(pairs, pairs=True)) == [LabeledText("a", "0", "b")]


def test_a_first_row_that_names_no_columns_is_a_row(write):
    path = write("a.tsv", "what is a label\tlabel\nwhat is a class\tclass\n")
    assert [one.label for one in read_labeled_text(path)] == ["label", "class"]


def test_a_line_break_within_quotes_belongs_to_the_text_and_counts_as_a_line(write):
    path = write("a.csv", '"Rain\nor snow?",weather\n\n"Play,",music\nbroken\n')
    texts = read_labeled_text(path)
    assert next(texts) == LabeledText("Rain\nor snow?", "weather")
    assert next(texts) == LabeledText("Play,", "music")
    with pytest.raises(InputError, match=r"a\.csv:5: 1 column in the line"):
        next(texts)


def test_a_long_text_is_read_from_every_format(write):
    text = "so long " * 40_000
    for name, row in (("a.csv", f'"{text}",x\n'), ("a.tsv", f"{text}\tx\n")):
        (one,) = read_labeled_text(write(name, row))
        assert one.text == text.strip()


@pytest.mark.parametrize(
    "content", ["text,opinion\nplay it,music\n", "language,sentence\nen,Play\n"]
)
def test_a_header_without_a_label_column_is_refused(write, content):
    with pytest.raises(InputError, match=r"a\.csv:1: .* none of them is the label's"):
        list(read_labeled_text(write("a.csv", content)))
    assert next(read_unlabeled_text(write("a.csv", content))).text in ("play it", "Play")


def test_a_quote_that_is_never_closed_is_told_where_it_began(write):
    path = write("a.csv", 'Ada left,x\n"Rosa stayed,x\n' + "and so on and so on,x\n" * 600_000)
    with pytest.raises(InputError, match=r"a\.csv:2: a text of more than .* likely not closed"):
        list(read_labeled_text(path))


def test_nothing_is_quoted_between_tabs(write):
    path = write("a.tsv", '"Rain, he said\tweather\n')
    assert list(read_labeled_text(path)) == [LabeledText('"Rain, he said', "weather")]


def test_only_newlines_end_a_row(write):
    text = "a\u2028b\x0cc\x85d"
    assert next(read_labeled_text(write("a.tsv", f"{text}\tx\n"))).text == text
    assert next(read_labeled_text(write("a.csv", f"{text},x\n"))).text == text


def test_numbers_count_the_labels_from_0_and_names_stay(write):
    labels = Labels(["weather", "music"])
    path = write("a.tsv", "Rain\t0\nPlay\t1\nSing\tmusic\n")
    assert [one.label for one in read_labeled_text(path, labels=labels)] == [
        *("weather", "music", "music")
    ]
    assert [one.label for one in read_labeled_text(path)] == ["0", "1", "music"]
    lines = write("a.jsonl", '{"text": "Play", "label": 1}\n')
    assert next(read_labeled_text(lines, labels=labels)).label == "music"
    with pytest.raises(InputError, match=r"a\.tsv:2: the label 1, but the labels go from 0 to 0"):
        list(read_labeled_text(path, labels=Labels(["weather"])))


def test_labels_that_are_numbers_are_names(write):
    stars = Labels(["1", "2", "3"])
    path = write("a.tsv", "good\t3\nbad\t1\nnone\t0\n")
    texts = read_labeled_text(path, labels=stars)
    assert [next(texts).label, next(texts).label] == ["3", "1"]
    with pytest.raises(InputError, match=r"a\.tsv:3: the label '0' is not one of 1, 2, 3"):
        next(texts)


def test_labels_are_sorted_and_numbers_by_their_value():
    assert Labels.from_names(["10", "9", "-1", "9"]).names == ("-1", "9", "10")
    assert Labels.from_names(["10", "9", "b", "a"]).names == ("10", "9", "a", "b")


def test_a_long_list_of_labels_is_cut_in_the_message(write):
    labels = Labels([f"class_{number}" for number in range(77)])
    with pytest.raises(InputError, match=r"class_9 and 67 more: correct it"):
        list(read_labeled_text(write("a.tsv", "x\tother\n"), labels=labels))


def test_the_language_comes_from_the_nearest_source(tmp_path):
    (tmp_path / "fr").mkdir()
    path = tmp_path / "fr" / "a.jsonl"
    path.write_text('{"text": "x", "label": 0}\n{"text": "y", "label": 0, "language": "hi"}\n')
    assert [one.language for one in read_labeled_text(path)] == ["fr", "hi"]
    assert [one.language for one in read_unlabeled_text(path)] == ["fr", "hi"]
    assert [one.language for one in read_labeled_text(path, language="de")] == ["de", "de"]


def test_the_report_counts_texts_words_languages_and_labels(write):
    report = TextReport()
    list(read_labeled_text(write("a.tsv", TSV), report=report, language="en"))
    list(read_labeled_text(write("b.tsv", PAIR_TSV), pairs=True, report=report, language="de"))
    assert (report.texts, report.words) == (4, 23)
    assert report.per_language == {"en": 2, "de": 2}
    assert report.label_counts == {"weather": 1, "music": 1, "no": 1, "yes": 1}


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", "Ada  left\tTurin \n\n \nRosa\n", ["Ada  left\tTurin", "Rosa"]),
        ("a.txt", '{"is": "text"}\n', ['{"is": "text"}']),
        ("a.tsv", "Ada left\nRosa\n", ["Ada left", "Rosa"]),
        ("a.tsv", "text\tlabel\nAda left\tx\n", ["Ada left"]),
        ("a.csv", '"Ada, left"\nRosa\n', ["Ada, left", "Rosa"]),
        ("a.csv", "label,text\nx,Ada\n", ["Ada"]),
        ("a.csv", "headline,class\nAda,x\n", ["Ada"]),
        ("a.jsonl", '{"text": "Ada", "label": null}\n{"text": "Rosa"}\n', ["Ada", "Rosa"]),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_text_without_labels_is_read_from_each_format(write, name, content, texts, packed):
    expected = [LabeledText(text) for text in texts]
    assert list(read_unlabeled_text(write(name + packed, content))) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "Ada\tRosa\n"),
        ("a.tsv", "Ada\tRosa\n"),
        ("a.tsv", "premise\thypothesis\tlabel\nAda\tRosa\tx\n"),
        ("a.csv", "Ada,Rosa\n"),
        ("a.jsonl", '{"text": "Ada", "text_pair": "Rosa"}\n'),
    ],
)
def test_pairs_without_labels_are_read_from_each_format(write, name, content):
    expected = [LabeledText("Ada", None, "Rosa")]
    assert list(read_unlabeled_text(write(name, content), pairs=True)) == expected


LONG = b"x" * 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"", r"a\.tsv: the file is empty"),
        ("a.csv", b"", r"a\.csv: the file is empty"),
        ("a.tsv", b"\n\n", r"a\.tsv: no row in it: expected a text and its label"),
        ("a.txt", b"\n\n", r"a\.txt: no row in it"),
        ("a.csv", b"text,label\n", r"a\.csv: no row in it"),
        ("a.tsv", b"a\tx\nb x\n", r"a\.tsv:2: no tab in the line 'b x': expected a text and its"),
        ("a.tsv", b"a\tx\na\tb\tx\n", r"tsv:2: 3 columns.*pairs of texts are for run_pairs\.py"),
        ("a.tsv", b"a\tb\tc\td\n", r"a\.tsv:1: 4 columns in the line: expected a text and its"),
        ("a.tsv", b"text\ttext_pair\tlabel\na\tb\tx\n", r":1: 3 columns in the line.*run_pairs"),
        ("a.csv", b"a,b,x\n", r"csv:1: 3 columns.*run_pairs.*comma stands between double quotes"),
        ("a.csv", b"a,x\nb\n", r"a\.csv:2: 1 column in the line: expected a text and its label"),
        ("a.csv", b"id,text,label\n1,a\n", r"a\.csv:2: 2 columns, but the header names 3"),
        ("a.csv", b'a,x\n"b,x\nc,x\n', r"a\.csv:2: not comma-separated text \(unexpected end"),
        ("a.csv", b'a,x\n"b"c,x\n', r"a\.csv:2: not comma-separated text"),
        ("a.tsv", b"a\tx\n \tx\n", r"a\.tsv:2: the text is empty"),
        ("a.csv", b'a,x\n"",x\n', r"a\.csv:2: the text is empty"),
        ("a.tsv", b"a\tx\nb\t \n", r"a\.tsv:2: the label is empty"),
        ("a.jsonl", b'{"text": " ", "label": "x"}\n', r"a\.jsonl:1: the text is empty"),
        ("a.jsonl", b'{"text": "a", "label": ""}\n', r"a\.jsonl:1: the label is empty"),
        ("a.tsv", b"a\tx  y\n", r"a\.tsv:1: the label 'x  y': expected words with single spaces"),
        ("a.tsv", b"a\tx\n\xc3(\tx\n", r"a\.tsv:2: invalid UTF-8 \(byte 0xc3 at byte 1 "),
        ("a.csv", b"a,x\n\xc3(,x\n", r"a\.csv:2: invalid UTF-8 \(byte 0xc3 at byte 1 "),
        ("a.jsonl", b'{"text": "a"\n', r"a\.jsonl:1: not JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", r"a\.jsonl:1: not JSON"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: not a JSON object"),
        ("a.jsonl", b'{"label": "x"}\n', r"jsonl:1: the object has no 'text' or 'sentence'"),
        ("a.jsonl", b'{"text": 7, "label": "x"}\n', r"jsonl:1: 'text' is 7: expected a string"),
        ("a.jsonl", b'{"text": "a"}\n', r"jsonl:1: the object has no 'label'"),
        ("a.jsonl", b'{"text": "a", "label": true}\n', r":1: 'label' is True: expected a name"),
        ("a.jsonl", b'{"text": "a", "label": null}\n', r":1: 'label' is None: expected a name"),
        ("a.jsonl", b'{"text": "a", "label": 0.5}\n', r":1: 'label' is 0\.5: expected a name"),
        ("a.jsonl", b'{"text": "\\ud800", "label": 1}\n', r":1: half of a surrogate pair"),
        ("a.jsonl", b'{"text": "a", "label": 1, "lang": 1}\n', r":1: the language is 1"),
        ("a.jsonl", b'{"text": "a", "text_pair": "b", "label": 1}\n', r":1: 'text_pair'.*run_pair"),
        ("a.jsonl", b'{"premise": "a", "hypothesis": "b", "label": 1}\n', r":1: .*for run_pairs"),
        ("a.tsv.gz", b"a\tx\n", r"a\.tsv\.gz: not gzip data"),
        (
            "a.csv.gz",
            gzip.compress(b"a,x\n" * 5000, mtime=0)[:-10],
            r"gz:\d+: the gzip data is cut",
        ),
    ],
)
def test_a_faulty_file_is_refused_in_one_line_that_names_the_place(
    tmp_path, name, content, message
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(read_labeled_text(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "a\tb\tx\na\tx\n", r"a\.tsv:2: 2 columns.*are for run_classification\.py"),
        ("a.csv", "a,x\n", r"a\.csv:1: 2 columns.*are for run_classification\.py"),
        ("a.tsv", "a\t\tx\n", r"a\.tsv:1: the second text is empty"),
        ("a.tsv", "\tb\tx\n", r"a\.tsv:1: the first text is empty"),
        ("a.jsonl", '{"text": "a", "label": 1}\n', r"no 'text' and 'text_pair' or .*_class"),
    ],
)
def test_a_faulty_pair_is_refused(write, name, content, message):
    with pytest.raises(InputError, match=message):
        list(read_labeled_text(write(name, content), pairs=True))


@pytest.mark.parametrize(
    ("pairs", "name", "content", "message"),
    [
        (False, "a.tsv", "a\na\tx\n", r"a\.tsv:2: 2 columns.*run_pairs.*labels are not read here"),
        (False, "a.csv", "a\na, b\n", r"a\.csv:2: 2 columns.*between double quotes"),
        (True, "a.tsv", "a\tb\tx\n", r"a\.tsv:1: 3 columns.*labels are not read here"),
        (True, "a.txt", "a\n", r"a\.txt:1: no tab in the line 'a': expected two texts"),
        (False, "a.txt", "\n", r"a\.txt: no row in it: expected a text alone"),
    ],
)
def test_faulty_text_without_labels_is_refused(write, pairs, name, content, message):
    with pytest.raises(InputError, match=message):
        list(read_unlabeled_text(write(name, content), pairs=pairs))


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path):
    for read in (read_labeled_text, read_unlabeled_text):
        with pytest.raises(InputError, match=r"no\.tsv: no such file"):
            read(tmp_path / "no.tsv")


@pytest.mark.parametrize(("name", "content"), [("pipe", JSON_LINES), ("pipe.csv", CSV)])
def test_a_pipe_is_read_whole(tmp_path, name, content):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content.encode() * 300), daemon=True)
    writer.start()
    found = []
    reader = threading.Thread(target=lambda: found.extend(read_labeled_text(pipe)), daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert found == [RAIN, SONG] * 300


def test_rows_before_a_fault_are_read_as_they_are_needed(write):
    texts = read_labeled_text(write("a.csv", CSV * 1000 + "broken\n"))
    assert len(list(itertools.islice(texts, 2000))) == 2000
    with pytest.raises(InputError, match=r":2001: 1 column"):
        next(texts)


def test_real_files_are_read_whole(xdistil_data):
    for folder in ("cls/snips", "cls/banking77", "pair/farstail"):
        path = xdistil_data / folder / "test.tsv.gz"
        labels = Labels.from_file(xdistil_data / folder / "labels.tsv")
        with gzip.open(path, "rb") as file:
            lines = file.read().count(b"\n")
        report = TextReport()
        pairs = folder.startswith("pair")
        list(read_labeled_text(path, pairs=pairs, labels=labels, report=report))
        assert report.texts == lines
        assert set(report.label_counts) == set(labels)
