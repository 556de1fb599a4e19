"""Span scores: equal to seqeval's, and plain about what they average."""

import random
import statistics
import time

import pytest
from seqeval import metrics as seqeval

from xdistil.metrics import piece_span_scores, span_scores

TAGS = ("O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


def random_tags(rng: random.Random, sentences: int, words: int = 12) -> list[list[str]]:
    lengths = [rng.randint(1, words) for _ in range(sentences)]
    return [[rng.choice(TAGS) for _ in range(length)] for length in lengths]


def disturbed(rng: random.Random, gold: list[list[str]]) -> list[list[str]]:
    return [[rng.choice(TAGS) if rng.random() < 0.2 else t for t in tags] for tags in gold]


@pytest.mark.parametrize("seed", range(10))
def test_scores_of_random_tags_equal_seqeval(seed):
    # Random tags are full of I- out of nowhere, and of I- after another type.
    rng = random.Random(seed)
    gold = random_tags(rng, 60)
    predicted = disturbed(rng, gold)
    scores = span_scores(gold, predicted)
    assert scores["micro"]["f1"] == pytest.approx(seqeval.f1_score(gold, predicted), abs=1e-12)
    assert scores["micro"]["precision"] == pytest.approx(
        seqeval.precision_score(gold, predicted), abs=1e-12
    )
    assert scores["micro"]["recall"] == pytest.approx(
        seqeval.recall_score(gold, predicted), abs=1e-12
    )
    by_type = seqeval.classification_report(gold, predicted, output_dict=True)
    for name in ("PER", "LOC", "ORG"):
        assert scores["per_type"][name]["f1"] == pytest.approx(by_type[name]["f1-score"], abs=1e-12)
        assert scores["per_type"][name]["support"] == by_type[name]["support"]


def test_each_language_equals_seqeval_on_its_sentences_and_the_headline_is_their_mean():
    rng = random.Random(3)
    gold = random_tags(rng, 90)
    predicted = disturbed(rng, gold)
    languages = [rng.choice(["de", "th", "ru"]) for _ in gold]
    scores = span_scores(gold, predicted, languages)
    expected = {}
    for language in ("de", "ru", "th"):
        rows = [i for i, name in enumerate(languages) if name == language]
        expected[language] = seqeval.f1_score([gold[i] for i in rows], [predicted[i] for i in rows])
        assert scores["per_language"][language]["f1"] == pytest.approx(expected[language])
        assert scores["per_language"][language]["sentences"] == len(rows)
    assert list(scores["per_language"]) == ["de", "ru", "th"]
    assert scores["f1"] == pytest.approx(statistics.mean(expected.values()))
    assert scores["f1_variance"] == pytest.approx(statistics.pvariance(expected.values()))
    assert scores["micro"]["f1"] == pytest.approx(seqeval.f1_score(gold, predicted))


def test_a_sentence_of_ordinary_tags_scores_as_counted_by_hand():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-ORG"], ["B-ORG", "B-LOC"]]
    micro = span_scores(gold, predicted)["micro"]
    assert micro == {
        "precision": 2 / 4,
        "recall": 2 / 3,
        "f1": pytest.approx(4 / 7),
        "support": 3,
    }


def test_a_span_does_not_run_over_the_end_of_a_sentence():
    gold = [["O", "B-PER"], ["I-PER", "O"]]
    scores = span_scores(gold, [["O", "B-PER"], ["O", "O"]])
    assert scores["micro"]["support"] == 2
    assert scores["micro"]["recall"] == 0.5


def test_a_tuple_of_tuples_is_read_like_lists():
    assert span_scores((("B-PER", "O"),), (("B-PER", "O"),))["f1"] == 1.0


def test_a_language_without_gold_spans_scores_zero_and_counts_in_the_mean():
    scores = span_scores([["B-PER"], ["O"]], [["B-PER"], ["O"]], ["en", "fi"])
    assert scores["per_language"]["fi"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 0,
        "sentences": 1,
    }
    assert scores["f1"] == 0.5


def test_no_sentences_score_zero():
    scores = span_scores([], [])
    assert (scores["f1"], scores["f1_variance"], scores["per_language"]) == (0.0, 0.0, {})


def test_empty_sentences_are_counted_and_harmless():
    scores = span_scores([[], ["B-PER"]], [[], ["B-PER"]])
    assert (scores["f1"], scores["per_language"]["und"]["sentences"]) == (1.0, 2)


@pytest.mark.parametrize(
    ("gold", "predicted", "languages", "message"),
    [
        ([["O"]], [], None, "1 and 0"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], None, "Sentence 1 has 2 gold tags and 1 predicted"),
        ([["O"]], [["O"]], ["en", "de"], "received 2 for 1 sentences"),
        ([["X"]], [["O"]], None, "`gold` holds the tag 'X'"),
        ([["O"]], [["PER"]], None, "`predicted` holds the tag 'PER'"),
    ],
)
def test_input_that_does_not_fit_is_refused_with_its_place(gold, predicted, languages, message):
    with pytest.raises(ValueError, match=message):
        span_scores(gold, predicted, languages)


def test_pieces_whose_gold_tag_is_x_are_left_out():
    gold = [["[CLS]", "B-PER", "X", "I-PER", "O", "B-LOC", "X", "[SEP]"]]
    predicted = [["O", "B-PER", "O", "I-PER", "O", "B-LOC", "B-LOC", "B-PER"]]
    assert piece_span_scores(gold, predicted)["micro"] == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "support": 2,
    }


def test_an_x_predicted_where_a_label_was_due_is_a_miss_and_no_span():
    scores = piece_span_scores([["B-PER", "O"]], [["X", "[SEP]"]])
    assert scores["micro"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def test_a_label_whose_name_holds_an_x_is_kept_whole():
    tags = [["B-XTYPE", "I-XTYPE"]]
    assert piece_span_scores(tags, tags)["per_type"]["XTYPE"]["support"] == 1


def test_piece_scores_refuse_lengths_that_differ():
    with pytest.raises(ValueError, match="Sentence 0 has 2 gold tags and 1"):
        piece_span_scores([["X", "O"]], [["O"]])


def test_scoring_takes_time_in_proportion_to_the_text():
    rng = random.Random(0)
    gold = random_tags(rng, 3000)
    predicted = disturbed(rng, gold)
    languages = [rng.choice(["de", "en"]) for _ in gold]
    start = time.process_time()
    span_scores(gold, predicted, languages)
    # About 0.15 s; 30,000 sentences must stay under 10 s.
    assert time.process_time() - start < 1.0
