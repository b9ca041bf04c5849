"""How a layer's accumulator becomes its output: shifts of fixed-point layers, or multipliers.

Spec: spec/DCF.md, section FIXED.    Sisters: c_activations.py (reads scales), c_header.py

With acc the 32-bit sum of (input - INPUT_ZERO_POINT) * weight over a row, plus the bias:

    output = OUTPUT_ZERO_POINT + round(acc * multiplier * 2^(shift - 31))

rounded to nearest, ties towards plus infinity, then clamped to the output's type. In integers
that is ((int64_t)acc * multiplier + ((int64_t)1 << (30 - shift))) >> (31 - shift). CMSIS-NN does
the same where it is built with CMSIS_NN_USE_SINGLE_ROUNDING; else it rounds twice and may differ
by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import (
    Affine,
    Codebook,
    CodedModel,
    CodedTensor,
    Fixed,
    Pow2,
    Raw,
    expand_tensor,
)
from dcformat.errors import ConvertError
from dcformat.ids import DType, Rounding
from dcformat.model import LayerFormat

from .c_style import Style, placed
from .c_text import filled_rows, integer, remark, unsigned

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
_INTEGERS = (DType.INT8, DType.INT16, DType.INT4)
_INT32 = (-(1 << 31), (1 << 31) - 1)
_RULE = (
    "By channel: output = OUTPUT_ZERO_POINT + (((int64_t)acc * multiplier"
    " + ((int64_t)1 << (30 - shift))) >> (31 - shift)), then clamped; acc is the sum of"
    " (input - INPUT_ZERO_POINT) * weight, plus bias."
)


@dataclass(frozen=True)
class Activation:
    """What an integer of a layer's input or output means: (q - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Activations:
    """Scales around the layer whose weight is `weight`; `bias` is the name of its bias."""

    weight: str
    bias: str | None
    input: Activation
    output: Activation


@dataclass(frozen=True)
class Layer:
    """What is emitted for the layer of tensor `weight`: macros, and arrays by their endings."""

    weight: str
    word: str
    macros: Mapping[str, str]
    arrays: Mapping[str, tuple[str, I64]] = field(default_factory=dict)

    @property
    def stored(self) -> int:
        """Bytes of flash."""
        return sum(4 * len(numbers) for _, numbers in self.arrays.values())


def layers_of(
    coded: CodedModel, words: Mapping[str, str], given: Sequence[Activations]
) -> list[Layer]:
    """Return the layers that FIXED has formats of, and those that scales were `given` for.

    `words` are those of the tensors by name. Raises ConvertError naming the layer.
    """
    layers = [
        Layer(one.weight, words[one.weight], _fixed(one))
        for one in coded.layers
        if one.weight is not None
    ]
    tensors = {tensor.name: tensor for tensor in coded.tensors}
    seen = {layer.weight for layer in layers}
    for one in given:
        try:
            if one.weight in seen:
                raise ConvertError("has formats already")
            seen.add(one.weight)
            layers.append(_scaled(one, tensors, words))
        except ConvertError as error:
            raise error.at(f"layer of {one.weight!r}") from None
    return layers


def _fixed(layer: LayerFormat) -> dict[str, str]:
    """Return macros of a fixed-point layer; a format of 0 bits is not given."""
    fractions = {
        "INPUT_FRACTION": (layer.input_fraction, layer.input_bits),
        "WEIGHT_FRACTION": (layer.weight_fraction, layer.weight_bits),
        "BIAS_FRACTION": (layer.bias_fraction, layer.bias_bits),
        "OUTPUT_FRACTION": (layer.output_fraction, layer.output_bits),
    }
    macros = {name: integer(n) for name, (n, bits) in fractions.items() if bits}
    if layer.bias_bits and "INPUT_FRACTION" in macros:
        macros["BIAS_LEFT_SHIFT"] = integer(layer.bias_shift)
    if "INPUT_FRACTION" in macros and "OUTPUT_FRACTION" in macros:
        macros["RIGHT_SHIFT"] = integer(layer.shift)
        macros["MULTIPLIER"] = "1073741824"
        macros["SHIFT"] = integer(1 - layer.shift)
        macros["ROUNDING"] = f"{layer.rounding} /* {Rounding(layer.rounding).name} */"
    return macros


def _scaled(
    given: Activations, tensors: Mapping[str, CodedTensor], words: Mapping[str, str]
) -> Layer:
    """Return multipliers and shifts of a layer with scales."""
    if given.weight not in tensors:
        raise ConvertError("no tensor of this name")
    weight = tensors[given.weight]
    scales = weight_scales(weight)
    pairs = [multiplier_of(given.input.scale * s / given.output.scale) for s in scales.tolist()]
    arrays = {
        "multiplier": ("int32_t", np.array([m for m, _ in pairs], np.int64)),
        "shift": ("int32_t", np.array([s for _, s in pairs], np.int64)),
    }
    if given.bias is not None:
        if given.bias not in tensors:
            raise ConvertError(f"no tensor {given.bias!r} for its bias")
        arrays["bias"] = ("int32_t", bias_of(tensors[given.bias], given.input.scale * scales))
    macros = {
        "CHANNELS": unsigned(len(scales)),
        "INPUT_ZERO_POINT": integer(given.input.zero_point),
        "OUTPUT_ZERO_POINT": integer(given.output.zero_point),
    }
    return Layer(given.weight, words[given.weight], macros, arrays)


def weight_scales(weight: CodedTensor) -> F64:
    """Return the scale of each output channel of a weight that is stored as integers around 0."""
    axis = weight.order[0] if weight.order else 0
    if not weight.shape or weight.number_type() not in _INTEGERS:
        raise ConvertError(f"stored as {weight.number_type().name.lower()}, which has no scale")
    scale, own = _scale_and_axis(weight)
    if scale is None or (own is not None and own != axis):
        raise ConvertError("no scale, or not one for each output channel")
    return np.broadcast_to(scale.astype(np.float64), (weight.shape[axis],))


def _scale_and_axis(weight: CodedTensor) -> tuple[Any, int | None]:
    values = weight.values
    if isinstance(values, Raw):
        return None, None
    if isinstance(values, Fixed):
        return np.ldexp(1.0, -values.fraction), values.axis
    if isinstance(values, Pow2):
        raise ConvertError("a weight of powers of two, whose products are shifts")
    if isinstance(values, Affine):
        if values.block or np.any(values.zero_point):
            raise ConvertError("a weight with zero points, or with scales by block")
        return values.scale, values.axis
    return _book_scale(values)


def _book_scale(values: Codebook) -> tuple[Any, int | None]:
    if values.fraction is not None:
        return np.asarray(math.ldexp(1.0, -values.fraction)), None
    return values.scale, values.axis


def multiplier_of(real: float) -> tuple[int, int]:
    """Return (m, s): the real is m * 2^(s - 31), m from 2^30 to 2^31 - 1, rounded to even."""
    if not 0 <= real < math.inf:
        raise ConvertError(f"a multiplier of {real}")
    fraction, exponent = math.frexp(real)
    scaled = round(math.ldexp(fraction, 31))
    if scaled == 1 << 31:
        scaled, exponent = 1 << 30, exponent + 1
    if exponent < -31:
        return 0, 0
    if exponent > 30:
        raise ConvertError(f"a multiplier of {real}: the output's scale is far too small")
    return scaled, exponent


def bias_of(bias: CodedTensor, scales: F64) -> I64:
    """Return a bias in the accumulator's scale; one that is int32 already as it is."""
    if bias.size != len(scales):
        raise ConvertError(f"{bias.size} biases for {len(scales)} output channels")
    numbers = np.asarray(expand_tensor(bias)).reshape(-1)
    if bias.dtype is DType.INT32:
        return numbers.astype(np.int64)
    if bias.dtype not in (DType.FLOAT, DType.FLOAT16, DType.DOUBLE):
        raise ConvertError(f"a bias of type {bias.dtype.name.lower()}")
    with np.errstate(divide="ignore", invalid="ignore"):
        real = np.rint(numbers.astype(np.float64) / scales)
    if not np.all((real >= _INT32[0]) & (real <= _INT32[1])):
        raise ConvertError("a bias does not fit into 32 bits of the accumulator")
    return real.astype(np.int64)


def layer_macros(layers: Sequence[Layer], weight: str) -> dict[str, str]:
    """Return the macros of the layer of a tensor, none where it has no layer."""
    return next((dict(layer.macros) for layer in layers if layer.weight == weight), {})


def layer_declarations(style: Style, layers: Sequence[Layer]) -> list[str]:
    """Return declarations of the layers' arrays."""
    lines = [
        f"extern const {kind} {style.symbol(layer.word, ending)}"
        f"[{style.macro(layer.word, 'CHANNELS')}];"
        for layer in layers
        for ending, (kind, _) in layer.arrays.items()
    ]
    return ["", *remark(_RULE), *lines] if lines else []


def layer_definitions(style: Style, layers: Sequence[Layer]) -> Iterator[str]:
    """Yield the layers' arrays."""
    for layer in layers:
        count = style.macro(layer.word, "CHANNELS")
        for ending, (kind, numbers) in layer.arrays.items():
            yield placed(kind, style.symbol(layer.word, ending), count, 4)
            yield from filled_rows(_literal(n) for n in numbers.tolist())
            yield from ("};", "")


def _literal(value: int) -> str:
    return "(-2147483647 - 1)" if value == _INT32[0] else str(value)
