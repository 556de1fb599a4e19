"""A wish to stop, which a stage that trains fulfils when its checkpoint is written."""

import contextlib
from collections.abc import Iterator


class Stopped(Exception):
    """Training has stopped because it was asked to; the same call goes on from there."""


class StopRequest:
    """Between whoever wants training to stop, such as a signal's handler, and the steps."""

    def __init__(self) -> None:
        self.is_made = False
        self._training = 0

    @contextlib.contextmanager
    def heard(self, by: int = 1) -> Iterator[None]:
        """While a stage trains, which looks every few steps whether a request was made.

        Args:
            by: Workers that train. Several would have to write the checkpoint together: they do
                not listen.

        Raises:
            Stopped: A request was made after the last step; what the stage was to write is written.
        """
        self._training += by == 1
        try:
            yield
        finally:
            self._training -= by == 1
            late, self.is_made = self.is_made, False
        if late:
            raise Stopped

    def make(self) -> bool:
        """Asks for a stop in a few steps. False where no stage trains: nobody listens."""
        self.is_made = self._training > 0
        return self.is_made

    def obey(self) -> None:
        """Called when a checkpoint is written.

        Raises:
            Stopped: A request was made.
        """
        if self.is_made:
            raise Stopped


#: Of this process.
STOP = StopRequest()
