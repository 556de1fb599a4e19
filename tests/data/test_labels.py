"""Label sets: order, files, and faults in them."""

import pytest

from xdistil.data.labels import Labels
from xdistil.errors import InputError, StorageError


def test_labels_found_in_tags_put_o_first_and_each_type_complete():
    labels = Labels.from_tags(["I-PER", "B-LOC", "O", "B-PER", "B-LOC"])
    assert labels.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def test_labels_found_do_not_depend_on_the_order_of_the_tags():
    tags = ["B-B", "I-A", "O", "B-C-D"]
    assert Labels.from_tags(tags) == Labels.from_tags(reversed(tags))


def test_labels_behave_as_a_sequence():
    labels = Labels(["O", "B-PER", "I-PER"])
    assert len(labels) == 3
    assert labels[1] == "B-PER"
    assert list(labels) == ["O", "B-PER", "I-PER"]
    assert "I-PER" in labels
    assert "I-LOC" not in labels
    assert labels.index("I-PER") == 2
    assert {labels: 1}[Labels(("O", "B-PER", "I-PER"))] == 1
    assert labels != Labels(["O", "I-PER", "B-PER"])


def test_a_saved_label_file_reads_back_the_same(tmp_path):
    labels = Labels(["O", "B-größe", "I-größe"])
    labels.save(tmp_path / "labels.tsv")
    assert Labels.from_file(tmp_path / "labels.tsv") == labels
    assert (tmp_path / "labels.tsv").read_bytes() == "O\nB-größe\nI-größe\n".encode()


def test_labels_cannot_be_saved_where_no_folder_is(tmp_path):
    with pytest.raises(StorageError, match=r"labels\.tsv"):
        Labels(["O"]).save(tmp_path / "missing" / "labels.tsv")


def test_an_unknown_label_is_named_with_those_that_are_known():
    with pytest.raises(InputError, match="'B-LOC' is not one of O, B-PER"):
        Labels(["O", "B-PER"]).index("B-LOC")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"labels\.tsv: the file is empty"),
        (b"\n \n", r"labels\.tsv: no label in it"),
        (b"O\nB-PER\nO\n", r"labels\.tsv:3: label 'O' was given before in line 1"),
        (b"O\nB-PER\tI-PER\n", r"labels\.tsv:2: 'B-PER\\tI-PER' is no label"),
        (b"O\nB-\xff\n", r"labels\.tsv:2: invalid UTF-8 \(byte 0xff at byte 3"),
    ],
)
def test_a_faulty_label_file_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "labels.tsv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        Labels.from_file(path)
    assert "\n" not in str(error.value)


def test_a_missing_label_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Labels.from_file(tmp_path / "labels.tsv")


@pytest.mark.parametrize(
    "names", [[], ["O", "O"], ["O", ""], ["O", "B  PER"], ["O", "B\tPER"], ["O", " B"]]
)
def test_names_that_are_no_labels_are_refused(names):
    with pytest.raises(InputError):
        Labels(names)
