"""dcformat: one small, checked file for a trained network.

    m = dcformat.read("model.onnx")
    c = dcformat.compress(m, "int8")
    dcformat.save(c, "model.dcf")
    t = dcformat.load("model.dcf")
    t["conv1.weight"]

The format is defined in `spec/`. Importing this package imports NumPy and zstandard only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import ConvertError, CorruptError, DcfError, LimitError, UnsupportedError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import compress, read, save, verify, write
    from .coded import CodedModel, CodedTensor
    from .expand import expand
    from .file import File, load
    from .model import Model, Tensor

_HOME = {
    "compress": "api",
    "read": "api",
    "save": "api",
    "verify": "api",
    "write": "api",
    "CodedModel": "coded",
    "CodedTensor": "coded",
    "expand": "expand",
    "File": "file",
    "load": "file",
    "Model": "model",
    "Tensor": "model",
}

__all__ = [
    "CodedModel",
    "CodedTensor",
    "ConvertError",
    "CorruptError",
    "DcfError",
    "File",
    "LimitError",
    "Model",
    "Tensor",
    "UnsupportedError",
    "compress",
    "expand",
    "load",
    "read",
    "save",
    "verify",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'dcformat' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
