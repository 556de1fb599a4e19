"""Texts and pairs as word pieces: the pieces, segments and truncation of transformers."""

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors

from xdistil.data.encoding import TextEncoder, TruncationReport
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.pair_encoding import encode_pairs, encode_texts
from xdistil.errors import InputError

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "pieces.json").read_text("utf-8"))
PIECES, TEXTS = FIXTURE["pieces"], FIXTURE["texts"]
WORDS = ("ada", "lives", "in", "turins", "tur", ".", "\u200b", "unseen")


@pytest.fixture
def folder(tmp_path):
    """A checkpoint folder with vocab.txt and a configuration."""
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    return tmp_path


@pytest.fixture
def encoder(folder):
    return TextEncoder.from_folder(folder, seq_len=128)


def pair(first, second, **more):
    return LabeledText(first, text_pair=second, **more)


def random_pairs(count, longest=12):
    draw = random.Random(3)

    def text():
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, longest)))

    return [pair(text(), text()) for _ in range(count)]


def pieces_of(encoder, example):
    vocabulary = encoder.vocabulary
    return [vocabulary[index] for index in example.token_ids]


def test_a_pair_is_one_example_with_two_segments(encoder):
    example = next(encode_pairs(encoder, [pair("Ada lives", "in \u200b Turins .", language="en")]))
    assert pieces_of(encoder, example) == [
        *("[CLS]", "ada", "lives", "[SEP]", "in", "tur", "##in", "##s", ".", "[SEP]")
    ]
    assert example.segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert example.word_starts.tolist() == [0, 1, 1, 0, 1, 1, 0, 0, 1, 0]
    assert example.word_positions.tolist() == [1, 2, 4, -1, 5, 8]
    assert (example.labels, example.teacher, example.language) == (None, None, "en")
    assert (example.token_ids.dtype, example.segment_ids.dtype) == (np.int32, np.int32)


@pytest.mark.parametrize("seq_len", [5, 6, 7, 8, 11, 16, 128])
def test_pairs_are_encoded_and_truncated_as_transformers_does(folder, seq_len):
    transformers = pytest.importorskip("transformers")
    reference = transformers.BertTokenizerFast(
        vocab={piece: index for index, piece in enumerate(PIECES)}, do_lower_case=True
    )
    encoder = TextEncoder.from_folder(folder, seq_len=seq_len)
    pairs = [
        *random_pairs(300),
        *(
            pair(first, second)
            for first, second in itertools.product(filter(None, TEXTS), repeat=2)
        ),
    ]
    expected = reference(
        [one.text for one in pairs],
        [one.text_pair for one in pairs],
        truncation="longest_first",
        max_length=seq_len,
        split_special_tokens=True,
    )
    for number, example in enumerate(encode_pairs(encoder, pairs)):
        assert example.token_ids.tolist() == expected["input_ids"][number], pairs[number]
        assert example.segment_ids.tolist() == expected["token_type_ids"][number]


def test_truncation_counts_whole_pairs_before_they_are_cut(folder):
    encoder = TextEncoder.from_folder(folder, seq_len=7)
    report = TruncationReport()
    pairs = [pair("in in", "ada ."), pair("in", "turins ada . in"), pair("in " * 5, "ada " * 6)]
    examples = list(encode_pairs(encoder, pairs, report))
    assert [len(example) for example in examples] == [7, 7, 7]
    assert pieces_of(encoder, examples[1]) == [
        "[CLS]",
        "in",
        "[SEP]",
        "tur",
        "##in",
        "##s",
        "[SEP]",
    ]
    assert examples[1].word_positions.tolist() == [1, 3, -1, -1, -1]
    assert examples[2].word_positions.tolist() == [1, 2, *[-1] * 3, 4, 5, *[-1] * 4]
    assert report == TruncationReport(3, 20, 2, 10, 14)
    (line,) = report.warnings(7, "pairs", "are not read")
    assert line.startswith("2 of 3 pairs are longer than 7 pieces")
    assert line.endswith("10 of 20 words were cut off and are not read")
    assert encoder.truncated_sentences == 0
    list(encode_pairs(encoder, pairs))
    assert encoder.truncation == report


def test_an_empty_report_of_ones_own_is_the_one_that_counts(encoder):
    report = TruncationReport()
    list(encode_pairs(encoder, [pair("ada", "in")], report))
    list(encode_texts(encoder, [LabeledText("ada lives")], report))
    assert (report.sentences, report.words, encoder.truncation.sentences) == (2, 4, 0)


def test_chunks_change_nothing_and_keep_the_order(encoder, monkeypatch):
    pairs = random_pairs(25)
    together = list(encode_pairs(encoder, pairs))
    monkeypatch.setattr("xdistil.data.pair_encoding._CHUNK", 4)
    apart = list(encode_pairs(encoder, iter(pairs)))
    assert len(apart) == len(pairs)
    for one, other in zip(apart, together, strict=True):
        for name in ("token_ids", "segment_ids", "word_starts", "word_positions"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("encode", [encode_pairs, encode_texts])
def test_text_is_read_as_it_is_needed(encoder, encode):
    taken = itertools.count()
    endless = (pair("ada", str(next(taken))) for _ in itertools.count())
    next(encode(encoder, endless))
    assert next(taken) <= 1000


def test_texts_are_encoded_as_sentences_of_their_words(encoder):
    texts = [LabeledText(f" {text} ", "a", language="en") for text in TEXTS]
    sentences = [TaggedSentence(tuple(text.split())) for text in TEXTS]
    for one, other in zip(encode_texts(encoder, texts), encoder.encode(sentences), strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.word_positions, other.word_positions)
        assert (one.language, one.labels, one.segment_ids) == ("en", None, None)


def test_special_tokens_written_out_do_not_end_a_text(encoder):
    example = next(encode_pairs(encoder, [pair("ada [SEP] in", "ada")]))
    assert example.segment_ids.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_a_tokenizer_with_other_surroundings_keeps_them(encoder):
    tokenizer = encoder.tokenizer
    tokenizer.post_processor = processors.RobertaProcessing(
        ("[SEP]", encoder.sep_id), ("[CLS]", encoder.cls_id)
    )
    roberta = TextEncoder(tokenizer, seq_len=6)
    example = next(encode_pairs(roberta, [pair("ada", "in in")]))
    assert pieces_of(roberta, example) == ["[CLS]", "ada", "[SEP]", "[SEP]", "in", "[SEP]"]
    assert example.segment_ids is None


def test_a_tokenizer_that_adds_nothing_gets_the_surroundings_of_bert(encoder):
    tokenizer = json.loads(encoder.tokenizer.to_str())
    tokenizer["post_processor"] = None
    bare = TextEncoder(type(encoder.tokenizer).from_str(json.dumps(tokenizer)), seq_len=128)
    one, other = (next(encode_pairs(one, [pair("ada", "in in")])) for one in (bare, encoder))
    assert one.token_ids.tolist() == other.token_ids.tolist()
    assert one.segment_ids.tolist() == other.segment_ids.tolist()


def test_a_second_text_that_is_missing_is_told(encoder):
    with pytest.raises(InputError, match="'ada' has no second text: give two texts"):
        list(encode_pairs(encoder, [LabeledText("ada")]))


def test_a_length_without_room_for_both_texts_is_refused_at_once(folder):
    with pytest.raises(InputError, match="seq_len is 4: a pair of texts needs at least 5"):
        encode_pairs(TextEncoder.from_folder(folder, seq_len=4), [])


def test_a_mask_word_in_either_text_becomes_the_mask_token(encoder):
    given = pair("[MASK] in", "turins [MASK]")
    example = next(encode_pairs(encoder, [given], mask_word="[MASK]"))
    assert pieces_of(encoder, example) == [
        *("[CLS]", "[MASK]", "in", "[SEP]", "tur", "##in", "##s", "[MASK]", "[SEP]")
    ]
    assert example.segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert example.word_positions.tolist() == [1, 2, 4, 7]
    text = next(encode_texts(encoder, [LabeledText("[MASK] in")], mask_word="[MASK]"))
    assert pieces_of(encoder, text) == ["[CLS]", "[MASK]", "in", "[SEP]"]
