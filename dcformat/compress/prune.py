"""Pruning: what matters least becomes zero. Nothing is retrained.

Han, Pool, Tran and Dally 2015, "Learning both Weights and Connections for Efficient Neural
Networks": the smallest magnitudes go, so many of a layer, or of all layers together. Li et al.
2017, "Pruning Filters for Efficient ConvNets": whole filters, by the sum of their magnitudes; so
channels and kernels. Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks": n of each m
neighbours stay. LeCun, Denker and Solla 1990, "Optimal Brain Damage": by what the loss gains at
second order, h w^2 / 2, h being the diagonal of its Hessian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError

from .quantized import sums_of
from .reals import F64

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: What goes or stays together.
UNITS = ("element", "kernel", "filter", "channel")
_DIGIT = 16  #: bits of a score that are looked at in one pass


@dataclass(frozen=True)
class Axes:
    """The axes of a weight that count output and input channels, None where unknown."""

    out: int | None = None
    into: int | None = None


@dataclass(frozen=True)
class Cut:
    """Units whose score is below `score` go, and the last `equal` of those that have it."""

    score: float
    equal: int


def prune(weights: F64, ratio: float) -> F64:
    """Return a copy of `weights` in which round(ratio * size) elements are zero, +0.0 each.

    Zeros that are there already count and stay. The smallest magnitudes go first; of equal ones
    those with the highest index in row-major order, so that the lowest are kept.
    """
    return without(weights, cut(np.abs(weights).reshape(-1), cut_of(weights, ratio)))


def cut_of(scores: F64, ratio: float, all_may_go: bool = True) -> Cut:
    """Return what cuts round(ratio * size) of the units off, by the magnitude of their scores."""
    flat = np.abs(scores).reshape(-1)
    wanted = min(round(ratio * flat.size), flat.size - (not all_may_go))
    if not wanted:
        return Cut(0.0, 0)
    score = float(np.partition(flat, wanted - 1)[wanted - 1])
    return Cut(score, wanted - int(np.count_nonzero(flat < score)))


def cut(scores: F64, where: Cut) -> Mask:
    """Return which of the units, (n,), go."""
    gone = scores < where.score
    if where.equal:
        gone[np.flatnonzero(scores == where.score)[-where.equal :]] = True
    return gone


def without(weights: F64, gone: Mask) -> F64:
    """Return `weights` with +0.0 where `gone`, of the same size, says so, and for every zero."""
    return np.where(gone.reshape(weights.shape) | (weights == 0), 0.0, weights)


def small(weights: F64, epsilon: float) -> Mask:
    """Return where |w| <= epsilon."""
    gone: Mask = np.abs(weights) <= epsilon
    return gone


def damage(weights: F64, hessian: F64) -> F64:
    """Return h w^2 / 2, what the loss gains where a weight goes, in the shape of `weights`.

    `hessian` is its diagonal, of a shape that broadcasts; below zero counts as zero. Raises
    ConvertError if it is not finite or of another shape.
    """
    try:
        whole = np.broadcast_to(hessian, weights.shape)
    except ValueError as error:
        shapes = f"of shape {hessian.shape}, weights of {weights.shape}"
        raise ConvertError(f"a Hessian {shapes}") from error
    if not np.all(np.isfinite(whole)):
        raise ConvertError("a Hessian that is not finite")
    with np.errstate(over="ignore"):
        gain: F64 = np.maximum(whole, 0.0) * weights * weights / 2
    if not np.all(np.isfinite(gain)):
        raise ConvertError("weights and Hessian too large to compare")
    return gain


def unit_scores(scores: F64, unit: str, axes: Axes) -> F64:
    """Return the mean score of each unit, (n,): elements, kernels, filters or channels.

    A filter is what makes an output channel, a channel what meets an input channel, a kernel what
    is of one of both. Raises ConvertError where the axes are not known.
    """
    if unit == "element":
        return scores.reshape(-1)
    front = _front(unit, axes)
    moved = np.moveaxis(scores, front, range(len(front)))
    rows = np.ascontiguousarray(moved).reshape(-1, _count(scores.shape, front))
    return sums_of(rows) / max(1, rows.shape[1])


def unit_mask(gone: Mask, shape: tuple[int, ...], unit: str, axes: Axes) -> Mask:
    """Return which elements of a tensor of `shape` are of the units that are `gone`, (n,)."""
    if unit == "element":
        return gone.reshape(shape)
    front = _front(unit, axes)
    beside = [shape[i] if i in front else 1 for i in range(len(shape))]
    lying = gone.reshape([shape[i] for i in front])
    order = np.argsort(np.argsort(front))
    return np.broadcast_to(np.transpose(lying, order).reshape(beside), shape)


def keep_of_each(scores: F64, keep: int, of: int, axes: Axes) -> Mask:
    """Return what goes where of each `of` neighbours along the input channels `keep` stay.

    Those with the largest scores stay; of equal ones the first. Fewer neighbours at the end are
    a group too. Raises ConvertError where the input channels are not known.
    """
    if axes.into is None:
        raise _unknown("a pattern", "input")
    moved = np.moveaxis(scores, axes.into, -1)
    length = moved.shape[-1]
    room = np.full((*moved.shape[:-1], -(-length // of) * of), -1.0)
    room[..., :length] = moved
    groups = room.reshape(*moved.shape[:-1], -1, of)
    order = np.argsort(-groups, axis=-1, kind="stable")
    gone = np.ones(groups.shape, np.bool_)
    np.put_along_axis(gone, order[..., :keep], False, axis=-1)
    flat = gone.reshape(room.shape)[..., :length]
    return np.moveaxis(flat, -1, axes.into)


def network_cuts(scores_of: Callable[[int], F64], sizes: Sequence[int], ratio: float) -> list[Cut]:
    """Return a cut for each layer, together of round(ratio * all) elements or just fewer.

    `scores_of(i)` gives the scores of layer i's units, none negative, each of `sizes[i]` elements.
    It is asked five times: the score at which to cut is found digit by digit, so that only
    one layer is in memory. Of equal scores the last layer's go first.
    """
    counts = [0] * len(sizes)
    prefix, wanted = 0, 0
    for place in range(64 - _DIGIT, -1, -_DIGIT):
        totals = np.zeros(1 << _DIGIT, np.int64)
        for i, size in enumerate(sizes):
            keys = _keys(scores_of(i))
            counts[i] = keys.size
            inside = keys[(keys >> np.uint64(place + _DIGIT - 1) >> np.uint64(1)) == prefix]
            digits = (inside >> np.uint64(place)).astype(np.int64) & ((1 << _DIGIT) - 1)
            totals += size * np.bincount(digits, minlength=1 << _DIGIT)
        if place == 64 - _DIGIT:
            whole = sum(n * s for n, s in zip(counts, sizes, strict=True))
            wanted = max(0, min(round(ratio * whole), whole - 1))
        below = np.cumsum(totals) - totals
        digit = int(np.searchsorted(below, wanted, side="right")) - 1
        prefix, wanted = prefix << _DIGIT | digit, wanted - int(below[digit])
    score = float(np.array([prefix], np.uint64).view(np.float64)[0])
    return _shared_out(scores_of, sizes, score, wanted)


def _shared_out(
    scores_of: Callable[[int], F64], sizes: Sequence[int], score: float, wanted: int
) -> list[Cut]:
    """Return the cuts at `score`, with `wanted` elements of just that score in the last layers."""
    cuts = [Cut(score, 0)] * len(sizes)
    for i in range(len(sizes) - 1, -1, -1):
        equal = int(np.count_nonzero(scores_of(i) == score))
        taken = min(equal, wanted // sizes[i])
        cuts[i] = Cut(score, taken)
        wanted -= taken * sizes[i]
    return cuts


def _keys(scores: F64) -> npt.NDArray[np.uint64]:
    """Return integers in the order of scores that are not negative."""
    return np.ascontiguousarray(scores + 0.0, np.float64).view(np.uint64)


def _front(unit: str, axes: Axes) -> list[int]:
    """Return the axes that count units."""
    out, into = axes.out, axes.into
    if out is None and unit != "channel":
        raise _unknown(f"{unit}s", "output")
    if into is None and unit != "filter":
        raise _unknown(f"{unit}s", "input")
    known = {"filter": [out], "channel": [into], "kernel": [out, into]}[unit]
    return [axis for axis in known if axis is not None]


def _unknown(what: str, side: str) -> ConvertError:
    return ConvertError(f"{what} cannot be pruned: no axis is known to count {side} channels")


def _count(shape: tuple[int, ...], front: list[int]) -> int:
    return int(np.prod([n for i, n in enumerate(shape) if i not in front], dtype=np.int64))
