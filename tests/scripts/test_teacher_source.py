"""Where the teacher comes from: a checkpoint whose tokenizer is not its own is refused."""

import importlib
import shutil
import types

import pytest

from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.models import Teacher

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def open_teacher(repository, tmp_path, monkeypatch):
    """Opens the checkpoint `plain`, of 64 embeddings, with a vocabulary of so many pieces."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    teacher_source = importlib.import_module("teacher_source")

    def open_teacher(pieces):
        folder = tmp_path / "checkpoint"
        shutil.copytree(repository / "tests" / "fixtures" / "checkpoints" / "plain", folder)
        vocabulary = [*SPECIAL, *(f"piece{number}" for number in range(pieces - len(SPECIAL)))]
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary))
        flags = types.SimpleNamespace(
            teacher=str(folder), seq_len=16, teacher_epochs=1, teacher_dropout=None
        )
        monkeypatch.setattr(teacher_source, "FLAGS", flags)
        corpus = types.SimpleNamespace(labels=Labels(["O", "B-PER"]))
        return teacher_source.open_teacher(corpus, Teacher, num_classes=2)

    return open_teacher


def test_a_tokenizer_with_more_pieces_than_embeddings_is_refused_at_once(open_teacher):
    with pytest.raises(InputError, match="has 65 word pieces, its model only 64 embed") as caught:
        open_teacher(65)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pieces", [64, 40])
def test_embeddings_to_spare_are_fine(open_teacher, pieces):
    source = open_teacher(pieces)
    assert (source.encoder.vocabulary_size, source.make().num_classes) == (pieces, 2)
