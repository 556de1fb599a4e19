"""The processes that train one model together, and what they agree on."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from xdistil.data.atomic_files import sha256_of_file
from xdistil.data.paths import AnyPath
from xdistil.errors import InputError

Result = TypeVar("Result")
# A file that one machine wrote may show on another some seconds later (NFS keeps attributes).
_SECONDS_TO_SHOW = 60.0


@dataclasses.dataclass(frozen=True)
class Workers:
    """The workers of `tf.distribute.MultiWorkerMirroredStrategy`, this one among them.

    All of them run the same program, and take part in each of the calls below in the same order.
    Elsewhere there is one worker, the chief, and nobody to wait for.

    Args:
        index: This worker; 0 is the chief, who alone writes checkpoints and reports.
        count: How many there are.

    Example:

    ```python
    workers = Workers.current()
    score = workers.agree(float(evaluate()))  # the chief's: all stop at the same epoch
    ```
    """

    index: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> "Workers":
        """The workers of the strategy in whose scope this is called."""
        resolver = getattr(tf.distribute.get_strategy(), "cluster_resolver", None)
        cluster = resolver.cluster_spec() if resolver is not None else None
        if not cluster:
            return cls()
        tasks = [
            (kind, task)
            for kind in ("chief", "worker")
            if kind in cluster.jobs
            for task in cluster.task_indices(kind)
        ]
        return cls(tasks.index((resolver.task_type, resolver.task_id)), len(tasks))

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def agree(self, value: float) -> float:
        """The chief's value, in all workers."""
        if self.count == 1:
            return value
        # Strings of bits, not sums of numbers: NaN and infinity arrive as they are.
        bits = tf.bitcast(tf.constant(value, tf.float64), tf.int64)
        return float(tf.bitcast(_from_first_replica(bits), tf.float64).numpy())

    def agree_that(self, condition: bool) -> bool:
        """Whether it holds for the chief."""
        return bool(self.agree(float(condition)))

    def wait(self) -> None:
        """Until all workers are here."""
        self.agree(0.0)

    def chief_first(self, function: Callable[[], Result], written: AnyPath | None = None) -> Result:
        """Calls the function in the chief, then in the others.

        Args:
            function: What is called.
            written: A file that it leaves in the chief; the others wait until they see it.

        Raises:
            InputError: In the others, where it raised in the chief, or the file does not show.
        """
        if self.is_chief:
            try:
                result = function()
            except Exception:
                self.agree(0.0)
                raise
            self.agree(1.0)
            if written is not None:
                self.wait_for_file(written)
            return result
        if not self.agree(0.0):
            raise InputError("the chief, worker 0, has ended with an error; its log says which")
        if written is not None:
            self.wait_for_file(written)
        return function()

    def in_turn(self, function: Callable[[], Result]) -> Result:
        """Calls the function in one worker after the other, the chief first.

        Raises:
            InputError: In the others, where it raised in the chief.
        """
        if self.is_chief:
            result = self.chief_first(function)
        else:
            self.in_chief(function)
        for turn in range(1, self.count):
            if turn == self.index:
                result = function()
            self.wait()
        return result

    def in_chief(self, function: Callable[[], Any]) -> None:
        """Calls the function in the chief; the others wait for it.

        Raises:
            InputError: In the others, where it raised in the chief.
        """
        self.chief_first(function if self.is_chief else lambda: None)

    def wait_for(self, is_there: Callable[[], bool], what: object) -> None:
        """Until something that the chief has written shows here too.

        Raises:
            InputError: It does not.
        """
        until = time.monotonic() + _SECONDS_TO_SHOW
        while not is_there():
            if time.monotonic() > until:
                raise InputError(
                    f"{what}: worker {self.index} does not see what the chief has written; put the "
                    "run directory where all workers share it"
                )
            time.sleep(0.2)

    def wait_for_file(self, path: AnyPath) -> None:
        """Until this worker sees a file as the chief sees it, and not what was there before.

        Raises:
            InputError: It does not.
        """
        if self.count == 1:
            return
        wanted = self.agree(_digest(path) if self.is_chief else 0.0)
        self.wait_for(lambda: path.is_file() and _digest(path) == wanted, path)


def _digest(path: AnyPath) -> float:
    # As much of it as a float64 holds.
    return float(int(sha256_of_file(path)[:12], 16))


def _from_first_replica(value: tf.Tensor) -> tf.Tensor:
    strategy = tf.distribute.get_strategy()
    return strategy.experimental_local_results(_summing(strategy)(value))[0]


@functools.lru_cache(maxsize=1)
def _summing(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], Any]:
    def of_replica(value: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        own = tf.equal(context.replica_id_in_sync_group, 0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(own, value, 0))

    return tf.function(lambda value: strategy.run(of_replica, (value,)), autograph=False)
