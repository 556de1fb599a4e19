"""The label set of a task: names in the order of the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from xdistil.data.atomic_files import write_bytes
from xdistil.data.lines import numbered_lines
from xdistil.errors import InputError


class Labels(Sequence[str]):
    """Immutable, ordered label names; the place of a name is its class.

    Behaves as a sequence of strings, compares and hashes by its names.

    Args:
        names: the names, each once, none empty.
        numbered: whether somebody decided on their order, so that files may hold a name's number
            in its place; False where names were found in the data and sorted.

    Raises:
        InputError: no names, a name that is empty, that white space begins or ends or that holds
            a tab or a line break, or one that comes twice.

    Example:

    ```python
    labels = Labels.from_tags(["B-PER", "I-PER", "O", "B-LOC"])
    list(labels)            # ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    labels.index("B-PER")   # 3
    ```
    """

    def __init__(self, names: Iterable[str], numbered: bool = True):
        self.numbered = numbered
        self._names = tuple(names)
        if not self._names:
            raise InputError("no labels: expected at least one label name")
        self._indices: dict[str, int] = {}
        for index, name in enumerate(self._names):
            if not is_name(name):
                raise InputError(
                    f"label {index} is {name!r}: expected a name, without a tab or line break, and "
                    "without a space at either end"
                )
            if name in self._indices:
                raise InputError(f"label {name!r} comes twice: write each label once")
            self._indices[name] = index

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of the classes."""
        return self._names

    def index(self, name: str, *args: int) -> int:
        """The class of a name.

        Raises:
            InputError: `name` is not one of the labels (an `InputError` is a `ValueError`).
        """
        if args:
            return self._names.index(name, *args)
        try:
            return self._indices[name]
        except KeyError:
            raise InputError(
                f"label {name!r} is not one of {', '.join(self._names)}: "
                "correct it or add it to the labels file"
            ) from None

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> Labels:
        """Reads a label file: one label a line, its line number its class. Blank lines are skipped.

        Raises:
            InputError: the file is missing, empty or not UTF-8, or a line is not one new name.
        """
        names: dict[str, int] = {}
        for number, line in numbered_lines(os.fspath(path)):
            name = line.strip()
            if not name:
                continue
            if not is_name(name):
                raise InputError(
                    f"{path}:{number}: {name!r} is no label: expected one a line, of words with "
                    "single spaces between"
                )
            if name in names:
                raise InputError(
                    f"{path}:{number}: label {name!r} was given before in line {names[name]}: "
                    "write each label once"
                )
            names[name] = number
        if not names:
            raise InputError(f"{path}: no label in it: expected one label a line, such as B-PER")
        return cls(names)

    def save(self, path: str | os.PathLike) -> None:
        """Writes one label a line, as `from_file` reads it.

        Raises:
            StorageError: the disk is full, or the folder cannot be written.
        """
        write_bytes(path, "".join(f"{name}\n" for name in self._names).encode("utf-8"))

    @classmethod
    def from_tags(cls, tags: Iterable[str]) -> Labels:
        """The labels that BIO tags need: `O` first, then each type, sorted, `B-` before `I-`.

        A type gets both labels even if the tags show only one of them, so that a small sample of
        the training data does not rule out tags that the rest of the data holds.

        Args:
            tags: tags of any order and number, such as those of `ReadReport.tag_counts`.
        """
        types = {tag[2:] for tag in tags if tag != "O"}
        return cls(["O", *(f"{mark}-{name}" for name in sorted(types) for mark in "BI")])

    @classmethod
    def from_names(cls, names: Iterable[str]) -> Labels:
        """The labels of texts: each name once, sorted; numbers by their value.

        Args:
            names: names of any order and number, such as those of `TextReport.label_counts`.
        """
        names = set(names)
        if all(map(is_number, names)):
            return cls(sorted(names, key=lambda name: (int(name), name)), numbered=False)
        return cls(sorted(names), numbered=False)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index):
        return self._names[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._indices

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self._names == other._names

    def __hash__(self) -> int:
        return hash(self._names)

    def __repr__(self) -> str:
        return f"Labels({list(self._names)!r})"


def is_name(name: str) -> bool:
    """Whether it can be a label: words with single spaces between, such as `World News`."""
    return name != "" and " ".join(name.split()) == name


def is_number(name: str) -> bool:
    """Whether a label is written as a whole number."""
    return re.fullmatch(r"-?[0-9]{1,18}", name) is not None
