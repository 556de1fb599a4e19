"""Small classifiers of texts and of pairs with random weights, beside `tagger_fixtures.py`."""

from pathlib import Path

import keras
import numpy as np
import pytest
from tagger_fixtures import HOSTILE, SENTENCES

from xdistil.data.encoding import TextEncoder
from xdistil.data.labels import Labels
from xdistil.export.saved_model import export_saved_model
from xdistil.models.bilstm_text import BiLSTMTextStudent
from xdistil.models.siamese_bilstm import SiameseBiLSTMStudent
from xdistil.tasks import Classification, PairClassification, TrainedModel

LABELS = ("weather", "größe", "place", "nothing")
PAIR_LABELS = ("contradicts", "follows", "neither")


def with_random_weights(model: keras.Model) -> keras.Model:
    """Weights that are large enough that three labels occur; biases, 0, favour none of them."""
    numbers = np.random.default_rng(7)
    for weight in model.trainable_weights:
        weight.assign(numbers.normal(size=weight.shape) * (len(weight.shape) > 1))
    # Probabilities between 0 and 1: of others, any two runtimes agree.
    model.head.kernel.assign(0.08 * model.head.kernel)
    return model


def build_classifier(encoder: TextEncoder) -> TrainedModel:
    task = Classification(Labels(LABELS), encoder)
    student = BiLSTMTextStudent(
        encoder.vocabulary_size,
        task.num_classes,
        embedding_dim=12,
        hidden_dim=16,
        representation_dim=20,
    )
    return TrainedModel(with_random_weights(student), task)


def build_pair_classifier(encoder: TextEncoder) -> TrainedModel:
    task = PairClassification(Labels(PAIR_LABELS), encoder)
    student = SiameseBiLSTMStudent(
        encoder.vocabulary_size,
        task.num_classes,
        boundary_token_ids=(encoder.cls_id, encoder.sep_id),
        embedding_dim=12,
        hidden_dim=16,
        representation_dim=20,
    )
    return TrainedModel(with_random_weights(student), task)


def some_pairs() -> list[tuple[str, str]]:
    """Every sentence, hostile ones too, as a first and as a second text; some twice as long."""
    texts = [*SENTENCES, *HOSTILE]
    shifted = [*texts[7:], *texts[:7]]
    pairs = list(zip(texts, shifted, strict=True))
    pairs += [(f"{first} {second}", first) for first, second in pairs]
    return [*pairs, *((second, first) for first, second in pairs[len(texts) :])]


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    return some_pairs()


@pytest.fixture(scope="session")
def classifier(encoders: dict[str, TextEncoder]) -> TrainedModel:
    return build_classifier(encoders["uncased"])


@pytest.fixture(scope="session")
def pair_classifier(encoders: dict[str, TextEncoder]) -> TrainedModel:
    return build_pair_classifier(encoders["cased"])


@pytest.fixture(scope="session")
def classifier_folder(classifier: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One export for all tests that only read it."""
    return export_saved_model(classifier, tmp_path_factory.mktemp("export") / "classifier")


@pytest.fixture(scope="session")
def pair_classifier_folder(
    pair_classifier: TrainedModel, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return export_saved_model(pair_classifier, tmp_path_factory.mktemp("export") / "pairs")
