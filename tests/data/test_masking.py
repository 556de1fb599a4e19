"""What is masked: how much, what, how, and the same again each time it is asked."""

import numpy as np
import pytest

from xdistil.data.masking import Masker, MaskingSettings

VOCABULARY, SPECIAL, MASK = 200, (0, 1, 2, 3, 4), 4
COUNTS = np.arange(VOCABULARY)[::-1] ** 2
CLS, SEP = 2, 3


def masker(smoothing=0.7, seed=1, counts=COUNTS, share=0.15):
    return Masker(counts, SPECIAL, MASK, MaskingSettings(share, smoothing), seed)


def batch(rows=64, length=48, seed=0):
    """Rows of different lengths between [CLS] and [SEP], padded with 0."""
    random = np.random.default_rng(seed)
    token_ids = np.zeros((rows, length), np.int32)
    for row in token_ids:
        size = random.integers(5, length + 1)
        row[:size] = random.integers(5, VOCABULARY, size)
        row[0], row[size - 1] = CLS, SEP
    return token_ids, (token_ids > 0).astype(np.int32)


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("smoothing", [0.0, 0.7])
def test_the_asked_share_of_the_real_positions_is_masked_exactly(share, smoothing):
    token_ids, mask = batch()
    _, labels = masker(smoothing, share=share).mask(token_ids, mask, 0, 0)
    assert (labels >= 0).sum() == np.ceil(share * mask.sum())


def test_labels_are_what_stood_there_and_nothing_else_changes():
    token_ids, mask = batch()
    inputs, labels = masker().mask(token_ids, mask, 0, 0)
    chosen = labels >= 0
    np.testing.assert_array_equal(labels[chosen], token_ids[chosen])
    np.testing.assert_array_equal(inputs[~chosen], token_ids[~chosen])
    assert inputs.dtype == labels.dtype == np.int32


def test_special_tokens_and_padding_are_never_chosen():
    token_ids, mask = batch(rows=400)
    token_ids[token_ids == 7] = 1  # [UNK] in the middle of a text
    for number in range(20):
        inputs, labels = masker(smoothing=0.0).mask(token_ids, mask, 0, number)
        assert not np.isin(labels[labels >= 0], SPECIAL).any()
        assert (labels[mask == 0] == -1).all()
        put_in = inputs[(labels >= 0) & (inputs != MASK)]
        assert not np.isin(put_in, SPECIAL).any()


def test_eighty_percent_become_the_mask_ten_another_piece_ten_stay():
    token_ids, mask = batch(rows=4000)
    inputs, labels = masker().mask(token_ids, mask, 0, 0)
    chosen = labels >= 0
    hidden, same = inputs[chosen] == MASK, inputs[chosen] == labels[chosen]
    size = chosen.sum()
    deviation = 4 * np.sqrt(0.1 * 0.9 / size)
    assert hidden.mean() == pytest.approx(0.8, abs=2 * deviation)
    # A random piece is the same piece now and then.
    assert same.mean() == pytest.approx(0.1 + 0.1 / (VOCABULARY - 5), abs=deviation)


def test_a_piece_is_drawn_with_its_count_to_the_smoothing():
    # Few draws out of many positions: then the weights show as they are.
    random = np.random.default_rng(0)
    counts = np.ones(VOCABULARY)
    counts[10], counts[11], counts[12] = 10_000, 100, 0
    token_ids = random.choice([10, 11, 12], size=(1, 30_000)).astype(np.int32)
    found = np.zeros(3)
    for number in range(40):
        one = masker(0.5, counts=counts, share=0.005)
        _, labels = one.mask(token_ids, np.ones_like(token_ids), 0, number)
        found += [(labels == piece).sum() for piece in (10, 11, 12)]
    weights = np.array([0.01, 0.1, 1.0])  # a count of 0 weighs as one of 1
    np.testing.assert_allclose(found / found.sum(), weights / weights.sum(), atol=0.01)


def test_without_smoothing_counts_do_not_matter():
    token_ids, mask = batch()
    plain = masker(0.0).mask(token_ids, mask, 0, 0)
    other = masker(0.0, counts=np.ones(VOCABULARY)).mask(token_ids, mask, 0, 0)
    np.testing.assert_array_equal(plain, other)


def test_masks_are_a_function_of_seed_epoch_and_batch():
    token_ids, mask = batch()
    one = masker().mask(token_ids, mask, 2, 5)
    one_again = masker()
    one_again.mask(token_ids, mask, 0, 0)  # what came before does not matter
    np.testing.assert_array_equal(one, one_again.mask(token_ids, mask, 2, 5))
    for other in (
        masker(seed=2).mask(token_ids, mask, 2, 5),
        masker().mask(token_ids, mask, 3, 5),
        masker().mask(token_ids, mask, 2, 6),
    ):
        assert (one[1] != other[1]).any()


def test_padding_does_not_change_what_is_masked():
    token_ids, mask = batch(rows=8, length=16)
    wide = np.pad(token_ids, ((0, 3), (0, 9)))
    inputs, labels = masker().mask(token_ids, mask, 1, 1)
    wide_inputs, wide_labels = masker().mask(wide, np.pad(mask, ((0, 3), (0, 9))), 1, 1)
    np.testing.assert_array_equal(inputs, wide_inputs[:8, :16])
    np.testing.assert_array_equal(labels, wide_labels[:8, :16])


def test_a_batch_without_ordinary_pieces_is_left_alone():
    for token_ids in (np.array([[CLS, SEP, 0]], np.int32), np.zeros((2, 4), np.int32)):
        inputs, labels = masker().mask(token_ids, token_ids > 0, 0, 0)
        np.testing.assert_array_equal(inputs, token_ids)
        assert (labels == -1).all()


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"share": 1.5}, {"smoothing": -0.1}])
def test_settings_that_mask_nothing_or_everything_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        MaskingSettings(**settings)
    with pytest.raises(ValueError, match="not special"):
        Masker(np.ones(5), SPECIAL, MASK)
