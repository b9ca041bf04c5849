"""The rooms: three choices, in a fixed order, of how a tensor becomes bits.

The registry below is explicit: a room is added here, in spec/registry.md, and with its stem in
spec/encodings, dcformat/c, tests/encodings and tests/vectors.
"""

from __future__ import annotations

from types import ModuleType

from ..ids import Coder, Layout, ValuesId
from . import (
    coder_context,
    coder_huffman,
    coder_packed,
    coder_zstd,
    layout_dense,
    layout_gap,
    layout_run,
    values_affine,
    values_codebook,
    values_fixed,
    values_pow2,
    values_raw,
)

LAYOUTS: dict[int, ModuleType] = {
    Layout.DENSE: layout_dense,
    Layout.GAP: layout_gap,
    Layout.RUN: layout_run,
}
VALUES: dict[int, ModuleType] = {
    ValuesId.RAW: values_raw,
    ValuesId.FIXED: values_fixed,
    ValuesId.AFFINE: values_affine,
    ValuesId.CODEBOOK: values_codebook,
    ValuesId.POW2: values_pow2,
}
CODERS: dict[int, ModuleType] = {
    Coder.PACKED: coder_packed,
    Coder.HUFFMAN: coder_huffman,
    Coder.ZSTD: coder_zstd,
    Coder.CONTEXT: coder_context,
}
LEGAL: frozenset[tuple[Layout, Coder]] = frozenset(
    {
        (Layout.DENSE, Coder.PACKED),
        (Layout.DENSE, Coder.HUFFMAN),
        (Layout.DENSE, Coder.ZSTD),
        (Layout.DENSE, Coder.CONTEXT),
        (Layout.GAP, Coder.PACKED),
        (Layout.GAP, Coder.HUFFMAN),
        (Layout.RUN, Coder.HUFFMAN),
    }
)
