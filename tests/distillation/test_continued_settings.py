"""A finished student that goes on: its body always, its head for the same labels."""

import keras
import numpy as np
import pytest

from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.distillation.continued_settings import ContinuedStudentSettings
from xdistil.models import BiLSTMTextStudent, EncoderConfig, TransformerTextStudent
from xdistil.tasks import Classification, TrainedModel

FEATURES = {
    "token_ids": np.array([[2, 7, 9, 3]], "int32"),
    "padding_mask": np.ones((1, 4), "int32"),
}


@pytest.fixture(scope="module")
def encoder():
    return train_wordpiece([TaggedSentence(("rain", "sun", "storm"))], 60, seq_len=16)


@pytest.fixture(params=["transformer", "bilstm"])
def finished(request, encoder):
    keras.utils.set_random_seed(3)
    kept = [*encoder.special_ids, 7, 9]
    pruned = {"kept_token_ids": kept, "unknown_token_id": encoder.unk_id}
    if request.param == "transformer":
        config = EncoderConfig(len(kept), 8, 1, 2, max_length=16)
        model = TransformerTextStudent(config, 3, label_names=["a", "b", "c"], **pruned)
    else:
        model = BiLSTMTextStudent(len(kept), 3, embedding_dim=4, hidden_dim=4, **pruned)
    return TrainedModel(model, Classification(Labels(["a", "b", "c"]), encoder))


def continued(finished, labels):
    task = Classification(Labels(labels), finished.task.encoder)
    settings = ContinuedStudentSettings(finished, "runs/before")
    return settings.build(task, None, None, seed=0), settings.keeps_head(task)


def test_the_same_labels_in_another_order_keep_their_rows_of_the_head(finished):
    model, keeps = continued(finished, ["c", "a", "b"])
    assert keeps and model is not finished.model
    before = finished.model(FEATURES)["logits"].numpy()
    np.testing.assert_array_equal(model(FEATURES)["logits"], before[:, [2, 0, 1]])


def test_other_labels_get_a_fresh_head_on_the_same_body(finished):
    model, keeps = continued(finished, ["x", "y"])
    assert not keeps and model.num_classes == 2
    outputs, before = model(FEATURES), finished.model(FEATURES)
    assert outputs["logits"].shape == (1, 2)
    np.testing.assert_array_equal(outputs["representation"], before["representation"])
    np.testing.assert_array_equal(model.kept_token_ids, finished.model.kept_token_ids)


def test_it_goes_on_in_the_precision_of_the_run_not_in_its_own(finished):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, _ = continued(finished, ["a", "b", "c"])
    finally:
        keras.config.set_dtype_policy("float32")
    again, _ = continued(TrainedModel(model, finished.task), ["a", "b", "c"])
    policies = [
        {one.dtype_policy.name, *(layer.dtype_policy.name for layer in below_head(one))}
        for one in (finished.model, model, again)
    ]
    assert policies == [{"float32"}, {"mixed_float16"}, {"float32"}]


def below_head(model):
    groups = model.layer_groups.items()
    return [layer for name, layers in groups if name != "head" for layer in layers]
