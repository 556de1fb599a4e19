"""Accuracy and macro F1 of classified texts, by language."""

from collections.abc import Sequence
from typing import Any

from sklearn.metrics import accuracy_score, f1_score


def classification_scores(
    gold: Sequence[str],
    predicted: Sequence[str],
    languages: Sequence[str],
    *,
    labels: Sequence[str],
) -> dict[str, Any]:
    """Scores of predicted labels, as scikit-learn counts them.

    Args:
        gold: The true label of each text.
        predicted: The label found.
        languages: The language of each text.
        labels: All labels; macro F1 is the mean over those that occur in `gold` or `predicted`.

    Returns:
        `accuracy` and `f1_macro` over all texts together, and `per_language`, for each language
        `accuracy`, `f1_macro` and `support`, the number of its texts.

    Raises:
        ValueError: The lists differ in length, or are empty.
    """
    if not len(gold) == len(predicted) == len(languages) or not len(gold):
        raise ValueError(
            f"expected as many labels as predictions and languages, at least one; received "
            f"{len(gold)}, {len(predicted)} and {len(languages)}."
        )
    per_language = {}
    for language in sorted(set(languages)):
        rows = [i for i, found in enumerate(languages) if found == language]
        scores = _scores([gold[i] for i in rows], [predicted[i] for i in rows], labels)
        per_language[language] = {**scores, "support": len(rows)}
    return {**_scores(gold, predicted, labels), "per_language": per_language}


def _scores(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> dict[str, float]:
    present = set(gold) | set(predicted)
    occurring = [label for label in labels if label in present]
    f1 = f1_score(gold, predicted, labels=occurring, average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(gold, predicted)), "f1_macro": float(f1)}
