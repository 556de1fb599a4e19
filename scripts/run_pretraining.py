"""Pre-trains a shallow student of a masked language model, as DistilBERT; or the teacher before.

    python scripts/run_pretraining.py --train=teacher --teacher=FOLDER --text_file='text/*.gz' \\
        --output_dir=FIRST
    python scripts/run_pretraining.py --teacher=FIRST/teacher --text_file='text/*.gz' \\
        --output_dir=RUN

The same command goes on after an interruption.
"""

import device_flags
import pretraining_flags
import program
from absl import flags

pretraining_flags.define_flags()
device_flags.define_device_flags()
flags.adopt_module_key_flags(pretraining_flags)
flags.adopt_module_key_flags(device_flags)


def main(_: list[str]) -> None:
    pretraining_flags.check_flags()
    device_flags.prepare_devices()
    pretraining_flags.fit_batch(device_flags.count_replicas())
    # TensorFlow is slow to import: what can be wrong with flags and files is told before.
    from pretraining_job import PretrainingJob

    PretrainingJob(pretraining_flags.own_flag_values()).run()


if __name__ == "__main__":
    program.run(main, goes_on=True)
