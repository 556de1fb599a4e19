"""Distils a multilingual NER teacher into a BiLSTM or a small transformer.

    python scripts/run_ner.py --flagfile=configs/quickstart.cfg --output_dir=runs/quickstart

The same command goes on after an interruption.
"""

import logging

import data_flags
import device_flags
import program
import shared_flags
import transformer_flags
from absl import flags

from xdistil.data.corpus import load_tagging_corpus
from xdistil.errors import InputError

#: The strategies of XtremeDistil, Table 3, and those of transformer students.
RECIPE_NAMES = (
    *("D0", "D0-S", "D1", "D2", "D3.1", "D3.2", "D4.1", "D4.2"),
    *transformer_flags.RECIPE_NAMES,
)

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")

data_flags.define_data_flags()
shared_flags.define_teacher_flags()
shared_flags.define_training_flags(RECIPE_NAMES, "D4.2")
shared_flags.define_tagging_flags()
shared_flags.define_student_flags(("bilstm", "transformer"))
transformer_flags.define_transformer_flags()
transformer_flags.define_weight_flags()
shared_flags.define_run_flags()
flags.adopt_module_key_flags(data_flags)
flags.adopt_module_key_flags(shared_flags)
flags.adopt_module_key_flags(transformer_flags)


def main(_: list[str]) -> None:
    _check_flags()
    corpus = load_tagging_corpus(data_flags.corpus_files(), data_flags.corpus_limits())
    for line in corpus.warnings:
        logger.warning("%s", line)
    device_flags.prepare_devices()
    # TensorFlow is slow to import: what can be wrong with flags and files is told before.
    from tagging_job import TaggingJob

    values = {**shared_flags.own_flag_values(), **transformer_flags.own_flag_values()}
    TaggingJob(corpus, values).run()


# Recipes with a stage of their own on labels, and with one on representations.
_ENDS_IN_LABELS = ("D4.1", "D4.2", transformer_flags.HIDDEN_STATES)
_BEGINS_WITH_REPRESENTATION = ("D3.1", "D3.2", *_ENDS_IN_LABELS)


def _check_flags() -> None:
    transformer_flags.check_transformer()
    shared_flags.check_shared()
    for name, recipes in (
        ("alpha", transformer_flags.SOFT_RECIPES),
        ("beta", transformer_flags.PATIENT_RECIPES),
    ):
        if FLAGS[name].present and FLAGS.recipe not in recipes:
            raise InputError(f"--{name} is for --recipe={' or '.join(recipes)}.")
    if FLAGS.fresh_head and FLAGS.recipe not in _ENDS_IN_LABELS:
        raise InputError(
            "--fresh_head wants a stage on labels after others: --recipe="
            f"{' or '.join(_ENDS_IN_LABELS)}."
        )
    if FLAGS.unfreeze_representation and FLAGS.recipe not in _BEGINS_WITH_REPRESENTATION:
        raise InputError(f"--unfreeze_representation: {FLAGS.recipe} has no such stage of its own.")
    if FLAGS.recipe == transformer_flags.HIDDEN_STATES:
        transformer_flags.refuse(
            ("representation_loss", "teacher_layer"),
            f"is not for --recipe={FLAGS.recipe}, which compares all hidden states as they are.",
        )
    transformer_flags.warn_of_unread_text()
    if FLAGS.smoke:
        shared_flags.limit_to_smoke()


if __name__ == "__main__":
    program.run(main, goes_on=True)
