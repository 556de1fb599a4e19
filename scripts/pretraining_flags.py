"""Flags of run_pretraining.py, and what is wrong with them before anything is read."""

from collections.abc import Sequence

import device_flags
from absl import flags

from xdistil.data.readers import expand_files, refuse_shared_files
from xdistil.errors import InputError

FLAGS = flags.FLAGS
#: Flags that may differ when a run goes on; what files hold is compared by their hashes.
IRRELEVANT_FLAGS = (
    *("output_dir", "overwrite", "checkpoint_minutes", "learning_rate_factor"),
    *("teacher", "text_file", "dev_file", "strategy", "logical_devices"),
)
#: Of `xdistil.models.layer_choice.chosen_layers`.
RULES = ("spread", "first")
_ONLY_FOR_STUDENTS = (
    *("num_layers", "student_layers", "student_init", "fold_segments", "alpha_ce", "alpha_mlm"),
    *("alpha_cos", "temperature", "masked_only"),
)


def define_flags() -> None:
    """The program's flags, without those of devices."""
    flags.DEFINE_enum(
        "train",
        "student",
        ["student", "teacher"],
        "`student`: distil one from the teacher; `teacher`: go on training the teacher itself on "
        "masked text, with a fresh masked-LM head where it has none.",
    )
    flags.DEFINE_string(
        "teacher",
        None,
        "Folder or hub name of a checkpoint; for a student one with a masked-LM head.",
        required=True,
    )
    _define_text_flags()
    _define_student_flags()
    _define_loss_flags()
    _define_training_flags()


def _define_text_flags() -> None:
    flags.DEFINE_list(
        "text_file",
        None,
        "Plain text: files, globs too, gzip too, comma-separated; .tsv, .csv, .jsonl of texts too.",
        required=True,
    )
    flags.DEFINE_list("dev_file", [], "Held-out text; default: --dev_share of --text_file.")
    flags.DEFINE_float(
        "dev_share",
        0.01,
        "Share of the lines held out; with --pack_lines of the documents, which blank lines end.",
        lower_bound=1e-9,
        upper_bound=0.999,
    )
    flags.DEFINE_integer("train_examples", 0, "Most examples to learn from; 0 = all.", 0)
    flags.DEFINE_integer("dev_examples", 0, "Most examples held out; 0 = all.", 0)
    flags.DEFINE_bool(
        "pack_lines",
        False,
        "Put lines together until --seq_len is full, up to a blank line; else each line is an "
        "example, and a longer one is cut into several.",
    )
    flags.DEFINE_integer(
        "min_length", 12, "Fewest pieces of an example; shorter ones are left out.", lower_bound=3
    )
    flags.DEFINE_integer("seq_len", 128, "Most pieces of an example.", lower_bound=4)
    flags.DEFINE_float(
        "mask_share", 0.15, "Share of a batch's pieces that are predicted.", 1e-6, upper_bound=0.99
    )
    flags.DEFINE_float(
        "mask_smoothing",
        0.7,
        "Pieces are masked with weight count^-this: rare ones more often; 0 = all alike.",
        lower_bound=0.0,
    )


def _define_student_flags() -> None:
    flags.DEFINE_integer(
        "num_layers",
        None,
        "The student's layers; default: half of the teacher's, or as many as --student_layers.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "student_layers",
        "spread",
        "The teacher's layers that the student begins with: `spread` evenly, the `first` ones, or "
        "numbers from 1, such as 1,3,5,8,10,12.",
    )
    flags.DEFINE_enum(
        "student_init", "teacher", ["teacher", "random"], "Where the student's weights begin."
    )
    flags.DEFINE_bool(
        "fold_segments",
        True,
        "Add a BERT's embedding of segment 0 to the positions of its student, which has none.",
    )


def _define_loss_flags() -> None:
    flags.DEFINE_float("alpha_ce", 5.0, "Weight of the teacher's softened pieces.", 0.0)
    flags.DEFINE_float("alpha_mlm", 2.0, "Weight of the masked pieces.", 0.0)
    flags.DEFINE_float("alpha_cos", 1.0, "Weight of the last hidden state's direction.", 0.0)
    flags.DEFINE_float("temperature", 2.0, "That softens the pieces.", lower_bound=1e-3)
    flags.DEFINE_bool(
        "masked_only", False, "--alpha_ce's loss over masked pieces alone; much cheaper."
    )


def _define_training_flags() -> None:
    flags.DEFINE_integer("epochs", 3, "Passes over the text.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 256, "Examples a step, over all devices.", lower_bound=1)
    flags.DEFINE_integer(
        "micro_batch_size", 8, "Examples that a device computes at a time.", lower_bound=1
    )
    flags.DEFINE_float("learning_rate", 5e-4, "Peak learning rate.", lower_bound=1e-12)
    flags.DEFINE_float(
        "warmup", 0.05, "Share of the steps spent warming up.", 0.0, upper_bound=0.99
    )
    flags.DEFINE_float("weight_decay", 0.0, "Of AdamW.", 0.0)
    flags.DEFINE_float("clip_norm", 5.0, "Norm that gradients are clipped to; 0 = never.", 0.0)
    flags.DEFINE_float(
        "dropout",
        None,
        "Dropout of the model that learns; default: its config's.",
        lower_bound=0.0,
        upper_bound=0.99,
    )
    flags.DEFINE_integer("seed", 0, "Of everything random but --data_seed's.", lower_bound=0)
    flags.DEFINE_integer(
        "data_seed",
        0,
        "Of which text is held out, and of its masks: the same for every --seed, so that the "
        "scores of runs compare.",
        lower_bound=0,
    )
    flags.DEFINE_bool(
        "smoke", False, "A few examples, one epoch: does it run? Its numbers mean nothing."
    )


def check_flags() -> None:
    """Refuses flags that contradict each other, and files that are not there.

    Raises:
        InputError: There are some.
    """
    device_flags.check_devices()
    if FLAGS.smoke:
        for name, value in (("train_examples", 64), ("dev_examples", 16), ("epochs", 1)):
            FLAGS[name].value = value
    if FLAGS.train == "teacher":
        given = [name for name in _ONLY_FOR_STUDENTS if FLAGS[name].present]
        if given:
            raise InputError(f"--{given[0]} is for a student; --train=teacher has none.")
    if not FLAGS.alpha_ce + FLAGS.alpha_mlm + FLAGS.alpha_cos:
        raise InputError("--alpha_ce, --alpha_mlm and --alpha_cos are all 0: nothing to learn.")
    if FLAGS.student_layers not in RULES:
        if FLAGS.num_layers:
            raise InputError("--num_layers and numbers in --student_layers: give one of the two.")
        if not all(layer.strip().isdecimal() for layer in FLAGS.student_layers.split(",")):
            raise InputError(
                f"--student_layers={FLAGS.student_layers}: expected {', '.join(RULES)}, or whole "
                "numbers from 1."
            )
    _refuse_idle()
    if not FLAGS.smoke:
        fit_batch(replicas=1)  # the devices are counted later
    if FLAGS.min_length > FLAGS.seq_len:
        raise InputError(
            f"--min_length={FLAGS.min_length} is above --seq_len={FLAGS.seq_len}: no example is "
            "that long."
        )
    if FLAGS.dev_file and FLAGS["dev_share"].present:
        raise InputError("--dev_share and --dev_file: give one of the two.")
    FLAGS["text_file"].value = expand_files(FLAGS.text_file)
    if FLAGS.dev_file:
        FLAGS["dev_file"].value = expand_files(FLAGS.dev_file)
        refuse_shared_files(FLAGS.text_file, FLAGS.dev_file)


def fit_batch(replicas: int) -> None:
    """Makes steps of --smoke as small as the devices allow, and refuses others that do not fit.

    Args:
        replicas: Devices that share each step.

    Raises:
        InputError: --batch_size cannot be shared out.
    """
    if FLAGS.smoke:
        FLAGS["batch_size"].value = 2 * FLAGS.micro_batch_size * replicas
    if FLAGS.batch_size % (FLAGS.micro_batch_size * replicas):
        times = f" times {replicas} devices" if replicas > 1 else ""
        raise InputError(
            f"--batch_size={FLAGS.batch_size} is no multiple of "
            f"--micro_batch_size={FLAGS.micro_batch_size}{times}; give one."
        )


def _refuse_idle() -> None:
    """Refuses flags that other flags leave nothing to decide.

    Those that repeat a default pass: flagfiles of a paper name all its settings, and the ablation
    changes some of them.
    """

    def refuse(names: Sequence[str], why: str) -> None:
        for name in names:
            if FLAGS[name].present and FLAGS[name].value != FLAGS[name].default:
                raise InputError(f"--{name} {why}")

    if not FLAGS.alpha_ce:
        refuse(("temperature", "masked_only"), "is of the loss that --alpha_ce=0 leaves out.")
    if FLAGS.student_init == "random":
        refuse(("fold_segments",), "is for --student_init=teacher; random weights take nothing.")
        refuse(
            ("student_layers",),
            "is for --student_init=teacher; the size of a random student is --num_layers.",
        )


def own_flag_values() -> dict[str, object]:
    """Values of the program's flags, for config.json."""
    by_module = FLAGS.flags_by_module_dict()
    modules = (__name__, device_flags.__name__)
    names = sorted(flag.name for module in modules for flag in by_module[module])
    if not FLAGS.deterministic_ops:  # as in runs that were begun before there was this flag
        names.remove("deterministic_ops")
    return {name: FLAGS[name].value for name in names}
