"""Progress bars with the time left."""

import sys
from types import TracebackType

from tqdm.auto import tqdm


class Progress:
    """A progress bar on standard error; on a file, a line now and then.

    Args:
        total: Steps until the end; 0 where nobody knows.
        name: What is going on.
    """

    def __init__(self, total: int, name: str):
        quiet = not sys.stderr.isatty()
        self._bar = tqdm(
            total=total or None,
            desc=name,
            mininterval=20.0 if quiet else 0.2,
            maxinterval=60.0 if quiet else 10.0,
            dynamic_ncols=not quiet,
            ncols=100 if quiet else None,
            leave=False,
        )

    def start_at(self, done: int) -> None:
        """Counts what an earlier process did, without taking it for speed."""
        self._bar.initial = done
        self._bar.n = done
        self._bar.last_print_n = done
        self._bar.refresh()

    def advance(self, steps: int = 1, loss: float | None = None) -> None:
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._bar.update(steps)

    def reach(self, done: int) -> None:
        """Moves the bar to `done` steps."""
        self._bar.update(done - self._bar.n)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        tqdm.write(line, file=sys.stderr)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
