"""Where the teacher comes from: a checkpoint whose tokenizer is not its own is refused."""

import importlib
import json
import shutil
import types

import pytest
from tokenizers import Tokenizer

from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.errors import InputError
from xdistil.models import Teacher, TextTeacher

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


def test_a_roberta_taken_as_it_is_is_warned_of_the_space_before_the_first_word(
    repository, tmp_path, monkeypatch, caplog
):
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    teacher_source = importlib.import_module("teacher_source")
    fixtures = repository / "tests" / "fixtures"
    folder = tmp_path / "roberta"
    shutil.copytree(fixtures / "checkpoints" / "roberta" / "classifier", folder)
    # Only what decides the answer: the embeddings here are too few for the vocabulary.
    monkeypatch.setattr(TextEncoder, "vocabulary_size", 64)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(fixtures / "tokenizers" / "roberta_files" / name, folder)
    labels = Labels(json.loads((folder / "config.json").read_text())["id2label"].values())
    corpus = types.SimpleNamespace(labels=labels)
    for epochs, warned in ((3, False), (0, True)):
        flags = types.SimpleNamespace(
            teacher=str(folder), seq_len=16, teacher_epochs=epochs, teacher_dropout=None
        )
        monkeypatch.setattr(teacher_source, "FLAGS", flags)
        teacher_source.open_teacher(corpus, TextTeacher, num_classes=len(labels))
        assert ("no space before it" in caplog.text) is warned


def test_encoders_that_cut_alike_are_known_whatever_their_files_say(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    cut_alike = importlib.import_module("student_plan").cut_alike
    folder = repository / "tests" / "fixtures" / "tokenizers"
    names = ("roberta", "roberta_files", "xlm-roberta", "electra", "distilbert")
    roberta, files, others = (
        TextEncoder.from_folder(folder / "roberta", 16),
        TextEncoder.from_folder(folder / "roberta_files", 16),
        [TextEncoder.from_folder(folder / name, 16) for name in names[2:]],
    )
    assert cut_alike(roberta, files)
    assert not any(cut_alike(roberta, other) for other in others)
    assert not cut_alike(others[1], others[2])
    content = json.loads(others[1].tokenizer.to_str())
    sep, cls = (["[SEP]", others[1].sep_id], ["[CLS]", others[1].cls_id])
    content["post_processor"] = {"type": "BertProcessing", "sep": sep, "cls": cls}
    assert cut_alike(others[1], TextEncoder(Tokenizer.from_str(json.dumps(content)), 16))
    content["post_processor"] = {"type": "RobertaProcessing", "sep": sep, "cls": cls,
                                 "trim_offsets": True, "add_prefix_space": True}  # fmt: skip
    assert not cut_alike(others[1], TextEncoder(Tokenizer.from_str(json.dumps(content)), 16))
