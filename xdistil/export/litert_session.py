"""A LiteRT file of ours, open."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from xdistil.errors import InputError

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError as error:
    raise InputError(
        "LiteRT: the package ai-edge-litert is missing; pip install '.[litert]' brings it"
    ) from error


class LiteRtSession:
    """What `export_litert` wrote, as a function of features.

    Args:
        path: the file.

    Raises:
        InputError: the file is no LiteRT model of ours, or a damaged one.
    """

    #: A LiteRT file does not name its classes.
    class_names = None

    def __init__(self, path: Path):
        try:
            interpreter = Interpreter(str(path), num_threads=os.cpu_count())
            self._run = interpreter.get_signature_runner()
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise InputError(f"{path}: not a LiteRT model, or a damaged one ({reason})") from error
        self._inputs = tuple(self._run.get_input_details())
        logits = self._run.get_output_details().get("logits")
        if logits is None or "token_ids" not in self._inputs:
            raise InputError(f"{path}: no model that xdistil exported, by its signature")
        self.num_classes = int(logits["shape_signature"][-1])

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`logits` of features, int32 `(rows, length)`."""
        given = {name: features[name] for name in self._inputs}
        return {"logits": self._run(**given)["logits"]}
