"""What a limit of pieces cut off, for people and for the report of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xdistil.data.piece_arrays import FramedPieces


@dataclass(slots=True)
class TruncationReport:
    """What `seq_len` cut off.

    Args:
        sentences: sentences, texts or pairs seen.
        words: words seen.
        truncated_sentences: sentences that lost at least one piece.
        truncated_words: words of which no piece is left. A tag of theirs is scored as `O`.
        longest: pieces of the longest sentence before truncation, special tokens included.
    """

    sentences: int = 0
    words: int = 0
    truncated_sentences: int = 0
    truncated_words: int = 0
    longest: int = 0

    def add(self, lengths: np.ndarray, framed: FramedPieces) -> None:
        """Counts examples.

        Args:
            lengths: pieces of each example before truncation, special tokens included.
            framed: what was kept of them.
        """
        self.sentences += len(lengths)
        self.words += len(framed.word_positions)
        self.truncated_sentences += int((lengths > framed.sizes).sum())
        self.truncated_words += framed.lost_words
        self.longest = max(self.longest, int(lengths.max()))

    def warnings(
        self, seq_len: int, noun: str = "sentences", consequence: str = "count as O"
    ) -> list[str]:
        """One line for people if anything was cut, else nothing.

        Args:
            seq_len: the encoder's.
            noun: what the examples are, such as `"texts"` or `"pairs"`.
            consequence: what becomes of words that were cut off, such as `"are not read"`.
        """
        if not self.truncated_sentences:
            return []
        return [
            f"{self.truncated_sentences} of {self.sentences} {noun} are longer than "
            f"{seq_len} pieces (the longest: {self.longest}); {self.truncated_words} of "
            f"{self.words} words were cut off and {consequence}"
        ]
