"""Subject `students`: sizes of the student on one teacher and its targets."""

import re
from typing import Any

import benchmark_variants
from absl import flags

from xdistil.errors import InputError

FLAGS = flags.FLAGS
table = benchmark_variants.table


def define_flags() -> None:
    """The subject's flags."""
    benchmark_variants.define_flags()
    flags.DEFINE_list("sizes", ["20x100", "50x200", "100x400"], "ExH of each student.")


def measure() -> dict[str, Any]:
    """Run every size."""
    return benchmark_variants.run_variants({size: size_flags(size) for size in FLAGS.sizes})


def size_flags(size: str) -> list[str]:
    """The flags of a size such as `50x200`.

    Raises:
        InputError: it is no such size.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size)
    if not match:
        raise InputError(f"--sizes: {size!r} is no size; expected E and H such as 50x200.")
    return [f"--embedding_dim={match[1]}", f"--hidden_dim={match[2]}"]
