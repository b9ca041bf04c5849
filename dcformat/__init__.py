"""dcformat: one small, checked file for a trained network.

    m = dcformat.read("model.onnx")
    c = dcformat.compress(m, "int8")
    dcformat.save(c, "model.dcf")
    t = dcformat.load("model.dcf")
    t["conv1.weight"]

The format is defined in `spec/`. Importing this package imports NumPy and zstandard only.
"""

from __future__ import annotations

# Not one by one when asked for: a module that loads later would replace the function of its name
# (compress, expand, verify).
from .api import compress, from_torch, read, save, verify, write
from .coded import CodedModel, CodedTensor, expand
from .errors import ConvertError, CorruptError, DcfError, LimitError, UnsupportedError
from .file import File, load
from .model import Model, Tensor

__version__ = "0.1.0"

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
    "from_torch",
    "load",
    "read",
    "save",
    "verify",
    "write",
]
