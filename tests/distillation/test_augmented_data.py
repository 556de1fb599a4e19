"""The text of a run with augmented rows: which rows, how many, and what they change."""

import dataclasses
import warnings

import pytest

from xdistil.data.augmentation import AugmentationSettings
from xdistil.data.examples import LabeledText
from xdistil.data.labels import Labels
from xdistil.distillation.augmented_data import with_augmented
from xdistil.distillation.run_settings import DistillationData

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
