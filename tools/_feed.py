"""Arrays of an .npz file fed to a model: which is for which input, and what counts the samples.

Sister files: tools/_npz_rows.py (the arrays), tools/_activations_run.py and tools/_trials_run.py
(children that feed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError

from ._npz_rows import Rows
from ._run import NUMPY_TYPES

Arrays = dict[str, npt.NDArray[Any]]
_ANY = "samples"  #: an axis of any length


@dataclass(frozen=True)
class Plan:
    """How the arrays are fed: `streams` by samples, `whole` ones every time.

    `apart`: a sample is all that a run takes; one goes at a time, without the axis of samples.
    """

    samples: int
    streams: dict[str, Rows]
    whole: Arrays
    types: dict[str, np.dtype[Any]]
    fixed: int  # samples a run must have, 0 where any number will do
    apart: bool = False

    def rows(self, most: int) -> int:
        """Return how many samples go at a time, where any number will do `most`."""
        return 1 if self.apart else self.fixed or most

    def count(self, feed: Arrays) -> int:
        """Return how many samples are in what is fed."""
        return len(next(iter(feed.values()))) if self.streams and not self.apart else 1


def plan_of(wanted: Sequence[Any], arrays: Mapping[str, Rows]) -> Plan:
    """Return how to feed a session that wants these inputs, as onnxruntime describes them.

    Arrays that all have an axis more than the inputs hold runs. Raises ConvertError where an array
    does not fit an input.
    """
    inputs = {one.name: one for one in wanted}
    _check_names(list(inputs), list(arrays))
    types = {name: _type(inputs[name], arrays[name]) for name in inputs}
    if inputs and all(len(arrays[n].shape) == len(one.shape) + 1 for n, one in inputs.items()):
        shapes = {n: (_ANY, *one.shape) for n, one in inputs.items()}
        return replace(_streamed(shapes, arrays, types), fixed=0, apart=True)
    return _streamed({n: one.shape for n, one in inputs.items()}, arrays, types)


def _streamed(
    inputs: Mapping[str, Sequence[Any]],
    arrays: Mapping[str, Rows],
    types: Mapping[str, np.dtype[Any]],
) -> Plan:
    """Return how to feed inputs of these shapes sample by sample."""
    counted = {n: a for n, a in arrays.items() if a.shape and len(a.shape) == len(inputs[n])}
    free = {n: a for n, a in counted.items() if not isinstance(inputs[n][0], int)}
    streamed = free or counted  # next to open first axes a fixed one does not count samples
    for name, rows in arrays.items():
        if 0 in rows.shape:
            raise ConvertError(f"array {name!r} has shape {rows.shape}: there are no numbers in it")
        _check_shape(name, inputs[name], rows.shape, name in streamed)
    counts = {n: a.shape[0] for n, a in streamed.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise ConvertError(f"arrays have different numbers of samples: {shown}")
    whole = {n: a.whole().astype(types[n]) for n, a in arrays.items() if n not in streamed}
    fixed = {inputs[n][0] for n in streamed if isinstance(inputs[n][0], int)}
    if len(fixed) > 1:
        raise ConvertError("inputs of the model have different fixed numbers of samples")
    samples = next(iter(counts.values()), 1)
    return Plan(samples, streamed, whole, dict(types), next(iter(fixed), 0))


def _check_names(wanted: list[str], given: list[str]) -> None:
    shown = ", ".join(map(repr, wanted)) or "none"
    for name in wanted:
        if name not in given:
            raise ConvertError(f"no array {name!r}; the model's inputs: {shown}")
    for name in given:
        if name not in wanted:
            raise ConvertError(f"array {name!r} is no input of the model; its inputs: {shown}")


def _type(wanted: Any, rows: Rows) -> np.dtype[Any]:
    name = wanted.type.removeprefix("tensor(").removesuffix(")")
    if name not in NUMPY_TYPES:
        raise ConvertError(f"input {wanted.name!r} is {wanted.type}, which an array cannot be")
    dtype = np.dtype(NUMPY_TYPES[name])
    if not np.can_cast(rows.dtype, dtype, "same_kind"):
        raise ConvertError(f"array {wanted.name!r} is {rows.dtype}, the model wants {dtype}")
    return dtype


def _check_shape(name: str, wanted: Sequence[Any], shape: tuple[int, ...], streamed: bool) -> None:
    start = 1 if streamed else 0
    fits = len(wanted) == len(shape) and all(
        not isinstance(a, int) or a == b for a, b in zip(wanted[start:], shape[start:], strict=True)
    )
    if not fits:
        shown = " x ".join(str(d) if isinstance(d, int) else "any" for d in wanted) or "a scalar"
        raise ConvertError(
            f"array {name!r} has shape {shape}; the model wants {shown}, the first for samples"
        )


def feeds(plan: Plan, rows: int) -> Iterator[Arrays]:
    """Yield what to feed at a time: `rows` samples of the streams, in the end what is left.

    Of samples that go apart `rows` is 1.
    """
    names = list(plan.streams)
    if not names:
        yield {}
        return
    for pieces in zip(*(plan.streams[name].pieces(rows) for name in names), strict=True):
        feed = {n: p.astype(plan.types[n]) for n, p in zip(names, pieces, strict=True)}
        yield {n: p[0] for n, p in feed.items()} if plan.apart else feed
