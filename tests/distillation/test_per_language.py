"""D0's scores: each language's test text goes to its own student, in that student's pieces."""

from types import SimpleNamespace

import numpy as np

from xdistil.data.encoding import train_wordpiece
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.distillation.per_language import _scores
from xdistil.tasks import Tagging

SENTENCES = [
    TaggedSentence(("Ada", "lives", "here"), ("B-PER", "O", "O"), "en"),
    TaggedSentence(("Ada", "wohnt", "hier"), ("B-PER", "O", "O"), "de"),
]


def test_students_with_pieces_of_their_own_are_scored_on_these():
    labels = Labels.from_tags(["B-PER", "O"])
    teacher_task, student_task = (
        Tagging(labels, train_wordpiece(SENTENCES, size, seq_len=size)) for size in (40, 64)
    )
    read = {}

    def student_of(language):
        def inference(examples):
            read[language] = [example.token_ids.tolist() for example in examples]
            for example in examples:
                # The gold tags, at the places where this tokenizer has the words.
                logits = np.zeros((len(example), student_task.num_classes), "float32")
                logits[:, labels.names.index("O")] = 1
                logits[example.word_positions[0], labels.names.index("B-PER")] = 2
                yield {"logits": logits}

        return SimpleNamespace(inference=inference)

    job = SimpleNamespace(
        data=SimpleNamespace(test=SENTENCES), task=teacher_task, student_task=student_task
    )
    scores = _scores({language: student_of(language) for language in ("de", "en")}, job)
    for sentence in SENTENCES:
        of_student, of_teacher = (
            next(iter(task.encode([sentence]))).token_ids.tolist()
            for task in (student_task, teacher_task)
        )
        assert of_student != of_teacher
        assert read[sentence.language] == [of_student]
    assert scores["f1"] == 1
