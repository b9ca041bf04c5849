"""Where the symbols of a quantized tensor stay: in memory, or aside if its numbers were not there.

A tensor that is read where it lies may be larger than memory, and so may its symbols be.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dcformat.coded import CodedTensor, LazyCoded, Values
from dcformat.model import Array, LazyTensor, Tensor, Window
from dcformat.scratch import Scratch

from .reals import F64, reals_of

Bytes = npt.NDArray[np.int8] | npt.NDArray[np.uint8]


class Symbols:
    """The symbols of `tensor`, one byte each; what is put aside has axis `first` in front."""

    def __init__(
        self, tensor: Tensor, scratch: Scratch, first: int | None = None, signed: bool = True
    ) -> None:
        self.tensor = tensor
        self.kind = np.dtype(np.int8 if signed else np.uint8)
        self.first = first or 0
        shape = tensor.shape
        lazy = isinstance(tensor, LazyTensor)
        self.scratch = scratch if lazy else None
        self.array: Array = np.zeros(() if lazy else shape, self.kind)
        self.place = scratch.reserve(tensor.size) if lazy else 0
        self.shape = (*shape[self.first :][:1], *shape[: self.first], *shape[self.first + 1 :])

    def reals(self, window: Window) -> F64:
        """Return the tensor's elements in a window as float64."""
        return reals_of(self.tensor.piece(window), self.tensor.dtype)

    def keep(self, window: Window, symbols: Bytes) -> None:
        """Keep the symbols of a window that is cut along `first`, or in row-major order."""
        if self.scratch is None:
            self.array[window] = symbols
            return
        starts = [cut.start or 0 for cut in self._moved(window)]
        steps = [math.prod(self.shape[i + 1 :]) for i in range(len(starts))]
        place = self.place + sum(a * b for a, b in zip(starts, steps, strict=True))
        self.scratch.write(place, np.ascontiguousarray(np.moveaxis(symbols, self.first, 0)).data)

    def coded(self, values: Values, order: tuple[int, ...] | None) -> CodedTensor:
        """Return the coded tensor of these symbols."""
        name, dtype = self.tensor.name, self.tensor.dtype
        if self.scratch is None:
            return CodedTensor(name, dtype, self.array, values, order, exact=False)
        return LazyCoded(name, dtype, self.tensor.shape, self._read, values, order, exact=False)

    def _read(self, window: Window) -> Array:
        if self.scratch is None:
            return self.array[window]
        moved = self.scratch.window(self.place, self.shape, self.kind, self._moved(window))
        return np.moveaxis(moved, 0, self.first)

    def _moved(self, window: Window) -> Window:
        """Return `window` with the cut of axis `first` in front."""
        cuts = [*window, *[slice(None)] * (len(self.shape) - len(window))]
        return tuple(
            cuts[self.first : self.first + 1] + cuts[: self.first] + cuts[self.first + 1 :]
        )
