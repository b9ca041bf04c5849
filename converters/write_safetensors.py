"""Write .safetensors: the tensors of a model under their names, without the graph.

Format: https://huggingface.co/docs/safetensors. The file is written tensor by tensor, in the
model's order, so that what was read from a safetensors file of the library comes back byte for
byte. Where that order would leave a tensor at an offset that is not a multiple of its elements'
size, larger elements stand first, as the library has it. The header is padded with spaces to a
multiple of 8. Equal models give equal bytes.

Tied weights cannot be said: each name has its numbers, so that equal tensors stay equal.
Elements of 4 bits other than float4 (F4), of 2 bits and complex128 are refused: the format has no
such types. What the source said of itself (`__metadata__`) goes back.

Sister files: read_safetensors.py (the inverse), onnx_numbers.py (numbers in pieces).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dcformat.errors import ConvertError
from dcformat.files import atomic_output
from dcformat.formats import Writer
from dcformat.ids import BITS, Meta
from dcformat.model import Model, Tensor

from .onnx_data import RAW_DATA, stored_bytes
from .onnx_numbers import payload
from .safetensors_types import LENGTH_BYTES, MAX_HEADER, METADATA, NAMES
from .strict_json import parse_texts
from .weights import check_name, shown, without_graph, without_ties


def write(model: Model, path: Path) -> None:
    """Write the tensors of `model`, whole or not at all; one is in memory only in pieces.

    Raises ConvertError naming a tensor whose type or name the format has not.
    """
    path = Path(path)
    try:
        tensors = _in_order(model.tensors)
        header = _header(tensors, _metadata(model))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__
    with atomic_output(path) as stream:
        stream.write(len(header).to_bytes(LENGTH_BYTES, "little"))
        stream.write(header)
        for tensor in tensors:
            for piece in payload(tensor, RAW_DATA):
                stream.write(piece)


def remarks(model: Model) -> tuple[str, ...]:
    """Say what of `model` the file does not tell."""
    return (*without_graph(model), *without_ties(model))


def _size(tensor: Tensor) -> int:
    return stored_bytes(tensor.dtype, tensor.size)


def _in_order(tensors: Sequence[Tensor]) -> list[Tensor]:
    start, aligned = 0, True
    for tensor in tensors:
        aligned = aligned and start * 8 % BITS[tensor.dtype] == 0
        start += _size(tensor)
    return list(tensors) if aligned else sorted(tensors, key=lambda t: -BITS[t.dtype])


def _header(tensors: Iterable[Tensor], metadata: str) -> bytes:
    """Return the header as the library writes it, `metadata` before the tensors."""
    said = [f'"{METADATA}":{metadata}'] if metadata else []
    names: set[str] = set()
    start = 0
    for tensor in tensors:
        _check(tensor, names)
        names.add(tensor.name)
        end = start + _size(tensor)
        said.append(f"{_json(tensor.name)}:{_json(_entry(tensor, start, end))}")
        start = end
    text = ("{" + ",".join(said) + "}").encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ConvertError(f"its header would have {len(text)} bytes; readers take {MAX_HEADER}")
    return text


def _entry(tensor: Tensor, start: int, end: int) -> dict[str, Any]:
    dtype = NAMES[tensor.dtype]
    return {"dtype": dtype, "shape": tensor.shape, "data_offsets": (start, end)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check(tensor: Tensor, names: set[str]) -> None:
    try:
        if tensor.dtype not in NAMES:
            raise ConvertError(f"safetensors has no element type {tensor.dtype.name}")
        if tensor.size * BITS[tensor.dtype] % 8:
            raise ConvertError("its last byte would hold half of an element")
        if check_name(tensor.name) == METADATA:
            raise ConvertError("safetensors keeps this name for itself")
        if tensor.name in names:
            raise ConvertError("another tensor has the same name")
    except ConvertError as error:
        raise error.at(f"tensor {shown(tensor.name)}") from None


def _metadata(model: Model) -> str:
    """Return what the source said of itself as JSON; a .dcf says what it likes."""
    try:
        texts = parse_texts(model.metadata.get(Meta.SOURCE_METADATA, b"{}"))
    except ConvertError as error:
        raise ConvertError(f"SOURCE_METADATA cannot be written: {error.message}") from error
    return _json(texts) if texts else ""


WRITER = Writer("safetensors", (".safetensors",), write, remarks=remarks)
