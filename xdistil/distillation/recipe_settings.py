"""What the recipes leave open."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdistil.distillation.stages import OptimizerSettings

#: Layer groups of a student, from the input to the output.
LAYER_GROUPS = ("embedding", "bilstm", "dense", "head")


@dataclass(frozen=True)
class RecipeSettings:
    """What a recipe leaves open.

    Args:
        teacher_layer: Index of the teacher's hidden state for representation loss. 6 or 7 of 12 in
            the paper; Table 8 says that it hardly matters. For whole texts `"pooled_output"`.
        representation: `"mse"`, `"kl"`, `"cosine"` or `"keras_kld"`.
        logits_positions: Where logits are matched: `"words"` (first pieces), `"pieces"`, or
            `"texts"` (one output a text).
        label_positions: Where gold labels stand: `"labeled"`, or `"labeled_texts"`.
        representation_positions: Where representations are matched: `"pieces"`, `"words"` or
            `"texts"`.
        logit_target: `"logits"` or `"log_odds"`, see `LogitsRegression`.
        alpha: Weight of the labels, in `joint` and `tang`; `None`: 1 in `joint`, and 0 in `tang`,
            as its paper has it. In `kd`, `pkd_skip`, `pkd_last` and `distilbert` the weight of the
            soft targets, that of the labels being `1 - alpha`; `None`: 0.5.
        beta: Weight of the representation, in `joint`, and of the hidden states, in `pkd_skip` and
            `pkd_last`; `None`: 1 and 100.
        gamma: Weight of the logits, in `joint`.
        representation_epochs: Most epochs of a stage with representation loss.
        logits_epochs: Most epochs of each stage with logits loss.
        labels_epochs: Most epochs of each stage on labels alone.
        batch_size: Sentences a step.
        patience: Early stopping, see `Stage`.
        optimizer: Optimizer and schedule of every stage.
        layer_groups: Layer groups of the student, bottom to top; unfreezing runs from the end.
        unfreeze_representation: Unfreezes gradually in the representation stage too, as in the
            paper's Algorithm 1. Off: all layers learn there at once, as in the authors' code.
        fresh_head: Starts the labels stage with a new head, as the authors' first code does.
        projection: `(student's width, teacher's width)` where the representations, or hidden
            states, that are compared differ in width: a linear map is learnt in between.
        depths: `(student's layers, teacher's layers)`: for the recipes on several layers.
        temperature: Of soft targets; `None`: 2 in `distilbert`, else 10.
        normalize_patience: Whether the hidden states of `pkd_skip` and `pkd_last` are normalised.
        patience_reduction: `"sum"` or `"mean"`, see `PatientDistillation`.
        distil_transfer: Whether `kd`, `pkd_skip`, `pkd_last` and `distilbert` read transfer text
            beside the labeled text, which their papers do not.
        attentions: Whether `hidden_states` compares attention maps too.
        hidden_positions: Where `hidden_states` compares: `"pieces"`, `"words"`, or `"texts"`
            ([CLS] alone).
    """

    teacher_layer: int | str
    representation: str = "mse"
    logits_positions: str = "words"
    label_positions: str = "labeled"
    representation_positions: str = "pieces"
    logit_target: str = "logits"
    alpha: float | None = None
    beta: float | None = None
    gamma: float = 1.0
    representation_epochs: int = 80
    logits_epochs: int = 80
    labels_epochs: int = 80
    batch_size: int = 512
    patience: int = 5
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    layer_groups: Sequence[str] = LAYER_GROUPS
    unfreeze_representation: bool = False
    fresh_head: bool = False
    projection: tuple[int, int] | None = None
    depths: tuple[int, int] | None = None
    temperature: float | None = None
    normalize_patience: bool = True
    patience_reduction: str = "sum"
    distil_transfer: bool = False
    attentions: bool = False
    hidden_positions: str = "pieces"


#: How the papers on transformer students train: batches of 32, 4 epochs, AdamW with 10% warm-up
#: (arXiv:1908.09355, section 4.2). Fields of `RecipeSettings`.
FINE_TUNING = {
    "batch_size": 32,
    "representation_epochs": 4,
    "logits_epochs": 4,
    "labels_epochs": 4,
    "patience": 0,
    "optimizer": OptimizerSettings("adamw", 5e-5, schedule="linear_warmup", clip_norm=1.0),
}
