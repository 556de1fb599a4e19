"""Tokenizers of every family: the same pieces, words and frames as transformers' fast ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.pair_encoding import encode_pairs
from xdistil.data.tokenizer_files import leaves_first_space
from xdistil.errors import InputError

FOLDER = Path(__file__).parents[1] / "fixtures" / "tokenizers"
# What transformers makes of the texts: see make_family_pieces.py beside the folder.
FIXTURE = json.loads((FOLDER / "expected.json").read_text("utf-8"))
EXPECTED = {one["family"]: one for one in FIXTURE["expected"]}
# RoBERTa's vocab.json and merges.txt give what its tokenizer.json gives.
FOLDERS = [*((family, family) for family in EXPECTED), ("roberta_files", "roberta")]
every_folder = pytest.mark.parametrize(("name", "family"), FOLDERS)


def encoder_of(name, seq_len=256):
    return TextEncoder.from_folder(FOLDER / name, seq_len)


def sentences():
    return [TaggedSentence(tuple(text.split(" ")) if text else ()) for text in FIXTURE["texts"]]


def first_positions(words, number_of_words):
    """The position of the first piece of each word, -1 for none, as transformers' word ids say."""
    first = {}
    for position, word in enumerate(words):
        first.setdefault(word, position)
    return [first.get(word, -1) for word in range(number_of_words)]


def assert_as_in_transformers(encoder, expected):
    examples = list(encoder.encode(sentences()))
    assert [example.token_ids.tolist() for example in examples] == expected["token_ids"]
    for one, example, words in zip(sentences(), examples, expected["word_ids"], strict=True):
        positions = first_positions(words, len(one.words))
        assert example.word_positions.tolist() == positions
        starts = sorted(position for position in positions if position >= 0)
        assert np.flatnonzero(example.word_starts).tolist() == starts


@every_folder
def test_pieces_and_words_are_those_of_transformers(name, family):
    encoder = encoder_of(name)
    expected = EXPECTED[family]
    assert list(encoder.special_ids) == expected["special_ids"]
    assert_as_in_transformers(encoder, expected)


@every_folder
def test_pairs_stand_in_the_frame_of_their_family(name, family):
    encoder = encoder_of(name)
    expected = EXPECTED[family]
    pairs = [LabeledText(first, text_pair=second) for first, second in FIXTURE["pairs"]]
    examples = list(encode_pairs(encoder, pairs))
    assert [example.token_ids.tolist() for example in examples] == expected["pair_token_ids"]
    for example, segments in zip(examples, expected["pair_segment_ids"], strict=True):
        found = example.segment_ids
        found = np.zeros(len(example), int) if found is None else found
        assert found.tolist() == segments


def test_roberta_puts_two_separators_between_texts_and_knows_no_segments():
    encoder = encoder_of("roberta")
    example = next(encode_pairs(encoder, [LabeledText("Ada", text_pair="lives in")]))
    assert example.segment_ids is None
    ids = example.token_ids.tolist()
    vocabulary = encoder.vocabulary
    specials = [vocabulary[index] for index in ids if index in encoder.special_ids]
    assert specials == ["<s>", "</s>", "</s>", "</s>"]
    assert ids.index(encoder.sep_id) + 1 == ids.index(encoder.sep_id, ids.index(encoder.sep_id) + 1)


@pytest.mark.parametrize("name", ["roberta", "roberta_files", "xlm-roberta", "albert"])
def test_words_are_told_apart_at_any_place(name):
    encoder = encoder_of(name)
    (apart, together) = encoder.encode(
        [TaggedSentence(("Ada", "lives")), TaggedSentence(("Adalives",))]
    )
    assert apart.token_ids.tolist() != together.token_ids.tolist()
    (alone,) = encoder.encode([TaggedSentence(("lives",))])
    begin = apart.word_positions[1]
    assert apart.token_ids[begin:-1].tolist() == alone.token_ids[1:-1].tolist()


@pytest.mark.parametrize("scheme", ["never", "first"])
def test_a_sentence_piece_tokenizer_that_leaves_spaces_away_is_put_right(scheme, tmp_path):
    shutil.copytree(FOLDER / "xlm-roberta", tmp_path / "copy")
    file = tmp_path / "copy" / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    (metaspace,) = [
        part for part in content["pre_tokenizer"]["pretokenizers"] if part["type"] == "Metaspace"
    ]
    metaspace["prepend_scheme"] = scheme
    file.write_text(json.dumps(content), encoding="utf-8")
    encoder = TextEncoder.from_folder(tmp_path / "copy", 256)
    assert_as_in_transformers(encoder, EXPECTED["xlm-roberta"])


@every_folder
def test_a_saved_tokenizer_reads_back_the_same(name, family, tmp_path):
    encoder = encoder_of(name, seq_len=200)
    encoder.save(tmp_path)
    again = TextEncoder.from_folder(tmp_path, 200)
    assert again.fingerprint == encoder.fingerprint
    assert_as_in_transformers(again, EXPECTED[family])
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    marked = family not in ("distilbert", "electra")
    assert config.get("add_prefix_space", False) is marked


@every_folder
def test_a_saved_tokenizer_gives_whole_texts_the_same_pieces_and_segments(name, family, tmp_path):
    encoder = encoder_of(name)
    encoder.save(tmp_path, whole_texts=True)
    assert TextEncoder.from_folder(tmp_path, 256).fingerprint == encoder.fingerprint
    # What transformers does with the file; it makes some classes anew, but not this one.
    saved = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    saved.encode_special_tokens = True
    pairs = [
        (f" \u3000{first}".replace(" ", " \t\x1c "), f"{second.replace(' ', chr(0xA0))}\n")
        for first, second in FIXTURE["pairs"]
    ]
    found = [saved.encode(*pair) for pair in pairs]
    assert [one.ids for one in found] == EXPECTED[family]["pair_token_ids"]
    segments = EXPECTED[family]["pair_segment_ids"]
    assert [one.type_ids for one in found] == segments
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert ("token_type_ids" in config.get("model_input_names", [])) is any(map(any, segments))
    if encoder.config.get("add_prefix_space"):
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


@every_folder
def test_a_saved_tokenizer_is_read_by_transformers(name, family, tmp_path):
    transformers = pytest.importorskip("transformers")
    encoder_of(name).save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    token_ids = [
        theirs(list(one.words), is_split_into_words=True, split_special_tokens=True)["input_ids"]
        for one in sentences()
    ]
    assert token_ids == EXPECTED[family]["token_ids"]


def test_lower_case_and_accents_are_known_in_a_chain_of_normalizers():
    assert (encoder_of("albert").lower_case, encoder_of("albert").strip_accents) == (True, True)
    assert not encoder_of("xlm-roberta").lower_case
    assert not encoder_of("roberta").lower_case


def test_the_mask_word_becomes_the_mask_token_of_each_family():
    for name, _ in FOLDERS:
        encoder = encoder_of(name)
        (example,) = encoder.encode([TaggedSentence(("a", "[MASK]", "a"))], mask_word="[MASK]")
        assert example.token_ids[example.word_positions[1]] == encoder.mask_id


@pytest.mark.parametrize(
    ("file", "settings", "told"),
    [
        ("config.json", {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapaneseTokenizer"),
        ("tokenizer_config.json", {"word_tokenizer_type": "mecab"}, "type is 'mecab'"),
        ("tokenizer_config.json", {"subword_tokenizer_type": "character"}, "is 'character'"),
    ],
)
def test_a_vocabulary_of_words_cut_by_other_rules_is_refused(file, settings, told, tmp_path):
    shutil.copy(FOLDER / "electra" / "vocab.txt", tmp_path)
    (tmp_path / file).write_text('{"tokenizer_class": "BertTokenizerFast"}')
    TextEncoder.from_folder(tmp_path)
    (tmp_path / file).write_text(json.dumps(settings))
    with pytest.raises(InputError, match=told) as error:
        TextEncoder.from_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_whose_first_words_have_no_space_before_them_in_transformers_is_known():
    left = {name for name, _ in FOLDERS if leaves_first_space(FOLDER / name)}
    settings = json.loads((FOLDER / "roberta" / "tokenizer_config.json").read_text())
    expected = {"roberta_files"} | ({"roberta"} if not settings["add_prefix_space"] else set())
    assert left == expected


@pytest.mark.parametrize("file", ["sentencepiece.bpe.model", "spiece.model"])
def test_a_file_of_sentencepiece_alone_is_refused_and_the_way_out_told(file, tmp_path):
    (tmp_path / file).write_bytes(b"\x0a")
    with pytest.raises(InputError, match=rf"only as {file}.*save_pretrained\(folder\)") as error:
        TextEncoder.from_folder(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("vocabulary", "merges", "reason"),
    [
        ("{", "#version: 0.2\n", "no byte-level BPE"),
        ('{"a": 0}', "#version: 0.2\na b\n", "no byte-level BPE"),
        ('{"a": 0}', "#version: 0.2\n", "vocab.json: has no piece <s>"),
    ],
)
def test_damaged_files_of_a_byte_level_tokenizer_are_refused(vocabulary, merges, reason, tmp_path):
    (tmp_path / "vocab.json").write_text(vocabulary)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(InputError, match=reason) as error:
        TextEncoder.from_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_a_word_piece_tokenizer_stays_as_it_was():
    tokenizer = encoder_of("electra").tokenizer
    again = TextEncoder(tokenizers.Tokenizer.from_str(tokenizer.to_str()))
    assert again.tokenizer.to_str() == tokenizer.to_str()
