"""Where the files of a corpus lie: a folder for each language, one folder, or named files."""

import dataclasses
from collections.abc import Mapping, Sequence

from xdistil.data.paths import AnyPath, as_path
from xdistil.data.readers import (
    TAGGED_SUFFIXES,
    expand_files,
    files_of_split,
    split_file,
    split_files,
    subfolders,
)
from xdistil.errors import InputError

SPLITS = ("train", "dev", "test")
#: The files of each split, with their language where the folder tells it.
SplitFiles = Mapping[str, Sequence[tuple[str, str | None]]]


@dataclasses.dataclass(frozen=True)
class CorpusFiles:
    """Where a corpus lies; either `data_dir` or the files.

    Args:
        data_dir: Folder with `<language>/{train,dev,test}.tsv[.gz]`, or with `train`, `dev` and
            `test` themselves; then `labels.tsv` beside them is read if there is one.
        languages: Folders to take; empty = all.
        train: Files of labeled examples, globs too.
        dev: Files of held-out labeled examples.
        test: Files to score on; may be empty.
        transfer: Files of text without labels; may be empty.
        labels: File with a label a line; `None`: labels are found in train.
    """

    data_dir: str | None = None
    languages: Sequence[str] = ()
    train: Sequence[str] = ()
    dev: Sequence[str] = ()
    test: Sequence[str] = ()
    transfer: Sequence[str] = ()
    labels: str | None = None

    def of_split(
        self, split: str, suffixes: Sequence[str] = TAGGED_SUFFIXES
    ) -> list[tuple[str, str | None]]:
        """The files of train, dev or test, each with its language where the folder tells it.

        Args:
            split: One of the three.
            suffixes: Of the files that `data_dir` may hold.
        """
        given = getattr(self, split)
        if self.data_dir and given:
            raise InputError(
                f"--data_dir and --{split}_file contradict each other: give one of the two."
            )
        if not self.data_dir:
            return [(path, None) for path in expand_files(given)] if given else []
        if self._is_flat(suffixes):
            return [(split_file(self.data_dir, split, suffixes), None)]
        return list(split_files(self.data_dir, self.languages, split, suffixes))

    def has_split(self, split: str, suffixes: Sequence[str] = TAGGED_SUFFIXES) -> bool:
        """Whether there is any file of train, dev or test.

        Args:
            split: One of the three.
            suffixes: Of the files that `data_dir` may hold.
        """
        if not self.data_dir or getattr(self, split):
            return bool(getattr(self, split))
        folder = as_path(self.data_dir)
        languages = self.languages or subfolders(folder)
        folders = [folder, *(folder / language for language in languages)]
        return any(files_of_split(one, split, suffixes) for one in folders)

    def labels_file(self, suffixes: Sequence[str] = TAGGED_SUFFIXES) -> str | None:
        """The labels file that was given, or lies beside the splits; `None` without either.

        Args:
            suffixes: Of the files that `data_dir` may hold.
        """
        if self.labels or not self.data_dir or not self._is_flat(suffixes):
            return self.labels
        beside = (as_path(self.data_dir, name) for name in ("labels.tsv", "labels.tsv.gz"))
        return next((str(path) for path in beside if path.is_file()), None)

    def _is_flat(self, suffixes: Sequence[str]) -> bool:
        folder = as_path(self.data_dir)
        if self.languages or not _holds_splits(folder, suffixes):
            return False
        for below in sorted(folder.iterdir()):
            if below.is_dir() and _holds_splits(below, suffixes):
                raise InputError(
                    f"{folder}: train, dev or test lie in it and in {below.name} below it: name "
                    "--languages, or the files by --train_file, --dev_file and --test_file"
                )
        return True


def _holds_splits(folder: AnyPath, suffixes: Sequence[str]) -> bool:
    return any(files_of_split(folder, split, suffixes) for split in SPLITS)


def missing_languages(paths: SplitFiles) -> list[str]:
    """A line if the folders of `data_dir` have not the same splits: a test set alone may be meant
    (zero-shot), a misspelt file name may not.

    Args:
        paths: the files of each split.
    """
    found = {split: {language for _, language in files} for split, files in paths.items()}
    every = set().union(*found.values())
    lacks = {split: sorted(every - found[split]) for split in found}
    if not any(lacks.values()) or None in every:
        return []
    told = "; ".join(f"no {split} in {', '.join(names)}" for split, names in lacks.items() if names)
    return [
        f"not every language has every split: {told}. Each split is read where it is; check the "
        "names of the files, or name --languages"
    ]
