"""Record stores: what is written is read, and what breaks is noticed and written again."""

import errno
import itertools
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from xdistil.data import record_writer
from xdistil.data.batching import bucketed_batches, count_batches
from xdistil.data.examples import EncodedExample
from xdistil.data.record_batches import read_batches
from xdistil.data.record_manifest import MANIFEST
from xdistil.data.records import RecordStore, read_records, write_records
from xdistil.errors import InputError, StorageError

LENGTHS = (4, 8, 16)
ARRAYS = ("logits", "hidden_states_2", "pooled")


def encoded(count, labeled=True, first=0):
    for number in range(first, first + count):
        length = 2 + number * 5 % 14
        ids = np.arange(length, dtype=np.int32) + 100 * number
        yield EncodedExample(
            token_ids=ids,
            word_starts=(ids % 2).astype(np.uint8),
            word_positions=np.flatnonzero(ids % 2).astype(np.int32),
            labels=ids % 5 - 1 if labeled else None,
            segment_ids=ids % 3 if number % 2 else None,
        )


def arrays_of(chunk):
    return [
        {
            "logits": (example.token_ids[:, None] % 11 + np.arange(3)).astype(np.float16),
            "hidden_states_2": (example.token_ids[:, None] % 7 - np.arange(5)).astype(np.float16),
            "pooled": np.full(4, example.token_ids[0] % 1000, np.float16),
        }
        for example in chunk
    ]


def write(folder, count=50, key="key", **options):
    options = {"arrays": arrays_of, "shard_size": 16, **options}
    return write_records(folder, encoded(count), key=key, **options)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def first_ids(dataset):
    return [int(features["token_ids"][0]) for features, _ in dataset]


def test_what_is_written_is_what_is_read(tmp_path):
    store = write(tmp_path)
    read = list(read_records([store], arrays=ARRAYS, shuffle=False))
    assert len(read) == store.examples == 50
    expected = list(encoded(50))
    for (features, targets), example, arrays in zip(
        read, expected, arrays_of(expected), strict=True
    ):
        segments = 0 if example.segment_ids is None else example.segment_ids
        np.testing.assert_array_equal(features["token_ids"], example.token_ids)
        np.testing.assert_array_equal(features["word_starts"], example.word_starts)
        np.testing.assert_array_equal(features["segment_ids"], segments + 0 * example.token_ids)
        np.testing.assert_array_equal(features["padding_mask"], np.ones(len(example.token_ids)))
        np.testing.assert_array_equal(targets["labels"], example.labels)
        np.testing.assert_array_equal(targets["logits"], arrays["logits"])
        np.testing.assert_array_equal(targets["hidden_states"][2], arrays["hidden_states_2"])
        np.testing.assert_array_equal(targets["pooled"], arrays["pooled"])


def test_the_store_counts_its_examples_by_length(tmp_path):
    store = write(tmp_path)
    lengths = [len(example.token_ids) for example in encoded(50)]
    np.testing.assert_array_equal(store.length_histogram, np.bincount(lengths))
    reopened = RecordStore.open(tmp_path)
    np.testing.assert_array_equal(reopened.length_histogram, store.length_histogram)
    assert reopened.arrays == store.arrays
    assert reopened.arrays["logits"].width == 3
    assert not reopened.arrays["pooled"].per_position


def test_an_example_without_labels_carries_none(tmp_path):
    store = write_records(tmp_path, encoded(5, labeled=False), key="key")
    for _, targets in read_records([store]):
        assert set(targets) == {"labels"}
        assert np.all(targets["labels"] == -1)


def test_a_store_of_no_examples_is_written_and_read(tmp_path):
    store = write_records(tmp_path, [], key="key")
    assert RecordStore.open(tmp_path).examples == 0
    assert list(read_records([store])) == []
    assert list(read_batches([store], lengths=LENGTHS, batch_size=2)) == []


@pytest.mark.parametrize("reader", ["records", "batches"])
def test_the_order_is_a_function_of_seed_and_epoch_alone(tmp_path, reader):
    store = write(tmp_path)

    def order(seed, epoch):
        if reader == "records":
            return first_ids(read_records([store], seed=seed, epoch=epoch, shuffle_buffer=20))
        dataset = read_batches(
            [store], lengths=(16,), batch_size=1, seed=seed, epoch=epoch, shuffle_window=20
        )
        return first_ids(dataset.unbatch())

    keras.utils.set_random_seed(1)
    first = order(3, 0)
    keras.utils.set_random_seed(2)
    assert order(3, 0) == first
    assert sorted(first) == [100 * number for number in range(50)]
    assert len({tuple(o) for o in (first, order(3, 1), order(4, 0), sorted(first))}) == 4


def test_several_stores_are_mixed(tmp_path):
    labeled = write(tmp_path / "labeled", 40)
    transfer = write_records(
        tmp_path / "transfer",
        encoded(40, labeled=False, first=1000),
        key="key",
        arrays=arrays_of,
        shard_size=16,
    )
    ids = first_ids(read_records([labeled, transfer], arrays=["logits"], seed=1))
    assert len(set(ids)) == 80
    changes = sum((a < 100_000) != (b < 100_000) for a, b in itertools.pairwise(ids))
    assert changes > 10


def test_batches_are_those_of_the_general_path(tmp_path):
    store = write(tmp_path)
    options = {"lengths": LENGTHS, "batch_size": 4}
    fast = list(read_batches([store], arrays=ARRAYS, shuffle=False, **options))
    examples = read_records([store], arrays=ARRAYS, shuffle=False)
    general = list(bucketed_batches(examples, **options))
    assert len(fast) == len(general) == count_batches(store.length_histogram, **options)

    def sort_key(batch):
        return batch[0]["token_ids"].shape[1], int(batch[0]["token_ids"][0, 0])

    for a, b in zip(sorted(fast, key=sort_key), sorted(general, key=sort_key), strict=True):
        tf.nest.assert_same_structure(a, b)
        for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


def test_shuffled_batches_hold_each_example_once(tmp_path):
    store = write(tmp_path)
    batches = read_batches(
        [store, write(tmp_path / "other", 20)], lengths=LENGTHS, batch_size=8, shuffle_window=20
    )
    ids = []
    for features, _ in batches:
        real = features["padding_mask"].numpy().any(axis=1)
        ids += features["token_ids"].numpy()[real, 0].tolist()
    assert sorted(ids) == sorted([100 * n for n in range(50)] + [100 * n for n in range(20)])


def test_an_epoch_goes_on_from_any_batch(tmp_path):
    store = write(tmp_path)
    options = {"lengths": LENGTHS, "batch_size": 4, "arrays": ["logits"], "seed": 5}
    whole = list(read_batches([store], **options))
    rest = list(read_batches([store], first_batch=3, **options))
    assert len(rest) == len(whole) - 3
    for a, b in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(a[1]["logits"], b[1]["logits"])


def test_arrays_that_are_not_asked_for_are_not_touched(tmp_path):
    store = write(tmp_path)
    for path in tmp_path.glob("*.hidden_states_2.*"):
        path.unlink()
    options = {"arrays": ["logits"], "shuffle": False}
    assert len(list(read_records([store], **options))) == 50
    assert list(read_batches([store], lengths=LENGTHS, batch_size=4, **options))


def test_an_array_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no array `hidden_states_9`.*hidden_states_2, logits"):
        read_records([write(tmp_path)], arrays=["hidden_states_9"])


def test_an_example_longer_than_every_bucket_is_refused(tmp_path):
    with pytest.raises(InputError, match="15 positions; the longest bucket has 8"):
        read_batches([write(tmp_path)], lengths=(4, 8), batch_size=2)


@pytest.mark.parametrize("whole_shards", [0, 1, 2, 3])
def test_a_broken_run_goes_on_to_the_same_bytes(tmp_path, whole_shards):
    write(tmp_path / "undisturbed")
    computed = []

    def dying(chunk):
        if len(computed) == whole_shards:
            raise KeyboardInterrupt
        computed.append(len(chunk))
        return arrays_of(chunk)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken", arrays=dying)
    with pytest.raises(InputError, match="not finished"):
        RecordStore.open(tmp_path / "broken")

    def counting(chunk):
        computed.append(len(chunk))
        return arrays_of(chunk)

    write(tmp_path / "broken", arrays=counting)
    assert computed == [16, 16, 16, 2]
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "undisturbed")


def test_a_kill_within_a_file_leaves_nothing_that_counts(tmp_path, monkeypatch):
    write(tmp_path / "undisturbed")
    original = tf.io.TFRecordWriter
    opened = []

    def dying_writer(path):
        opened.append(path)
        if len(opened) == 6:
            # As after `kill -9`: the half-written neighbour stays where it is.
            pathlib.Path(path).write_bytes(b"half a rec")
            monkeypatch.setattr(pathlib.Path, "unlink", lambda *a, **k: None)
            raise KeyboardInterrupt
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(record_writer.tf.io, "TFRecordWriter", dying_writer)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "broken")
    monkeypatch.undo()
    assert list((tmp_path / "broken").glob(".*.partial"))
    write(tmp_path / "broken")
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "undisturbed")


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, pathlib.Path.unlink])
@pytest.mark.parametrize("name", ["00001.tokens.tfrecord", "00001.logits.tfrecord"])
def test_a_damaged_shard_is_named_and_alone_written_again(tmp_path, damage, name):
    write(tmp_path)
    before = bytes_of(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(InputError, match=name):
        RecordStore.open(tmp_path)
    computed = []

    def counting(chunk):
        computed.append(chunk[0].token_ids[0])
        return arrays_of(chunk)

    write(tmp_path, arrays=counting)
    assert computed == [1600]
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_manifest_is_noticed_and_written_again(tmp_path, damage):
    write(tmp_path)
    before = bytes_of(tmp_path)
    damage(tmp_path / MANIFEST)
    with pytest.raises(InputError):
        RecordStore.open(tmp_path)
    write(tmp_path)
    assert bytes_of(tmp_path) == before


def damage_first_line(path):
    path.write_bytes(path.read_bytes().replace(b"xdistil", b"xdistiL", 1))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (damage_first_line, "is damaged in its first line"),
        (lambda path: path.write_bytes(b""), "is damaged in its first line"),
        (pathlib.Path.unlink, "is missing"),
    ],
)
def test_records_whose_key_is_lost_are_not_overwritten(tmp_path, damage, fault):
    write(tmp_path)
    damage(tmp_path / MANIFEST)
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match=f"{MANIFEST}: {fault}, the key of the 16 .tfrecord"):
        write(tmp_path)
    assert bytes_of(tmp_path) == before


def test_an_empty_folder_is_one_to_begin_in(tmp_path, monkeypatch):
    """As after a kill between the folder and the manifest's first line, which comes at once."""
    folder = tmp_path / "new"
    with monkeypatch.context() as patch:
        patch.setattr(record_writer.Manifest, "rewrite", lambda manifest: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(folder)
    assert list(folder.iterdir()) == []
    assert write(folder).examples == 50


def test_a_finished_store_reads_no_example_again(tmp_path):
    write(tmp_path)

    def never():
        raise AssertionError("consumed")
        yield

    assert write_records(tmp_path, never(), key="key", shard_size=16).examples == 50


def test_another_key_is_refused(tmp_path):
    write(tmp_path)
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match="another key"):
        write(tmp_path, key="other")
    assert bytes_of(tmp_path) == before


def test_other_examples_under_the_same_key_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "00000.tokens.tfrecord").unlink()
    with pytest.raises(InputError, match="other examples"):
        write_records(tmp_path, encoded(50, first=1), key="key", shard_size=16, arrays=arrays_of)


def test_a_full_disk_damages_nothing_and_the_same_call_goes_on(tmp_path, monkeypatch):
    write(tmp_path / "undisturbed")
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 11:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            write(tmp_path / "full")
    assert not list((tmp_path / "full").glob(".*.partial"))
    write(tmp_path / "full")
    assert bytes_of(tmp_path / "full") == bytes_of(tmp_path / "undisturbed")


@pytest.mark.skipif(
    not pathlib.Path("/dev/full").exists(), reason="needs /dev/full, which stands for a full disk"
)
def test_a_disk_that_is_really_full_is_reported_as_such(tmp_path):
    (tmp_path / ".00000.tokens.tfrecord.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"00000\.tokens.*No space left on device"):
        write(tmp_path)
    assert write(tmp_path).examples == 50


def test_the_writer_holds_one_shard_at_a_time(tmp_path):
    consumed, written = 0, 0

    def counted():
        nonlocal consumed
        for example in encoded(100):
            consumed += 1
            assert consumed - written <= 16
            yield example

    def progress(done):
        nonlocal written
        written = done

    write_records(
        tmp_path, counted(), key="key", shard_size=16, arrays=arrays_of, on_progress=progress
    )
    assert written == 100


def test_arrays_of_the_wrong_shape_are_refused(tmp_path):
    def wrong(chunk):
        return [{"logits": np.zeros((1, 3), np.float16)} for _ in chunk]

    with pytest.raises(ValueError, match=r"`logits` has shape \(1, 3\)"):
        write(tmp_path, arrays=wrong)
