"""A tagger as a TensorFlow SavedModel: strings in; words, tags and entities out."""

from __future__ import annotations

import os

import tensorflow as tf

from xdistil.data.paths import AnyPath
from xdistil.export.entities import OUTSIDE
from xdistil.export.graph_entities import GraphEntities
from xdistil.export.graph_tokenizer import SplitText, valid_utf8
from xdistil.export.keras_tagger import tags_of_classes
from xdistil.export.model_card import TAGGER_USE
from xdistil.export.saved_model_folder import write_saved_model
from xdistil.export.text_module import (
    TEXT_INPUT,
    TEXT_SIGNATURE,
    Signatures,
    TextModule,
    at_least_one_row,
)
from xdistil.tasks.trained_model import TrainedModel

WORDS_SIGNATURE = "words"


def export_tagger(
    trained: TrainedModel,
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    jit_compile: bool = False,
) -> AnyPath:
    """Writes a SavedModel that takes raw strings; it needs TensorFlow and tensorflow-text alone.

    The signature `serving_default` takes `text`, string `(batch,)`, UTF-8, and splits it at white
    space as `str.split()` does. The signature `words` takes `words`, string `(batch, words)`, with
    `""` after the last word of each sentence; its text is the words with one space between.
    Batches may be of any size, none included. Both give a dict, padded at the right:

    | key | type and shape | padding |
    |---|---|---|
    | `n_words` | int32 `(batch,)` | |
    | `words` | string `(batch, words)` | `""` |
    | `tags` | string `(batch, words)` | `""` |
    | `tag_scores` | float32 `(batch, words)`, probability of the tag | 0 |
    | `n_entities` | int32 `(batch,)` | |
    | `entity_start`, `entity_end` | int32 `(batch, entities)`, as in `text[start:end]` | -1 |
    | `entity_first_word`, `entity_last_word` | int32 `(batch, entities)`, last included | -1 |
    | `entity_label`, `entity_text` | string `(batch, entities)` | `""` |
    | `entity_score` | float32 `(batch, entities)`, mean of the words' `tag_scores` | 0 |

    Offsets count Unicode code points.

    A word that the model never saw gets the tag `O` with score 0: words after the first `seq_len`
    pieces, and words of invisible characters. Invalid UTF-8 is read as U+FFFD, and offsets count
    these as Python's `bytes.decode("utf-8", errors="replace")` does.

    Beside the SavedModel lie tokenizer.json, labels.tsv and README.md, for people.

    Args:
        trained: the tagger.
        folder: the SavedModel's folder. It appears whole or not at all.
        overwrite: whether to replace a folder that is there.
        jit_compile: compile the model, not the tokenizer, by XLA. Quicker on inputs of the same
            shape again and again; each new shape costs a compilation, so this is off by default.

    Returns:
        The folder.

    Raises:
        InputError: the folder is there already, or the tokenizer cannot be put into a graph.
        StorageError: there is no room; what was there before stays.

    Example:

    ```python
    export_tagger(xdistil.load("runs/quickstart"), "tagger")

    import tensorflow as tf
    import tensorflow_text  # registers its ops
    tag = tf.saved_model.load("tagger").signatures["serving_default"]
    print(tag(text=tf.constant(["Ada lives in Turin"]))["entity_text"])
    ```
    """
    return write_saved_model(
        lambda: TaggerModule(trained, jit_compile=jit_compile),
        trained.task,
        folder,
        overwrite=overwrite,
    )


class TaggerModule(TextModule):
    """A trained tagger with its tokenizer as one graph, see `export_tagger`.

    Args:
        trained: the tagger.
        jit_compile: whether XLA compiles the model.
    """

    use = TAGGER_USE

    def __init__(self, trained: TrainedModel, *, jit_compile: bool = False):
        super().__init__(trained, jit_compile=jit_compile)
        tags = tags_of_classes(trained.task)
        self._tags = tf.constant(tags)
        self._outside = tags.index(OUTSIDE)
        self._find_entities = GraphEntities(tags)

    def signatures(self) -> Signatures:
        @tf.function(autograph=False)
        def serving_default(text: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.tag_text(text)

        @tf.function(autograph=False)
        def words(words: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.tag_words(words)

        return {
            TEXT_SIGNATURE: serving_default.get_concrete_function(
                tf.TensorSpec([None], tf.string, TEXT_INPUT)
            ),
            WORDS_SIGNATURE: words.get_concrete_function(
                tf.TensorSpec([None, None], tf.string, "words")
            ),
        }

    def tag_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tags strings `(batch,)`."""
        text = valid_utf8(text)
        return self._tag(text, self._tokenizer.split(text))

    def tag_words(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tags words `(batch, words)`, padded with empty strings."""
        words = valid_utf8(words)
        real = words != ""
        # An empty word between others is a word without a piece, not the end.
        count = tf.reduce_max(tf.where(real, tf.range(tf.shape(words)[1]) + 1, 0), axis=1)
        count = tf.maximum(count, 0)  # a reduction over nothing gives the smallest integer
        ragged = tf.RaggedTensor.from_tensor(words, lengths=count)
        lengths = tf.strings.length(ragged, unit="UTF8_CHAR")
        ends = ragged_cumsum(lengths + 1) - 1
        normalized = ragged.with_flat_values(self._tokenizer.normalize(ragged.flat_values))
        # Spaces for the padding at the end do no harm. (Of a ragged tensor, `reduce_join` would
        # leave out those next to empty words.)
        text = tf.strings.reduce_join(words, axis=1, separator=" ")
        return self._tag(text, SplitText(ragged, normalized, ends - lengths, ends))

    def _tag(self, text: tf.Tensor, split: SplitText) -> dict[str, tf.Tensor]:
        classes, scores = self._classify(split.normalized)
        entities = self._find_entities(classes, scores)
        starts = tf.gather(split.starts, entities.first_words, batch_dims=1)
        ends = tf.gather(split.ends, entities.last_words, batch_dims=1)
        begin, end = starts.flat_values, ends.flat_values
        rows = tf.gather(text, starts.value_rowids())
        names = tf.strings.substr(rows, begin, end - begin, unit="UTF8_CHAR")
        return {
            "n_words": tf.cast(split.words.row_lengths(), tf.int32),
            "words": split.words.to_tensor(""),
            "tags": classes.with_flat_values(tf.gather(self._tags, classes.flat_values)).to_tensor(
                ""
            ),
            "tag_scores": scores.to_tensor(0.0),
            "n_entities": tf.cast(starts.row_lengths(), tf.int32),
            "entity_start": starts.to_tensor(-1),
            "entity_end": ends.to_tensor(-1),
            "entity_first_word": entities.first_words.to_tensor(-1),
            "entity_last_word": entities.last_words.to_tensor(-1),
            "entity_label": entities.labels.to_tensor(""),
            "entity_text": starts.with_flat_values(names).to_tensor(""),
            "entity_score": entities.scores.to_tensor(0.0),
        }

    def _classify(self, normalized: tf.RaggedTensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """The class of each word and its probability."""
        features, positions = self._tokenizer.encode(at_least_one_row(normalized))
        probabilities = self._probabilities(features)
        columns = positions.flat_values
        seen = columns >= 0
        rows = tf.cast(positions.value_rowids(), tf.int32)
        at_words = tf.gather_nd(probabilities, tf.stack([rows, tf.maximum(columns, 0)], axis=1))
        classes = tf.argmax(at_words, axis=-1, output_type=tf.int32)
        classes = tf.where(seen, classes, self._outside)
        scores = tf.where(seen, tf.reduce_max(at_words, axis=-1), 0.0)
        return normalized.with_flat_values(classes), normalized.with_flat_values(scores)


def ragged_cumsum(values: tf.RaggedTensor) -> tf.RaggedTensor:
    """Running sums along the rows of a ragged int32 `(batch, words)`."""
    total = tf.cumsum(values.flat_values)
    before_row = tf.gather(tf.concat([[0], total], 0), values.row_starts())
    return values.with_flat_values(total - tf.gather(before_row, values.value_rowids()))
