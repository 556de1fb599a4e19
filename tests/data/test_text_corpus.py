"""A run's texts or pairs: where they lie, how many labels are kept, and what becomes transfer."""

import gzip
from collections import Counter

import pytest

from xdistil.data.corpus import CorpusFiles, CorpusLimits, load_tagging_corpus, load_text_corpus
from xdistil.data.examples import LabeledText
from xdistil.errors import InputError

CLASSES = ("music", "weather", "time")


def rows(count, text="text", columns=1):
    """As many rows of each class, their texts all different, the classes in turn."""
    return "".join(
        "\t".join([f"{text} {number} {name}"] * columns + [name]) + "\n"
        for number in range(count)
        for name in CLASSES
    )


@pytest.fixture
def folder(tmp_path):
    """A flat folder of three splits with 10, 2 and 2 rows a class."""
    folder = tmp_path / "intents"
    folder.mkdir()
    (folder / "train.tsv.gz").write_bytes(gzip.compress(rows(10).encode()))
    (folder / "dev.tsv").write_text(rows(2, "dev"))
    (folder / "test.csv").write_text(rows(2, "test").replace("\t", ","))
    return folder


def load(folder, pairs=False, transfer=(), **limits):
    files = CorpusFiles(data_dir=str(folder), transfer=list(map(str, transfer)))
    return load_text_corpus(files, CorpusLimits(**limits), pairs)


def labels_of(texts):
    return Counter(text.label for text in texts)


def test_a_flat_folder_is_read_whole(folder):
    corpus = load(folder)
    assert corpus.labels.names == ("music", "time", "weather")
    assert [len(split) for split in (corpus.train, corpus.dev, corpus.test)] == [30, 6, 6]
    assert corpus.train[1] == LabeledText("text 0 weather", "weather")
    assert (list(corpus.transfer()), corpus.transfer_size, corpus.warnings) == ([], 0, [])
    assert {path.rpartition("/")[2] for path in corpus.inputs} == {
        *("train.tsv.gz", "dev.tsv", "test.csv")
    }


def test_so_many_of_each_class_stay_labeled_and_the_rest_is_transfer_text(folder):
    corpus = load(folder, labeled_per_class=4)
    assert labels_of(corpus.train) == dict.fromkeys(CLASSES, 4)
    left = list(corpus.transfer())
    assert (len(left), corpus.transfer_size) == (18, 18)
    assert labels_of(left) == {None: 18}
    together = {text.text for text in [*corpus.train, *left]}
    assert together == {text.text for text in load(folder).train}
    assert [len(corpus.dev), len(corpus.test)] == [6, 6]


def test_the_seed_draws_the_labeled_texts(folder):
    def drawn(seed):
        return [text.text for text in load(folder, labeled_per_class=4, seed=seed).train]

    assert drawn(1) == drawn(1) != drawn(2)
    numbers = {tuple(text.split()[1] for text in drawn(1) if name in text) for name in CLASSES}
    assert len(numbers) > 1


def test_a_class_with_fewer_texts_than_asked_for_is_told(folder):
    with (folder / "dev.tsv").open("a") as dev:
        dev.write("one more\tnews\n")
    (folder / "train.tsv.gz").write_bytes(gzip.compress((rows(10) + "new\tnews\n").encode()))
    corpus = load(folder, labeled_per_class=4)
    assert labels_of(corpus.train) == {**dict.fromkeys(CLASSES, 4), "news": 1}
    assert corpus.warnings == ["fewer than 4 labeled texts, all were taken: news (1)"]


def test_transfer_files_follow_the_rest_of_train_and_are_limited_together(folder):
    plain, labeled = folder / "more.txt", folder / "more.jsonl"
    plain.write_text("plain one\nplain two\n")
    labeled.write_text('{"text": "third", "label": "music"}\n')
    corpus = load(folder, transfer=(plain, labeled), labeled_per_class=9)
    assert [text.text for text in corpus.transfer()][3:] == ["plain one", "plain two", "third"]
    assert (corpus.transfer_size, labels_of(corpus.transfer())) == (6, {None: 6})
    few = load(folder, transfer=(plain, labeled), labeled_per_class=9, transfer_sentences=2)
    assert few.transfer_size == len(list(few.transfer())) == 2


def test_a_labels_file_beside_the_splits_gives_the_numbers_their_names(folder):
    for path in (folder / "train.tsv", folder / "dev.tsv", folder / "test.tsv"):
        path.write_text("Play\t1\nRain\t0\n")
    (folder / "train.tsv.gz").unlink()
    (folder / "test.csv").unlink()
    assert load(folder).labels.names == ("0", "1")
    (folder / "labels.tsv").write_text("weather\nmusic\ntime\n")
    corpus = load(folder)
    assert corpus.labels.names == ("weather", "music", "time")
    assert [text.label for text in corpus.train] == ["music", "weather"]
    (line,) = corpus.warnings
    assert "labeled train texts that are used has the label time" in line
    other = folder.parent / "other.tsv"
    other.write_text("b\na\n")
    files = CorpusFiles(data_dir=str(folder), labels=str(other))
    assert [text.label for text in load_text_corpus(files).train] == ["a", "b"]


def test_folders_of_languages_give_each_text_its_language(folder):
    for language in ("de", "en"):
        (folder.parent / language).mkdir()
        for split in ("train", "dev", "test"):
            (folder.parent / language / f"{split}.tsv").write_text(rows(3, language))
    files = CorpusFiles(data_dir=str(folder.parent), languages=["en", "de"])
    corpus = load_text_corpus(files, CorpusLimits(labeled_per_language=4, dev_per_language=2))
    assert Counter(text.language for text in corpus.train) == {"en": 4, "de": 4}
    assert Counter(text.language for text in corpus.dev) == {"en": 2, "de": 2}
    assert Counter(text.language for text in corpus.transfer()) == {"en": 5, "de": 5}
    per_class = load_text_corpus(files, CorpusLimits(labeled_per_class=4))
    assert labels_of(per_class.train) == dict.fromkeys(CLASSES, 4)


def test_pairs_are_loaded_alike(folder):
    for path in folder.iterdir():
        path.unlink()
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(rows(3, split, columns=2))
    (folder / "more.tsv").write_text("one\tother\n")
    corpus = load(folder, pairs=True, transfer=[folder / "more.tsv"], labeled_per_class=2)
    assert corpus.train[0].text_pair == corpus.train[0].text
    assert list(corpus.transfer())[-1] == LabeledText("one", None, "other")
    with pytest.raises(InputError, match=r"train\.tsv:1: 3 columns.*run_pairs\.py"):
        load(folder)


def test_tagged_sentences_may_lie_in_a_flat_folder_too(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("Ada left\tB-PER O\n")
    corpus = load_tagging_corpus(CorpusFiles(data_dir=str(tmp_path)))
    assert (corpus.train[0].language, corpus.labels.names) == ("und", ("O", "B-PER", "I-PER"))


def test_what_is_taken_and_how_it_is_read_counts_for_the_fingerprint(folder):
    plain, commas = folder / "more.txt", folder / "more.csv"
    for path in (plain, commas):
        path.write_text('"quoted"\n')
    fingerprints = {
        corpus.fingerprint
        for corpus in (
            load(folder),
            load(folder, labeled_per_class=4),
            load(folder, labeled_per_class=5),
            load(folder, labeled_per_language=4),
            load(folder, transfer=[plain]),
            load(folder, transfer=[commas]),
        )
    }
    assert len(fingerprints) == 6
    assert load(folder).fingerprint in fingerprints


def test_a_label_that_train_does_not_have_is_refused_with_its_line(folder):
    with (folder / "dev.tsv").open("a") as dev:
        dev.write("one more\tnews\n")
    with pytest.raises(InputError, match=r"dev\.tsv:7: the label 'news' is not one of music, t"):
        load(folder)


@pytest.mark.parametrize("with_file", [False, True])
def test_one_class_alone_is_refused(folder, with_file):
    for path in folder.iterdir():
        path.unlink()
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("Play\tmusic\n")
    if with_file:
        (folder / "labels.tsv").write_text("music\n")
    with pytest.raises(InputError, match=r"'music'.*expected at least two"):
        load(folder)


def test_a_split_that_is_missing_or_double_is_told(folder):
    (folder / "test.tsv").write_text(rows(1))
    with pytest.raises(InputError, match=r"test\.tsv and test\.csv are both the split 'test'"):
        load(folder)
    (folder / "test.tsv").unlink()
    (folder / "dev.tsv").unlink()
    with pytest.raises(InputError, match=r"intents: no dev\.tsv"):
        load(folder)


@pytest.mark.parametrize("below", [False, True])
def test_test_text_may_be_missing_and_that_is_told(folder, below):
    (folder / "test.csv").unlink()
    if below:
        (folder / "xx").mkdir()
        for path in list(folder.iterdir()):
            if path.is_file():
                path.rename(folder / "xx" / path.name)
    corpus = load(folder)
    assert corpus.test == [] and len(corpus.dev) > 0
    assert any("no test text" in line for line in corpus.warnings)


def test_splits_in_a_folder_and_below_it_are_refused(folder):
    (folder / "de").mkdir()
    (folder / "de" / "train.tsv").write_text(rows(1))
    with pytest.raises(InputError, match="lie in it and in de below it: name --languages"):
        load(folder)


def test_limits_that_contradict_each_other_are_refused(folder):
    with pytest.raises(InputError, match="contradict each other"):
        CorpusLimits(labeled_per_language=1, labeled_per_class=1)
    (folder / "t.tsv").write_text("Ada left\tB-PER O\n")
    files = CorpusFiles(train=[str(folder / "t.tsv")], dev=[str(folder / "t.tsv")])
    with pytest.raises(InputError, match="a sentence has a tag a word"):
        load_tagging_corpus(files, CorpusLimits(labeled_per_class=1))


def test_transfer_text_is_streamed(folder, monkeypatch):
    read = []

    def endless(paths, **_):
        for number in range(10**9):
            read.append(number)
            yield LabeledText(f"text {number}")

    (folder / "more.txt").write_text("one\ntwo\n")
    corpus = load(folder, transfer=[folder / "more.txt"])
    monkeypatch.setattr("xdistil.data.corpus_kinds.read_unlabeled_text", endless)
    assert next(corpus.transfer()).text == "text 0"
    assert len(read) == 1


def test_real_sets_are_loaded(xdistil_data):
    corpus = load(xdistil_data / "cls" / "banking77", labeled_per_class=20)
    assert (len(corpus.labels), len(corpus.train), corpus.warnings) == (77, 1540, [])
    assert corpus.transfer_size == 9005 - 1540
    pairs = load(xdistil_data / "pair" / "farstail", pairs=True, labeled_per_class=100)
    assert labels_of(pairs.train) == dict.fromkeys(("entailment", "neutral", "contradiction"), 100)


def test_numbers_are_no_classes_where_nobody_decided_on_an_order(tmp_path):
    for split, rows in {
        "train": "a\tWorld\nb\tSports\n",
        "dev": "c\t0\n",
        "test": "d\tWorld\n",
    }.items():
        (tmp_path / f"{split}.tsv").write_text(rows)
    with pytest.raises(InputError, match=r"dev\.tsv:1: the label 0, a number, .* Sports, World"):
        load_text_corpus(CorpusFiles(data_dir=str(tmp_path)))
    (tmp_path / "labels.tsv").write_text("World\nSports\n")
    corpus = load_text_corpus(CorpusFiles(data_dir=str(tmp_path)))
    assert corpus.dev[0].label == "World"


def test_column_names_that_nobody_knows_are_no_class(folder):
    (folder / "train.tsv.gz").write_bytes(gzip.compress(f"wording\tkind\n{rows(10)}".encode()))
    with pytest.raises(InputError, match=r"train\.tsv\.gz:1: the label 'kind' stands in no other"):
        load(folder)
    (folder / "train.tsv.gz").write_bytes(gzip.compress(f"text\tlabel\n{rows(10)}".encode()))
    assert len(load(folder).train) == 30
    # Numbers are never named otherwise, also where one of them is as rare.
    numbered = "phrase\tstar rating\ngood\t5\nbad\t1\nbest\t5\n"
    (folder / "train.tsv.gz").write_bytes(gzip.compress(numbered.encode()))
    with pytest.raises(InputError, match=r"train\.tsv\.gz:1: the label 'star rating' stands in"):
        load(folder)


def test_a_class_of_one_text_may_come_first_where_others_are_as_rare(folder):
    train = f"new\tnews\n{rows(10)}old\thistory\n"
    (folder / "train.tsv.gz").write_bytes(gzip.compress(train.encode()))
    assert len(load(folder).train) == 32


def test_labels_of_several_words_are_labels(folder):
    for split in ("train.tsv.gz", "dev.tsv", "test.csv"):
        path = folder / split
        content = path.read_bytes()
        content = gzip.decompress(content) if split.endswith(".gz") else content
        content = content.replace(b"\tmusic\n", b"\tLive Music\n").replace(
            b",music\n", b",Live Music\n"
        )
        path.write_bytes(gzip.compress(content) if split.endswith(".gz") else content)
    assert load(folder).labels.names == ("Live Music", "time", "weather")


def test_columns_in_the_wrong_order_are_told(folder):
    turned = "".join(f"{'ab'[i % 2]}\tthis is text number {i} here\n" for i in range(10))
    (folder / "train.tsv.gz").write_bytes(gzip.compress(turned.encode()))
    with pytest.raises(InputError, match=r"10 train texts have 10 labels.*order of the columns"):
        load(folder)
