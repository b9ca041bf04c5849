"""Safetensors files and index files as bytes, right and wrong ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dcformat.ids import BITS, NUMPY, DType
from dcformat.model import Model, Tensor

#: Names in headers by type, written again here: the table of the converters is under test.
NAMES = {
    DType.BOOL: "BOOL",
    DType.UINT8: "U8",
    DType.INT8: "I8",
    DType.UINT16: "U16",
    DType.INT16: "I16",
    DType.UINT32: "U32",
    DType.INT32: "I32",
    DType.UINT64: "U64",
    DType.INT64: "I64",
    DType.FLOAT16: "F16",
    DType.BFLOAT16: "BF16",
    DType.FLOAT: "F32",
    DType.DOUBLE: "F64",
    DType.COMPLEX64: "C64",
    DType.FLOAT8E4M3FN: "F8_E4M3",
    DType.FLOAT8E5M2: "F8_E5M2",
    DType.FLOAT8E4M3FNUZ: "F8_E4M3FNUZ",
    DType.FLOAT8E5M2FNUZ: "F8_E5M2FNUZ",
    DType.FLOAT8E8M0: "F8_E8M0",
    DType.FLOAT4E2M1: "F4",
}
#: Types that the library's first version with all that is asked of it did not know yet.
LATER = {DType.COMPLEX64, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ}


def pack(header: Mapping[str, Any] | bytes, data: bytes = b"") -> bytes:
    """Return a file of a header, as JSON or as it is, and what follows it."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def file_of(
    tensors: Mapping[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None
) -> bytes:
    """Return a file with these tensors: type, shape and bytes."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    start = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = entry(dtype, shape, start, start + len(data))
        start += len(data)
    return pack(header, b"".join(data for *_, data in tensors.values()))


def patterns(dtype: DType, count: int, seed: int = 0) -> bytes:
    """Return `count` elements of any bits, NaN of any payload among them, as a file packs them."""
    rng = np.random.default_rng(seed)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, count, np.uint8).tobytes()
    return rng.integers(0, 256, count * BITS[dtype] // 8, np.uint8).tobytes()


def tensor(name: str, dtype: DType, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return a tensor of any bits, elements of 4 and 2 bits wide."""
    raw = np.frombuffer(patterns(dtype, prod(shape) * (8 // min(8, BITS[dtype])), seed), np.uint8)
    if BITS[dtype] < 8:
        raw = raw[: prod(shape)] & np.uint8((1 << BITS[dtype]) - 1)
        if NUMPY[dtype] == "i1":
            sign = np.uint8(1 << (BITS[dtype] - 1))
            raw = (raw ^ sign) - sign
    return Tensor(name, dtype, np.asarray(raw).view(NUMPY[dtype]).reshape(shape))


def sharded(
    folder: Path, shards: Mapping[str, bytes], weight_map: Mapping[str, str], **metadata: Any
) -> Path:
    """Write shards and an index; return the path of the index."""
    for name, data in shards.items():
        (folder / name).write_bytes(data)
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": metadata, "weight_map": weight_map}))
    return path


def same(mine: Model, theirs: Model) -> bool:
    """Tell whether two models have the same tensors, to the bit and in the same order."""

    def facts(model: Model) -> list[tuple[str, DType, tuple[int, ...], bytes]]:
        return [(t.name, t.dtype, t.shape, t.data.tobytes()) for t in model.tensors]

    return facts(mine) == facts(theirs)
