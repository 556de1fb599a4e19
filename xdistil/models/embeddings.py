"""A student's first embeddings, out of its teacher's."""

from collections.abc import Iterator

import numpy as np

from xdistil.errors import InputError

METHODS = ("svd", "pca", "random")
_ROWS_AT_A_TIME = 8192


def compress_embeddings(
    matrix: np.ndarray, dim: int, method: str = "svd", seed: int = 0
) -> np.ndarray:
    """Compress the rows of a word-piece matrix to a smaller width.

    With `"svd"` the result is `U_k S_k` of the truncated singular value decomposition: each row's
    coordinates along the first `dim` right singular vectors, so that the result times those
    vectors is the best approximation of `matrix` of that rank. Nothing is rescaled: lengths and
    dot products of rows come out as near to the teacher's as `dim` numbers allow. With `"pca"`
    the mean row is taken off first. Both give the same result each time: the sign of every
    column is such that the largest entry of its singular vector is positive. `"random"` takes
    only the shape: uniform in (-0.05, 0.05), as Keras initialises an embedding.

    The decomposition goes through the `(width, width)` Gram matrix in float64, summed over blocks
    of rows, so beside the result a few blocks are all the memory it takes.

    Args:
        matrix: array of shape `(vocabulary_size, width)`: rows of the student's pieces.
        dim: int. Width wanted, at most `width` (any for `"random"`).
        method: `"svd"`, `"pca"` or `"random"`.
        seed: int. For `"random"`.

    Returns:
        float32 array of shape `(vocabulary_size, dim)`.

    Raises:
        InputError: `method` is unknown, or `dim` is below 1 or above `width`.

    Example:

    ```python
    compress_embeddings(np.random.default_rng(0).normal(size=(1000, 64)), 16).shape  # (1000, 16)
    ```

    Reference:
        - [Mukherjee and Hassan Awadallah, 2020](https://arxiv.org/abs/2004.05686), Table 7
    """
    rows, width = matrix.shape
    if method not in METHODS:
        raise InputError(
            f"Embedding method {method!r} is unknown; expected one of {', '.join(METHODS)}."
        )
    if dim < 1 or (dim > width and method != "random"):
        raise InputError(
            f"Embeddings of width {dim} cannot be made by {method} from a teacher whose are "
            f"{width} wide; choose a width from 1 to {width}, or the method random."
        )
    if method == "random":
        generator = np.random.default_rng(seed)
        return generator.uniform(-0.05, 0.05, size=(rows, dim)).astype(np.float32)
    centre = matrix.mean(axis=0, dtype=np.float64) if method == "pca" else np.zeros(width)
    directions = _leading_directions(matrix, centre, dim)
    result = np.empty((rows, dim), np.float32)
    for at, block in _blocks(matrix, centre):
        result[at : at + len(block)] = block @ directions
    return result


def _leading_directions(matrix: np.ndarray, centre: np.ndarray, dim: int) -> np.ndarray:
    """The first right singular vectors as columns, largest singular value first."""
    gram = np.zeros((matrix.shape[1],) * 2)
    for _, block in _blocks(matrix, centre):
        gram += block.T @ block
    _, vectors = np.linalg.eigh(gram)
    vectors = vectors[:, ::-1][:, :dim]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)]
    return vectors * np.where(largest < 0, -1.0, 1.0)


def _blocks(matrix: np.ndarray, centre: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for at in range(0, len(matrix), _ROWS_AT_A_TIME):
        yield at, matrix[at : at + _ROWS_AT_A_TIME].astype(np.float64) - centre
