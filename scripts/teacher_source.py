"""Where the teacher of a run comes from: a checkpoint in hub format, or nothing at all."""

import dataclasses
import hashlib
import itertools
import logging
from collections.abc import Callable

from absl import flags

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.corpus import Corpus
from xdistil.data.encoding import TextEncoder, train_wordpiece
from xdistil.data.labels import Labels
from xdistil.data.paths import AnyPath
from xdistil.data.tokenizer_files import leaves_first_space
from xdistil.errors import InputError
from xdistil.models import EncoderConfig, TextTeacher
from xdistil.models.checkpoints import Checkpoint
from xdistil.models.encoder_with_head import EncoderWithHead
from xdistil.models.presets import find_checkpoint

FLAGS = flags.FLAGS
logger = logging.getLogger("xdistil")
SCRATCH = "scratch"
_SENTENCES_FOR_PIECES = 200_000


@dataclasses.dataclass(frozen=True)
class TeacherSource:
    """What a run needs to know of its teacher before it is made.

    Args:
        encoder: From words to the teacher's word pieces.
        num_layers: Its layers.
        embedding_dim: Width of its embeddings.
        hidden_dim: Width of its hidden states.
        fingerprint: Changes with the checkpoint's weights, or with the settings from scratch.
        make: Builds it.
        config: What its encoder is made of; `None` where the recipe reads no teacher.
        folder: Its checkpoint; `None` from scratch.
    """

    encoder: TextEncoder
    num_layers: int
    embedding_dim: int
    hidden_dim: int
    fingerprint: str
    make: Callable[[], EncoderWithHead]
    config: EncoderConfig | None = None
    folder: AnyPath | None = None

    @property
    def num_heads(self) -> int | None:
        """Attention heads of a layer."""
        return None if self.config is None else self.config.num_heads


def open_teacher(
    corpus: Corpus, teacher_class: type[EncoderWithHead], num_classes: int
) -> TeacherSource:
    """The teacher that the flags name.

    Args:
        corpus: The text.
        teacher_class: `Teacher` or `TextTeacher`.
        num_classes: Classes of its head; more than labels where the task adds some.

    Raises:
        InputError: If the folder is no checkpoint that can be read, or flags contradict it.
    """
    if FLAGS.teacher == SCRATCH:
        return _from_scratch(corpus, teacher_class, num_classes)
    return _from_checkpoint(corpus.labels, teacher_class, num_classes)


def _from_checkpoint(
    labels: Labels, teacher_class: type[EncoderWithHead], num_classes: int
) -> TeacherSource:
    folder = find_checkpoint(FLAGS.teacher)
    checkpoint = Checkpoint(folder)
    config = checkpoint.encoder_config
    encoder = encoder_of(checkpoint, "teacher")
    names = teacher_class.checkpoint_labels(checkpoint)
    problem = names and teacher_class.head_problem(checkpoint)
    if problem:
        logger.warning("%s: its head %s and is left out, a fresh one is trained", folder, problem)
        names = None
    fits = names is not None and len(labels) == num_classes and set(names) == set(labels)
    if not FLAGS.teacher_epochs and not fits:
        found = f"no head of a {teacher_class.head_owner}" if names is None else ", ".join(names)
        raise InputError(
            f"--teacher_epochs=0: the checkpoint {folder} has {found}, the data has the labels "
            f"{', '.join(labels)}; fine-tune it (--teacher_epochs=3) or give its own labels."
        )
    as_it_is = not FLAGS.teacher_epochs and issubclass(teacher_class, TextTeacher)
    if as_it_is and leaves_first_space(folder):
        logger.warning(
            "%s: its tokenizer gives the first word of a text no space before it, here it gets "
            "one: as it was not trained so, it may answer otherwise; --teacher_epochs=1 or more "
            "trains it so",
            folder,
        )
    if names is not None and not fits:
        logger.warning(
            "%s: its head is left out, a fresh one is trained: it has the labels %s, the data %s",
            *(folder, ", ".join(names), ", ".join(labels)),
        )

    def make() -> EncoderWithHead:
        dropout = FLAGS.teacher_dropout
        if fits:
            return teacher_class.from_preset(str(folder), labels=labels, dropout=dropout)
        return teacher_class.from_preset(
            str(folder), num_classes=num_classes, dropout=dropout, fresh_head=True
        )

    sizes = (config.num_layers, config.embedding_dim, config.hidden_dim)
    digest = checkpoint_digest(folder, encoder.fingerprint)
    return TeacherSource(encoder, *sizes, digest, make, config, folder)


def encoder_of(checkpoint: Checkpoint, whose: str) -> TextEncoder:
    """The tokenizer beside a checkpoint, at --seq_len.

    Args:
        checkpoint: The checkpoint.
        whose: `teacher` or `student`, for errors.

    Raises:
        InputError: The model reads fewer pieces, or has fewer embeddings than the tokenizer.
    """
    folder, config = checkpoint.folder, checkpoint.encoder_config
    check_seq_len(config.max_length, f"{whose} {folder}")
    encoder = TextEncoder.from_folder(folder, seq_len=FLAGS.seq_len)
    if encoder.vocabulary_size > config.vocabulary_size:
        raise InputError(
            f"{folder}: its tokenizer has {encoder.vocabulary_size} word pieces, its model only "
            f"{config.vocabulary_size} embeddings; put the tokenizer of this checkpoint beside it."
        )
    return encoder


def check_seq_len(longest: int, whose: str) -> None:
    """Raises `InputError` where a model cannot read --seq_len pieces."""
    if longest < FLAGS.seq_len:
        raise InputError(
            f"--seq_len={FLAGS.seq_len}: the {whose} reads at most {longest} word pieces; lower "
            "--seq_len."
        )


def checkpoint_digest(folder: AnyPath, *parts: str, separator: str = "") -> str:
    """Changes with a checkpoint's settings and weights, and with `parts`."""
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json"])
    text = separator.join([*parts, *(sha256_of_file(path) for path in files)])
    return hashlib.sha256(text.encode()).hexdigest()


def _from_scratch(
    corpus: Corpus, teacher_class: type[EncoderWithHead], num_classes: int
) -> TeacherSource:
    if not FLAGS.teacher_epochs:
        raise InputError("--teacher=scratch knows nothing yet: --teacher_epochs must be above 0.")
    text = itertools.chain(corpus.train, corpus.transfer())
    encoder = train_wordpiece(
        itertools.islice(text, _SENTENCES_FOR_PIECES),
        vocabulary_size=FLAGS.teacher_vocabulary,
        lower_case=FLAGS.teacher_lower_case,
        seq_len=FLAGS.seq_len,
    )
    dropout = 0.1 if FLAGS.teacher_dropout is None else FLAGS.teacher_dropout
    try:
        config = EncoderConfig(
            vocabulary_size=encoder.vocabulary_size,
            hidden_dim=FLAGS.teacher_hidden_dim,
            num_layers=FLAGS.teacher_layers,
            num_heads=FLAGS.teacher_heads,
            max_length=FLAGS.seq_len,
            dropout=dropout,
            attention_dropout=dropout,
        )
    except InputError as error:
        raise InputError(
            f"--teacher_hidden_dim, --teacher_layers or --teacher_heads: {error}"
        ) from None
    return TeacherSource(
        encoder,
        config.num_layers,
        config.embedding_dim,
        config.hidden_dim,
        f"{config.to_dict()} {encoder.fingerprint}",
        lambda: teacher_class(config, num_classes=num_classes, dropout=dropout),
        config,
    )
