"""Settings that all tests share: quiet TensorFlow, no GPU, fixed seeds, and the real data sets."""

import gc
import os
import random
from pathlib import Path

# Before TensorFlow is imported by any test: it reads these once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs and exports first. What they share is dear, and each worker that gets some of the
    tests makes it anew: among the last ones, which are dealt out late, that would be both workers.
    """
    first = ("scripts", "export")
    items.sort(key=lambda item: ([*first, item.path.parent.name]).index(item.path.parent.name))


def pytest_collection_finish() -> None:
    """Saves a tenth of the time: what is loaded by now, TensorFlow above all, is never freed, and
    what it allocates by the million is mostly freed without the collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random numbers, alone or within the suite.

    TensorFlow is left alone here: a test that needs its seed calls `keras.utils.set_random_seed`,
    and a test that needs no TensorFlow need not wait for its import.
    """
    random.seed(1)
    np.random.seed(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout: the folder that holds setup.py."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sample_corpus(repository: Path) -> Path:
    """The small corpus of our own making, `<language>/{train,dev,test}.tsv.gz`."""
    return repository / "configs" / "sample"


@pytest.fixture(scope="session")
def xdistil_data() -> Path:
    """The folder of real data sets that XDISTIL_DATA names; without it the test is skipped."""
    folder = os.environ.get("XDISTIL_DATA", "")
    if not folder:
        pytest.skip("set XDISTIL_DATA to a folder of real data sets (docs/data_formats.md)")
    if not Path(folder).is_dir():
        pytest.fail(f"XDISTIL_DATA={folder} is not a folder")
    return Path(folder)
