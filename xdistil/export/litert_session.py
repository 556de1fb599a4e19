"""A LiteRT file of ours, open."""

from __future__ import annotations

import numpy as np

from xdistil.data.paths import AnyPath
from xdistil.export.session import Session, damaged, missing_package, not_ours
from xdistil.metrics.cores import usable_cores


class LiteRtSession(Session):
    """What `export_litert` wrote, as a function of features.

    Args:
        path: the file.

    Raises:
        InputError: the file is no LiteRT model of ours, or a damaged one; ai-edge-litert is
            missing.
    """

    def __init__(self, path: AnyPath):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise missing_package("ai-edge-litert", "litert") from error
        try:
            interpreter = Interpreter(str(path), num_threads=usable_cores())
            self._run = interpreter.get_signature_runner()
        except (OSError, ValueError, RuntimeError) as error:
            raise damaged(path, "a LiteRT model", error) from error
        self._inputs = tuple(self._run.get_input_details())
        logits = self._run.get_output_details().get("logits")
        if logits is None or "token_ids" not in self._inputs:
            raise not_ours(path)
        self.num_classes = int(logits["shape_signature"][-1])
        self._per_position = len(logits["shape_signature"]) == 3

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: features[name] for name in self._inputs}
        shape = features["token_ids"].shape
        if 0 in shape:  # its operators refuse to compute nothing
            kept = shape if self._per_position else shape[:1]
            return {"logits": np.zeros((*kept, self.num_classes), np.float32)}
        return {"logits": self._run(**given)["logits"]}
