"""Time of several calls, measured side by side."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from xdistil.metrics.cores import usable_cores


@dataclasses.dataclass(frozen=True)
class Latencies:
    """The times of calls that were measured turn by turn.

    Attributes:
        seconds: for each call by name, the seconds of each round. All have the same number of
            rounds, and round `i` of all of them ran within one stretch of time.
    """

    seconds: dict[str, tuple[float, ...]]

    def median_ms(self, name: str) -> float:
        """The median time of a call in milliseconds."""
        return 1e3 * statistics.median(self.seconds[name])

    def speedup(self, slow: str, fast: str) -> float:
        """How many times faster `fast` is than `slow`: the median of the ratios round by round.

        A machine that is shared slows down and recovers over seconds; the two times of one round
        share that, so their ratio is steadier than the ratio of two medians.
        """
        return statistics.median(self.ratios(slow, fast))

    def ratios(self, slow: str, fast: str) -> list[float]:
        """Time of `slow` over time of `fast`, for each round."""
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return [slow_s / fast_s for slow_s, fast_s in pairs]

    def fastest(self, names: list[str]) -> str:
        """The name, out of `names`, with the smallest median time."""
        return min(names, key=self.median_ms)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """For each call `{median_ms, min_ms, max_ms, rounds}`."""
        return {
            name: {
                "median_ms": 1e3 * statistics.median(times),
                "min_ms": 1e3 * min(times),
                "max_ms": 1e3 * max(times),
                "rounds": len(times),
            }
            for name, times in self.seconds.items()
        }


def measure_latency(
    calls: Mapping[str, Callable[[], Any]],
    *,
    repeats: int = 20,
    warm_up: int = 3,
    inner_repeats: Mapping[str, int] | None = None,
    max_seconds: float | None = None,
    settle_seconds: float = 0.0,
) -> Latencies:
    """Time several calls in turns: each round runs every call once, every other round backwards.

    What a call returns is waited for: TensorFlow on a GPU hands back tensors before they are
    computed, so every tensor of the result is copied to the host within the time.

    Args:
        calls: the calls by name. Each takes no arguments.
        repeats: rounds. More when the machine is noisy.
        warm_up: calls of each before the first round; the first one traces and compiles.
        inner_repeats: how often a call runs within one round, by name (default 1); its time is
            the mean. For calls that are much shorter than the others, so that a round gives both
            a fair share of the machine's good and bad moments.
        max_seconds: stop after the round in which this much time (without the warm-up) has gone
            by, but not before 3 rounds. `None`: no limit.
        settle_seconds: pause before each call's turn. Runtimes with threads of their own keep these
            spinning for some milliseconds after a call, at the expense of whoever comes next.

    Returns:
        The `Latencies`.

    Raises:
        ValueError: no call, or no round.

    Example:
        >>> latencies = measure_latency({"a": lambda: sum(range(10)), "b": lambda: 0}, repeats=5)
        >>> len(latencies.seconds["a"])
        5
    """
    if not calls:
        raise ValueError("`calls` must hold at least one call to time.")
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, received {repeats}.")
    inner_repeats = inner_repeats or {}
    for call in calls.values():
        for _ in range(warm_up):
            _wait_for(call())

    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    start = time.perf_counter()
    for round_index in range(repeats):
        # There and back: no call always runs into the cache that the same neighbour left.
        for name in names if round_index % 2 == 0 else reversed(names):
            times = inner_repeats.get(name, 1)
            if settle_seconds:
                time.sleep(settle_seconds)
            began = time.perf_counter()
            for _ in range(times):
                _wait_for(calls[name]())
            seconds[name].append((time.perf_counter() - began) / times)
        late = max_seconds is not None and time.perf_counter() - start > max_seconds
        if late and round_index >= 2:
            break
    return Latencies({name: tuple(times) for name, times in seconds.items()})


def _wait_for(value: Any) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _wait_for(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _wait_for(item)
    elif hasattr(value, "numpy"):
        value.numpy()


def thread_settings() -> dict[str, int | str]:
    """What the times depend on: cores, and the settings that say how many threads run.

    Returns:
        `cores` (that this process may use), TensorFlow's `intra_op_threads` and `inter_op_threads`
        (0 = it chooses), `devices` (the accelerators by name, or `CPU`), and those of
        `OMP_NUM_THREADS` and `TF_ENABLE_ONEDNN_OPTS` that are set.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "") for gpu in gpus]
    settings: dict[str, int | str] = {
        "cores": usable_cores(),
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "devices": ", ".join(name or "GPU" for name in names) or "CPU",
    }
    for name in ("OMP_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS"):
        if name in os.environ:
            settings[name] = os.environ[name]
    return settings


def matmul_gflops(size: int = 1024, *, seconds: float = 1.0) -> float:
    """The rate of the machine's float32 matrix product: what a model's time is to be held against.

    Args:
        size: rows and columns of both square matrices.
        seconds: how long to measure, at least 3 products.

    Returns:
        The best rate seen, in billions of floating-point operations a second.
    """
    import tensorflow as tf

    left = tf.random.stateless_normal((size, size), seed=(0, 1))
    right = tf.random.stateless_normal((size, size), seed=(0, 2))
    latencies = measure_latency(
        {"matmul": lambda: tf.linalg.matmul(left, right)[0, 0]},
        repeats=1000,
        max_seconds=seconds,
    )
    return 2 * size**3 / min(latencies.seconds["matmul"]) / 1e9
