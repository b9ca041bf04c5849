"""Rounding to a grid with error feedback: what one column loses, those still to come make good.

Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", in the form of Chee et al. 2023, "QuIP", section 3: the second moments of a layer's
inputs are G = U D U^T with U upper triangular and ones on its diagonal; column j is rounded after
each column k < j has handed on its error times U[k, j]. This lowers the layer's output error
tr(E G E^T), E being the change of the weights; the fuller the inputs are of correlations, the more.
The weights stay on the grid, so the coder sees what it saw.

Sister: allocate.py, which chooses the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .reals import F64

Numbers = npt.NDArray[np.signedinteger[Any]]
Limits = tuple[int, int]
I64 = npt.NDArray[np.int64]

LARGEST = 127
BYTE: Limits = (-LARGEST, LARGEST)
#: Of the mean second moment, added to each: columns that hardly ever meet an input stay themselves.
DAMPING = 0.01


@dataclass(frozen=True, eq=False)
class Gram:
    """The inputs of a layer, as its weight meets them: their means and second moments.

    `weight.transpose(order).reshape(groups, rows, columns)` meets inputs of `columns` numbers in
    each of `groups`. `means` is E[x], (groups, columns); `blocks` are E[x x^T] of consecutive runs
    of columns, (groups, c, c) each: what is between two blocks is left out.
    """

    order: tuple[int, ...]
    groups: int
    blocks: tuple[F64, ...]
    means: F64

    @cached_property
    def factors(self) -> tuple[tuple[Factor, ...], ...]:
        """The factor of each block of each group."""
        return tuple(tuple(factor(block[g]) for block in self.blocks) for g in range(self.groups))


@dataclass(frozen=True, eq=False)
class Factor:
    """Columns in the order in which they are rounded, and U in that order."""

    columns: I64
    upper: F64


def factor(moments: F64, damping: float = DAMPING) -> Factor:
    """Return the factor of a matrix of second moments (c, c); the strongest columns come first.

    The arithmetic is element by element, in one order, so the same on every machine.
    """
    strength = np.diagonal(moments)
    columns = np.argsort(-strength, kind="stable")
    left = moments[np.ix_(columns, columns)]
    mean = float(np.cumsum(strength)[-1]) / strength.size
    left[np.diag_indices_from(left)] += damping * mean if mean > 0 else 1.0
    upper = np.eye(strength.size)
    for j in range(strength.size - 1, 0, -1):
        column = left[:j, j] / left[j, j]
        upper[:j, j] = column
        left[:j, :j] -= np.multiply.outer(column, column * left[j, j])
    return Factor(columns, upper)


def round_to_grid(
    weights: F64, step: float, gram: Gram | None = None, limits: Limits = BYTE
) -> Numbers:
    """Return the whole numbers q within `limits` with which q * step stand for `weights`.

    Each weight goes to the nearest, or with a `gram` to the nearest of itself and what earlier
    columns handed on. The result has the shape of `weights`, and is int8 or int16.
    """
    if gram is None:
        return _nearest(weights, step, limits)
    stored = weights.transpose(gram.order)
    groups = stored.reshape(gram.groups, -1, gram.means.shape[1])
    rounded = np.stack(
        [_round_group(*pair, step, limits) for pair in zip(groups, gram.factors, strict=True)]
    )
    numbers: Numbers = rounded.reshape(stored.shape).transpose(np.argsort(gram.order))
    return numbers


def _round_group(weights: F64, factors: tuple[Factor, ...], step: float, limits: Limits) -> Numbers:
    """Return the numbers of one group's (rows, columns)."""
    out = np.empty(weights.shape, _type_of(limits))
    for columns, upper in _spans(factors):
        out[:, columns] = _round_block(weights[:, columns], upper, step, limits)
    return out


def _spans(factors: tuple[Factor, ...]) -> Iterator[tuple[I64, F64]]:
    start = 0
    for one in factors:
        yield start + one.columns, one.upper
        start += one.columns.size


def _round_block(weights: F64, upper: F64, step: float, limits: Limits) -> Numbers:
    """Return the numbers of columns that are in their order of rounding."""
    wanted = weights.T.copy("C")  # a column is a row: what is handed on lies together
    out = np.empty(wanted.shape, _type_of(limits))
    for k, column in enumerate(weights.T):
        out[k] = _nearest(wanted[k], step, limits)
        lost = column - out[k] * step
        wanted[k + 1 :] += np.multiply.outer(upper[k, k + 1 :], lost)
    numbers: Numbers = out.T
    return numbers


def _nearest(weights: F64, step: float, limits: Limits) -> Numbers:
    numbers: Numbers = np.clip(np.rint(weights / step), *limits).astype(_type_of(limits))
    return numbers


def _type_of(limits: Limits) -> type[np.signedinteger[Any]]:
    return np.int8 if limits[1] <= LARGEST else np.int16
