"""Two decoders, always compared: the same verdict and the same error on any bytes (S1, S4, S6)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from comparing import compare
from handmade import fix_crcs
from hypothesis import given
from hypothesis import strategies as st

from dcformat import native
from dcformat.errors import Code

VECTORS = Path(__file__).parent / "vectors"
SMALL = [p for p in sorted(VECTORS.rglob("*.dcf")) if p.stat().st_size < 3000]

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")


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
