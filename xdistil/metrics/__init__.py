"""What a tagger is worth: span scores, size, and time."""

from xdistil.metrics.footprint import (
    bytes_on_disk,
    count_parameters,
    memory_bytes,
    peak_memory_bytes,
)
from xdistil.metrics.latency import Latencies, matmul_gflops, measure_latency, thread_settings
from xdistil.metrics.spans import piece_span_scores, span_scores
from xdistil.metrics.speedup import (
    compile_call,
    compiled_calls,
    random_features,
    random_pair_features,
    speedup_row,
)

__all__ = [
    "Latencies",
    "bytes_on_disk",
    "compile_call",
    "compiled_calls",
    "count_parameters",
    "matmul_gflops",
    "measure_latency",
    "memory_bytes",
    "peak_memory_bytes",
    "piece_span_scores",
    "random_features",
    "random_pair_features",
    "span_scores",
    "speedup_row",
    "thread_settings",
]
