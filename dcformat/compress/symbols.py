"""Where the symbols of a quantized tensor stay: in memory, or aside if its numbers were not there.

A tensor that is read where it lies may be larger than memory, and so may its symbols be.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import numpy.typing as npt

from dcformat.coded import CodedTensor, LazyCoded, Values
from dcformat.model import Array, LazyTensor, Tensor, Window
from dcformat.rounding import Floats
from dcformat.scratch import Scratch

from .reals import floats_of


class Symbols:
    """The symbols of `tensor`, of one NumPy type."""

    def __init__(self, tensor: Tensor, scratch: Scratch, kind: npt.DTypeLike = np.int8) -> None:
        self.tensor = tensor
        self.kind = np.dtype(kind)
        lazy = isinstance(tensor, LazyTensor)
        self.scratch = scratch if lazy else None
        self.array: Array = np.zeros(() if lazy else tensor.shape, self.kind)
        self.place = scratch.reserve(tensor.size * self.kind.itemsize) if lazy else 0

    def floats(self, window: Window) -> Floats:
        """Return the tensor's elements in a window."""
        return floats_of(self.tensor.piece(window), self.tensor.dtype)

    def keep(self, window: Window, symbols: Array) -> None:
        """Keep the symbols of a window; windows come in row-major order."""
        if self.scratch is None:
            self.array[window] = symbols
            return
        shape = self.tensor.shape
        steps = [math.prod(shape[i + 1 :]) * self.kind.itemsize for i in range(len(window))]
        offset = sum((cut.start or 0) * step for cut, step in zip(window, steps, strict=True))
        self.scratch.write(self.place + offset, np.ascontiguousarray(symbols).data)

    def coded(self, values: Values, order: tuple[int, ...] | None) -> CodedTensor:
        """Return the coded tensor of these symbols."""
        name, dtype, shape = self.tensor.name, self.tensor.dtype, self.tensor.shape
        if self.scratch is None:
            return CodedTensor(name, dtype, self.array, values, order, exact=False)
        read = partial(self.scratch.window, self.place, shape, self.kind)
        return LazyCoded(name, dtype, shape, read, values, order, exact=False)
