"""Two decoders, always compared: the same verdict and the same error on any bytes (S1, S4, S6)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import fix_crcs
from hypothesis import given
from hypothesis import strategies as st

from dcformat import decode, native
from dcformat.errors import Code, DcfError
from dcformat.ids import Coder

VECTORS = Path(__file__).parent / "vectors"
SMALL = [p for p in sorted(VECTORS.rglob("*.dcf")) if p.stat().st_size < 3000]

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")


def outcome(decoder: Any, opened: Any, index: int) -> bytes | Code:
    """Return the numbers of a tensor, or the error."""
    try:
        return bytes(decoder.decode_numbers(opened, index).tobytes())
    except DcfError as error:
        return error.code


def opened_by(decoder: Any, data: bytes) -> tuple[Any, Code]:
    try:
        return decoder.open_file(data), Code.OK
    except DcfError as error:
        return None, error.code


def compare(data: bytes) -> Code:
    """Fail where the decoders differ; return the error of opening.

    Tensors with the coder ZSTD are left out: the C core answers UNSUPPORTED for them.
    """
    mine, my_code = opened_by(decode, data)
    theirs, their_code = opened_by(native, data)
    assert my_code == their_code
    for index in range(len(mine.records) if mine else 0):
        record = mine.record(index)
        got = outcome(native, theirs, index)
        if record.head.coder == Coder.ZSTD and not record.unsupported:
            assert got == Code.UNSUPPORTED
        else:
            assert outcome(decode, mine, index) == got
            compare_rows(mine, theirs, index)
    return my_code


def compare_rows(mine: Any, theirs: Any, index: int) -> None:
    """Fail where the decoders differ on some rows of a tensor."""
    rows = mine.record(index).head.rows
    for start, stop in ((0, min(rows, 2)), (rows // 2, rows)):
        assert rows_of(decode, mine, index, start, stop) == rows_of(
            native, theirs, index, start, stop
        )


def rows_of(decoder: Any, opened: Any, index: int, start: int, stop: int) -> bytes | Code:
    try:
        return bytes(decoder.decode_rows(opened, index, start, stop).tobytes())
    except DcfError as error:
        return error.code


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return `data` with one to three bytes changed, or a piece cut out or doubled."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(1, len(out))))
        kind = int(rng.integers(0, 8))
        if kind < 5 and out:
            out[at] = int(rng.choice([0, 1, 2, 127, 128, 255, out[at] ^ 1, int(rng.integers(256))]))
        elif kind == 5:
            out[at : at + 1] = b""
        elif kind == 6:
            out[at:at] = out[at : at + 4]
        elif at + 4 <= len(out):
            struct.pack_into("<I", out, at, int(rng.choice([0, 1, 0xFFFFFFFF, 1 << 31, 65536])))
    return bytes(out)


@pytest.mark.parametrize("path", SMALL, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_decoders_agree_on_a_vector_and_on_its_mutations(path: Path) -> None:
    data = path.read_bytes()
    rng = np.random.default_rng(len(data) + 3)
    compare(data)
    for _ in range(60):
        broken = mutated(data, rng)
        compare(fix_crcs(broken))
        compare(broken)


def test_the_decoders_agree_on_every_cut() -> None:
    data = (VECTORS / "valid" / "hostile_names.dcf").read_bytes()
    for size in range(0, len(data), 7):
        assert compare(data[:size]) in (Code.TRUNCATED,)


@given(st.binary(max_size=400))
def test_the_decoders_agree_on_anything(data: bytes) -> None:
    compare(data)
    compare(fix_crcs(b"\x89DCF\r\n\x1a\n" + bytes([0, 0, 1, 0, 48, 0]) + data))


@pytest.mark.slow
def test_the_decoders_agree_on_many_mutations_of_every_vector() -> None:
    rng = np.random.default_rng(7)
    for path in SMALL:
        data = path.read_bytes()
        for _ in range(1000):
            compare(fix_crcs(mutated(data, rng)))
