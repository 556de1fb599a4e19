"""Transformer students in the hub's format: read back by our reader, and by transformers."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from classifier_fixtures import LABELS as CLASSES
from tokenizers import Tokenizer

from xdistil.data.encoding import TextEncoder
from xdistil.data.examples import LabeledText
from xdistil.data.labels import Labels
from xdistil.errors import InputError, StorageError
from xdistil.export.hub_checkpoint import export_hub
from xdistil.models import (
    BiLSTMTextStudent,
    EncoderConfig,
    Teacher,
    TextTeacher,
    TransformerStudent,
    TransformerTextStudent,
)
from xdistil.models.checkpoints import Checkpoint
from xdistil.tasks import Classification, PairClassification, Tagging, TrainedModel

FIXTURES = Path(__file__).parent.parent / "fixtures"
TEXTS = ["Ada Lovelace wrote to Charles Babbage , who lived in London .", "Köln ist lang"]


@pytest.fixture(scope="module", params=["texts", "tokens", "compressed"])
def made(request, encoders):
    """A student with random weights, its task, and the class that reads it back."""
    keras.utils.set_random_seed(4)
    encoder = encoders["uncased"]
    config = EncoderConfig(encoder.vocabulary_size, 12, 2, 3, max_length=64, initializer_range=0.3)
    if request.param == "compressed":
        config = dataclasses.replace(config, embedding_dim=6, family="electra")
    if request.param == "tokens":
        task = Tagging(Labels.from_tags(["B-PER", "O"]), encoder)
        model = TransformerStudent(config, task.num_classes)
        return TrainedModel(model, task), Teacher
    task = Classification(Labels(CLASSES), encoder)
    return TrainedModel(TransformerTextStudent(config, task.num_classes), task), TextTeacher


def logits_of(trained, model):
    inputs = TEXTS if trained.task.name != "tagging" else [text.split() for text in TEXTS]
    examples = list(trained.task.encode(trained.task.unlabeled(inputs)))
    return [
        model({"token_ids": e.token_ids[None], "padding_mask": np.ones((1, len(e)), "int32")})[
            "logits"
        ].numpy()[0]
        for e in examples
    ], examples


def test_a_student_is_read_back_as_a_teacher_of_its_labels_and_pieces(made, tmp_path):
    trained, teacher_class = made
    export_hub(trained, tmp_path)
    teacher = teacher_class.from_preset(tmp_path)
    assert teacher.label_names == trained.task.class_names
    expected, _ = logits_of(trained, trained.model)
    for left, right in zip(expected, logits_of(trained, teacher)[0], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    encoder = TextEncoder.from_folder(tmp_path, seq_len=trained.task.encoder.seq_len)
    assert encoder.fingerprint == trained.task.encoder.fingerprint


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "albert", "xlm-roberta"])
def test_pairs_are_read_from_the_folder_alone_as_the_student_read_them(family, tmp_path):
    pieces = "electra" if family == "bert" else family
    encoder = TextEncoder.from_folder(FIXTURES / "tokenizers" / pieces, 64)
    config = dataclasses.replace(
        Checkpoint(FIXTURES / "checkpoints" / family / "encoder").encoder_config,
        vocabulary_size=encoder.vocabulary_size,
        max_length=64,
    )
    task = PairClassification(Labels(CLASSES), encoder)
    model = TransformerTextStudent(config, task.num_classes, dropout=0.25)
    export_hub(TrainedModel(model, task), tmp_path)
    teacher = TextTeacher.from_preset(tmp_path)
    assert teacher.dropout == 0.25
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    # BERT and ALBERT have segments; DistilBERT has none, though its tokenizer gives them.
    segments = family in ("bert", "albert")
    assert ("token_type_ids" in settings.get("model_input_names", [])) is segments
    (example,) = task.encode([LabeledText("Ada lives", CLASSES[0], text_pair="in Turin, or not")])
    features = {"token_ids": example.token_ids[None]}
    if example.segment_ids is not None:
        features["segment_ids"] = example.segment_ids[None]
    found = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(
        " Ada  lives", "in Turin,\tor not"
    )
    read = {"token_ids": np.array([found.ids], "int32")}
    if segments:
        read["segment_ids"] = np.array([found.type_ids], "int32")
    np.testing.assert_allclose(teacher(read)["logits"], model(features)["logits"], atol=1e-6)


def test_a_folder_that_is_there_is_replaced_only_when_asked_and_only_as_a_whole(
    encoders, tmp_path, monkeypatch
):
    task = Classification(Labels(CLASSES), encoders["uncased"])
    config = EncoderConfig(task.encoder.vocabulary_size, 8, 1, 2, max_length=64)
    trained = TrainedModel(TransformerTextStudent(config, task.num_classes), task)
    folder = tmp_path / "student"
    trained.save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=r"there already and not empty.*overwrite=True"):
        export_hub(trained, folder)

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("xdistil.data.encoding.write_json", fail)
        with pytest.raises(StorageError, match="No space"):
            export_hub(trained, folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    export_hub(trained, folder, overwrite=True)
    assert not (folder / "labels.tsv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    TextTeacher.from_preset(folder)


def test_transformers_gives_the_same_logits(made, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is no dependency")
    transformers = pytest.importorskip("transformers", reason="transformers is no dependency")
    import torch

    trained, _ = made
    export_hub(trained, tmp_path)
    kind = "TokenClassification" if trained.task.name == "tagging" else "SequenceClassification"
    loader = getattr(transformers, f"AutoModelFor{kind}")
    model, found = loader.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    expected, examples = logits_of(trained, trained.model)
    for text, logits, example in zip(TEXTS, expected, examples, strict=True):
        encoded = tokenizer(text, return_tensors="pt")
        assert encoded["input_ids"][0].tolist() == example.token_ids.tolist()
        with torch.no_grad():
            theirs = model.eval()(**encoded).logits[0].numpy()
        np.testing.assert_allclose(theirs, logits, atol=1e-5)


def test_what_has_no_place_in_the_format_is_told(encoders, tmp_path):
    encoder = encoders["uncased"]
    task = Classification(Labels(CLASSES), encoder)
    kept = [*encoder.special_ids, 9]
    config = EncoderConfig(len(kept), 8, 1, 2, max_length=64)
    pruned = TransformerTextStudent(
        config, task.num_classes, kept_token_ids=kept, unknown_token_id=encoder.unk_id
    )
    bilstm = BiLSTMTextStudent(len(kept), task.num_classes, embedding_dim=4, hidden_dim=4)
    odd = dataclasses.replace(config, vocabulary_size=encoder.vocabulary_size, embedding_dim=4)
    narrow = TransformerTextStudent(odd, task.num_classes)
    for model, told in (
        (pruned, "--min_piece_count=0"),
        (bilstm, "BiLSTMTextStudent: only transformers"),
        (narrow, "cannot be written in the hub's format"),
    ):
        with pytest.raises(InputError, match=told):
            export_hub(TrainedModel(model, task), tmp_path / "hub")
    assert not (tmp_path / "hub").exists()
