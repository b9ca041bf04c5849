"""Read the scales of layers' inputs and outputs, which somebody measured, from a JSON file.

    {"version": 1, "layers": [
      {"weight": "conv1.weight", "bias": "conv1.bias",
       "input": {"scale": 0.00392156862745098, "zero_point": -128},
       "output": {"scale": 0.0235, "zero_point": -128}}]}

`weight` and `bias` are names of tensors; `bias` and `zero_point` (0) may be left out. Scales are
of float; a real number is (q - zero_point) * scale.

Sister: c_layers.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dcformat.errors import ConvertError

from .c_layers import Activation, Activations

_MOST_BYTES = 1 << 24
_MOST_SCALE = 1e30
_POINTS = range(-(1 << 15), 1 << 16)


def read_activations(path: Path) -> list[Activations]:
    """Return what the file says, in its order. Raises ConvertError with the place."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    try:
        return _parsed(raw)
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _parsed(raw: bytes) -> list[Activations]:
    if len(raw) > _MOST_BYTES:
        raise ConvertError(f"more than {_MOST_BYTES} bytes")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"not JSON: {error}") from error
    _keys(found, {"version", "layers"}, set(), "file")
    if found["version"] != 1 or not isinstance(found["layers"], list):
        raise ConvertError('wanted "version": 1, and "layers" as a list')
    return [_layer(one, f"layers[{i}]") for i, one in enumerate(found["layers"])]


def _layer(found: Any, place: str) -> Activations:
    _keys(found, {"weight", "input", "output"}, {"bias"}, place)
    weight, bias = found["weight"], found.get("bias")
    if not isinstance(weight, str) or not isinstance(bias, str | None):
        raise ConvertError("weight and bias are names of tensors", place=place)
    return Activations(
        weight,
        bias,
        _activation(found["input"], f"{place}.input"),
        _activation(found["output"], f"{place}.output"),
    )


def _activation(found: Any, place: str) -> Activation:
    _keys(found, {"scale"}, {"zero_point"}, place)
    scale, point = found["scale"], found.get("zero_point", 0)
    number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not number or not 0 < scale < _MOST_SCALE:
        raise ConvertError(f"a scale of {scale!r}", place=place)
    if type(point) is not int or point not in _POINTS:
        raise ConvertError(f"a zero point of {point!r}", place=place)
    return Activation(float(scale), point)


def _keys(found: Any, wanted: set[str], allowed: set[str], place: str) -> None:
    if not isinstance(found, dict):
        raise ConvertError("wanted an object", place=place)
    missing, unknown = wanted - set(found), set(found) - wanted - allowed
    if missing:
        raise ConvertError(f"no {', '.join(sorted(missing))}", place=place)
    if unknown:
        raise ConvertError(f"unknown: {', '.join(map(repr, sorted(unknown)))}", place=place)
