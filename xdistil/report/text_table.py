"""Plain-text tables for a terminal."""

import unicodedata
from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns two spaces apart.

    Args:
        rows: cells, as many in each row; the first row is the header, if there is one.
        left: how many columns, from the first, are text and stand flush left; the others are
            numbers and stand flush right.

    Returns:
        The lines, without spaces at their ends, joined by line breaks.

    Example:
        >>> print(text_table([["", "F1"], ["teacher", "91.86"]]))
                    F1
        teacher  91.86
    """
    widths = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - columns(cell))
            cells.append(cell + gap if i < left else gap + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
