"""Models for use: SavedModel, ONNX and LiteRT, and one interface over every task and runtime.

Names are loaded on first use, so that serving a SavedModel that takes text does not load
Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xdistil.export.classifier_saved_model import export_classifier as export_classifier
    from xdistil.export.hub_checkpoint import export_hub as export_hub
    from xdistil.export.ids_saved_model import export_ids as export_ids
    from xdistil.export.litert_export import export_litert as export_litert
    from xdistil.export.onnx_export import export_onnx as export_onnx
    from xdistil.export.predictor import load_predictor as load_predictor
    from xdistil.export.saved_model import export_saved_model as export_saved_model
    from xdistil.export.tagger_saved_model import export_tagger as export_tagger

_HOME = {
    "export_classifier": "classifier_saved_model",
    "export_hub": "hub_checkpoint",
    "export_ids": "ids_saved_model",
    "export_litert": "litert_export",
    "export_onnx": "onnx_export",
    "export_saved_model": "saved_model",
    "export_tagger": "tagger_saved_model",
    "load_predictor": "predictor",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
