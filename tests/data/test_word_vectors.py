"""Word vectors: the three text formats, every way in which a line can be wrong, and the encoder."""

import gzip
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from xdistil.data import word_vectors
from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import TaggedSentence
from xdistil.data.word_vectors import (
    WordVectors,
    read_word_vectors,
    vectors_matrix,
    word_encoder,
    words_with_vectors,
)
from xdistil.errors import InputError
from xdistil.export.graph_tokenizer import GraphTokenizer

GLOVE = "the 0.1 -0.2 3e-1\nsea 1 2 3\n. 0.5 0.5 0.5\n"
WORDS = ("the", "sea", ".")
MATRIX = np.array([[0.1, -0.2, 0.3], [1, 2, 3], [0.5, 0.5, 0.5]], np.float32)


@pytest.fixture
def write(tmp_path):
    def write(text, name="vectors.txt"):
        path = tmp_path / name
        data = text.encode("utf-8") if isinstance(text, str) else text
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def refusal_of(path, **settings):
    with pytest.raises(InputError) as refusal:
        read_word_vectors(path, **settings)
    message = str(refusal.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def encode(encoder, text):
    return next(encoder.encode([TaggedSentence(tuple(text.split()))])).token_ids.tolist()


# Reading


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (GLOVE, "glove.txt"),
        (GLOVE, "glove.txt.gz"),
        ("3 3\n" + GLOVE, "word2vec.txt"),
        ("3 3\n" + GLOVE.replace("\n", " \n"), "fasttext.vec"),
        ("3 3\n" + GLOVE.replace("\n", " \r\n"), "fasttext.vec.gz"),
        (GLOVE.replace("the ", "the\t").replace("sea ", "sea  "), "tabs.txt"),
    ],
)
def test_the_formats_of_word2vec_glove_and_fasttext_are_read(write, text, name):
    vectors = read_word_vectors(write(text, name))
    assert vectors.words == WORDS
    np.testing.assert_array_equal(vectors.matrix, MATRIX)
    assert (vectors.matrix.dtype, vectors.dim, len(vectors)) == (np.float32, 3, 3)
    assert vectors.duplicates == 0


def test_only_the_words_asked_for_are_kept_in_the_order_of_the_file(write):
    vectors = read_word_vectors(write(GLOVE), words={".": 5, "sea": 1, "absent": 2})
    assert vectors.words == ("sea", ".")
    np.testing.assert_array_equal(vectors.matrix, MATRIX[1:])


def test_a_word_may_hold_spaces_and_rare_white_space(write):
    text = (
        "sea 1 2 3\n. . . 4 5 6\nby name 7 8 9\na\u00a0b 1 1 1\n\u0085 2 2 2\n5 3 3 3\nnan 4 4 4\n"
    )
    vectors = read_word_vectors(write(text))
    assert vectors.words == ("sea", ". . .", "by name", "a\u00a0b", "\u0085", "5", "nan")
    np.testing.assert_array_equal(vectors.matrix[1], [4, 5, 6])


def test_a_first_word_with_spaces_or_digits_does_not_change_the_width(write):
    assert read_word_vectors(write(". . . 4 5 6\nsea 1 2 3\n")).dim == 3
    assert read_word_vectors(write("1990 4 5 6\nsea 1 2 3\n")).dim == 3


def test_of_a_word_that_comes_twice_the_first_is_kept_and_the_others_counted(write):
    vectors = read_word_vectors(write("sea 1 2\nthe 3 4\nsea 5 6\nsea 7 8\n"))
    assert (vectors.words, vectors.duplicates) == (("sea", "the"), 2)
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sea 1 2 3\nthe 1 2\n", ":2: a word and 2 numbers, expected 3"),
        ("sea 1 2 3\nthe 1 2 3 4\n", ":2: a word and 4 numbers, expected 3"),
        ("2 4\nsea 1 2 3\nthe 1 2 3\n", ":2: a word and 3 numbers, expected 4"),
        ("sea 1 2 3\nthe\n", ":2: a word and 0 numbers"),
        ("sea 1 2 3\n\nthe 1 2 3\n", ":2: a word and 0 numbers"),
        ("sea 1 2 3\n 1 2 3\n", ":2: a word and 2 numbers"),
        ("sea 1 2 3\nthe 1 two 3\n", ":2: 'two' is no number"),
        ("sea 1 2 3\nthe 1 nan 3\n", ":2: nan is no finite number"),
        ("sea 1 2 3\nthe 1 2 1e99\n", ":2: 1e99 is no finite number"),
        ("sea\nthe\n", ":1: no vector"),
        ("\nthe 1 2\n", ":1: no vector"),
        ("the sea is wide\n", ":1: no vector"),
        ("2 0\nsea\nthe\n", ":1: a header of vectors of 0 numbers"),
        ("3 2\nsea 1 2\nthe 1 2\n", ":1: the header says 3 vectors, the file holds 2"),
        ("1 2\nsea 1 2\nthe 1 2\n", ":1: the header says 1 vectors, the file holds 2"),
        ("0 2\n", ": holds no vectors"),
        ("", ": the file is empty"),
        (b"sea 1 2\nth\xff 1 2\n", ":2: invalid UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(write, text, reason):
    assert refusal_of(write(text)).startswith(reason)


def test_a_ragged_line_is_refused_also_where_its_word_is_not_asked_for(write):
    path = write("sea 1 2 3\nthe 1 2\n")
    assert refusal_of(path, words=["sea"]).startswith(":2: a word and 2 numbers")


def test_a_file_without_any_of_the_words_is_refused(write):
    message = refusal_of(write(GLOVE), words=["Meer", "See"])
    assert message.startswith(": holds a vector of none of the 2 words asked for")


@pytest.mark.parametrize("name", ["vectors.bin", "glove.6B.zip", "matrix.NPY"])
def test_binary_formats_are_named(write, name):
    assert "as text" in refusal_of(write("x", name)) or "unpack" in refusal_of(write("x", name))


def test_a_missing_file_and_a_cut_one_are_refused(write, tmp_path):
    assert "no such file" in refusal_of(tmp_path / "absent.txt")
    path = write(GLOVE * 300, "vectors.txt.gz")
    path.write_bytes(path.read_bytes()[:-20])
    assert "cut or damaged" in refusal_of(path)


def test_memory_holds_the_kept_rows_only(write):
    numbers = " ".join(["0.25"] * 100)
    path = write("".join(f"word{i} {numbers}\n" for i in range(5000)), "large.txt")

    def peak(words):
        tracemalloc.start()
        read_word_vectors(path, words=words)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak({"word1"})  # what is imported or cached at first use
    few, all_words = peak({"word1", "word4999"}), peak(None)
    assert all_words > 5000 * 100 * 4
    assert few < all_words / 10


# The encoder


def test_every_word_is_one_id_and_others_are_unknown():
    encoder = word_encoder(["play", "the", "sea", ".", "é"], lower_case=True, seq_len=16)
    assert encoder.vocabulary == [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *("play", "the", "sea", ".", "é"),
    ]
    assert encoder.special_ids == (0, 1, 2, 3, 4)
    # `played` begins with a known word, and is no known word.
    assert encode(encoder, "The sea played. É e ##play") == [2, 6, 7, 1, 8, 9, 1, 1, 1, 5, 3]


def test_case_is_kept_where_it_is_asked_for():
    encoder = word_encoder(["The", "the"], lower_case=False)
    assert encode(encoder, "The the THE") == [2, 5, 6, 1, 3]


def test_words_that_no_text_gives_get_no_id():
    words = [
        "don't",
        "Sea",
        "sea",
        "[MASK]",
        "##ing",
        "by name",
        "",
        "x" * 101,
        "海",
        "海岸",
        "sea",
    ]
    assert word_encoder(words, lower_case=True).vocabulary[5:] == ["sea", "海"]
    assert word_encoder(words, lower_case=False).vocabulary[5:] == ["Sea", "sea", "海"]
    with pytest.raises(InputError, match=r"none of the words.*in lower case"):
        word_encoder(["Sea", "don't"], lower_case=True)


def test_the_words_of_a_text_are_those_that_the_encoder_looks_up(tmp_path):
    path, words = tmp_path / "v.txt", ["the", "sea", ",", "!", "don", "'", "t", "café"]
    path.write_text("".join(f"{word} 1 2\n" for word in [*words, "Sea", "elsewhere"]), "utf-8")
    texts = ["The sea, the SEA!", "don't café unknown"]
    found = words_with_vectors(path, iter(texts), lower_case=True)
    assert found == set(words)
    vectors = read_word_vectors(path, found)
    encoder = word_encoder(vectors.words, lower_case=True)
    assert encoder.vocabulary[5:] == words
    assert encoder.unk_id not in encode(encoder, "The sea, the SEA! don't café")
    with pytest.raises(InputError, match=r"v\.txt: holds a vector of no word of the text"):
        words_with_vectors(path, ["nothing here"], lower_case=True)


def test_words_without_a_vector_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(word_vectors, "_CACHED_WORDS", 1000)
    path = tmp_path / "v.txt"
    path.write_text("the 1 2\n")

    def peak(size):
        tracemalloc.start()
        words_with_vectors(path, (f"the w{i} x{i} y{i}" for i in range(size)), lower_case=True)
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is loaded once
    cached = peak(1_000)  # more words than the cache holds
    assert peak(10_000) < 1.2 * cached


def test_an_encoder_comes_back_from_its_folder(tmp_path):
    encoder = word_encoder(["the", "für", "sea"], lower_case=True, seq_len=16)
    encoder.save(tmp_path)
    copy = TextEncoder.from_folder(tmp_path, seq_len=16)
    assert copy.fingerprint == encoder.fingerprint
    assert encode(copy, "Für the fur SEA") == [2, 6, 5, 1, 7, 3]


def test_the_tokenizer_in_the_graph_gives_the_same_words():
    texts = ["The sea played. Für ##play", "fur don't 海岸 THE", "[MASK] " + "x" * 120, "e\u0301 É"]
    words = ["the", "sea", "play", ".", "für", "#", "海", "don", "é", "e\u0301"]
    for lower_case in (True, False):
        encoder = word_encoder(words, lower_case=lower_case, seq_len=12)
        tokenizer = GraphTokenizer(encoder)
        split = tokenizer.split(tf.constant(texts))
        features, _ = tokenizer.encode(split.normalized)
        for row, text in enumerate(texts):
            expected = encode(encoder, text)
            received = features["token_ids"].numpy()[row].tolist()
            assert received[: len(expected)] == expected, text
            assert not any(received[len(expected) :])


# The matrix


def test_rows_follow_the_encoder_and_what_has_no_vector_is_small_and_random():
    vectors = WordVectors(("sea", "the"), np.array([[1, 2], [3, 4]], np.float32))
    encoder = word_encoder(["the", "unheard", "sea"], lower_case=True)
    matrix = vectors_matrix(vectors, encoder, seed=3)
    assert (matrix.shape, matrix.dtype) == ((8, 2), np.float32)
    np.testing.assert_array_equal(matrix[[5, 7]], [[3, 4], [1, 2]])
    np.testing.assert_array_equal(matrix[encoder.pad_id], [0, 0])
    drawn = matrix[[1, 2, 3, 4, 6]]
    assert np.abs(drawn).max() < 0.25
    assert len(np.unique(drawn)) == 10
    np.testing.assert_array_equal(matrix, vectors_matrix(vectors, encoder, seed=3))
    other = vectors_matrix(vectors, encoder, seed=4)
    assert not np.array_equal(matrix, other)
    np.testing.assert_array_equal(matrix[[5, 7]], other[[5, 7]])


def test_random_rows_fill_their_range():
    vectors = WordVectors(("sea",), np.zeros((1, 300), np.float32))
    encoder = word_encoder(["sea", *(f"word{i}" for i in range(200))], lower_case=True)
    drawn = vectors_matrix(vectors, encoder)[6:]
    assert drawn.min() < -0.249
    assert drawn.max() > 0.249
    assert abs(drawn.std() - 0.5 / np.sqrt(12)) < 0.002
