"""Read .pt2, the archives of torch.export.save: weights always, the graph where PyTorch is there.

The weights are read without PyTorch (pt2_archive.py). PyTorch makes the ONNX graph of the program
(pt2_graph.py); where it is not installed, cannot, or is not let, the model has no graph, and its
first note says why.

Spec: spec/SECURITY.md (S3 to S6).    Sister: read_torch.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.model import Model, Source

from . import read_torch, torch_export
from .onnx_files import FileBytes, look_at
from .pt2_archive import Contents, contents
from .pt2_graph import Parts, with_graph
from .read_torch import Maker
from .weights import shown

_ZIP = b"PK\x03\x04"


def accepts(head: bytes) -> bool:
    """Tell whether a file that begins with `head` can be an archive."""
    return head.startswith(_ZIP)


def read(path: Path) -> Model:
    """Return the model in the file `path`; large tensors are read when they are asked for.

    Raises ConvertError, in one line, where the archive is damaged, is none of torch.export, or
    holds objects that only running code could read.
    """
    try:
        return _read(Path(path))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _read(path: Path) -> Model:
    try:
        file = look_at(path, "the file")
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error
    with file.open() as stream:
        source = FileBytes(stream, file.size)
        if not accepts(source[:4]):
            raise ConvertError("not an archive of torch.export: it is no zip archive")
        found = contents(source, file)
        maker = Maker(file, str(path), found.places, False)
        weights = tuple(maker.tensors(found.weights))
        constants = tuple(maker.tensors(found.constants))
        origin = Source("pt2", file.size, source.digest())
    _check_names(found)
    model = _model(Parts(found.program, weights, constants, maker.ties))
    return replace(model, source=origin)


def _check_names(found: Contents) -> None:
    seen: set[str] = set()
    for name, _ in (*found.weights, *found.constants):
        if name in seen:
            raise ConvertError(f"tensor {shown(name)} is there twice")
        seen.add(name)


def _model(parts: Parts) -> Model:
    everything = (*parts.weights, *parts.constants)
    try:
        model = with_graph(parts)
    except ConvertError as reason:
        return Model(everything, notes=(f"no graph: {reason}",), ties=parts.ties)
    first = {tensor.name: parts.ties.get(tensor.name, tensor.name) for tensor in everything}
    return replace(model, notes=(*model.notes, *torch_export.left_out(model, first)))


READER = Reader("pt2", (".pt2",), accepts, read, read_torch.explain)
