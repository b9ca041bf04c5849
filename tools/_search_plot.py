"""How layers bear coarser steps and pruning, and what sizes cost: as numbers, and as a picture.

The curves of pruning are those of Han et al. 2015, "Learning both Weights and Connections", figure
6: each layer alone loses a share of its weights, the smallest first, and nothing is retrained.
Sister: tools/_search.py
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcformat.errors import ConvertError
from dcformat.files import atomic_output
from dcformat.tools._terminal import safe_name

#: Steps as parts of a layer's spread; coarseness as multiples of what was chosen.
PARTS = (0.125, 0.25, 0.5, 1.0, 2.0)
#: Shares of a layer's weights that become zero.
RATIOS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
AROUND = (0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 4.0)
MODULE = "matplotlib"
_MOST_NAMED = 12


@dataclass(frozen=True)
class Point:
    """A file of so many bytes, and its outputs on the calibration data."""

    size: int
    noise: float
    changed: int


@dataclass(frozen=True)
class Curves:
    """`layers`: of each weight the outputs' noise at each of `parts` of its spread.

    `pruned`: the same where each of `ratios` of it is zero.
    """

    parts: tuple[float, ...]
    layers: Mapping[str, tuple[float, ...]]
    front: tuple[Point, ...]
    ratios: tuple[float, ...] = ()
    pruned: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return the curves for --json."""
        return asdict(self)


def need_plotting() -> None:
    """Raise ConvertError with the way out if there is nothing to draw with."""
    if importlib.util.find_spec(MODULE) is None:
        raise ConvertError(f"a picture needs {MODULE}: pip install 'dcformat[plot]'")


def draw(curves: Curves, path: Path) -> None:
    """Draw them all as a picture of the kind that the suffix of `path` names."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow

    figure = Figure(figsize=(17, 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_layers(left, curves)
    _draw_pruned(middle, curves)
    _draw_front(right, curves)
    kind = path.suffix.lstrip(".").lower() or "png"
    with atomic_output(path) as stream:
        try:
            figure.savefig(stream, format=kind, dpi=120, metadata=_undated(kind))
        except ValueError as error:
            raise ConvertError(f"no picture: {error}", place=str(path)) from error


def _undated(kind: str) -> dict[str, None]:
    """Return what keeps time and versions out of a picture."""
    return {"Software": None} if kind == "png" else {"Date": None} if kind == "svg" else {}


def _draw_layers(axes: Any, curves: Curves) -> None:
    _draw_each(axes, curves.parts, curves.layers)
    axes.set_xscale("log", base=2)
    axes.set_xticks(curves.parts, [f"{part:g}" for part in curves.parts])
    axes.set(xlabel="step, as a part of the layer's standard deviation")
    axes.set(title="each layer alone")


def _draw_pruned(axes: Any, curves: Curves) -> None:
    _draw_each(axes, curves.ratios, curves.pruned)
    axes.set(xlabel="share of the layer's weights that is zero, the smallest first")
    axes.set(title="each layer alone, pruned")


def _draw_each(axes: Any, places: Sequence[float], lines: Mapping[str, Sequence[float]]) -> None:
    """Draw a line for each layer, those with most noise first; a layer has one colour."""
    ranked = sorted(lines, key=lambda name: -sum(lines[name]))
    colours = {name: f"C{number % 10}" for number, name in enumerate(lines)}
    for at, name in enumerate(ranked):
        label = safe_name(name)[-30:].replace("$", r"\$") if at < _MOST_NAMED else None
        axes.plot(places, _decibels(lines[name]), colours[name], marker=".", label=label)
    axes.set(ylabel="signal-to-noise ratio of the outputs, dB")
    axes.legend(fontsize="x-small")


def _draw_front(axes: Any, curves: Curves) -> None:
    sizes = [point.size / 1024 for point in curves.front]
    axes.plot(sizes, _decibels([point.noise for point in curves.front]), marker="o")
    for size, point in zip(sizes, curves.front, strict=True):
        where = (size, float(_decibels([point.noise])[0]))
        axes.annotate(f"{point.changed:,}", where, textcoords="offset points", xytext=(6, -10))
    axes.set(xlabel="size, KiB", ylabel="signal-to-noise ratio of the outputs, dB")
    axes.set(title="all layers (numbers: samples answered otherwise)")


def _decibels(noises: Any) -> Any:
    return -10 * np.log10(np.maximum(np.asarray(noises, np.float64), 1e-30))
