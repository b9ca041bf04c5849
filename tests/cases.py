"""Named coded tensors that between them use every room: vectors and tests share them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dcformat.coded import Affine, Codebook, CodedTensor, Fixed, Pow2, Raw, Values
from dcformat.encodings.coder_context import Context
from dcformat.encodings.layout_gap import Gap
from dcformat.encodings.layout_run import Run
from dcformat.forms import Form, block_counts, huffman_form, packed_form, zstd_form
from dcformat.forms_context import context_form
from dcformat.ids import NUMPY, WIDTH, DType, Layout
from dcformat.stored import Stored, store
from dcformat.tables import tables_of
from dcformat.walk import Walk

SCALED = (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE)


def bits(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """Return any bit patterns of a type: NaN payloads and -0.0 among them."""
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype("?")
    low, high = {
        DType.INT4: (-8, 8), DType.UINT4: (0, 16), DType.FLOAT4E2M1: (0, 16),
        DType.INT2: (-2, 2), DType.UINT2: (0, 4),
    }.get(dtype, (0, 256))  # fmt: skip
    if high < 256:
        return rng.integers(low, high, shape).astype(NUMPY[dtype])
    raw = rng.integers(0, 256, (*shape, WIDTH[dtype])).astype(np.uint8)
    return raw.view(NUMPY[dtype]).reshape(shape)


def raw(name: str, data: np.ndarray, dtype: DType, **more: object) -> CodedTensor:
    """Return an exact tensor."""
    return CodedTensor(name, dtype, data, Raw(), **more)  # type: ignore[arg-type]


def sparse(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    """Return int8 numbers, `share` of them zero."""
    numbers = np.clip(np.round(rng.standard_normal(shape) * 20), -120, 120).astype(np.int8)
    return np.where(rng.random(shape) < share, 0, numbers).astype(np.int8)


def tensors() -> Iterator[CodedTensor]:
    """Yield tensors of every values room, in shapes and types that tend to break things."""
    rng = np.random.default_rng(20260101)
    for dtype in DType:
        yield raw(f"raw_{dtype.name.lower()}", bits(rng, dtype, (5, 7)), dtype)
    yield raw("scalar", np.asarray(3, "<f4"), DType.FLOAT)
    yield raw("empty", np.zeros((0, 4), "<f4"), DType.FLOAT)
    yield raw("empty_int8", np.zeros((3, 0), np.int8), DType.INT8)
    yield raw("all_equal", np.full((9, 9), -5, np.int8), DType.INT8)
    yield raw("all_zero", np.zeros((40, 50), "<f4"), DType.FLOAT)
    yield raw("eight_dims", sparse(rng, (2, 1, 3, 1, 2, 2, 1, 2), 0.4), DType.INT8)
    yield raw("rows_of_one", sparse(rng, (300, 1), 0.5), DType.INT8)
    yield raw("pruned_float", np.where(rng.random((30, 40)) < 0.8, np.float32(0),
              rng.standard_normal((30, 40), np.float32)).astype("<f4"), DType.FLOAT)  # fmt: skip
    skew = (40 * rng.random(4000) ** 6).astype(np.uint8).reshape(40, 100)
    yield raw("skewed", skew, DType.UINT8)
    far = np.where(np.arange(4000) % 1300 == 1299, 7, 0).astype(np.int8)
    yield raw("far_apart", far, DType.INT8)
    yield raw("negative_zero", np.array([0.0, -0.0, 0.0, -0.0] * 9, "<f4"), DType.FLOAT)
    conv = sparse(rng, (16, 8, 3, 3), 0.6)
    scale = rng.random(16).astype("<f4")
    yield affine("affine_axis", conv, scale, np.zeros(16, np.int32), 0, order=(0, 2, 3, 1))
    points = rng.integers(-9, 9, 8).astype(np.int32)
    yield affine("affine_points", conv, rng.random(8).astype("<f4"), points, 1, order=(0, 2, 3, 1))
    one = np.asarray(0.25, "<f4")
    yield affine("affine_tensor", conv, one, np.asarray(-3, np.int32), None)
    points = rng.integers(-9, 9, (16, 4)).astype(np.int32)
    yield affine("affine_block_points", conv[:, :, 0, 0], rng.random((16, 4)).astype("<f4"),
                 points, 1, block=2)  # fmt: skip
    blocked = rng.random((16, 4)).astype("<f4")
    zero = np.zeros((16, 4), np.int32)
    yield affine("affine_block", conv[:, :, 0, 0], blocked, zero, 1, block=2, order=(1, 0))
    wide = rng.integers(-3000, 3000, (20, 30)).astype("<i2")
    values = Affine(DType.INT16, one, np.asarray(0, np.int32))
    yield CodedTensor("affine_int16", DType.FLOAT16, wide, values)
    fraction = np.asarray(5, np.int32)
    yield CodedTensor("fixed", DType.FLOAT, conv, Fixed(DType.INT8, fraction))
    per_axis = np.arange(-8, 8).astype(np.int32)
    yield CodedTensor("fixed_axis", DType.DOUBLE, conv, Fixed(DType.INT8, per_axis, 0))
    extreme = np.array([-128, 127] * 8, np.int32)
    yield CodedTensor("fixed_extreme", DType.FLOAT, conv, Fixed(DType.INT8, extreme, 0))
    yield CodedTensor("fixed_int16", DType.BFLOAT16, wide, Fixed(DType.INT16, fraction))
    shifts = np.clip(conv, -15, 15)
    yield CodedTensor("pow2", DType.FLOAT, shifts, Pow2(np.asarray(9, np.int32)))
    yield CodedTensor("pow2_axis", DType.FLOAT16, shifts, Pow2(per_axis, 0))
    yield CodedTensor("pow2_extreme", DType.FLOAT, conv, Pow2(extreme, 0))
    index = (16 * rng.random((50, 60)) ** 2).astype(np.uint8)
    levels = np.sort(rng.standard_normal(16).astype("<f4"))
    yield codebook("codebook", index, DType.FLOAT, levels)
    small = np.arange(-8, 8).astype(np.int8)
    yield codebook("codebook_scale", index, DType.INT8, small, scale=one)
    scales = rng.random(60).astype("<f4")
    yield codebook("codebook_axis", index, DType.INT8, small, scale=scales, axis=1)
    yield codebook("codebook_fraction", index, DType.INT16, small.astype("<i2"), fraction=-4)
    ternary = np.array([-1, 0, 1], np.int8)
    yield codebook("ternary", index % 3, DType.INT8, ternary, scale=one)
    yield codebook("one_level", np.zeros((6, 6), np.uint8), DType.FLOAT, levels[:1])


def affine(
    name: str,
    numbers: np.ndarray,
    scale: np.ndarray,
    points: np.ndarray,
    axis: int | None,
    block: int = 0,
    order: tuple[int, ...] | None = None,
) -> CodedTensor:
    """Return an int8 tensor of dtype FLOAT with scales."""
    values = Affine(DType.INT8, scale, points, axis, block)
    return CodedTensor(name, DType.FLOAT, np.ascontiguousarray(numbers), values, order)


def codebook(
    name: str, index: np.ndarray, level: DType, levels: np.ndarray, **meaning: object
) -> CodedTensor:
    """Return a tensor of dtype FLOAT with a codebook."""
    values: Values = Codebook(level, levels, **meaning)  # type: ignore[arg-type]
    return CodedTensor(name, DType.FLOAT, index.astype(np.uint8), values)


def forms(stored: Stored) -> Iterator[tuple[str, Form]]:
    """Yield the tensor in every legal combination, in one block and in several."""
    rows = stored.rows
    yield "dense_packed", packed_form(stored, Layout.DENSE, None, rows)
    if not stored.elements:
        return
    narrow = stored.plan.width == 1
    background = 0
    if narrow:
        background = int(np.bincount(stored.read(0, rows)[:, 0]).argmax())
    for cut in sorted({rows, -(-rows // 3), 1}):
        tag = f"_{-(-rows // cut)}"
        yield "dense_huffman" + tag, huffman_form(stored, Layout.DENSE, None, cut, None)
        if narrow:
            axes = {1: 7, rows: 1}.get(cut, 2)
            yield "dense_context" + tag, context_form(stored, Context(background, axes), cut)
        yield "dense_zstd" + tag, zstd_form(stored, cut)
        for highest, stores in ((255, False), (3, False), (7, True)):
            gap = Gap(highest, background, stores)
            kind = f"gap{highest}{'f' if stores else ''}"
            yield f"{kind}_packed{tag}", packed_form(stored, Layout.GAP, gap, cut)
            yield f"{kind}_huffman{tag}", huffman_form(stored, Layout.GAP, gap, cut, None)
        if cut == 1 and rows >= 4:
            yield "classes" + tag, in_classes(stored, rows)
        if narrow and stored.plan.alphabets[0] <= 254:
            run = Run(background)
            yield "run_huffman" + tag, huffman_form(stored, Layout.RUN, run, cut, None)


def in_classes(stored: Stored, rows: int) -> Form:
    """Return dense Huffman blocks of one row that take turns between three table classes."""
    classes = (np.arange(rows) % 3).astype(np.uint8)
    blocks = block_counts(stored, Walk(Layout.DENSE, None, stored.plan.alphabets), 1)
    sums = [blocks[classes == c].sum(axis=0, dtype=np.int64).reshape(-1, 256) for c in range(3)]
    tables = tuple(table for row in sums for table in tables_of(row))
    return huffman_form(stored, Layout.DENSE, None, 1, tables, classes)


def stored(tensor: CodedTensor) -> Stored:
    """Return a tensor in kernel order."""
    return store(tensor, kernel_order=True)
