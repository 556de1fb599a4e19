"""A run's text: what its fingerprint counts, and what a user is told of the folders."""

import functools
import os
import shutil

import pytest

from xdistil.data.corpus import CorpusFiles, load_tagging_corpus
from xdistil.errors import InputError

SENTENCE = "Ada left Turin\tB-PER O B-LOC\n"
EVERY = {"de": ("train", "dev", "test"), "en": ("train", "dev", "test")}


@pytest.fixture
def folder(tmp_path):
    """Writes `<language>/<split>.tsv` for each name given."""

    def folder(splits):
        for language, names in splits.items():
            (tmp_path / language).mkdir()
            for name in names:
                (tmp_path / language / f"{name}.tsv").write_text(SENTENCE)
        return tmp_path

    return folder


def named_files(folder, transfer=()):
    return CorpusFiles(
        train=[str(folder / "train.tsv")], dev=[str(folder / "dev.tsv")], transfer=transfer
    )


def test_the_language_of_a_named_file_counts_for_the_fingerprint(folder):
    data = folder(EVERY)
    german = load_tagging_corpus(named_files(data / "de"))
    english = load_tagging_corpus(named_files(data / "en"))
    assert (german.train[0].language, english.train[0].language) == ("de", "en")
    assert german.fingerprint != english.fingerprint


def test_the_language_of_a_transfer_file_counts_for_the_fingerprint(folder):
    data = folder({**EVERY, "corpus_a": ("train", "dev"), "corpus_b": ()})
    for place in ("de", "en", "corpus_b"):
        (data / place / "transfer.txt").write_text("Ada left\n")
    named = functools.partial(named_files, data / "corpus_a")
    in_folders = functools.partial(CorpusFiles, data_dir=str(data), languages=["de", "en"])
    for files in (named, in_folders):
        fingerprints = {
            load_tagging_corpus(files(transfer=[str(data / place / "transfer.txt")])).fingerprint
            for place in ("de", "en", "corpus_b")
        }
        assert len(fingerprints) == 3


def test_the_place_of_the_files_does_not_count(folder):
    data = folder(EVERY)
    before = load_tagging_corpus(CorpusFiles(data_dir=str(data))).fingerprint
    shutil.copytree(data / "de", data / "elsewhere" / "de")
    shutil.copytree(data / "en", data / "elsewhere" / "en")
    moved = CorpusFiles(data_dir=str(data / "elsewhere"), languages=["de", "en"])
    assert load_tagging_corpus(moved).fingerprint == before
    german = load_tagging_corpus(named_files(data / "de")).fingerprint
    assert load_tagging_corpus(named_files(data / "elsewhere" / "de")).fingerprint == german


def test_fingerprints_stay_so_that_finished_runs_are_reused(folder):
    data = folder(EVERY)
    (data / "transfer.txt").write_text("Ada left\n")
    files = CorpusFiles(data_dir=str(data), languages=["de", "en"])
    with_transfer = CorpusFiles(
        data_dir=str(data), languages=["de", "en"], transfer=[str(data / "transfer.txt")]
    )
    found = [load_tagging_corpus(one).fingerprint for one in (files, with_transfer)]
    assert found == [
        "d5d0e76eb4b03e33928c8514ec5d1093e2a70d095c2f8d5d6a78520c28931fb0",
        "8eb3abd25764f1d77aa1111ca2ad294c781ebf55ef29e21c1f1b3433f5163467",
    ]


def test_a_language_that_lacks_a_split_is_told_in_one_line(folder):
    data = folder({**EVERY, "sw": ("train", "tset")})
    corpus = load_tagging_corpus(CorpusFiles(data_dir=str(data)))
    (line,) = corpus.warnings
    assert "no dev in sw; no test in sw" in line and "no train" not in line
    assert {sentence.language for sentence in corpus.train} == {"de", "en", "sw"}
    named = CorpusFiles(data_dir=str(data), languages=["de", "en"])
    assert load_tagging_corpus(named).warnings == []
    with pytest.raises(InputError, match=r"sw: no dev\.tsv"):
        load_tagging_corpus(CorpusFiles(data_dir=str(data), languages=["de", "sw"]))


def test_whole_folders_and_named_files_need_no_warning(folder):
    data = folder(EVERY)
    assert load_tagging_corpus(CorpusFiles(data_dir=str(data))).warnings == []
    assert load_tagging_corpus(named_files(data / "de")).warnings == []


def test_a_pipe_is_refused_where_it_would_be_read_twice(folder):
    data = folder(EVERY)
    pipe = data / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r"pipe: is a pipe or a device.*give a file"):
        load_tagging_corpus(named_files(data / "de", [str(pipe)]))
