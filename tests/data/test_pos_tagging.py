"""Part-of-speech taggers: real ones for English and German, shapes elsewhere, no downloads."""

import random
import subprocess
import sys
import warnings

import pytest

from xdistil.data.pos_tagging import EnglishTagger, GermanTagger, ShapeTagger, pos_tagger_for
from xdistil.errors import InputError

PACKAGES = {EnglishTagger: "textblob", GermanTagger: "HanTa"}

# Words that are no words, among them all that a tokenizer or a tagger of words trips over.
HOSTILE = [
    *("[MASK]", "A/B", "&slash;", "''", "``", "-", "...", "12,5", "İ", "ﬁ", "\u200b", "\ue000"),
    *("😀", "中文", "don't", "'s", "#", "@x", "a\x00b", "x" * 300, "ß", "ÄÖÜ", "é", "_", "1st"),
]


def tagger_of(kind):
    if kind in PACKAGES:
        pytest.importorskip(PACKAGES[kind])
    return kind()


def tags(kind, text):
    return tagger_of(kind).tag(text.split())


def test_english_words_get_the_tags_of_the_penn_treebank():
    assert tags(EnglishTagger, "The small dogs quickly ate seven apples in Turin") == [
        *("DT", "JJ", "NNS", "RB", "VBD", "CD", "NNS", "IN", "NNP")
    ]


def test_german_words_get_parts_of_speech():
    found = tags(GermanTagger, "Das neue Konto wurde gestern in Hannover eröffnet")
    assert found[:3] == ["ART", "ADJ(A)", "NN"]
    assert found[4:7] == ["ADV", "APPR", "NE"]
    assert found[7].startswith("VV")


def test_a_very_long_german_word_takes_no_longer_than_its_end():
    tagger = tagger_of(GermanTagger)
    word = "kraft" * 20_000 + "haftpflichtversicherungsgesellschaften"
    assert tagger.tag(["die", word]) == tagger.tag(["die", word[-60:]])


def test_shapes_tell_numbers_and_punctuation_from_words_in_any_script():
    assert tags(ShapeTagger, "moja 12,5 ! слово ١٢ x9 ؟ 中文") == [
        *("word", "number", "punctuation", "word", "number", "word", "punctuation", "word")
    ]


@pytest.mark.parametrize("kind", [EnglishTagger, GermanTagger, ShapeTagger])
def test_every_word_gets_one_tag_whatever_its_characters(kind):
    tagger = tagger_of(kind)
    draw = random.Random(1)
    for _ in range(100):
        words = draw.choices(HOSTILE, k=draw.randrange(8))
        found = tagger.tag(words)
        assert len(found) == len(words)
        assert all(isinstance(tag, str) and tag for tag in found)


@pytest.mark.parametrize("kind", [EnglishTagger, GermanTagger])
def test_a_tagger_leaves_no_trace_of_what_it_tagged_before(kind):
    tagger = tagger_of(kind)
    words = ["light", "light", "light"]
    before = tagger.tag(words)
    tagger.tag(HOSTILE)
    assert tagger.tag(words) == before


@pytest.mark.parametrize(
    ("language", "kind"),
    [
        *(("en", EnglishTagger), ("eng", EnglishTagger), ("en-GB", EnglishTagger)),
        *(("EN_us", EnglishTagger), ("de", GermanTagger), ("deu", GermanTagger)),
    ],
)
def test_a_language_with_a_tagger_gets_it_without_a_word(language, kind):
    pytest.importorskip(PACKAGES[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(pos_tagger_for(language)) is kind


@pytest.mark.parametrize("language", ["und", "sw", "enm", ""])
def test_other_languages_get_shapes_and_a_warning(language):
    with pytest.warns(UserWarning, match=f"no part-of-speech tagger for the language '{language}'"):
        assert type(pos_tagger_for(language)) is ShapeTagger


@pytest.mark.parametrize(
    ("language", "module", "extra"),
    [("en", "textblob.en", r"xdistil\[augmentation\]"), ("de", "HanTa.HanoverTagger", "-de")],
)
def test_a_missing_package_is_told_with_what_to_install(monkeypatch, language, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"pip install .*{extra}"):
        pos_tagger_for(language)


def test_importing_the_augmentation_loads_no_tagger():
    program = (
        "import sys, xdistil.data.augmentation\n"
        "assert not {'textblob', 'nltk', 'HanTa', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", [EnglishTagger, GermanTagger])
def test_a_tagger_opens_no_connection_and_needs_no_home(kind, tmp_path):
    pytest.importorskip(PACKAGES[kind])
    program = (
        "import sys\n"
        "def refuse(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'urllib.Request'):\n"
        "        raise SystemExit(f'{event} {args}')\n"
        "sys.addaudithook(refuse)\n"
        "from xdistil.data import pos_tagging\n"
        f"print(pos_tagging.{kind.__name__}().tag(['ein', 'Band']))"
    )
    home = tmp_path / "home"
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True
    )
    assert done.stdout.startswith(b"['")
    assert not home.exists()
