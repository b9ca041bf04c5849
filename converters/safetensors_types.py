"""Element types of safetensors files, and the limits of their headers.

Format: https://huggingface.co/docs/safetensors. Sister files: read_safetensors.py,
write_safetensors.py.
"""

from __future__ import annotations

from dcformat.ids import DType

#: Names in the header; a .dcf has no elements of 6 bits (F6_E2M3, F6_E3M2).
DTYPES = {
    "BOOL": DType.BOOL,
    "U8": DType.UINT8,
    "I8": DType.INT8,
    "U16": DType.UINT16,
    "I16": DType.INT16,
    "U32": DType.UINT32,
    "I32": DType.INT32,
    "U64": DType.UINT64,
    "I64": DType.INT64,
    "F16": DType.FLOAT16,
    "BF16": DType.BFLOAT16,
    "F32": DType.FLOAT,
    "F64": DType.DOUBLE,
    "C64": DType.COMPLEX64,
    "F8_E4M3": DType.FLOAT8E4M3FN,
    "F8_E5M2": DType.FLOAT8E5M2,
    "F8_E4M3FNUZ": DType.FLOAT8E4M3FNUZ,
    "F8_E5M2FNUZ": DType.FLOAT8E5M2FNUZ,
    "F8_E8M0": DType.FLOAT8E8M0,
    "F4": DType.FLOAT4E2M1,  # two in a byte, the first in its low bits; shapes count elements
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

LENGTH_BYTES = 8  #: a file begins with the length of its header, u64
MAX_HEADER = 100_000_000  #: bytes of a header; readers refuse longer ones
METADATA = "__metadata__"  #: the key of the header that names no tensor
