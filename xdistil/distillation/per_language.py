"""D0: a student for each language, from that language's text alone."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from xdistil.data.corpus import TaggingCorpus
from xdistil.data.examples import EncodedExample, TaggedSentence
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_settings import DistillationData, RunResult
from xdistil.distillation.runner import DistillationRun
from xdistil.errors import InputError
from xdistil.tasks import TrainedModel


def distil_per_language(job: DistillationRun) -> RunResult:
    """Runs the stages of `job` once for each language, with one teacher for all.

    Each language has a run directory of its own below `languages/`, so a call after a kill goes on
    where it stopped.

    Args:
        job: The run; its stages read one language at a time.

    Returns:
        The result: `per_language` holds the students, `student` the first of them, `student_test`
        the scores of each student on its own language.

    Raises:
        InputError: As `shared_languages` does.

    Reference:
        XtremeDistil, arXiv:2004.05686, Table 3, D0.
    """
    languages = shared_languages(job.data)
    teacher, teacher_test = job.prepare_teacher()
    results = {}
    for language in languages:
        path = job.directory.path / "languages" / language
        config = {**job.directory.config["settings"], "language": language}
        open_directory = functools.partial(
            RunDirectory.open,
            path,
            config,
            inputs=job.directory.config["inputs"],
            irrelevant=job.directory.irrelevant,
            worker=job.workers.index,
        )
        with job.workers.chief_first(open_directory, path / "config.json") as directory:
            one = DistillationRun(
                directory,
                _text_of(job.data, language),
                job.settings,
                job.task,
                teacher=teacher,
                student_task=job.own_student_task,
            )
            results[language] = one.run()
    students = {language: result.student for language, result in results.items()}
    stages = [
        {**stage, "name": f"{language}/{stage['name']}"}
        for language, result in results.items()
        for stage in result.stages
    ]
    scores = _scores(students, job) if job.data.test and job.workers.is_chief else None
    first = next(iter(students.values()))
    return RunResult(
        *(teacher, first, teacher_test, scores, stages, 0.0),
        truncation=job.text.truncation,
        per_language=students,
    )


def shared_languages(data: DistillationData | TaggingCorpus) -> list[str]:
    """The languages of train, in order, which dev and test must have too.

    Args:
        data: The text; test may be empty.

    Raises:
        InputError: Train, dev and test (where there is one) have not the same languages.
    """
    languages = {sentence.language for sentence in data.train}
    for split in ("dev", "test"):
        found = {sentence.language for sentence in getattr(data, split)}
        if found != languages and (found or split == "dev"):
            raise InputError(
                f"D0 trains a student for each language of train ({', '.join(sorted(languages))}); "
                f"{split} has {', '.join(sorted(found)) or 'none'}: give the same languages."
            )
    return sorted(languages)


def _text_of(data: DistillationData, language: str) -> DistillationData:
    def transfer() -> Iterator[TaggedSentence]:
        return (sentence for sentence in data.transfer() if sentence.language == language)

    splits = {
        split: [sentence for sentence in getattr(data, split) if sentence.language == language]
        for split in ("train", "dev", "test")
    }
    return dataclasses.replace(
        data,
        **splits,
        transfer=transfer,
        fingerprint=f"{data.fingerprint} {language}",
        transfer_size=0,
    )


def _scores(students: dict[str, TrainedModel], job: DistillationRun) -> dict[str, Any]:
    sentences = sorted(job.data.test, key=lambda sentence: sentence.language)

    def run(examples: Iterable[EncodedExample]) -> Iterator[dict[str, np.ndarray]]:
        pairs = zip(sentences, examples, strict=True)
        for language, group in itertools.groupby(pairs, key=lambda pair: pair[0].language):
            yield from students[language].inference([example for _, example in group])

    # As the students read text, which may be in pieces of their own.
    task = job.student_task
    return task.evaluate(run, list(task.encode(sentences)), sentences)
