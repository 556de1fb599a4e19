"""Subject `order`: the paper's strategies on one teacher, one text and the same number of epochs.

The paper's order (XtremeDistil, Table 3): D4.2 > D4.1 > D1 > D0-S.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import benchmark_variants
from absl import flags

from xdistil.errors import InputError

FLAGS = flags.FLAGS
_KINDS = ("representation", "logits", "labels")


def define_flags() -> None:
    """The subject's flags."""
    benchmark_variants.define_flags()
    flags.DEFINE_list("recipes", ["D4.2", "D4.1", "D1", "D0-S"], "Expected order, best first.")
    flags.DEFINE_integer(
        "total_epochs",
        None,
        "Epochs of each recipe over all its stages, shared out evenly; none stops early.",
        lower_bound=1,
        required=True,
    )


def measure() -> dict[str, Any]:
    """Run every recipe."""
    stages = {name: len(stages_of(name)) for name in FLAGS.recipes}
    variants = recipe_flags(stages, FLAGS.total_epochs)
    result = benchmark_variants.run_variants(variants)
    return {"total_epochs": FLAGS.total_epochs, **result, "in_order": in_order(result["rows"])}


def stages_of(name: str) -> list:
    """The stages of a recipe."""
    from xdistil.distillation.recipes import RecipeSettings, recipe

    try:
        return recipe(name, RecipeSettings(teacher_layer=1))
    except ValueError as error:
        raise InputError(str(error)) from None


def recipe_flags(stages: Mapping[str, int], total_epochs: int) -> dict[str, list[str]]:
    """Flags of each recipe, given its number of stages.

    Raises:
        InputError: the epochs cannot be shared out evenly over the stages of each recipe.
    """
    even = math.lcm(*stages.values())
    if total_epochs % even:
        numbers = ", ".join(f"{name} has {number}" for name, number in stages.items())
        raise InputError(
            f"--total_epochs={total_epochs}: cannot be shared out evenly over the stages "
            f"({numbers}); the next number that can is {even * (total_epochs // even + 1)}"
        )
    return {
        name: [
            f"--recipe={name}",
            "--patience=0",
            *(f"--{kind}_epochs={total_epochs // number}" for kind in _KINDS),
        ]
        for name, number in stages.items()
    }


def in_order(rows: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether each recipe scored better than the next; `None` without scores."""
    scores = [row["metric"] for row in rows]
    if None in scores:
        return None
    return all(better > worse for better, worse in itertools.pairwise(scores))


def table(result: dict[str, Any]) -> str:
    """The comparison as text, and whether the order came out."""
    verdicts = {True: "holds", False: "DOES NOT HOLD", None: "cannot be told: no test scores"}
    order = " > ".join(row["name"] for row in result["rows"])
    return f"{benchmark_variants.table(result)}\n{order}: {verdicts[result['in_order']]}"
