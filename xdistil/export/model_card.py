"""The README.md that goes with an exported tagger."""

from __future__ import annotations

from xdistil.metrics.footprint import count_parameters
from xdistil.tasks.trained_model import TrainedModel

_CARD = """\
---
library_name: tensorflow
tags:
- token-classification
- named-entity-recognition
- distillation
---

# Tagger made by xdistil

| what | value |
|---|---|
| Model | {model} |
| Parameters | {parameters:,} |
| Labels | {labels} |
| Longest input | {seq_len} word pieces; words beyond get the tag O with score 0 |
| Text | {case} |

The folder is a TensorFlow SavedModel that takes raw strings. It needs `tensorflow` and
`tensorflow-text` (imported, to register its ops), nothing else.

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
split already: string `(batch, words)`, padded with `""`.

Beside the SavedModel: `labels.tsv`, the tags in the order of the classes, and `tokenizer.json`, the
same tokenizer in the format of the library `tokenizers`.
"""


def saved_model_card(trained: TrainedModel) -> str:
    """A model card in Markdown for the folder that `export_tagger` writes."""
    encoder = trained.task.encoder
    return _CARD.format(
        model=type(trained.model).__name__,
        parameters=count_parameters(trained.model),
        labels=", ".join(trained.task.labels),
        seq_len=encoder.seq_len,
        case="lower-cased" if encoder.lower_case else "as it is, upper and lower case",
    )
