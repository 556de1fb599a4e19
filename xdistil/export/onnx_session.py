"""An ONNX file of ours, open in ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np

from xdistil.data.paths import AnyPath
from xdistil.export.session import Session, damaged, missing_package, not_ours
from xdistil.metrics.cores import usable_cores

# Others compile each new shape anew (TensorRT), or compute in less than float32 (CoreML).
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxSession(Session):
    """What `export_onnx` wrote, as a function of features.

    Args:
        path: the file.
        on_cpu: whether to leave a GPU aside.

    Raises:
        InputError: the file is no ONNX graph of ours, or a damaged one; onnxruntime is missing.
    """

    def __init__(self, path: AnyPath, on_cpu: bool = False):
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise missing_package("onnxruntime", "onnx") from error
        known = onnxruntime.get_available_providers()
        providers = [name for name in _PROVIDERS[on_cpu:] if name in known]
        options = onnxruntime.SessionOptions()
        if usable_cores() < (os.cpu_count() or 1):  # it looks at the whole machine
            options.intra_op_num_threads = usable_cores()
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=providers
            )
        except Exception as error:  # its classes of errors have no common one but this
            raise damaged(path, "an ONNX model", error) from error
        self._inputs = tuple(value.name for value in self._session.get_inputs())
        outputs = {value.name for value in self._session.get_outputs()}
        facts = self._session.get_modelmeta().custom_metadata_map
        if not {"logits", "probabilities"} <= outputs or "labels" not in facts:
            raise not_ours(path)
        self.class_names = tuple(facts["labels"].split("\t"))
        self.num_classes = len(self.class_names)

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: features[name] for name in self._inputs}
        return {"logits": self._session.run(["logits"], given)[0]}
