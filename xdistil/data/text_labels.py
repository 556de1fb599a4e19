"""Checks the label of a text: its name, or the number that stands for it."""

from __future__ import annotations

from xdistil.data.formats import shortened
from xdistil.data.labels import Labels, is_name, is_number
from xdistil.errors import InputError

_MOST_NAMES = 10


class LabelChecker:
    """Checks the labels of one file; each different label is looked at once.

    With `labels` in an order that somebody decided on, a number stands for the label of that index,
    unless the labels are numbers themselves.

    Args:
        path: the file, for the messages.
        labels: the labels allowed, or `None` for every name.
    """

    def __init__(self, path: str, labels: Labels | None):
        self.path = path
        self.labels = labels
        ordered = labels is not None and labels.numbered
        self._counted = ordered and not any(map(is_number, labels))
        self._known: dict[str, str] = {}

    def check(self, written: str, line: int) -> str:
        """Returns the name of a label as it is written in a line.

        Raises:
            InputError: it is no name, or not one of the labels.
        """
        if written not in self._known:
            self._known[written] = self._name_of(written, line)
        return self._known[written]

    def _name_of(self, written: str, line: int) -> str:
        if self.labels is not None and written in self.labels:
            return written
        if self._counted and is_number(written):
            return self._name_at(int(written), line)
        if not is_name(written):
            raise InputError(
                f"{self.path}:{line}: the label {shortened(written)}: expected words with single "
                "spaces between; check the order of the columns, or write the name so"
            )
        if self.labels is not None and is_number(written) and not any(map(is_number, self.labels)):
            raise InputError(
                f"{self.path}:{line}: the label {written}, a number, and nothing says which of "
                f"{self._names()} it stands for: give the labels file (--labels_file)"
            )
        if self.labels is not None:
            raise InputError(
                f"{self.path}:{line}: the label {shortened(written)} is not one of "
                f"{self._names()}: correct it or add it to the labels file"
            )
        return written

    def _name_at(self, number: int, line: int) -> str:
        if not 0 <= number < len(self.labels):
            raise InputError(
                f"{self.path}:{line}: the label {number}, but the labels go from 0 to "
                f"{len(self.labels) - 1}: correct it or add to the labels file"
            )
        return self.labels[number]

    def _names(self) -> str:
        names = ", ".join(self.labels[:_MOST_NAMES])
        more = len(self.labels) - _MOST_NAMES
        return f"{names} and {more} more" if more > 0 else names
