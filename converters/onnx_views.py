"""A tensor's axes as a node sees them, after transpositions and reshapes on the way.

Sister file: onnx_uses.py. A view is a tuple with, for each axis that the node sees, the source
axes that make it up, outermost first; None where that cannot be said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Union

View = Union[tuple[tuple[int, ...], ...], None]


def identity(rank: int) -> View:
    """Return the view of a tensor that is used as it is."""
    return tuple((axis,) for axis in range(rank))


def transposed(view: View, perm: Sequence[int]) -> View:
    """Return the view after Transpose; an empty `perm` reverses the axes, as in ONNX."""
    if view is None:
        return None
    order = list(perm) or list(reversed(range(len(view))))
    if sorted(order) != list(range(len(view))):
        return None
    return tuple(view[axis] for axis in order)


def unsqueezed(view: View, axes: Sequence[int]) -> View:
    """Return the view after Unsqueeze: axes of size 1 are put in."""
    if view is None:
        return None
    rank = len(view) + len(axes)
    new = {axis + rank if axis < 0 else axis for axis in axes}
    if len(new) != len(axes) or not all(0 <= axis < rank for axis in new):
        return None
    groups = iter(view)
    return tuple(() if axis in new else next(groups) for axis in range(rank))


def squeezed(view: View, axes: Sequence[int]) -> View:
    """Return the view after Squeeze: axes of size 1 are left out."""
    if view is None:
        return None
    gone = {axis + len(view) if axis < 0 else axis for axis in axes}
    return tuple(group for axis, group in enumerate(view) if axis not in gone)


def reshaped(view: View, dims: Sequence[int] | None, shape: Sequence[int] | None) -> View:
    """Return the view after Reshape to `shape`, which may hold one -1 and zeros.

    `dims` are those of the source tensor. None where an axis would be split, or where either is
    not known.
    """
    if view is None or dims is None or shape is None:
        return None
    target = _target([_product(dims[a] for a in group) for group in view], shape)
    atoms = [axis for group in view for axis in group]
    if target is None or 0 in dims:
        return None
    groups: list[tuple[int, ...]] = []
    for size in target:
        group: list[int] = []
        while atoms and _product(dims[a] for a in group) < size:
            group.append(atoms.pop(0))
        if _product(dims[a] for a in group) != size:
            return None
        groups.append(tuple(group))
    if groups:
        groups[-1] += tuple(atoms)  # what is left has size 1
    return tuple(groups)


def _target(now: Sequence[int], shape: Sequence[int]) -> list[int] | None:
    """Return `shape` with 0 and -1 replaced by sizes, or None if it does not fit."""
    if any(n < -1 for n in shape) or list(shape).count(-1) > 1:
        return None
    if any(n == 0 and i >= len(now) for i, n in enumerate(shape)):
        return None
    full = [now[i] if n == 0 else n for i, n in enumerate(shape)]
    total, known = _product(now), _product(n for n in full if n != -1)
    if -1 in full and known > 0:
        full[full.index(-1)] = total // known
    return full if _product(full) == total else None


def source_axis(view: View, axis: int | None, dims: Sequence[int]) -> int | None:
    """Return the one source axis that the node's `axis` is, or None."""
    if view is None or axis is None or not 0 <= axis < len(view):
        return None
    group = [a for a in view[axis] if dims[a] != 1] or list(view[axis])[:1]
    return group[0] if len(group) == 1 else None


def source_order(view: View, order: Sequence[int] | None, rank: int) -> tuple[int, ...] | None:
    """Return the order in which a node that walks `order` walks the source; None if as stored."""
    if view is None:
        return None
    walk = range(len(view)) if order is None else order
    axes = tuple(a for axis in walk for a in view[axis])
    return None if axes == tuple(range(rank)) or len(axes) != rank else axes


def _product(numbers: Iterable[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result
