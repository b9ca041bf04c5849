"""Write .npz: all tensors as NumPy arrays, without the graph.

Read it back with `arrays = numpy.load(path)`; `arrays[member_name(name)]` is the tensor `name`, and
`tensor_name(key)` the name behind a key. Keys are names in which `%`, `/`, `\\`, `:*?"<>|`, control
characters, dots at the start or after a dot, and dots or spaces at the end are written as `%` and
two hexadecimal digits for each byte of UTF-8, so that a key is a safe file name; where it would be
longer than file systems take, a `/` is put in, which stands in a key for no other reason; the empty
name is `%`.
Types that NumPy lacks are bit patterns: bfloat16 as uint16, float8 as uint8; elements of 4 and
2 bits take a byte each (int8 where signed). The key does not tell; the .dcf and the .onnx do.
Equal models give equal bytes: members are in the order of the tensors, stored, dated 1980-01-01.

Spec: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
Sister file: write_onnx.py.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from dcformat.errors import ConvertError
from dcformat.files import atomic_output
from dcformat.formats import Writer
from dcformat.ids import NUMPY
from dcformat.model import Model, Tensor

from .onnx_numbers import flat_pieces
from .weights import without_graph

_PART = 240  # bytes; file systems take 255, and .npy is to follow
_MAX_MEMBER = 65000  # a zip member's name has a length of 16 bits
_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff]|(?:^|(?<=\.))\.|[. ]\Z')
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def member_name(name: str) -> str:
    """Return the key under which the tensor `name` is stored; different names, different keys."""
    parts, size = [""], 0
    for char in _UNSAFE.sub(_escape, name):
        size += len(char.encode("utf-8"))
        if size > _PART:
            parts.append("")
            size = len(char.encode("utf-8"))
        parts[-1] += char
    return "/".join(_UNSAFE_ENDS.sub(_escape, part) for part in parts) or "%"


def tensor_name(key: str) -> str:
    """Return the name that `member_name` gave `key` for."""
    if key == "%":
        return ""
    raw = key.replace("/", "").encode("utf-8")
    return _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), raw).decode("utf-8", "surrogatepass")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


#: A part that begins or ends with a dot or a space where a long name was split.
_UNSAFE_ENDS = re.compile(r"^\.|[. ]\Z")


def write(model: Model, path: Path) -> None:
    """Write the tensors of `model`, each in pieces; the graph is left out.

    Raises ConvertError where a name is too long for a zip member or the file cannot be written.
    """
    with atomic_output(path) as stream, zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        for tensor in model.tensors:
            _add(archive, tensor, str(path))


def _add(archive: zipfile.ZipFile, tensor: Tensor, path: str) -> None:
    key = member_name(tensor.name)
    if len(key.encode("utf-8")) > _MAX_MEMBER:
        raise ConvertError("a tensor's name is too long for a .npz", place=path)
    info = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
    info.create_system = 3  # as on Unix, wherever this runs
    info.external_attr = 0o644 << 16  # a plain file anyone may read
    kind = np.dtype(NUMPY[tensor.dtype])
    large = tensor.size * kind.itemsize >= 1 << 30
    with archive.open(info, "w", force_zip64=large) as member:
        said = {"descr": kind.str, "fortran_order": False, "shape": tensor.shape}
        np.lib.format.write_array_header_1_0(member, said)
        for piece in flat_pieces(tensor):
            member.write(piece.data)


WRITER = Writer("npz", (".npz",), write, remarks=without_graph)
