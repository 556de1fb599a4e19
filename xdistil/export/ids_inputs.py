"""What exports take that are given token ids."""

from xdistil.data.piece_arrays import frame_of
from xdistil.tasks.classification import PairClassification
from xdistil.tasks.task import Task


def input_names(task: Task) -> tuple[str, ...]:
    """The inputs, int32 `(batch, length)`: `token_ids`, `padding_mask` and, where the tokenizer
    tells both texts of a pair apart, `segment_ids`."""
    encoder = task.encoder
    texts = 2 if isinstance(task, PairClassification) else 1
    frame = frame_of(encoder.tokenizer, texts, encoder.cls_id, encoder.sep_id)
    return ("token_ids", "padding_mask", *["segment_ids"] * frame.has_segments)
