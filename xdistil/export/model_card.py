"""The README.md that goes with an exported model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from xdistil.metrics.footprint import count_parameters
from xdistil.tasks.task import Task
from xdistil.tasks.trained_model import TrainedModel


@dataclass(frozen=True, slots=True)
class Use:
    """What a model card tells of one kind of model.

    Args:
        title: what the model is, as a heading.
        tags: of the hub.
        beyond: what becomes of words beyond the longest input.
        text: an example, and what goes in and comes out, in Markdown.
        needs: what the folder takes and what reading it needs, in a paragraph.
        library: the hub's name of what reads it.
    """

    title: str
    tags: tuple[str, ...]
    beyond: str
    text: str
    needs: str = """\
The folder is a TensorFlow SavedModel that takes raw strings. It needs `tensorflow` and
`tensorflow-text` (imported, to register its ops), nothing else."""
    library: str = "tensorflow"


TAGGER_USE = Use(
    "Tagger",
    ("token-classification", "named-entity-recognition"),
    "words beyond get the tag O with score 0",
    """\
```python
import tensorflow as tf
import tensorflow_text  # noqa: F401

tag = tf.saved_model.load("this folder").signatures["serving_default"]
found = tag(text=tf.constant(["Ada lives in Turin", "Nothing here"]))
print(found["words"], found["tags"], found["tag_scores"])
print(found["entity_text"], found["entity_label"], found["entity_start"], found["entity_end"])
```

Text is split at white space, as by Python's `str.split()`. `entity_start` and `entity_end` count
Unicode code points of the text (Python's `text[start:end]`); rows are padded with -1, with `""`, or
with 0 for scores, and `n_words` and `n_entities` say how many are real. A tag's score is its
probability; an entity's is the mean over its words. The signature `words` takes sentences that are
split already: string `(batch, words)`, padded with `""`.""",
)

_CLASSIFIER_TEXT = """\
```python
import tensorflow as tf
import tensorflow_text  # noqa: F401

signatures = tf.saved_model.load("this folder").signatures
found = signatures["serving_default"]({inputs})
print(found["label"], found["score"], found["probabilities"])
print(signatures["labels"]()["labels"])
```

{takes}, string `(batch,)`, and gives for each row `label`, string `(batch,)`; `score`, its
probability, float32 `(batch,)`; `probabilities`, float32 `(batch, classes)`, in the order of
labels.tsv; and `unseen_words`, int32 `(batch,)`, words beyond the longest input or of invisible
characters. The signature `labels` takes nothing and gives the names of the classes. White space of
any kind separates words."""

CLASSIFIER_USE = Use(
    "Text classifier",
    ("text-classification",),
    "what lies beyond is not read",
    _CLASSIFIER_TEXT.format(
        inputs='text=tf.constant(["Will it rain?", "Good night"])', takes="It takes `text`"
    ),
)

PAIR_CLASSIFIER_USE = Use(
    "Classifier of pairs of texts",
    ("text-classification",),
    "of a longer pair the end of the longer text is not read",
    _CLASSIFIER_TEXT.format(
        inputs='text=tf.constant(["It rains."]), text_pair=tf.constant(["It is dry."])',
        takes="It takes `text` and `text_pair`",
    ),
)

# The inputs by their names in the library tokenizers.
_IN_TOKENIZERS = {
    "token_ids": "ids",
    "padding_mask": "attention_mask",
    "segment_ids": "type_ids",
}
_IDS_TEXT = """\
```python
import xdistil

predictor = xdistil.load_predictor("this folder")
print(next(predictor.predict([{example}])))
```

Without xdistil, here in Python; the library `tokenizers` is there for Rust and others too:

```python
import numpy as np
import tokenizers

tokenizer = tokenizers.Tokenizer.from_file("this folder/tokenizer.json")
tokenizer.encode_special_tokens = True  # a [SEP] that stands in the text is text
tokenizer.enable_truncation({seq_len})  # of the pieces, special ones included
tokenizer.enable_padding(pad_id={pad_id})
given = [{given}]
pieces = tokenizer.encode_batch(given, is_pretokenized=True)
{arrays}
```

```python
{call}
```

The inputs are int32 `(batch, length)`: `token_ids`; `padding_mask`, 1 = real{segments_text}. It
gives `logits` and `probabilities`, float32 `{shape}`. {names}{more}"""


@dataclass(frozen=True, slots=True)
class IdsFormat:
    """What a model card tells of a format whose models take token ids.

    Args:
        library: the hub's name of it.
        needs: what the folder holds and what reading it needs.
        call: code that runs it, `{arguments}` for what goes in.
        argument: how an input is written in that code, `{name}` for its name.
        names: where the names of the classes are.
    """

    library: str
    needs: str
    call: str
    argument: str
    names: str


SAVED_MODEL = IdsFormat(
    "tensorflow",
    "The folder is a TensorFlow SavedModel that takes token ids. It needs `tensorflow` alone; the\n"
    "tokenizer lies beside it.",
    """\
import tensorflow as tf

signatures = tf.saved_model.load("this folder").signatures
found = signatures["serving_default"]({arguments})
print(found["probabilities"], signatures["labels"]()["labels"])""",
    "{name}=tf.constant({name})",
    "The signature\n`labels` takes nothing and gives the names of the classes in this order.",
)
ONNX = IdsFormat(
    "onnx",
    "`model.onnx` takes token ids; batch and length may be of any size in each call, up to the\n"
    "longest input. It needs ONNX Runtime, or, in float32, another that knows opset 20; the\n"
    "tokenizer lies beside it.",
    """\
import onnxruntime

session = onnxruntime.InferenceSession("this folder/model.onnx")
logits, probabilities = session.run(["logits", "probabilities"], {{{arguments}}})
print(probabilities, session.get_modelmeta().custom_metadata_map["labels"].split("\\t"))""",
    '"{name}": {name}',
    "The file's metadata\n`labels` hold the names of the classes in this order, tabs between.",
)
LITERT = IdsFormat(
    "litert",
    "`model.tflite` takes token ids; batch and length may be of any size in each call, up to the\n"
    "longest input, but not zero. It needs LiteRT (TensorFlow Lite) and its built-in operators\n"
    "alone; the tokenizer lies beside it. An interpreter without signatures wants the inputs\n"
    "resized before it allocates its tensors.",
    """\
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("this folder/model.tflite").get_signature_runner()
found = run({arguments})
print(found["probabilities"])""",
    "{name}={name}",
    "The names of the\nclasses in this order are the `class_names` of task.json.",
)


def ids_use(task: Task, input_names: Sequence[str], form: IdsFormat = SAVED_MODEL) -> Use:
    """What the model card of an export that takes token ids tells.

    Args:
        task: what the model does.
        input_names: what it takes.
        form: what it is kept in: `SAVED_MODEL`, `ONNX` or `LITERT`.
    """
    per_piece = task.logits_positions != "texts"
    base = TAGGER_USE if per_piece else CLASSIFIER_USE
    if getattr(task, "pairs", False):
        base = PAIR_CLASSIFIER_USE
    of_pairs = base is PAIR_CLASSIFIER_USE
    text = _IDS_TEXT.format(
        seq_len=task.encoder.seq_len,
        pad_id=task.encoder.pad_id,
        given='("It rains".split(), "It is dry".split())' if of_pairs else '"Ada lives".split()',
        arrays="\n".join(
            f"{name} = np.array([one.{_IN_TOKENIZERS[name]} for one in pieces], np.int32)"
            for name in input_names
        ),
        example='("One", "Two")' if of_pairs else '"Ada lives in Turin"',
        call=form.call.format(
            arguments=", ".join(form.argument.format(name=name) for name in input_names)
        ),
        names=form.names,
        segments_text="; `segment_ids`, the text that a piece is of"
        if "segment_ids" in input_names
        else "",
        shape="(batch, length, classes)" if per_piece else "(batch, classes)",
        more="\nThe tag of a word is that of its first piece (see `word_ids`), and O where it has\n"
        "none: beyond the longest input, or all invisible."
        if per_piece
        else "",
    )
    return dataclasses.replace(base, text=text, needs=form.needs, library=form.library)


_CARD = """\
---
library_name: {library}
tags:
{tags}
- distillation
---

# {title} made by xdistil

| what | value |
|---|---|
| Model | {model} |
| Parameters | {parameters:,} |
| Weights | {precision} |
| Labels | {labels} |
| Longest input | {seq_len} word pieces; {beyond} |
| Text | {case} |

{needs}

{text}

Beside the model: `labels.tsv`, the labels in the order of the classes, and `tokenizer.json`,
the same tokenizer in the format of the library `tokenizers`.
"""


def model_card(trained: TrainedModel, use: Use, precision: str = "float32") -> str:
    """A model card in Markdown for the folder of an export.

    Args:
        trained: the model.
        use: what goes in and comes out.
        precision: what its weights are kept in.
    """
    encoder = trained.task.encoder
    return _CARD.format(
        title=use.title,
        tags="\n".join(f"- {tag}" for tag in use.tags),
        model=type(trained.model).__name__,
        parameters=count_parameters(trained.model),
        labels=", ".join(trained.task.labels),
        seq_len=encoder.seq_len,
        beyond=use.beyond,
        case="lower-cased" if encoder.lower_case else "as it is, upper and lower case",
        precision=precision,
        library=use.library,
        needs=use.needs,
        text=use.text,
    )
