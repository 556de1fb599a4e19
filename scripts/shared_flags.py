"""Flags that the scripts share, spelled alike everywhere."""

from collections.abc import Sequence

import data_flags
import device_flags
from absl import flags

from xdistil.errors import InputError

FLAGS = flags.FLAGS
_SCRATCH_FLAGS = tuple(
    f"teacher_{name}" for name in ("layers", "hidden_dim", "heads", "vocabulary", "lower_case")
)

#: Flags that may differ when a run goes on: they decide no number. Paths are among them, since
#: the hashes of what they name are kept.
IRRELEVANT_FLAGS = (
    *("output_dir", "overwrite", "measure_latency", "checkpoint_minutes", "reuse_from"),
    *("export", "export_inputs", "data_dir", "train_file", "dev_file", "test_file"),
    *("transfer_file", "labels_file", "teacher", "vectors_file"),
    *("student_checkpoint", "continue_from", "reuse_frozen", "learning_rate_factor"),
    # But for rounding; the log warns.
    *("strategy", "logical_devices"),
)


def define_teacher_flags() -> None:
    """Which teacher, and how it is fine-tuned."""
    flags.DEFINE_string(
        "teacher",
        None,
        "Folder or hub name of a checkpoint of the BERT family, or `scratch`: built from nothing.",
    )
    flags.DEFINE_integer(
        "teacher_epochs", 3, "Epochs of fine-tuning; 0 = it is fine-tuned already.", lower_bound=0
    )
    flags.DEFINE_float(
        "teacher_learning_rate", 2e-5, "Peak learning rate of fine-tuning.", lower_bound=1e-12
    )
    flags.DEFINE_integer(
        "teacher_batch_size", 32, "Sentences a step of fine-tuning.", lower_bound=1
    )
    flags.DEFINE_float(
        "teacher_warmup",
        0.1,
        "Share of the fine-tuning steps spent warming up.",
        lower_bound=0.0,
        upper_bound=0.99,
    )
    flags.DEFINE_float(
        "teacher_dropout",
        None,
        "Dropout of the teacher; default: its config's.",
        lower_bound=0.0,
        upper_bound=0.99,
    )
    flags.DEFINE_integer("teacher_layers", 2, "Layers of a teacher from scratch.")
    flags.DEFINE_integer("teacher_hidden_dim", 128, "Width of a teacher from scratch.")
    flags.DEFINE_integer("teacher_heads", 4, "Attention heads of a teacher from scratch.")
    flags.DEFINE_integer("teacher_vocabulary", 4000, "Word pieces of a teacher from scratch.")
    flags.DEFINE_bool("teacher_lower_case", False, "A teacher from scratch ignores case.")
    flags.DEFINE_enum(
        "teacher_targets",
        "disk",
        ["disk", "online", "each_stage"],
        "`disk`: the teacher runs once and its outputs are kept; `online`: it runs in each step; "
        "`each_stage`: again before each stage, as the authors' code does, to compare with.",
    )


def define_training_flags(recipes: Sequence[str], default_recipe: str) -> None:
    """How the student is trained."""
    flags.DEFINE_enum("recipe", default_recipe, list(recipes), "The recipe, see the README.")
    flags.DEFINE_integer(
        "epochs",
        80,
        "Most epochs of a stage. Default: 80; of transformers by labels, D0, D0-S, kd, pkd_skip, "
        "pkd_last and distilbert 4.",
        lower_bound=1,
    )
    for kind in ("representation", "logits", "labels"):
        flags.DEFINE_integer(
            f"{kind}_epochs",
            None,
            f"Most epochs of a {kind} stage; default: --epochs."
            + (" Of joint too." if kind == "representation" else ""),
            lower_bound=1,
        )
    flags.DEFINE_integer(
        "patience",
        5,
        "Epochs without a better dev score; 0 = never stop early. Default: 5; of transformers by "
        "labels, D0, D0-S, kd, pkd_skip, pkd_last and distilbert 0.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "batch_size",
        512,
        "Sentences a step, over all devices. Default: 512; of transformers 32.",
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "optimizer",
        "adam",
        ["adam", "adadelta", "adamw"],
        "Of every stage; `adadelta` (rho 0.95) keeps its learning rate, that of `adamw` goes up "
        "over 10% of the steps, then down to 0. Default: adam; of transformers adamw.",
    )
    flags.DEFINE_float(
        "learning_rate",
        None,
        "Peak learning rate; default: 1e-3, of adadelta 1, of adamw 5e-5.",
        lower_bound=1e-8,
    )
    flags.DEFINE_integer(
        "learning_rate_period",
        50,
        "Epochs of the first cosine; 0 = the stage's epochs.",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "representation_loss",
        "mse",
        ["mse", "kl", "cosine", "keras_kld"],
        "Distance between representations.",
    )
    flags.DEFINE_bool(
        "unfreeze_representation", False, "Unfreeze gradually in the first stage too (Algorithm 1)."
    )
    flags.DEFINE_bool("fresh_head", False, "Start the labels stages with a new head.")
    flags.DEFINE_integer("seed", 0, "Of everything random.", lower_bound=0)


def define_tagging_flags() -> None:
    """What only taggers have."""
    flags.DEFINE_integer(
        "teacher_layer",
        None,
        "Hidden state (0 = embeddings) for representation loss; default: just above the middle.",
    )
    flags.DEFINE_enum(
        "scheme",
        "words",
        ["words", "pieces"],
        "`words`: labels on first pieces, F1 on words; `pieces`: the authors' X classes.",
    )


def define_text_flags() -> None:
    """What only classifiers of texts and pairs have."""
    flags.DEFINE_integer(
        "labeled_per_class",
        0,
        "Labeled texts a class; the rest of train joins the transfer text. 0 = all.",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "pooling", None, ["max", "last"], "Of the BiLSTM's states. Default: max; siamese: last."
    )
    flags.DEFINE_enum(
        "activation",
        None,
        ["gelu_tanh", "relu"],
        "Of the dense layer. Default: gelu_tanh; siamese without representation loss: relu.",
    )
    flags.DEFINE_integer(
        "representation_dim",
        None,
        "Width of the dense layer. Default: the teacher's, which representation loss wants; of "
        "pairs without such a loss 200.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "channels", 1, "2: a static embedding beside the one that learns.", 1, upper_bound=2
    )
    flags.DEFINE_string(
        "vectors_file",
        None,
        "Word vectors in the text format of word2vec, GloVe or fastText: the student reads words "
        "of its own, the teacher its pieces.",
    )
    flags.DEFINE_bool(
        "vectors_lower_case", True, "The words of --vectors_file are in lower case, as GloVe's."
    )
    flags.DEFINE_enum(
        "logit_target", "logits", ["logits", "log_odds"], "What the logits are held against."
    )
    flags.DEFINE_float(
        "alpha",
        None,
        "Weight of the labels: joint (1), tang (0); of the soft targets: kd, pkd_*, distilbert "
        "(0.5).",
        0.0,
    )
    flags.DEFINE_float(
        "beta", 1.0, "Weight of the representation: joint; of the hidden states: pkd_* (100).", 0.0
    )
    flags.DEFINE_float("gamma", 1.0, "Weight of the logits: joint.", 0.0)
    flags.DEFINE_bool("augment", False, "Make transfer text out of the labeled texts.")
    flags.DEFINE_bool(
        "augment_only", False, "The texts that --augment made are the only transfer text."
    )
    flags.DEFINE_integer(
        "augment_iterations",
        None,
        "New texts made of each; default 20, of pairs 10, changed in turn: first, second, both.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "augment_language",
        None,
        "Language whose part-of-speech tagger reads the texts, such as en; default: that of each "
        "text, which its folder tells.",
    )
    flags.DEFINE_enum(
        "augment_words",
        "labeled",
        ["labeled", "teacher"],
        "What replaces words: those of the labeled texts; or also those that the tagger's lexicon "
        "and the teacher's vocabulary both have, in English.",
    )
    for name, default, text in (
        ("mask", 0.1, "a word is masked"),
        ("pos", 0.1, "a word is replaced by another of its part of speech"),
        ("ngram", 0.25, "only an n-gram is kept"),
    ):
        flags.DEFINE_float(
            f"augment_{name}", default, f"Probability that {text}.", 0.0, upper_bound=1.0
        )


def define_student_flags(
    kinds: Sequence[str] = ("bilstm",), dropout: float = 0.2, hidden_dim: int = 600
) -> None:
    """The student's shape.

    Args:
        kinds: What --student may be; the first is the default.
        dropout: Default of --dropout.
        hidden_dim: Default of --hidden_dim.
    """
    flags.DEFINE_enum("student", kinds[0], list(kinds), "Kind of student.")
    flags.DEFINE_integer(
        "embedding_dim", 300, "E, width of the embeddings; of a transformer: --hidden_dim.", 1
    )
    flags.DEFINE_integer(
        "hidden_dim",
        hidden_dim,
        "H, width of the LSTM, a direction; of a transformer: its width, default: the teacher's.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "dropout",
        dropout,
        "Dropout between the student's layers; default of a transformer: the teacher's.",
        lower_bound=0.0,
        upper_bound=0.99,
    )
    flags.DEFINE_enum(
        "embedding_init", "svd", ["svd", "pca", "random"], "Where the embeddings start."
    )
    flags.DEFINE_integer(
        "min_piece_count",
        1,
        "Pieces seen fewer times in train and transfer text get no embedding; 0 = keep all, as "
        "transformers do by default.",
        lower_bound=0,
    )


def define_run_flags() -> None:
    """Where and on what a distillation runs, and what becomes of the student."""
    device_flags.define_device_flags()
    flags.adopt_module_key_flags(device_flags)
    flags.DEFINE_bool(
        "reuse_frozen",
        True,
        "Keep on the disk, for a stage that trains the upper layers alone, what those "
        "below give; else they run in each step.",
    )
    flags.DEFINE_string("reuse_from", None, "A run whose teacher and targets are taken over.")
    flags.DEFINE_bool("export", True, "Write the SavedModel.")
    inputs = "What the SavedModel takes; `auto`: text, or ids where the tokenizer fits no graph."
    flags.DEFINE_enum("export_inputs", "auto", ["auto", "text", "ids"], inputs)
    flags.DEFINE_bool("measure_latency", True, "Time teacher and student at batch 1 and 32.")
    flags.DEFINE_bool(
        "smoke",
        False,
        "A few sentences, one epoch, a small student: does it run? Its numbers mean nothing.",
    )


def limit_to_smoke() -> None:
    """Makes the run as small as --smoke says."""
    limits = {"labeled_per_language": 32, "dev_per_language": 32, "transfer_sentences": 64}
    for name, value in {**limits, "epochs": 1}.items():
        FLAGS[name].value = value
    # A teacher that is taken as it is stays so.
    FLAGS["teacher_epochs"].value = min(1, FLAGS.teacher_epochs)
    for kind in ("representation", "logits", "labels"):
        FLAGS[f"{kind}_epochs"].value = 1
    for name in ("embedding_dim", "hidden_dim"):
        if not FLAGS[name].present and FLAGS[name].value is not None:
            FLAGS[name].value = min(32, FLAGS[name].value)


def check_shared() -> None:
    """Fills in what other flags decide, and refuses flags that contradict each other.

    Raises:
        InputError: They do.
    """
    if FLAGS.teacher is None and not FLAGS.continue_from:
        raise InputError(f"give --teacher: {FLAGS['teacher'].help.rstrip('.')}")
    if FLAGS.learning_rate is None:
        # With Adam's rate AdaDelta would learn nothing.
        FLAGS["learning_rate"].value = {"adadelta": 1.0, "adamw": 5e-5}.get(FLAGS.optimizer, 1e-3)
    of_bilstm = not FLAGS["embedding_dim"].present and FLAGS.embedding_dim is not None
    if FLAGS.teacher == "scratch" and of_bilstm:
        # No wider than what it is taken from.
        FLAGS["embedding_dim"].value = min(FLAGS.embedding_dim, FLAGS.teacher_hidden_dim)
    if not FLAGS.data_dir and not FLAGS.train_file:
        raise InputError("Give --data_dir, or --train_file with --dev_file.")
    if FLAGS.languages and not FLAGS.data_dir:
        raise InputError("--languages names folders of --data_dir, which is missing.")
    device_flags.check_devices()
    if FLAGS.optimizer != "adam" and FLAGS["learning_rate_period"].present:
        raise InputError(f"--learning_rate_period: --optimizer={FLAGS.optimizer} has no cosine.")
    if FLAGS.teacher != "scratch":
        given = [name for name in _SCRATCH_FLAGS if FLAGS[name].present]
        if given:
            raise InputError(f"--{given[0]} is for --teacher=scratch; a checkpoint has its own.")


def own_flag_values() -> dict[str, object]:
    """Values of all flags that were defined here, for text and for devices, for config.json."""
    by_module = FLAGS.flags_by_module_dict()
    modules = (__name__, data_flags.__name__, device_flags.__name__)
    names = {flag.name for module in modules for flag in by_module[module]}
    # Left out where it is what it always was: a run that older code began goes on.
    for name in ("pad_to_seq_len", "deterministic_ops"):
        if not FLAGS[name].value:
            names.remove(name)
    return {name: FLAGS[name].value for name in sorted(names)}
