"""Span F1 of tagged sentences, by seqeval's reading of the tags."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from seqeval.metrics.sequence_labeling import get_entities

Tags = Sequence[Sequence[str]]


def span_scores(gold: Tags, predicted: Tags, languages: Sequence[str] | None = None) -> dict:
    """Precision, recall and F1 of the spans in tagged sentences.

    Spans are read as conlleval and seqeval's default mode read them: an `I-` out of nowhere, or
    after another type, opens a span. A span counts as found when its type, first and last word are
    right. No span runs over the end of a sentence.

    The headline numbers are the paper's: the plain mean of each score over languages, so that a
    small language weighs as much as a large one. (The macro F1 is the mean of the languages' F1s,
    not the F1 of mean precision and mean recall.) `micro` pools the spans of all languages.
    A score whose denominator is zero is 0.0 (seqeval's default `zero_division`): a language without
    any gold span has recall and F1 0.0, takes part in the means, and shows `support` 0.

    Args:
        gold: the true tags: one sequence of `O`, `B-…`, `I-…` (also `E-…`, `S-…`) a sentence.
        predicted: the tags to score; as many sentences, each as long as its gold sentence.
        languages: the language of each sentence. `None`: all sentences are of one language, `und`.

    Returns:
        A dict of plain numbers between 0 and 1: `precision`, `recall`, `f1` (means over languages),
        `f1_variance` (population variance over languages; times 10,000 for F1 in percent),
        `micro: {precision, recall, f1, support}`,
        `per_language: {language: {precision, recall, f1, support, sentences}}` and
        `per_type: {type: {precision, recall, f1, support}}` (all languages pooled);
        `support` is the number of gold spans.

    Raises:
        ValueError: the numbers of sentences, of words in a sentence, or of languages differ, or a
            tag is none of the scheme's.

    Example:
        >>> gold = [["B-PER", "I-PER", "O"], ["B-LOC"]]
        >>> scores = span_scores(gold, [["B-PER", "O", "O"], ["B-LOC"]], ["en", "fi"])
        >>> scores["f1"], scores["per_language"]["fi"]["support"]
        (0.5, 1)

    Reference:
        - [XtremeDistil](https://arxiv.org/abs/2004.05686), section 5.
        - [seqeval](https://github.com/chakki-works/seqeval).
    """
    if languages is None:
        languages = ["und"] * len(gold)
    _check_lengths(gold, predicted, languages)
    _check_tags(gold, "gold")
    _check_tags(predicted, "predicted")

    members: dict[str, list[int]] = {}
    for i, language in enumerate(languages):
        members.setdefault(language, []).append(i)

    counts: dict[str, dict[str, _Counts]] = {
        language: _count_spans([gold[i] for i in rows], [predicted[i] for i in rows])
        for language, rows in sorted(members.items())
    }
    per_language = {
        language: _total(by_type.values()).scores() | {"sentences": len(members[language])}
        for language, by_type in counts.items()
    }
    types = sorted({name for by_type in counts.values() for name in by_type})
    per_type = {
        name: _total(by_type[name] for by_type in counts.values() if name in by_type).scores()
        for name in types
    }
    micro = _total(c for by_type in counts.values() for c in by_type.values()).scores()
    f1 = [scores["f1"] for scores in per_language.values()]
    return {
        "precision": _mean([scores["precision"] for scores in per_language.values()]),
        "recall": _mean([scores["recall"] for scores in per_language.values()]),
        "f1": _mean(f1),
        "f1_variance": float(np.var(f1)) if f1 else 0.0,
        "micro": micro,
        "per_language": per_language,
        "per_type": per_type,
    }


def piece_span_scores(
    gold: Tags,
    predicted: Tags,
    languages: Sequence[str] | None = None,
    *,
    ignored_tags: Collection[str] = ("X", "[CLS]", "[SEP]", "[PAD]"),
) -> dict:
    """Span scores over word pieces, in the manner of the paper's code.

    There, every piece has a tag: continuation pieces `X`, and `[CLS]`, `[SEP]` and padding are
    classes of their own. Pieces whose *gold* tag is one of these are left out; where one of them is
    predicted for another piece, it is read as `O`. (Handed to seqeval as it is, an `X` would open a
    span.) Words that were truncated away are not counted, which flatters: this is for comparison
    with published numbers, `span_scores` is the honest one.

    Args:
        gold: the true tags, one a piece.
        predicted: the tags to score, of the same lengths.
        languages: the language of each sentence, or `None`.
        ignored_tags: the tags of pieces that carry no label of their own.

    Returns:
        The same dict as `span_scores`.

    Raises:
        ValueError: as `span_scores`.

    Example:
        >>> gold = [["[CLS]", "B-LOC", "X", "O", "[SEP]"]]
        >>> piece_span_scores(gold, [["O", "B-LOC", "O", "O", "[SEP]"]])["f1"]
        1.0
    """
    _check_lengths(gold, predicted, languages)
    ignored = frozenset(ignored_tags)
    kept_gold, kept_predicted = [], []
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        kept = [i for i, tag in enumerate(gold_tags) if tag not in ignored]
        kept_gold.append([gold_tags[i] for i in kept])
        kept_predicted.append(["O" if (p := predicted_tags[i]) in ignored else p for i in kept])
    return span_scores(kept_gold, kept_predicted, languages)


@dataclasses.dataclass(slots=True)
class _Counts:
    """Numbers of spans: in both, in the prediction, in the gold tags."""

    correct: int = 0
    predicted: int = 0
    gold: int = 0

    def scores(self) -> dict:
        precision = self.correct / self.predicted if self.predicted else 0.0
        recall = self.correct / self.gold if self.gold else 0.0
        f1 = 2 * precision * recall / (precision + recall) if self.correct else 0.0
        return {"precision": precision, "recall": recall, "f1": f1, "support": self.gold}


def _count_spans(gold: Tags, predicted: Tags) -> dict[str, _Counts]:
    # One flat call a side: seqeval's own score functions would read the tags again for each score.
    # It puts an "O" after every sentence when it is given lists of lists.
    gold_spans = set(get_entities([list(tags) for tags in gold]))
    predicted_spans = set(get_entities([list(tags) for tags in predicted]))
    in_gold = Counter(span[0] for span in gold_spans)
    in_predicted = Counter(span[0] for span in predicted_spans)
    in_both = Counter(span[0] for span in gold_spans & predicted_spans)
    return {
        name: _Counts(in_both[name], in_predicted[name], in_gold[name])
        for name in in_gold.keys() | in_predicted.keys()
    }


def _total(parts) -> _Counts:
    total = _Counts()
    for part in parts:
        total.correct += part.correct
        total.predicted += part.predicted
        total.gold += part.gold
    return total


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _check_lengths(gold: Tags, predicted: Tags, languages: Sequence[str] | None) -> None:
    if len(gold) != len(predicted):
        raise ValueError(
            f"`gold` and `predicted` must hold the same sentences: "
            f"received {len(gold)} and {len(predicted)}."
        )
    if languages is not None and len(languages) != len(gold):
        raise ValueError(
            f"`languages` must name one language a sentence: "
            f"received {len(languages)} for {len(gold)} sentences."
        )
    for i, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted, strict=True)):
        if len(gold_tags) != len(predicted_tags):
            raise ValueError(
                f"Sentence {i} has {len(gold_tags)} gold tags and {len(predicted_tags)} predicted "
                f"ones; each word needs one of each."
            )


def _check_tags(sentences: Tags, side: str) -> None:
    seen = {tag for tags in sentences for tag in tags}
    for tag in sorted(seen):
        # seqeval only warns of other tags, and then reads "X" or "PER" as the start of a span.
        if tag not in ("O", "B", "I", "E", "S") and tag[:2] not in ("B-", "I-", "E-", "S-"):
            raise ValueError(
                f"`{side}` holds the tag {tag!r}; expected `O`, or a type after `B-`, `I-`, `E-` "
                f"or `S-` such as `B-PER`. (For `X` on word pieces use `piece_span_scores`.)"
            )
