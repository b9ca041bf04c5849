"""The numbers that `spec/registry.md` assigns, as Python constants.

A test compares this module and `dcf.h` with the tables of that page; the page is the law.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

MAGIC = b"\x89DCF\r\n\x1a\n"
MAJOR = 0
MINOR = 1


class DType(IntEnum):
    """Types of tensor elements, with ONNX's names and numbers."""

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26


class Layout(IntEnum):
    """Where the stored symbols are."""

    DENSE = 0
    GAP = 1
    RUN = 2


class ValuesId(IntEnum):
    """What number a symbol means."""

    RAW = 0
    FIXED = 1
    AFFINE = 2
    CODEBOOK = 3
    POW2 = 4


class Coder(IntEnum):
    """How symbols are written as bits."""

    PACKED = 0
    HUFFMAN = 1
    ZSTD = 2
    CONTEXT = 3


class Section(IntEnum):
    """Section types, in the order in which they stand in a file."""

    RECORDS = 1
    TABLES = 2
    NAMES = 3
    HASHES = 4
    FIXED = 5
    META = 6
    GRAPH = 7
    PAYLOAD = 8


class SectionFlag(IntFlag):
    """Flags of a section table entry."""

    CRITICAL = 1
    SAFE_TO_COPY = 2


class SectionCodec(IntEnum):
    """How the bytes of a section are stored."""

    STORED = 0
    ZSTD = 1


class Incompat(IntFlag):
    """Header flags that a reader must know to read the file."""

    DRAFT = 1


class RecordFlag(IntFlag):
    """Flags of a tensor record."""

    TIED = 1
    PERMUTED = 2
    BLOCKED = 4
    WIDE = 8


class GapFlag(IntFlag):
    """Flags of `layout_gap`."""

    FILLER_STORES = 1


class ScaleKind(IntEnum):
    """What `values_codebook` multiplies its levels with."""

    NONE = 0
    TENSOR = 1
    AXIS = 2
    FRACTION = 3


class AffineFlag(IntFlag):
    """Flags of `values_affine`."""

    ZERO_POINTS = 1
    BLOCKED = 2


class TableKind(IntEnum):
    """Kinds of entry in the TABLES section."""

    HUFFMAN_NIBBLES = 0
    HUFFMAN_DELTA = 1
    HUFFMAN_FLAT = 2
    CODEBOOK = 3
    CODEBOOK_SORTED = 4


class Meta(IntEnum):
    """Keys of the META section."""

    PRODUCER = 1
    SOURCE_SHA256 = 2
    LICENCE = 3
    RECIPE = 4
    LIBZSTD = 5
    CONTENT_ID = 6
    SOURCE_METADATA = 7
    EVIDENCE = 8


class Prediction(IntEnum):
    """What predicts a vector of a graph."""

    SCALE = 0
    LEAST = 1
    MOST = 2


class GraphFormat(IntEnum):
    """First byte of the GRAPH section: what the rest is."""

    ONNX = 1
    TFLITE = 2
    PREDICTED = 3


class Rounding(IntEnum):
    """Rounding rule of a fixed-point layer."""

    HALF_UP = 0
    HALF_EVEN = 1
    FLOOR = 2


NO_AXIS = 0xFF
NO_TENSOR = 0xFFFFFFFF

MAX_RANK = 8
MAX_SECTIONS = 64
MAX_TENSORS = 1 << 20
MAX_TABLES = 1 << 16
MAX_ELEMENTS = 1 << 40
MAX_NAME_BYTES = 4096
MAX_META_BYTES = 1 << 24
MAX_GRAPH_BYTES = (1 << 31) - 1
MAX_CODE_BITS = 12
MAX_SYMBOLS = 256
MAX_CLASSES = 4
MAX_ALIGN_LOG2 = 12
MAX_ZSTD_WINDOW_LOG2 = 23
MAX_RATIO = 1 << 16
RATIO_SLACK = 16
TAIL_BYTES = 8

#: Bytes that one decoded number takes: 4-bit and 2-bit types are widened to one byte.
WIDTH: dict[DType, int] = {
    DType.FLOAT: 4,
    DType.UINT8: 1,
    DType.INT8: 1,
    DType.UINT16: 2,
    DType.INT16: 2,
    DType.INT32: 4,
    DType.INT64: 8,
    DType.BOOL: 1,
    DType.FLOAT16: 2,
    DType.DOUBLE: 8,
    DType.UINT32: 4,
    DType.UINT64: 8,
    DType.COMPLEX64: 8,
    DType.COMPLEX128: 16,
    DType.BFLOAT16: 2,
    DType.FLOAT8E4M3FN: 1,
    DType.FLOAT8E4M3FNUZ: 1,
    DType.FLOAT8E5M2: 1,
    DType.FLOAT8E5M2FNUZ: 1,
    DType.UINT4: 1,
    DType.INT4: 1,
    DType.FLOAT4E2M1: 1,
    DType.FLOAT8E8M0: 1,
    DType.UINT2: 1,
    DType.INT2: 1,
}

#: Bits of one element as a foreign file packs it; `WIDTH * 8` for all but the small types.
BITS: dict[DType, int] = {d: 8 * w for d, w in WIDTH.items()} | {
    DType.UINT4: 4,
    DType.INT4: 4,
    DType.FLOAT4E2M1: 4,
    DType.UINT2: 2,
    DType.INT2: 2,
}

#: NumPy type of the decoded numbers, little-endian; bit patterns where NumPy has no such type.
NUMPY: dict[DType, str] = {
    DType.FLOAT: "<f4",
    DType.UINT8: "u1",
    DType.INT8: "i1",
    DType.UINT16: "<u2",
    DType.INT16: "<i2",
    DType.INT32: "<i4",
    DType.INT64: "<i8",
    DType.BOOL: "?",
    DType.FLOAT16: "<f2",
    DType.DOUBLE: "<f8",
    DType.UINT32: "<u4",
    DType.UINT64: "<u8",
    DType.COMPLEX64: "<c8",
    DType.COMPLEX128: "<c16",
    DType.BFLOAT16: "<u2",
    DType.FLOAT8E4M3FN: "u1",
    DType.FLOAT8E4M3FNUZ: "u1",
    DType.FLOAT8E5M2: "u1",
    DType.FLOAT8E5M2FNUZ: "u1",
    DType.UINT4: "u1",
    DType.INT4: "i1",
    DType.FLOAT4E2M1: "u1",
    DType.FLOAT8E8M0: "u1",
    DType.UINT2: "u1",
    DType.INT2: "i1",
}
