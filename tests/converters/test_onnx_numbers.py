"""Numbers on their way into a file: one tensor at a time, and large ones in pieces."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onnx_models import (
    ENCODINGS,
    every_pattern,
    numbers,
    serialized,
)
from onnx_runs import two

import dcformat
from dcformat.converters import onnx_numbers, read_onnx
from dcformat.converters.onnx_data import encode
from dcformat.converters.write_onnx import WRITER
from dcformat.errors import CorruptError
from dcformat.ids import DType
from dcformat.model import Array, LazyTensor, Model, Tensor, Window


@pytest.mark.parametrize(("dtype", "field"), ENCODINGS)
@pytest.mark.parametrize("limit", [1, 7, 40, 10**6])
def test_pieces_are_the_payload(
    dtype: DType, field: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dcformat.model, "PIECE", limit)
    for dims in [(5, 3, 7), (105,), (1, 105), (105, 1), (1,), ()]:
        elements = np.resize(every_pattern(dtype), dims)
        one = Tensor("t", dtype, elements)
        pieces = list(onnx_numbers.payload(one, field))
        assert b"".join(pieces) == encode(field, dtype, elements)
        assert onnx_numbers.payload_size(one, field) == sum(map(len, pieces))


def lazy(asked: list[Window], model: Model) -> Model:
    """Return `model` with its first tensor made of pieces, which notes what is asked for."""
    first = model.tensors[0]

    def read(window: Window) -> Array:
        asked.append(window)
        return first.data[window].copy()

    made = LazyTensor(first.name, first.dtype, first.shape, read)
    return dataclasses.replace(model, tensors=(made, *model.tensors[1:]))


@pytest.mark.parametrize("external", [False, True])
def test_a_large_tensor_is_asked_for_in_leading_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external: bool
) -> None:
    monkeypatch.setattr(dcformat.model, "PIECE", 60 * 130)
    asked: list[Window] = []
    model = two(tmp_path)
    WRITER.write(lazy(asked, model), tmp_path / "out.onnx", external=external)
    assert asked == [(slice(0, 60),), (slice(60, 120),), (slice(120, 160),)]
    assert serialized(read_onnx.read(tmp_path / "out.onnx")) == serialized(model)


def test_a_piece_of_another_shape_is_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    model = two(tmp_path)
    wrong = LazyTensor("w", DType.FLOAT, (160, 130), lambda _: numbers(160, 129))
    for external in (False, True):
        with pytest.raises(CorruptError, match=r"'w' gave \(160, 129\)"):
            WRITER.write(
                dataclasses.replace(model, tensors=(wrong, *model.tensors[1:])),
                tmp_path / "out.onnx",
                external=external,
            )
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
