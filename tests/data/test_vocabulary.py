"""The pruned vocabulary."""

import numpy as np
import pytest

from xdistil.data.examples import EncodedExample
from xdistil.data.vocabulary import PrunedVocabulary


def example(*ids):
    empty = np.zeros(len(ids), np.uint8)
    return EncodedExample(np.array(ids, np.int32), empty, np.zeros(0, np.int32))


def test_seen_and_special_pieces_are_kept_in_the_order_of_their_ids():
    counts = np.array([0, 0, 0, 5, 0, 1, 0, 2])
    vocabulary = PrunedVocabulary.from_counts(counts, special_ids=(0, 2), unk_id=1)
    assert vocabulary.kept_ids.tolist() == [0, 1, 2, 3, 5, 7]
    assert vocabulary.kept_ids.dtype == np.int32
    assert len(vocabulary) == 6


def test_a_minimum_count_drops_rare_pieces_but_no_special_one():
    counts = np.array([0, 1, 2, 3, 4])
    vocabulary = PrunedVocabulary.from_counts(counts, special_ids=(0,), unk_id=1, min_count=3)
    assert vocabulary.kept_ids.tolist() == [0, 1, 3, 4]


def test_counting_sees_every_piece_of_every_example():
    counts = PrunedVocabulary.count(iter([example(2, 5, 5, 3), example(2, 3)]), size=7)
    assert counts.tolist() == [0, 0, 2, 2, 0, 2, 0]


@pytest.mark.parametrize(
    ("kept", "unk_id"), [([], 0), ([1, 1], 1), ([-1, 2], 2), ([2, 8], 2), ([1, 2], 3), ([1, 2], 9)]
)
def test_ids_that_cannot_be_kept_are_refused(kept, unk_id):
    with pytest.raises(ValueError, match="must"):
        PrunedVocabulary(kept, size=8, unk_id=unk_id)


def test_the_kept_ids_are_sorted_and_cannot_be_changed_by_accident():
    vocabulary = PrunedVocabulary([7, 3, 1], size=9, unk_id=3)
    assert vocabulary.kept_ids.tolist() == [1, 3, 7]
    assert repr(vocabulary) == "PrunedVocabulary(3 of 9 pieces)"
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.kept_ids[0] = 1
