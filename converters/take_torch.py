"""Take a model out of a running program: a torch.nn.Module becomes an ONNX graph and its numbers.

Sister files: torch_export.py (how), dcformat/api.py (from_torch). The module is left as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dcformat.errors import ConvertError
from dcformat.files import scratch_folder
from dcformat.model import Model, Tensor

from . import read_onnx, torch_export


def take(
    module: Any,
    example_inputs: Any,
    *,
    kwargs: dict[str, Any] | None = None,
    dynamic_shapes: Any = None,
    opset: int | None = None,
) -> Model:
    """Return the model of a torch.nn.Module: see dcformat.from_torch."""
    lacking = torch_export.missing()
    if lacking:
        raise ConvertError(f"needs {lacking}, which is not installed: {torch_export.INSTALL}")
    _check_module(module)
    args = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    options = {"kwargs": kwargs, "dynamic_shapes": dynamic_shapes, "opset_version": opset}
    with scratch_folder() as folder, _evaluating(module):
        path = folder / "model.onnx"
        torch_export.write_onnx(module, path, args, **options)
        model = _held(read_onnx.read(path))
    return replace(model, notes=(*model.notes, *torch_export.left_out(model, _first(module))))


def _first(module: Any) -> dict[str, str]:
    """Return the names of parameters and buffers, each with the first one of the same tensor."""
    seen: dict[int, str] = {}
    named = torch_export.parameters(module)
    return {name: seen.setdefault(id(value), name) for name, value in named.items()}


def _check_module(module: Any) -> None:
    import torch  # noqa: PLC0415 - heavy, and not always there

    if not isinstance(module, torch.nn.Module):
        raise ConvertError(f"expected a torch.nn.Module, not {type(module).__name__}")


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put all parts of a module into evaluation, and back into the mode that each was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _held(model: Model) -> Model:
    """Return a model whose numbers are in memory: the file it was read from goes away."""
    tensors = tuple(Tensor(t.name, t.dtype, t.data) for t in model.tensors)
    return replace(model, tensors=tensors, files=())


TAKER = take
