"""Every flipped bit and every cut is known, or changes nothing: with both decoders (S6).

CRCs are left as they were: this is what happens to files on their way, not what an attacker does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import affine, codebook, forms, raw, sparse, stored, tensors
from handmade import file_of_form
from invalid import whole

import dcformat
from dcformat import decode, native
from dcformat.coded import CodedModel, CodedTensor, Fixed, Pow2
from dcformat.encode import Settings, encode_model
from dcformat.errors import Code, DcfError
from dcformat.ids import Coder, DType, Layout

DECODERS = [decode, native] if native.AVAILABLE else [decode]
HITS = 2000  #: on a larger file
REAL = ("micro_kws_m_fp32", "mnist_cntk")

Read = Code | list[bytes]


def read(decoder: Any, data: bytes) -> Read:
    """Open, check all and decode all: the numbers, or the error."""
    try:
        opened = decoder.open_file(data)
        decoder.check_file(opened)
        return _numbers(decoder, opened)
    except DcfError as error:
        return error.code


def _numbers(decoder: Any, opened: Any) -> list[bytes]:
    count = opened.tensors if decoder is native else len(opened.records)
    return [_tensor(decoder, opened, i) for i in range(count)]


def _tensor(decoder: Any, opened: Any, index: int) -> bytes:
    try:
        return bytes(decoder.decode_numbers(opened, index, check=False).tobytes())
    except DcfError as error:
        if error.code is Code.UNSUPPORTED:
            return b"unsupported"
        raise


def check(data: bytes, damaged: Iterator[bytes]) -> int:
    """Fail where one of `damaged` reads as something else than `data`; return how many."""
    count = 0
    good = [read(decoder, data) for decoder in DECODERS]
    assert all(isinstance(result, list) for result in good)
    for bad in damaged:
        count += 1
        results = [read(decoder, bad) for decoder in DECODERS]
        for result, wanted in zip(results, good, strict=True):
            assert isinstance(result, Code) or result == wanted, count
    return count


def flips(data: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(data)):
        out = bytearray(data)
        out[bit // 8] ^= 1 << bit % 8
        yield bytes(out)


def cuts(data: bytes) -> Iterator[bytes]:
    yield from (data[:size] for size in range(len(data)))


def hits(data: bytes, seed: int, count: int = HITS) -> Iterator[bytes]:
    """Yield flips, cuts and overwritten pieces of a file, by chance."""
    rng = random.Random(seed)
    for number in range(count):
        out = bytearray(data)
        at = rng.randrange(len(data))
        if number % 4 == 0:
            del out[at:]
        elif number % 4 == 1:
            size = rng.randint(1, 64)
            out[at : at + size] = rng.randbytes(len(out[at : at + size]))
        else:
            out[at] ^= 1 << rng.randrange(8)
        yield bytes(out)


def small_tensors() -> Iterator[CodedTensor]:
    """Yield a tensor for each values room and way of saying what numbers mean."""
    rng = np.random.default_rng(5)
    numbers, one = sparse(rng, (4, 6), 0.5), np.asarray(0.5, "<f4")
    scales, small = rng.random(4).astype("<f4"), np.arange(-2, 2).astype(np.int8)
    index = rng.integers(0, 4, (4, 6)).astype(np.uint8)
    yield raw("raw", numbers, DType.INT8)
    yield raw("raw_wide", numbers.astype("<f4"), DType.FLOAT)
    yield CodedTensor("fixed", DType.FLOAT, numbers, Fixed(DType.INT8, np.asarray(5, np.int32)))
    per_row = np.arange(4).astype(np.int32)
    yield CodedTensor("fixed_axis", DType.FLOAT, numbers, Fixed(DType.INT8, per_row, 0))
    yield CodedTensor("pow2", DType.FLOAT, numbers, Pow2(np.asarray(5, np.int32)))
    yield affine("affine", numbers, one, np.asarray(3, np.int32), None)
    yield affine("affine_axis", numbers, scales, per_row, 0, order=(1, 0))
    blocked = rng.random((4, 3)).astype("<f4")
    yield affine("affine_block", numbers, blocked, np.zeros((4, 3), np.int32), 1, block=2)
    yield codebook("codebook", index, DType.FLOAT, np.array([-1, 0, 1, 2], "<f4"))
    yield codebook("codebook_axis", index, DType.INT8, small, scale=scales, axis=0)
    yield codebook("codebook_fraction", index, DType.INT8, small, fraction=3)


@cache
def small_files() -> dict[str, tuple[tuple[str, Layout, Coder], bytes]]:
    """Return (kind, bytes) by name: every tensor in every legal form."""
    found = {}
    for tensor in small_tensors():
        for tag, form in forms(stored(tensor)):
            if form.legal():
                kind = (type(tensor.values).__name__, form.layout, form.coder)
                found[f"{tensor.name}-{tag}"] = (kind, file_of_form(form))
    return found


def one_of_a_kind() -> list[str]:
    first: dict[tuple[str, Layout, Coder], str] = {}
    for name, (kind, _) in small_files().items():
        first.setdefault(kind, name)
    return list(first.values())


@pytest.mark.parametrize("name", one_of_a_kind())
def test_every_flip_and_cut_of_a_file_of_each_kind(name: str) -> None:
    data = small_files()[name][1]
    assert check(data, flips(data)) == 8 * len(data)
    assert check(data, cuts(data)) == len(data)


def test_every_flip_and_cut_of_a_file_with_every_section() -> None:
    data = whole()
    assert check(data, flips(data)) + check(data, cuts(data)) == 9 * len(data)


@pytest.mark.slow
def test_every_flip_and_cut_in_every_form() -> None:
    for _, data in small_files().values():
        check(data, flips(data))
        check(data, cuts(data))


@pytest.mark.parametrize("count", [HITS // 5, pytest.param(HITS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", ["mcu", "host", "smallest"])
def test_hits_on_a_larger_file(target: str, count: int) -> None:
    data = encode_model(CodedModel(tuple(tensors())), Settings(target))
    assert len(data) > 20_000
    assert check(data, hits(data, len(target), count)) == count


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
@pytest.mark.parametrize("name", REAL)
def test_hits_on_a_real_file(data_dir: Path, tmp_path: Path, name: str, preset: str) -> None:
    model = dcformat.read(data_dir / "onnx" / f"{name}.onnx")
    dcformat.save(dcformat.compress(model, preset), tmp_path / "x.dcf")
    data = (tmp_path / "x.dcf").read_bytes()
    assert check(data, hits(data, seed=len(preset))) == HITS
