"""An ONNX file of ours, open in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xdistil.errors import InputError

try:
    import onnxruntime
except ImportError as error:
    raise InputError(
        "ONNX: the package onnxruntime is missing; pip install '.[onnx]' brings it"
    ) from error


class OnnxSession:
    """What `export_onnx` wrote, as a function of features.

    Args:
        path: the file.

    Raises:
        InputError: the file is no ONNX graph of ours, or a damaged one.
    """

    def __init__(self, path: Path):
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # its classes of errors have no common one but this
            reason = str(error).strip().splitlines()[0][:200]
            raise InputError(f"{path}: not an ONNX model, or a damaged one ({reason})") from error
        self._inputs = tuple(value.name for value in self._session.get_inputs())
        outputs = {value.name for value in self._session.get_outputs()}
        facts = self._session.get_modelmeta().custom_metadata_map
        if not {"logits", "probabilities"} <= outputs or "labels" not in facts:
            raise InputError(f"{path}: no model that xdistil exported, by its outputs and metadata")
        self.class_names = tuple(facts["labels"].split("\t"))
        self.num_classes = len(self.class_names)

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`logits` of features, int32 `(rows, length)`."""
        given = {name: features[name] for name in self._inputs}
        return {"logits": self._session.run(["logits"], given)[0]}
