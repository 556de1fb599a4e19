"""The tokenizer in the graph gives what `TextEncoder` gives, piece for piece."""

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
from tagger_fixtures import SENTENCES
from tokenizers import Tokenizer, models, processors

from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.pair_encoding import encode_pairs
from xdistil.data.tokenizer_files import build_wordpiece
from xdistil.errors import InputError
from xdistil.export.graph_tokenizer import GraphTokenizer


def op_by_op(encoder: TextEncoder):
    """The ops of the graph without the graph: tracing it takes longer than the test."""
    tokenizer = GraphTokenizer(encoder)

    def tokenize(text):
        split = tokenizer.split(text)
        return split, *tokenizer.encode(split.normalized)

    return tokenize


def compiled(encoder: TextEncoder):
    return tf.function(
        op_by_op(encoder), input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )


def pairs_op_by_op(encoder: TextEncoder):
    tokenizer = GraphTokenizer(encoder)

    def tokenize(first, second):
        words = (tokenizer.split(text).normalized for text in (first, second))
        return tokenizer.encode_pairs(*words)

    return tokenize


def pairs_compiled(encoder: TextEncoder):
    signature = [tf.TensorSpec([None], tf.string)] * 2
    return tf.function(pairs_op_by_op(encoder), input_signature=signature, autograph=False)


def assert_pairs_agree(encoder: TextEncoder, tokenize, pairs: list[tuple[str, str]]) -> None:
    features, positions = tokenize(*map(tf.constant, zip(*pairs, strict=True)))
    features = {name: values.numpy() for name, values in features.items()}
    texts = (LabeledText(first, text_pair=second) for first, second in pairs)
    for row, example in enumerate(encode_pairs(encoder, texts)):
        real = len(example)
        assert features["padding_mask"][row].sum() == real, pairs[row]
        for name in ("token_ids", "segment_ids", "word_starts"):
            given = getattr(example, name)
            expected = [0] * real if given is None else given.tolist()
            assert features[name][row, :real].tolist() == expected, (name, pairs[row])
        for name in ("segment_ids", "word_starts"):
            assert not features[name][row, real:].any()
        assert features["padding_mask"][row, :real].all()
        assert positions[row].numpy().tolist() == example.word_positions.tolist(), pairs[row]


@pytest.fixture(scope="module")
def tokenizers(encoders):
    """One graph a tokenizer."""
    return {case: compiled(encoder) for case, encoder in encoders.items()}


def assert_agrees(encoder: TextEncoder, tokenize, texts: list[str], batch: int = 256) -> None:
    expected = list(encoder.encode(TaggedSentence(tuple(text.split())) for text in texts))
    for begin in range(0, len(texts), batch):
        part = texts[begin : begin + batch]
        split, features, positions = tokenize(tf.constant(part))
        features = {name: values.numpy() for name, values in features.items()}
        columns = (split.words, split.starts, split.ends, positions)
        columns = zip(*(column.to_list() for column in columns), strict=True)
        for row, (words, starts, ends, places) in enumerate(columns):
            text, example = part[row], expected[begin + row]
            real = int(features["padding_mask"][row].sum())
            assert [word.decode() for word in words] == text.split(), repr(text)
            assert [text[a:b] for a, b in zip(starts, ends, strict=True)] == text.split()
            given = example.segment_ids
            segments = [0] * real if given is None else given.tolist()
            assert features["segment_ids"][row, :real].tolist() == segments
            assert features["token_ids"][row, :real].tolist() == example.token_ids.tolist(), (
                repr(text),
                [encoder.vocabulary[i] for i in features["token_ids"][row, :real]],
                [encoder.vocabulary[i] for i in example.token_ids],
            )
            assert features["word_starts"][row, :real].tolist() == example.word_starts.tolist()
            assert not features["word_starts"][row, real:].any()
            assert features["padding_mask"][row, :real].all()
            assert places == example.word_positions.tolist(), repr(text)


def with_normalizer(encoder: TextEncoder, **settings) -> TextEncoder:
    text = json.loads(encoder.tokenizer.to_str())
    text["normalizer"].update(settings)
    return TextEncoder(Tokenizer.from_str(json.dumps(text)), encoder.seq_len)


@pytest.mark.parametrize("case", ["cased", "uncased"])
def test_pieces_alignment_and_offsets_are_those_of_the_encoder(
    encoders, tokenizers, sentences, case
):
    assert_agrees(encoders[case], tokenizers[case], sentences)


@pytest.mark.parametrize("seq_len", [3, 9])
def test_long_sentences_are_cut_where_the_encoder_cuts_them(encoders, sentences, seq_len):
    encoder = TextEncoder(encoders["uncased"].tokenizer, seq_len)
    assert_agrees(encoder, op_by_op(encoder), sentences)


@pytest.mark.parametrize("case", ["cased", "uncased"])
def test_pairs_are_joined_as_the_encoder_joins_them(encoders, pairs, case):
    assert_pairs_agree(encoders[case], pairs_compiled(encoders[case]), pairs)


@pytest.mark.parametrize("seq_len", [5, 6, 9, 16])
def test_long_pairs_are_cut_where_the_encoder_cuts_them(encoders, pairs, seq_len):
    encoder = TextEncoder(encoders["uncased"].tokenizer, seq_len)
    assert_pairs_agree(encoder, pairs_op_by_op(encoder), pairs)


@pytest.mark.parametrize("processor", ["none", "roberta", "segments"])
def test_other_special_tokens_are_put_where_the_encoder_puts_them(
    encoders, sentences, pairs, processor
):
    tokenizer = Tokenizer.from_str(encoders["cased"].tokenizer.to_str())
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = {
        "none": processors.Sequence([]),
        "roberta": processors.RobertaProcessing(*ids),
        "segments": processors.TemplateProcessing(
            single="[CLS]:2 [CLS] $A:1", pair="$A:3 [SEP]:1 [SEP] $B [CLS]:4", special_tokens=ids
        ),
    }[processor]
    encoder = TextEncoder(tokenizer, 20)
    assert_agrees(encoder, op_by_op(encoder), sentences)
    assert_pairs_agree(encoder, pairs_op_by_op(encoder), pairs)


def test_a_vocabulary_of_whole_words_gives_a_word_or_the_unknown_token(sentences, pairs):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for sentence in SENTENCES for word in sentence.lower().split()})
    tokenizer = build_wordpiece(special + words, {"do_lower_case": True})
    encoder = TextEncoder(tokenizer, 32)
    assert_agrees(encoder, op_by_op(encoder), sentences)
    assert_pairs_agree(encoder, pairs_op_by_op(encoder), pairs)


@pytest.mark.parametrize(
    "settings",
    [
        {"lowercase": True, "strip_accents": False},
        {"lowercase": False, "strip_accents": True},
        {"handle_chinese_chars": False},
        {"clean_text": False},
    ],
    ids=str,
)
def test_every_setting_of_the_normalizer_is_followed(encoders, sentences, settings):
    encoder = with_normalizer(encoders["uncased"], **settings)
    assert_agrees(encoder, op_by_op(encoder), sentences)


@pytest.mark.parametrize("case", ["cased", "uncased"])
def test_every_character_is_treated_alike(encoders, tokenizers, case):
    planes = [*range(0xD800), *range(0xE000, 0x10000), *range(0x16E00, 0x17000)]
    planes += [*range(0x1D000, 0x1D400), *range(0x1E000, 0x1FB00), *range(0x2B800, 0x2B940)]
    rows = [planes[i : i + 8] for i in range(0, len(planes), 8)]
    texts = [" ".join(f"a{chr(c)}b" for c in row) for row in rows]
    assert_agrees(encoders[case], tokenizers[case], texts, 1024)


def test_special_tokens_written_out_are_text(encoders, tokenizers):
    encoder = encoders["uncased"]
    _, features, _ = tokenizers["uncased"](tf.constant(["a [SEP] [CLS] b"]))
    ids = features["token_ids"].numpy()[0].tolist()
    assert ids.count(encoder.sep_id) == ids.count(encoder.cls_id) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"ab\xffcd ef",
        b"\xc3 \xe2\x82 x",
        b"\xed\xa0\x80 x",
        b"ok \xf0\x9f\x98",
        b"\xc0\xaf \xf5",
        b"\xef\xbb\xbfmark",
    ],
)
def test_invalid_bytes_are_read_as_python_replaces_them(encoders, raw):
    split = GraphTokenizer(encoders["cased"]).split(tf.constant([raw]))
    text = raw.decode("utf-8", errors="replace")
    assert [word.decode() for word in split.words.to_list()[0]] == text.split()
    offsets = zip(split.starts.to_list()[0], split.ends.to_list()[0], strict=True)
    assert [text[start:end] for start, end in offsets] == text.split()


def test_a_row_is_the_same_alone_and_among_others(tokenizers, sentences):
    tokenize = tokenizers["uncased"]
    _, together, _ = tokenize(tf.constant(sentences))
    for row, sentence in enumerate(sentences):
        _, alone, _ = tokenize(tf.constant([sentence]))
        length = alone["token_ids"].shape[1]
        np.testing.assert_array_equal(
            together["token_ids"][row, :length], alone["token_ids"].numpy()[0]
        )


def test_no_string_at_all_gives_no_row(tokenizers):
    split, features, _ = tokenizers["cased"](tf.constant([], tf.string))
    assert split.words.nrows() == 0
    assert features["token_ids"].shape[0] == 0


def test_another_kind_of_tokenizer_is_refused_in_one_line():
    special = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}
    encoder = TextEncoder(Tokenizer(models.WordLevel(special, unk_token="[UNK]")), 16)
    with pytest.raises(InputError, match="WordLevel"):
        GraphTokenizer(encoder)


def test_added_words_are_refused_because_the_graph_cannot_find_them(encoders):
    tokenizer = Tokenizer.from_str(encoders["cased"].tokenizer.to_str())
    tokenizer.add_tokens(["New York"])
    with pytest.raises(InputError, match="New York"):
        GraphTokenizer(TextEncoder(tokenizer, 16))


@pytest.mark.parametrize("case", ["cased", "uncased"])
def test_real_sentences_in_many_languages_agree(xdistil_data, encoders, tokenizers, case):
    files = sorted(xdistil_data.glob("ner/*/*/test.tsv.gz"))
    assert files
    texts = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines:
            texts += [line.split("\t")[0] for line, _ in zip(lines, range(300), strict=False)]
    assert_agrees(encoders[case], tokenizers[case], texts)
