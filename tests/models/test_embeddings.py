"""Compression of the teacher's word-piece matrix, against the full decomposition of NumPy."""

import numpy as np
import pytest

from xdistil.errors import InputError
from xdistil.models import embeddings
from xdistil.models.embeddings import compress_embeddings


@pytest.fixture
def matrix():
    """Rows of unequal directions, away from the origin, in more blocks than one."""
    generator = np.random.default_rng(0)
    return (generator.normal(size=(300, 20)) * np.arange(1, 21) + 0.5).astype("float32")


def best_approximation(matrix, dim):
    left, values, right = np.linalg.svd(matrix.astype("float64"), full_matrices=False)
    return left[:, :dim] * values[:dim] @ right[:dim]


def reconstructed(rows, matrix):
    """The rows mapped back to the teacher's width by least squares."""
    rows = rows.astype("float64")
    return rows @ np.linalg.lstsq(rows, matrix.astype("float64"), rcond=None)[0]


def test_svd_reconstructs_the_best_approximation_of_its_rank(matrix):
    rows = compress_embeddings(matrix, 5)
    assert rows.shape == (300, 5)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(
        reconstructed(rows, matrix), best_approximation(matrix, 5), rtol=0, atol=1e-4
    )


def test_svd_keeps_the_scale_and_orders_columns_by_singular_value(matrix):
    rows = compress_embeddings(matrix, 20)
    np.testing.assert_allclose(rows @ rows.T, matrix @ matrix.T, rtol=1e-4, atol=0.05)
    values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=0), values, rtol=1e-5)


def test_pca_is_the_svd_of_the_centred_rows(matrix):
    centred = matrix - matrix.mean(axis=0)
    rows = compress_embeddings(matrix, 5, "pca")
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(
        reconstructed(rows, centred), best_approximation(centred, 5), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("method", ["svd", "pca"])
def test_signs_do_not_depend_on_the_decomposition(matrix, method, monkeypatch):
    expected = compress_embeddings(matrix, 6, method)
    np.testing.assert_array_equal(compress_embeddings(matrix, 6, method), expected)
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda gram: (eigh(gram)[0], -eigh(gram)[1]))
    np.testing.assert_array_equal(compress_embeddings(matrix, 6, method), expected)


@pytest.mark.parametrize("method", ["svd", "pca"])
def test_blocks_of_rows_do_not_change_the_result(matrix, method, monkeypatch):
    expected = compress_embeddings(matrix, 6, method)
    monkeypatch.setattr(embeddings, "_ROWS_AT_A_TIME", 7)
    np.testing.assert_allclose(compress_embeddings(matrix, 6, method), expected, atol=1e-4)


def test_random_rows_follow_the_seed_alone(matrix):
    rows = compress_embeddings(matrix, 40, "random", seed=5)
    assert rows.shape == (300, 40)
    assert 0.0495 < np.abs(rows).max() <= 0.05
    np.testing.assert_array_equal(compress_embeddings(matrix * 2, 40, "random", seed=5), rows)
    assert not np.array_equal(compress_embeddings(matrix, 40, "random", seed=6), rows)


@pytest.mark.parametrize("dim", [0, 21])
def test_a_width_that_the_teacher_cannot_give_is_refused(matrix, dim):
    with pytest.raises(InputError, match=f"width {dim} cannot be made by svd"):
        compress_embeddings(matrix, dim)


def test_an_unknown_method_is_refused(matrix):
    with pytest.raises(InputError, match="'nmf' is unknown; expected one of svd, pca, random"):
        compress_embeddings(matrix, 5, "nmf")
