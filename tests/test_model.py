"""dcformat/model.py: tensors in memory and tensors read where they lie."""

from __future__ import annotations

import numpy as np

from dcformat.ids import DType
from dcformat.model import Array, LazyTensor, Tensor, Window

DATA = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_a_piece_is_a_window_of_the_data() -> None:
    tensor = Tensor("t", DType.FLOAT, DATA)
    assert tensor.piece((slice(1, 3), slice(0, 2))).tolist() == [[4, 5], [8, 9]]


def test_a_lazy_tensor_reads_what_is_asked_for_each_time() -> None:
    windows: list[Window] = []

    def read(window: Window) -> Array:
        windows.append(window)
        return DATA[window].copy()

    tensor = LazyTensor("t", DType.FLOAT, (3, 4), read)
    assert (tensor.name, tensor.dtype, tensor.shape) == ("t", DType.FLOAT, (3, 4))
    assert "(3, 4)" in repr(tensor)
    assert windows == []
    assert tensor.piece((slice(2, 3),)).tolist() == [[8, 9, 10, 11]]
    assert tensor.data.tolist() == DATA.tolist()
    assert windows == [(slice(2, 3),), ()]
