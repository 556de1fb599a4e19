"""D0: a student for each language, from that language's text alone."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from xdistil.data.corpus import TaggingCorpus
from xdistil.data.examples import TaggedSentence
from xdistil.distillation.run_directory import RunDirectory
from xdistil.distillation.run_settings import DistillationData, RunResult
from xdistil.distillation.runner import DistillationRun
from xdistil.errors import InputError
from xdistil.metrics.spans import span_scores
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
        with RunDirectory.open(path, config, inputs=job.directory.config["inputs"]) as directory:
            before = directory.clock.seconds()
            one = DistillationRun(
                directory,
                _text_of(job.data, language),
                job.settings,
                job.task.encoder,
                teacher=teacher,
            )
            results[language] = one.run()
            for phase, seconds in directory.clock.seconds().items():
                job.directory.clock.add(phase, seconds - before.get(phase, 0.0))
    students = {language: result.student for language, result in results.items()}
    stages = [
        {**stage, "name": f"{language}/{stage['name']}"}
        for language, result in results.items()
        for stage in result.stages
    ]
    scores = _scores(students, job.data) if job.data.test else None
    first = next(iter(students.values()))
    return RunResult(teacher, first, teacher_test, scores, stages, 0.0, per_language=students)


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


def _scores(students: dict[str, TrainedModel], data: DistillationData) -> dict[str, Any]:
    gold, predicted, languages = [], [], []
    for language, student in students.items():
        sentences = [sentence for sentence in data.test if sentence.language == language]
        predicted += student.predict([sentence.words for sentence in sentences])
        gold += [list(sentence.tags or ()) for sentence in sentences]
        languages += [language] * len(sentences)
    return span_scores(gold, predicted, languages)
