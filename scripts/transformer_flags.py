"""Flags of transformer students and of the recipes that are meant for them."""

import logging
from collections.abc import Sequence

from absl import flags

from xdistil.data.atomic_files import read_json
from xdistil.data.paths import as_path
from xdistil.distillation import soft_defaults
from xdistil.errors import InputError

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
TRANSFORMER = "transformer"

#: (1 - alpha) L_CE + alpha L_DS, and beta L_PT beside it; the last compares all layers.
SOFT_RECIPES = ("kd", "pkd_skip", "pkd_last", "distilbert")
PATIENT_RECIPES = ("pkd_skip", "pkd_last")
HIDDEN_STATES = "hidden_states"
RECIPE_NAMES = (*SOFT_RECIPES, HIDDEN_STATES)

# A transformer needs few epochs where it is fine-tuned as its teacher was.
_FINE_TUNED = ("labels", "D0", "D0-S", *SOFT_RECIPES)
_EPOCHS = 4
_BATCH_SIZE = 32
_OWN = (
    *("num_layers", "num_heads", "intermediate_dim"),
    *("student_checkpoint", "student_layers", "student_layers_from", "freeze_embeddings"),
)
_OF_FRESH_ONES = (
    *("hidden_dim", "embedding_dim", "num_heads", "intermediate_dim", "embedding_init"),
)
# Of stages that the recipes of one stage, whose epochs are --epochs, have not. Programs for texts
# have no --teacher_layer.
_OF_OTHER_STAGES = (
    *("representation_loss", "teacher_layer", "representation_epochs", "logits_epochs"),
)
_ONLY_FOR = {
    "temperature": SOFT_RECIPES,
    "distil_transfer": SOFT_RECIPES,
    "normalize_patience": PATIENT_RECIPES,
    "patience_reduction": PATIENT_RECIPES,
    "attention_loss": (HIDDEN_STATES,),
}


def define_transformer_flags() -> None:
    """The student's shape, what it begins with, and what its recipes leave open."""
    flags.DEFINE_integer(
        "num_layers",
        None,
        "Layers of --student=transformer; default: half of the teacher's.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "num_heads", None, "Attention heads; default: as wide as the teacher's.", lower_bound=1
    )
    flags.DEFINE_integer(
        "intermediate_dim", None, "Feed-forward width; default: 4 x --hidden_dim.", lower_bound=1
    )
    flags.DEFINE_string(
        "student_checkpoint",
        None,
        "Folder or hub name of the checkpoint that a transformer student begins as.",
    )
    flags.DEFINE_string(
        "student_layers",
        None,
        "The teacher's layers that a transformer student begins with: `first` (Patient KD), "
        "`spread` (DistilBERT), or numbers from 1 such as 1,3,5.",
    )
    flags.DEFINE_string(
        "continue_from",
        None,
        "A finished run or its student, which learns on, for the same labels or others; "
        "--recipe=labels (D0-S) then needs no --teacher.",
    )
    flags.register_multi_flags_validator(
        ["teacher", "continue_from"],
        lambda given: any(given.values()),
        # As absl says it of a required flag.
        message="flag --teacher=None: Flag --teacher must have a value",
    )
    flags.DEFINE_enum(
        "student_layers_from",
        None,
        ["pretrained", "finetuned"],
        "Whether --student_layers are those of the teacher's checkpoint (default) or of the "
        "fine-tuned teacher (default of --teacher=scratch).",
    )
    flags.DEFINE_bool(
        "freeze_embeddings", False, "The word-piece embedding of a transformer never learns."
    )
    flags.DEFINE_float(
        "temperature", None, "Of soft targets; default: 10, of distilbert 2.", lower_bound=1e-3
    )
    flags.DEFINE_bool("distil_transfer", False, "kd, pkd_* and distilbert read transfer text too.")
    flags.DEFINE_bool(
        "normalize_patience", True, "Hidden states of pkd_* are divided by their lengths."
    )
    flags.DEFINE_enum(
        "patience_reduction",
        "sum",
        ["sum", "mean"],
        "L_PT of pkd_*: the paper's sum, or the mean over layers and features of its code, where "
        "beta is layers x width times as large.",
    )
    flags.DEFINE_bool(
        "attention_loss",
        False,
        "hidden_states compares attention maps too; wants --teacher_targets=online.",
    )


def define_weight_flags() -> None:
    """Weights of the terms, for a program whose other recipes have none."""
    flags.DEFINE_float("alpha", None, "Weight of the soft targets: kd, pkd_*, distilbert (0.5).", 0)
    flags.DEFINE_float("beta", None, "Weight of the hidden states: pkd_* (100).", 0)


def own_flag_values() -> dict[str, object]:
    """Values of the flags defined here that are not their defaults, for config.json.

    Runs that were begun before there were these flags go on so.
    """
    found = FLAGS.flags_by_module_dict().get(__name__, [])
    return {f.name: f.value for f in sorted(found, key=lambda f: f.name) if f.value != f.default}


def check_transformer(bilstm_flags: Sequence[str] = ()) -> None:
    """Fills in what a transformer student needs, and refuses flags that are for others.

    Comes before `check_shared`, which fills in what is left.

    Args:
        bilstm_flags: Flags of this program that are for BiLSTM students alone.

    Raises:
        InputError: Flags contradict each other.
    """
    for name, recipes in _ONLY_FOR.items():
        if FLAGS[name].present and FLAGS.recipe not in recipes:
            raise InputError(f"--{name} is for --recipe={' or '.join(recipes)}.")
    if FLAGS.recipe in SOFT_RECIPES:
        known = [name for name in _OF_OTHER_STAGES if name in FLAGS]
        refuse(known, f"is not for --recipe={FLAGS.recipe}, whose one stage does not read it.")
    if FLAGS.recipe in SOFT_RECIPES and FLAGS.alpha is not None and FLAGS.alpha > 1:
        raise InputError(f"--alpha={FLAGS.alpha}: for --recipe={FLAGS.recipe} from 0 to 1.")
    if FLAGS.attention_loss and FLAGS.teacher_targets != "online":
        raise InputError(
            "--attention_loss: attention maps grow with the square of the length and are not kept "
            "on the disk; add --teacher_targets=online."
        )
    if FLAGS.continue_from:
        _continue(bilstm_flags)
    if FLAGS.student != TRANSFORMER:
        refuse(_OWN, "is for --student=transformer.")
        if FLAGS.recipe in (*PATIENT_RECIPES, HIDDEN_STATES):
            raise InputError(f"--recipe={FLAGS.recipe} compares layers: --student=transformer.")
        return
    refuse(bilstm_flags, "is for BiLSTM students, not for --student=transformer.")
    if FLAGS.student_checkpoint:
        refuse((*_OF_FRESH_ONES, "num_layers"), "is decided by --student_checkpoint; leave it out.")
        refuse(("student_layers",), "and --student_checkpoint: give one of the two.")
    elif FLAGS.student_layers:
        refuse(_OF_FRESH_ONES, "is decided by the teacher, whose layers are taken; leave it out.")
    if FLAGS.student_layers_from and not FLAGS.student_layers:
        raise InputError("--student_layers_from wants --student_layers.")
    _fill_in()


def refuse(names: Sequence[str], why: str) -> None:
    """Refuses flags that were given.

    Raises:
        InputError: One was.
    """
    for name in names:
        if FLAGS[name].present:
            raise InputError(f"--{name} {why}")


def warn_of_unread_text() -> None:
    """Says so where text was named that the recipe does not learn from."""
    if FLAGS.recipe not in SOFT_RECIPES or FLAGS.distil_transfer:
        return
    for name in ("transfer_file", "transfer_sentences"):
        if FLAGS[name].present and FLAGS[name].value:
            logger.warning(
                "--%s: --recipe=%s learns from the labeled text alone, as its paper does; "
                "--distil_transfer adds transfer text",
                *(name, FLAGS.recipe),
            )


def _continue(bilstm_flags: Sequence[str]) -> None:
    """The kind of student that --continue_from names decides the defaults of training."""
    decided = (*_OWN, *_OF_FRESH_ONES, *bilstm_flags, "student", "dropout", "min_piece_count")
    refuse(decided, "is decided by --continue_from; leave it out.")
    folder = as_path(FLAGS.continue_from)
    found = [read_json(path / "config.json") for path in (folder / "student", folder)]
    configs = [config for config in found if isinstance(config, dict)]
    models = [config["model"] for config in configs if isinstance(config.get("model"), dict)]
    if not models:
        raise InputError(
            f"--continue_from={folder}: no finished student here; give a finished run's folder or "
            "its student/."
        )
    name = str(models[0].get("class_name"))
    kinds = {"Transformer": TRANSFORMER, "Siamese": "siamese"}
    FLAGS["student"].value = next(
        (kind for stem, kind in kinds.items() if name.startswith(stem)), "bilstm"
    )
    if name.endswith("Teacher"):
        raise InputError(
            f"--continue_from={folder}: a teacher; to teach another student by it, give "
            "--reuse_from its run, and the --teacher that it was made of."
        )


def _fill_in() -> None:
    """Defaults of transformers, where the shared flags have those of BiLSTMs."""
    defaults = {"min_piece_count": 0, "batch_size": _BATCH_SIZE, "optimizer": "adamw"}
    if FLAGS.recipe in _FINE_TUNED:
        defaults |= {"epochs": _EPOCHS, "patience": 0}
    for name, value in defaults.items():
        if not FLAGS[name].present:
            FLAGS[name].value = value
    # What is decided elsewhere is no setting of this run.
    taken = FLAGS.student_checkpoint or FLAGS.student_layers
    for name in ("hidden_dim", "embedding_dim", "dropout", *(["embedding_init"] if taken else ())):
        if not FLAGS[name].present:
            FLAGS[name].value = None
    if FLAGS.recipe in SOFT_RECIPES:
        given = {"alpha": soft_defaults.ALPHA, "temperature": soft_defaults.TEMPERATURE}
        if FLAGS.recipe == "distilbert":
            given["temperature"] = soft_defaults.TEMPERATURE_OF_DISTILBERT
        if FLAGS.recipe in PATIENT_RECIPES:
            given["beta"] = soft_defaults.BETA
        for name, value in given.items():
            if not FLAGS[name].present:
                FLAGS[name].value = value
    counted = FLAGS.student_layers in (None, "first", "spread") and not FLAGS.student_checkpoint
    if FLAGS.smoke and counted and not FLAGS["num_layers"].present:
        FLAGS["num_layers"].value = 2 if FLAGS.recipe in PATIENT_RECIPES else 1
