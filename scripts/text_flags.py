"""What `run_classification.py` and `run_pairs.py` ask of their flags, and the text they name."""

import logging

import data_flags
import device_flags
import shared_flags
import transformer_flags
from absl import flags

from xdistil.data.corpus import TextCorpus, load_text_corpus
from xdistil.errors import InputError

#: arXiv:1910.01769, arXiv:1903.12136 (`tang`), and those of transformer students.
RECIPE_NAMES = (
    *("labels", "hard", "soft", "joint", "staged", "tang"),
    *transformer_flags.RECIPE_NAMES,
)

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")

# The recipes that an option is for.
_ONLY_FOR = {
    "alpha": ("joint", "tang", *transformer_flags.SOFT_RECIPES),
    "beta": ("joint", *transformer_flags.PATIENT_RECIPES),
    "gamma": ("joint",),
    "logit_target": ("soft", "joint", "staged", "tang", "hidden_states"),
    "fresh_head": ("staged", "hidden_states"),
    "unfreeze_representation": ("soft", "staged", "hidden_states"),
    "representation_loss": ("soft", "joint", "staged"),
}
# Flags that only BiLSTM students have.
_OF_BILSTMS = ("pooling", "activation", "representation_dim", "channels", "vectors_file")


def own_flag_values() -> dict[str, object]:
    """Values of all flags that decide a run, for config.json."""
    return {**shared_flags.own_flag_values(), **transformer_flags.own_flag_values()}


def read_corpus(pairs: bool) -> TextCorpus:
    """Checks the flags and reads the text that they name.

    Args:
        pairs: Whether each example has two texts.

    Raises:
        InputError: Flags contradict each other, or a file cannot be used.
    """
    _check_flags()
    limits = data_flags.corpus_limits(labeled_per_class=FLAGS.labeled_per_class)
    corpus = load_text_corpus(data_flags.corpus_files(), limits, pairs)
    for line in corpus.warnings:
        logger.warning("%s", line)
    device_flags.prepare_devices()
    return corpus


def _check_flags() -> None:
    transformer_flags.check_transformer(_OF_BILSTMS)
    shared_flags.check_shared()
    for name, recipes in _ONLY_FOR.items():
        if FLAGS[name].present and FLAGS.recipe not in recipes:
            raise InputError(f"--{name} is for --recipe={' or '.join(recipes)}.")
    augmentation = [
        name
        for name in ("only", "iterations", "language", "words", "mask", "pos", "ngram")
        # --noaugment turns all of a flagfile's off.
        if FLAGS[f"augment_{name}"].present and not FLAGS["augment"].present
    ]
    if augmentation:
        raise InputError(f"--augment_{augmentation[0]} wants --augment.")
    if FLAGS.augment and FLAGS.augment_words == "teacher" and not FLAGS.augment_pos:
        raise InputError("--augment_words=teacher: with --augment_pos=0 no word replaces another.")
    if FLAGS.recipe == "tang" and FLAGS.alpha is not None and FLAGS.alpha >= 1:
        raise InputError(
            f"--alpha={FLAGS.alpha}: for --recipe=tang below 1; labels alone are --recipe=labels."
        )
    labels_alone = FLAGS.recipe in transformer_flags.SOFT_RECIPES and not FLAGS.distil_transfer
    if FLAGS.augment and labels_alone:
        raise InputError(f"--augment: --recipe={FLAGS.recipe} reads it with --distil_transfer.")
    transformer_flags.warn_of_unread_text()
    if FLAGS.augment and FLAGS.recipe == "labels":
        logger.warning(
            "--augment: --recipe=labels does not learn from the new texts, which have no gold "
            "label; the student's vocabulary is as with them"
        )
    if FLAGS.augment and FLAGS.augment_only:
        for name in ("transfer_file", "transfer_sentences"):
            if FLAGS[name].value:
                raise InputError(f"--{name}: --augment_only leaves all other transfer text out.")
    if FLAGS.vectors_file and FLAGS.teacher_targets == "online":
        raise InputError(
            "--vectors_file: teacher and student read other words, so the teacher cannot run in "
            "each step; leave --teacher_targets=online out."
        )
    if FLAGS.vectors_file:
        for name in ("embedding_init", "min_piece_count"):
            if FLAGS[name].present:
                raise InputError(f"--{name}: the embeddings of --vectors_file are its vectors.")
    elif FLAGS["vectors_lower_case"].present:
        raise InputError("--vectors_lower_case wants --vectors_file.")
    if FLAGS.smoke:
        shared_flags.limit_to_smoke()
        if FLAGS.labeled_per_class:
            FLAGS.labeled_per_class, FLAGS.labeled_per_language = 8, 0
