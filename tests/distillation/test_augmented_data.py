"""The text of a run with augmented rows: which rows, how many, and what they change."""

import dataclasses
import warnings

import pytest

from xdistil.data.augmentation import AugmentationSettings
from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import LabeledText, TaggedSentence
from xdistil.data.labels import Labels
from xdistil.distillation.augmented_data import whole_words, with_augmented
from xdistil.distillation.run_settings import DistillationData
from xdistil.errors import InputError

TRAIN = [LabeledText(f"w{i} x{i} y{i} z{i}", "a", language="sw") for i in range(20)]
OTHER = [LabeledText("other text")]
SETTINGS = AugmentationSettings(iterations=3, seed=2)


@pytest.fixture
def data():
    return DistillationData(
        labels=Labels(["a", "b"]),
        train=TRAIN,
        dev=TRAIN[:1],
        test=[],
        transfer=lambda: iter(OTHER),
        fingerprint="text",
        transfer_size=1,
    )


def test_new_rows_follow_the_transfer_text_and_are_the_same_each_time(data):
    augmented = with_augmented(data, SETTINGS)
    rows = list(augmented.transfer())
    assert rows[:1] == OTHER and rows == list(augmented.transfer())
    assert len(rows) == augmented.transfer_size > 40
    assert {row.label for row in rows} == {None}
    assert not {row.text for row in rows} & {row.text for row in TRAIN}


def test_without_other_text_they_are_alone(data):
    augmented = with_augmented(data, SETTINGS, only=True)
    rows = list(augmented.transfer())
    assert OTHER[0] not in rows
    assert len(rows) == augmented.transfer_size == with_augmented(data, SETTINGS).transfer_size - 1


def test_the_teacher_of_another_run_will_do_but_not_its_targets(data):
    augmented = with_augmented(data, SETTINGS)
    others = [
        with_augmented(data, dataclasses.replace(SETTINGS, seed=3)),
        with_augmented(data, SETTINGS, only=True),
        with_augmented(data, SETTINGS, language="ha"),
    ]
    assert with_augmented(data, SETTINGS).fingerprint == augmented.fingerprint
    assert len({one.fingerprint for one in (data, augmented, *others)}) == 5
    assert {one.labeled_fingerprint for one in (augmented, *others)} == {"text"}


def test_a_language_without_a_tagger_is_told_once_and_not_while_rows_are_read(data, caplog):
    augmented = with_augmented(data, SETTINGS)
    assert sum("no part-of-speech tagger" in line for line in caplog.messages) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(augmented.transfer())


def test_words_of_the_teacher_replace_others_where_the_tagger_has_a_lexicon(data):
    pytest.importorskip("textblob")
    encoder = train_wordpiece([TaggedSentence(("gloomy", "delightful", "film", "a"))] * 9, 90)
    train = [LabeledText("a gloomy film", "a"), LabeledText("a dull comedy", "b")]
    data = dataclasses.replace(data, train=train)
    settings = dataclasses.replace(SETTINGS, pos=0.9, iterations=200)
    paper, more = (
        with_augmented(data, settings, language="en", only=True, encoder=teacher)
        for teacher in (None, encoder)
    )
    seen, new = ({w for row in one.transfer() for w in row.text.split()} for one in (paper, more))
    assert new - seen == {"delightful"} and seen <= new
    assert paper.fingerprint != more.fingerprint
    assert list(more.transfer()) == list(more.transfer())


def test_without_a_lexicon_there_are_no_words_of_the_teacher(data):
    encoder = train_wordpiece([TaggedSentence(("maji",))] * 3, 40)
    with pytest.raises(InputError, match=r"\(sw\) has a lexicon"):
        with_augmented(data, SETTINGS, encoder=encoder)


def test_a_teacher_without_whole_words_of_the_lexicon_is_told(data):
    pytest.importorskip("textblob")
    encoder = train_wordpiece([TaggedSentence(("ж",))] * 3, 40)
    with pytest.raises(InputError, match=r"no word of the lexicon of the language \(en\) is one"):
        with_augmented(data, SETTINGS, language="en", encoder=encoder)


def test_whole_words_are_one_piece_and_to_a_lowering_encoder_have_no_capitals():
    words = ["Rain", "rain", "rainy", "sun"]
    for lower_case, expected in ((True, ["rain"]), (False, ["Rain", "rain"])):
        text = [TaggedSentence(("Rain", "rain", "s", "u", "n", "y"))] * 5
        encoder = train_wordpiece(text, 60, lower_case=lower_case)
        assert whole_words(encoder, words) == expected
