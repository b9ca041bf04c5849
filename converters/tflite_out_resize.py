"""Resize and Upsample: by the nearest pixel, or by lines between pixels.

Spec: https://onnx.ai/onnx/operators (Resize). Which pixel stands where is worked out for ONNX and
for each way that TFLite has; a way is taken where both say the same. Nearest pixels that no way of
TFLite finds are gathered, row by row and column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tflite_out_axes import gathered
from .tflite_out_layout import Value, arranged
from .tflite_out_maker import Maker, Translation
from .tflite_out_net import Array, Unsupported
from .tflite_out_onnx import SourceNode

_LONGEST = 1 << 20  #: pixels in a row whose places are worked out
#: TFLite's ways: align_corners, half_pixel.
_WAYS = ((False, False), (False, True), (True, False))


def resize(maker: Maker, node: SourceNode) -> Sequence[Value]:
    value, wanted = maker.value(node.inputs[0]), maker.stated(node.outputs[0])
    shape = maker.shape(value)
    if len(shape) != 4 or shape[:2] != wanted[:2]:
        raise Unsupported("other axes than the last two of four")
    if max(*shape, *wanted) > _LONGEST:
        raise Unsupported(f"more than {_LONGEST} pixels in a row")
    mode = node.attributes.get("mode", "nearest")
    scales = _scales(maker, node, shape, wanted)
    places = [_places(node, *one) for one in zip(shape[2:], wanted[2:], scales, strict=True)]
    if mode == "nearest":
        return [_nearest(maker, node, value, wanted, places)]
    if mode not in ("linear", "bilinear"):
        raise Unsupported(f"mode {mode}")
    return [_linear(maker, value, wanted, places)]


def _scales(
    maker: Maker, node: SourceNode, shape: Sequence[int], wanted: Sequence[int]
) -> list[float]:
    """Return by what rows and columns grow, as ONNX has it."""
    place = 1 if node.op == "Upsample" or maker.source.opset < 11 else 2
    scales = maker.optional(node, place, "scales")
    found = node.attributes.get("scales") if scales is None or not scales.size else scales
    if found is None or len(found) < 4:
        return [new / old for new, old in zip(wanted[2:], shape[2:], strict=True)]
    return [float(one) for one in found[-2:]]


def _places(node: SourceNode, old: int, new: int, growth: float) -> Array:
    """Return where each new pixel stands among the old ones."""
    scale = np.float32(growth)
    default = "asymmetric" if node.op == "Upsample" else "half_pixel"
    mode = node.attributes.get("coordinate_transformation_mode", default)
    at = np.arange(new, dtype=np.float32)  # as runtimes work it out
    if mode == "asymmetric":
        return np.asarray(at / scale)
    if mode == "align_corners":
        return np.asarray(at * np.float32((old - 1) / (new - 1)) if new > 1 else at * 0)
    if mode == "pytorch_half_pixel" and new == 1:
        return at * 0
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return np.asarray((at + np.float32(0.5)) / scale - np.float32(0.5))
    raise Unsupported(f"coordinate_transformation_mode {mode}")


def _lite_places(old: int, new: int, way: tuple[bool, bool]) -> Array:
    """Return the same for one of TFLite's ways."""
    align, half = way
    scale = np.float32((old - 1) / (new - 1) if align and new > 1 else old / new)
    return np.asarray((np.arange(new, dtype=np.float32) + np.float32(0.5 * half)) * scale)


def _nearest(
    maker: Maker, node: SourceNode, value: Value, wanted: Sequence[int], places: list[Array]
) -> Value:
    shape = maker.shape(value)[2:]
    rounding = _ROUNDINGS[node.attributes.get("nearest_mode", _default_rounding(maker, node))]
    found = [_clipped(rounding(one), old) for one, old in zip(places, shape, strict=True)]
    for way in _WAYS:
        own = [_lite_nearest(*one, way) for one in zip(shape, wanted[2:], strict=True)]
        if all(map(np.array_equal, own, found)):
            return _resized(maker, "ResizeNearestNeighbor", value, wanted, way)
    for axis, one in zip((2, 3), found, strict=True):
        value = gathered(maker, value, axis, maker.net.constant(one.astype(np.int32)), 1)
    return value


def _default_rounding(maker: Maker, node: SourceNode) -> str:
    old = node.op == "Upsample" or maker.source.opset < 11
    return "floor" if old else "round_prefer_floor"


_ROUNDINGS: dict[str, Any] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def _lite_nearest(old: int, new: int, way: tuple[bool, bool]) -> Array:
    places = _lite_places(old, new, way)
    return _clipped(np.floor(places + 0.5) if way[0] else np.floor(places), old)


def _clipped(places: Array, old: int) -> Array:
    return np.clip(places, 0, old - 1).astype(np.int64)


def _linear(maker: Maker, value: Value, wanted: Sequence[int], places: list[Array]) -> Value:
    shape = maker.shape(value)[2:]
    for way in _WAYS:
        own = [
            _lite_places(old, new, way) - 0.5 * way[1]
            for old, new in zip(shape, wanted[2:], strict=True)
        ]
        pairs = zip(own, places, shape, strict=True)
        if all(np.allclose(_inside(a, old), _inside(b, old), atol=1e-5) for a, b, old in pairs):
            return _resized(maker, "ResizeBilinear", value, wanted, way)
    raise Unsupported("lines between pixels that TFLite draws otherwise")


def _inside(places: Array, old: int) -> Array:
    return np.clip(places, 0, old - 1)


def _resized(
    maker: Maker, kind: str, value: Value, wanted: Sequence[int], way: tuple[bool, bool]
) -> Value:
    batch, channels, height, width = wanted
    tensor = arranged(maker.net, value, (0, 2, 3, 1))
    inputs = [tensor, maker.net.ints([height, width])]
    options: dict[str, Any] = {"align_corners": way[0], "half_pixel": way[1]}
    return Value(
        maker.net.add(kind, inputs, (batch, height, width, channels), **options), (0, 2, 3, 1)
    )


TRANSLATIONS: dict[str, Translation] = {"Resize": resize, "Upsample": resize}
