"""Contents of NAMES, HASHES, FIXED and META (spec/DCF.md)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .errors import Code
from .fields import Fields
from .ids import MAX_NAME_BYTES, NO_TENSOR, Meta, Rounding
from .model import Graph, LayerFormat

META_SIZES = {int(Meta.SOURCE_SHA256): 32, int(Meta.CONTENT_ID): 32}
_LAYER = struct.Struct("<IIbBbBbBbBhhB3s")


def write_names(names: Sequence[str]) -> bytes:
    """Return NAMES: length and UTF-8 of each name."""
    encoded = [name.encode() for name in names]
    return b"".join(struct.pack("<H", len(raw)) + raw for raw in encoded)


def parse_names(content: memoryview, count: int) -> tuple[str, ...]:
    """Return the `count` names of NAMES."""
    fields = Fields(content, "section NAMES")
    names = [_name(fields, i) for i in range(count)]
    fields.need(fields.left == 0, "bytes after the last name")
    fields.need(len(set(names)) == count, "two tensors with one name")
    return tuple(names)


def _name(fields: Fields, index: int) -> str:
    size = fields.u16()
    raw = bytes(fields.take(size))
    fields.need(1 <= size <= MAX_NAME_BYTES, f"name {index} of {size} bytes", Code.LIMIT)
    return _utf8(fields, raw)


def _utf8(fields: Fields, raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        fields.need(False, f"not UTF-8 before {fields.pos}")
        raise
    fields.need("\0" not in text, f"NUL in a name before {fields.pos}")
    return text


def write_hashes(names: Sequence[str]) -> bytes:
    """Return HASHES: the CRC-32 of each name."""
    return b"".join(struct.pack("<I", zlib.crc32(name.encode())) for name in names)


def parse_hashes(content: memoryview, count: int) -> tuple[int, ...]:
    """Return the `count` hashes of HASHES."""
    fields = Fields(content, "section HASHES")
    fields.need(len(content) == 4 * count, f"{len(content)} bytes for {count} tensors")
    return tuple(fields.u32() for _ in range(count))


def write_layers(
    layers: Sequence[LayerFormat], index: Mapping[str, int], with_names: bool
) -> bytes:
    """Return FIXED; `index` maps tensor names to record indices."""
    if not layers:
        return b""
    names = [layer.name.encode() if with_names else b"" for layer in layers]
    entries = [_layer_bytes(layer, index) for layer in layers]
    tail = [struct.pack("<H", len(raw)) + raw for raw in names]
    return struct.pack("<I", len(layers)) + b"".join(entries + tail)


def _layer_bytes(layer: LayerFormat, index: Mapping[str, int]) -> bytes:
    return _LAYER.pack(
        NO_TENSOR if layer.weight is None else index[layer.weight],
        NO_TENSOR if layer.bias is None else index[layer.bias],
        layer.input_fraction, layer.input_bits, layer.weight_fraction, layer.weight_bits,
        layer.bias_fraction, layer.bias_bits, layer.output_fraction, layer.output_bits,
        layer.shift, layer.bias_shift, layer.rounding, bytes(3),
    )  # fmt: skip


def parse_layers(content: memoryview, names: Sequence[str]) -> tuple[LayerFormat, ...]:
    """Return the layers of FIXED; `names` are the tensors' names by index."""
    if not len(content):
        return ()
    fields = Fields(content, "section FIXED")
    count = fields.u32()
    fields.need(24 * count <= fields.left, f"{count} layers", Code.TRUNCATED)
    raw = [_LAYER.unpack(fields.take(24)) for _ in range(count)]
    layers = [_layer(fields, row, names) for row in raw]
    texts = [_utf8(fields, bytes(fields.take(fields.u16()))) for _ in range(count)]
    fields.need(fields.left == 0, "bytes after the last name")
    return tuple(replace(layer, name=text) for text, layer in zip(texts, layers, strict=True))


def _layer(fields: Fields, row: tuple[Any, ...], names: Sequence[str]) -> LayerFormat:
    weight, bias, fi, bi, fw, bw, fb, bb, fo, bo, shift, bias_shift, rounding, zero = row
    for index in (weight, bias):
        fields.need(index == NO_TENSOR or index < len(names), f"tensor {index}")
    fields.need((shift, bias_shift) == (fi + fw - fo, fi + fw - fb), "shift")
    fields.need(rounding in set(Rounding), f"rounding rule {rounding}")
    fields.need(zero == bytes(3), "reserved bytes", Code.PADDING)
    first, second = (None if i == NO_TENSOR else names[i] for i in (weight, bias))
    return LayerFormat("", first, second, fi, bi, fw, bw, fb, bb, fo, bo, rounding)


def write_meta(metadata: Mapping[Meta, bytes] | Mapping[int, bytes]) -> bytes:
    """Return META: entries in ascending order of keys."""
    return b"".join(
        struct.pack("<BI", key, len(value)) + value for key, value in sorted(metadata.items())
    )


def write_graph(graph: Graph | None) -> bytes:
    """Return GRAPH: the format, then what the format says."""
    return b"" if graph is None else bytes([graph.format]) + graph.data


def parse_meta(content: memoryview) -> dict[int, bytes]:
    """Return META as a dict; unknown keys are kept."""
    fields = Fields(content, "section META")
    found: dict[int, bytes] = {}
    previous = -1
    while fields.left:
        key = fields.u8()
        fields.need(key > previous, f"key {key} out of order")
        found[key] = bytes(fields.take(fields.u32()))
        size = META_SIZES.get(key, len(found[key]))
        fields.need(len(found[key]) == size, f"key {key} of {len(found[key])} bytes")
        previous = key
    return found
