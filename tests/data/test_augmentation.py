"""New texts by masks, parts of speech and n-grams: drawn as asked, seeded, without duplicates."""

import itertools
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from xdistil.data.augmentation import MASK_WORD, AugmentationSettings, Augmenter
from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.pair_encoding import encode_texts
from xdistil.errors import InputError

NOUNS, VERBS = ("n0", "n1", "n2", "n3"), ("v0", "v1")


class LetterTagger:
    """Tags a word by its first letter."""

    def tag(self, words):
        return [word[0] for word in words]


def numbered(count, words=12):
    """Texts that have no word in common: every word tells its text and its place."""
    return [LabeledText(" ".join(f"w{i}.{j}" for j in range(words)), "a") for i in range(count)]


def augmenter(texts, tagger=None, **settings):
    settings = {"mask": 0.0, "pos": 0.0, "ngram": 0.0, **settings}
    return Augmenter(AugmentationSettings(**settings), tagger or LetterTagger()).fit(texts)


def new_texts(texts, tagger=None, **settings):
    return [row.text for row in augmenter(texts, tagger, **settings).augment(texts)]


def assert_binomial(count, trials, probability):
    """Five standard deviations: a wrong probability is seen, chance is not."""
    deviation = (trials * probability * (1 - probability)) ** 0.5
    assert abs(count - trials * probability) < 5 * deviation + 1, (count, trials, probability)


def test_words_are_masked_and_replaced_with_their_probabilities():
    # The one word to draw occurs in none of the texts, so that a replaced word shows.
    texts = numbered(300)
    settings = {"mask": 0.15, "pos": 0.25, "iterations": 10, "seed": 3}
    rows = list(augmenter([LabeledText("wdrawn")], **settings).augment(texts))
    words = Counter(word for row in rows for word in row.text.split())
    assert len(rows) > 2900
    assert_binomial(words[MASK_WORD], len(rows) * 12, 0.15)
    assert_binomial(words["wdrawn"], len(rows) * 12, 0.25)


def test_an_n_gram_is_kept_with_its_probability_and_its_lengths_are_one_to_five():
    texts = numbered(2000)
    sizes = Counter(len(text.split()) for text in new_texts(texts, ngram=0.25, iterations=1))
    assert set(sizes) == {1, 2, 3, 4, 5}  # a text that is kept whole is no new one
    assert_binomial(sizes.total(), 2000, 0.25)
    for size in range(1, 6):
        assert_binomial(sizes[size], sizes.total(), 0.2)


def test_an_n_gram_is_a_part_of_its_text_and_every_part_comes_up():
    text = "a b c d e f"
    made = set(new_texts([LabeledText(text)], ngram=1.0, iterations=500))
    words = text.split()
    parts = {" ".join(words[i : i + n]) for n in range(1, 6) for i in range(7 - n)}
    assert made == parts


def test_a_text_shorter_than_the_n_gram_is_kept_whole():
    assert set(new_texts([LabeledText("a b")], ngram=1.0, iterations=100)) == {"a", "b"}


def test_a_replaced_word_has_the_same_part_of_speech():
    texts = [LabeledText("n0 v0 n1 n2"), LabeledText("n3 v1 n0")]
    made = new_texts(texts, pos=1.0, iterations=50)
    for text in made:
        letters = [word[0] for word in text.split()]
        assert letters in (["n", "v", "n", "n"], ["n", "v", "n"])
    assert {word for text in made for word in text.split()} == {*NOUNS, *VERBS}


def test_words_are_drawn_by_their_frequency_within_the_part_of_speech():
    counts = {"n0": 70, "n1": 20, "n2": 10, "v0": 500}
    given = LabeledText(" ".join(word for word, count in counts.items() for _ in range(count)))
    made = augmenter([given], pos=1.0, iterations=40).augment([LabeledText("n0 " * 100)])
    words = Counter(word for row in made for word in row.text.split())
    assert words.total() == 4000
    for word, share in (("n0", 0.7), ("n1", 0.2), ("n2", 0.1)):
        assert_binomial(words[word], 4000, share)


def test_words_that_no_text_holds_come_in_once_they_are_added():
    texts = [LabeledText("n0 n0 n0 v0", language="en"), LabeledText("n1", language="sw")]
    made = augmenter(texts, pos=1.0, iterations=2000).add_words(["n8", "v9"], "en")
    assert made.lexicon("en") is None  # this tagger has none
    words = Counter(w for row in made.augment(texts[:1]) for w in row.text.split())
    # No row comes twice, so that the shares are not those of the draws.
    assert set(words) == {"n0", "n8", "v0", "v9"}
    assert {row.text for row in made.augment(texts[1:])} == set()


def test_words_of_one_language_do_not_come_into_another():
    texts = [LabeledText("na nb nc", language="en"), LabeledText("nd ne nf", language="sw")]
    for row in augmenter(texts, pos=1.0, iterations=50).augment(texts):
        allowed = {"en": {"na", "nb", "nc"}, "sw": {"nd", "ne", "nf"}}[row.language]
        assert set(row.text.split()) <= allowed


def test_a_word_whose_part_of_speech_was_never_counted_stays():
    made = augmenter([LabeledText("n0")], pos=1.0).augment([LabeledText("x0 x1 n1")])
    assert {row.text for row in made} == {"x0 x1 n0"}


def test_punctuation_at_a_word_stays_and_is_not_counted_with_it():
    texts = [LabeledText('"n0, (n1). n2?! ... v0')]
    made = new_texts(texts, pos=1.0, iterations=50)
    for text in made:
        first, second, third, dots, verb = text.split()
        assert (first[0], first[-1]) == ('"', ",")
        assert (second[0], second[-2:]) == ("(", ").")
        assert third.endswith("?!")
        assert (dots, verb) == ("...", "v0")
    words = {word.strip('"(),.?!') for text in made for word in text.split()}
    assert words == {"n0", "n1", "n2", "v0", ""}


def test_new_rows_have_no_label_and_the_language_of_their_text():
    texts = [LabeledText("n0 n1 n2", "spam", language="sw")]
    rows = list(augmenter(texts, mask=0.5).augment(texts))
    assert rows
    found = {(row.label, row.text_pair, row.language, row.mask_word) for row in rows}
    assert found == {(None, None, "sw", MASK_WORD)}


@pytest.mark.parametrize(("pair", "expected"), [(False, 20), (True, 10)])
def test_the_iterations_are_twenty_for_texts_and_ten_for_pairs(pair, expected):
    long = " ".join(f"n{i}" for i in range(100))
    texts = [LabeledText(long, text_pair=long if pair else None)]
    assert len(list(augmenter(texts, mask=0.5).augment(texts))) == expected


def test_of_a_pair_the_first_the_second_and_both_are_changed_in_turn():
    first = " ".join(f"a{i}" for i in range(60))
    second = " ".join(f"b{i}" for i in range(60))
    texts = [LabeledText(first, "same", text_pair=second)]
    rows = list(augmenter(texts, mask=0.5, iterations=7).augment(texts))
    changed = [(row.text != first, row.text_pair != second) for row in rows]
    assert changed == [*[(True, False), (False, True), (True, True)] * 2, (True, False)]
    assert {(row.label, row.mask_word) for row in rows} == {(None, MASK_WORD)}


def test_no_row_is_an_original_or_comes_twice():
    texts = [LabeledText(text) for text in ("n0 n1", "n1 n0", "n0", " n1  n1 ", "n0 n1")]
    made = new_texts(texts, mask=0.1, pos=0.5, ngram=0.5, iterations=200)
    assert len(made) == len(set(made)) > 5
    assert not set(made) & {"n0 n1", "n1 n0", "n0", "n1 n1"}
    assert "n1" in made


def test_pairs_are_told_apart_by_both_texts():
    texts = [LabeledText("a", text_pair="b"), LabeledText("b", text_pair="a")]
    rows = augmenter(texts, mask=1.0).augment(texts)
    assert [(row.text, row.text_pair) for row in rows] == [
        *(("[MASK]", "b"), ("a", "[MASK]"), ("[MASK]", "[MASK]"), ("[MASK]", "a"), ("b", "[MASK]"))
    ]


@pytest.mark.parametrize("texts", [("", None), (" \t ", None), ("[MASK]", None), ("a", " ")])
def test_a_text_without_words_makes_no_row_and_no_row_is_empty(texts):
    given = [LabeledText(texts[0], text_pair=texts[1]), LabeledText("n0 n1 n2", text_pair="n0")]
    rows = list(augmenter(given, mask=0.3, ngram=0.5, iterations=30).augment(given))
    assert rows
    assert all(row.text.strip() and row.text_pair.strip() for row in rows)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    texts = numbered(20)
    everything = {"mask": 0.1, "pos": 0.1, "ngram": 0.25}
    first, again, other = (new_texts(texts, seed=seed, **everything) for seed in (1, 1, 2))
    assert first == again
    assert len(set(first) & set(other)) < len(first) / 2  # short n-grams, mostly


def test_a_row_comes_out_the_same_whatever_stands_before_it():
    texts = numbered(20)
    made = augmenter(texts, mask=0.1, pos=0.1, ngram=0.25)
    forward = {row.text for row in made.augment(texts)}
    backward = {row.text for row in made.augment(reversed(texts))}
    apart = {row.text for text in texts for row in made.augment([text])}
    assert forward == backward == apart
    counted_backward = augmenter(reversed(texts), mask=0.1, pos=0.1, ngram=0.25)
    assert {row.text for row in counted_backward.augment(texts)} == forward


def test_other_processes_make_the_same_rows():
    program = (
        "from tests.data import test_augmentation as t\n"
        "print('|'.join(t.new_texts(t.numbered(5), mask=0.1, pos=0.3, ngram=0.25)))"
    )
    printed = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        root = Path(__file__).parents[2]
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=environment, cwd=root, check=True, capture_output=True, text=True
        )
        printed.add(done.stdout.strip())
    assert printed == {"|".join(new_texts(numbered(5), mask=0.1, pos=0.3, ngram=0.25))}


def test_rows_are_read_as_they_are_needed():
    taken = itertools.count()
    endless = (LabeledText(f"n0 n1 n{next(taken)}") for _ in itertools.count())
    rows = augmenter([LabeledText("n0")], mask=0.5).augment(endless)
    next(rows)
    assert next(taken) == 1


def test_memory_grows_with_the_number_of_new_rows_alone_not_with_their_length():
    def grown(words):
        row_count, text = 150, " ".join(f"n{i}" for i in range(words))
        given = (LabeledText(f"n0 {number} {text}") for number in range(row_count))
        made = augmenter([LabeledText(f"n0 {text}")], mask=0.3)
        tracemalloc.start()
        try:
            rows = sum(1 for _ in made.augment(given))
            return tracemalloc.get_traced_memory()[0], rows
        finally:
            tracemalloc.stop()

    short, rows = grown(20)
    long, _ = grown(200)
    assert rows > 2900
    assert long < short + 100_000
    assert long < 200 * rows


def test_a_written_out_mask_cannot_be_brought_in_by_a_text():
    texts = [LabeledText("n0 [MASK] n1 [MASK]. n2"), LabeledText("[M3] [M4] [n5]")]
    made = new_texts(texts, pos=0.9, ngram=0.2, iterations=200)
    assert made
    assert not [text for text in made if MASK_WORD in text.split()]


def test_masked_words_reach_the_model_as_its_mask_token():
    texts = [LabeledText("n0 n1 n2 n3")]
    encoder = train_wordpiece([TaggedSentence(tuple(texts[0].text.split()))] * 3, 60)
    rows = list(augmenter(texts, mask=0.5).augment(texts))
    examples = list(encode_texts(encoder, rows, mask_word=MASK_WORD))
    for row, example in zip(rows, examples, strict=True):
        masks = int((example.token_ids == encoder.mask_id).sum())
        assert masks == row.text.split().count(MASK_WORD)
    plain = encode_texts(encoder, rows)
    assert not any(encoder.mask_id in example.token_ids for example in plain)


def test_each_language_gets_its_tagger_once_and_unknown_ones_a_warning():
    pytest.importorskip("textblob")
    texts = [
        *(LabeledText("the warm bread tastes good .", language="en") for _ in range(3)),
        *(LabeledText("mkate 3 mtamu , nyumba 4 kubwa", language="sw") for _ in range(3)),
    ]
    with pytest.warns(UserWarning, match="'sw'") as warned:
        made = Augmenter(AugmentationSettings(pos=0.9, mask=0)).fit(texts)
        rows = list(made.augment(texts))
    assert [one.category for one in warned].count(UserWarning) == 1
    swahili = [row.text.split() for row in rows if row.language == "sw"]
    numbers = {words[i] for words in swahili if len(words) == 7 for i in (1, 5)}
    assert numbers == {"3", "4"}
    english = [row.text.split() for row in rows if row.language == "en"]
    assert all(words[0] == "the" and words[5] == "." for words in english if len(words) == 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask": -0.1}, "probability mask of the augmentation is -0.1"),
        ({"ngram": 1.5}, "probability ngram of the augmentation is 1.5"),
        ({"pos": float("nan")}, "probability pos"),
        ({"mask": 0.6, "pos": 0.6}, r"mask \(0.6\) and pos \(0.6\)"),
        ({"iterations": 0}, "iterations of the augmentation are 0: expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        AugmentationSettings(**settings)


@pytest.mark.parametrize("word", ["", "a b", " a"])
def test_a_mask_word_that_is_not_one_word_is_refused(word):
    with pytest.raises(InputError, match="expected one word"):
        Augmenter(mask_word=word)


def test_words_to_draw_must_have_been_counted():
    with pytest.raises(InputError, match="call fit with the training texts, or set pos to 0"):
        Augmenter(pos_tagger=LetterTagger()).augment([LabeledText("a b")])
    rows = Augmenter(AugmentationSettings(pos=0.0), LetterTagger()).augment([LabeledText("a b c")])
    assert list(rows)
