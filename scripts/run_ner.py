"""Distils a multilingual NER teacher into a BiLSTM.

    python scripts/run_ner.py --flagfile=configs/quickstart.cfg --output_dir=runs/quickstart

The same command goes on after an interruption.
"""

import logging

import shared_flags
from absl import flags

from xdistil.data.corpus import CorpusFiles, CorpusLimits, TaggingCorpus, load_tagging_corpus
from xdistil.errors import InputError

#: The strategies of XtremeDistil, Table 3.
RECIPE_NAMES = ("D0", "D0-S", "D1", "D2", "D3.1", "D3.2", "D4.1", "D4.2")

_SCRATCH_FLAGS = tuple(
    f"teacher_{name}" for name in ("layers", "hidden_dim", "heads", "vocabulary", "lower_case")
)

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")

shared_flags.define_data_flags()
shared_flags.define_teacher_flags()
shared_flags.define_training_flags(RECIPE_NAMES, "D4.2")
shared_flags.define_student_flags()
shared_flags.define_run_flags()
_OWN_FLAGS = sorted(flag.name for flag in FLAGS.flags_by_module_dict()["shared_flags"])


def main(_: list[str]) -> None:
    _check_flags()
    corpus = _corpus()
    for line in corpus.warnings:
        logger.warning("%s", line)
    if FLAGS.logical_devices > 1:
        _split_cpu()
    # TensorFlow is slow to import: what can be wrong with flags and files is told before.
    import distillation_job

    distillation_job.run(corpus, shared_flags.flag_values(_OWN_FLAGS))


def _check_flags() -> None:
    if not FLAGS.data_dir and not FLAGS.train_file:
        raise InputError("Give --data_dir, or --train_file with --dev_file.")
    if FLAGS.languages and not FLAGS.data_dir:
        raise InputError("--languages names folders of --data_dir, which is missing.")
    if FLAGS.logical_devices > 1 and FLAGS.strategy == "default":
        raise InputError("--logical_devices wants --strategy=mirrored; else one device is used.")
    if FLAGS.logical_devices > 1 and FLAGS.jit_compile == "false":
        raise InputError("--jit_compile=false: several devices always train through XLA.")
    if FLAGS.fresh_head and not FLAGS.recipe.startswith("D4"):
        raise InputError(
            "--fresh_head wants a stage on labels after others: --recipe=D4.1 or D4.2."
        )
    if FLAGS.unfreeze_representation and FLAGS.recipe[:2] not in ("D3", "D4"):
        raise InputError(f"--unfreeze_representation: {FLAGS.recipe} has no such stage of its own.")
    if FLAGS.teacher != "scratch":
        given = [name for name in _SCRATCH_FLAGS if FLAGS[name].present]
        if given:
            raise InputError(f"--{given[0]} is for --teacher=scratch; a checkpoint has its own.")
    if FLAGS.smoke:
        limits = {"labeled_per_language": 32, "dev_per_language": 32, "transfer_sentences": 64}
        for name, value in {**limits, "epochs": 1, "teacher_epochs": 1}.items():
            FLAGS[name].value = value
        for kind in ("representation", "logits", "labels"):
            FLAGS[f"{kind}_epochs"].value = 1


def _corpus() -> TaggingCorpus:
    return load_tagging_corpus(
        CorpusFiles(
            data_dir=FLAGS.data_dir,
            languages=FLAGS.languages,
            train=FLAGS.train_file,
            dev=FLAGS.dev_file,
            test=FLAGS.test_file,
            transfer=FLAGS.transfer_file,
            labels=FLAGS.labels_file,
        ),
        CorpusLimits(
            labeled_per_language=FLAGS.labeled_per_language,
            dev_per_language=FLAGS.dev_per_language,
            test_per_language=32 if FLAGS.smoke else 0,
            transfer_sentences=FLAGS.transfer_sentences,
            seed=FLAGS.seed,
        ),
    )


def _split_cpu() -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * FLAGS.logical_devices
    tf.config.set_logical_device_configuration(cpu, parts)


if __name__ == "__main__":
    shared_flags.run(main)
