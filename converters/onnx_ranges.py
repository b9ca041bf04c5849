"""An ONNX model that gives every inner value of its main graph, too: to see what ranges they have.

Sister file: tools/_ranges_run.py (runs it). Inner values are named as onnx_watch.py names them.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from dcformat.errors import ConvertError


def with_inner_values(path: Path) -> tuple[bytes, list[str]]:
    """Return the model with more outputs, and the names of all; external data stays outside."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise ConvertError("not an ONNX model", place=str(path)) from error
    known = [value.name for value in model.graph.output]
    inner = [name for node in model.graph.node for name in node.output if name]
    more = [name for name in dict.fromkeys(inner) if name not in known]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in more)
    return bytes(model.SerializeToString()), [*known, *more]
