"""What a recipe can say about one tensor, and which values each setting may have.

Sister: recipe.py, which reads and writes recipes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcformat.axes import LAYOUTS
from dcformat.errors import ConvertError

from .prune import UNITS

#: What each preset does to weights.
PRESETS: dict[str, str] = {"lossless": "exact", "int8": "int8", "deep": "codebook"}
TARGETS = ("mcu", "host", "smallest")
LEVELS = ("auto", "int8", "int16", "float")
SCALES = ("channel", "tensor")
SCOPES = ("layer", "network")
SCORES = ("magnitude", "damage")
MOST_NEIGHBOURS = 32  #: the M of a pattern
SMALLEST_STEP, LARGEST_STEP = 2.0**-126, 2.0**120  #: 127 steps are no infinity yet
#: The bits that each method may have; none for those whose numbers have a size of their own.
BITS: dict[str, tuple[int, ...]] = {
    "exact": (),
    "int8": (8,),
    "codebook": tuple(range(1, 9)),
    "affine": tuple(range(2, 9)),
    "fixed": (4, 8, 16),
    "ternary": (),
    "binary": (),
    "pow2": tuple(range(2, 9)),
    "grid": (),
}
METHODS = tuple(BITS)
#: Ways to choose numbers that are a method's; the first is taken unless the recipe says another.
QUANTIZERS: dict[str, tuple[str, ...]] = {
    "codebook": ("entropy", "uniform", "kmeans", "linear"),
    "ternary": ("threshold", "fitted"),
    "pow2": ("nearest", "log2"),
}


@dataclass(frozen=True)
class Settings:
    """What is done to one tensor of role "weight".

    `method`: "exact", "int8", or the stage of that name: "codebook", "affine", "fixed", "ternary",
    "binary", "pow2". `bits`, as BITS says; None: 8, but 4 for pow2 and 5 for codebooks of dense
    layers, and a rule's bits below 8 make a codebook of int8. `quantizer`, as QUANTIZERS says;
    empty: the first.
    `scales`: of all of these but codebooks, one for each output "channel" or one for the
    "tensor"; `zero_point`: affine numbers need not lie around zero. `levels`: the type of a
    codebook's ("auto": integers with a scale on mcu, the tensor's own type on host).
    `prune`: share of what becomes zero: of the "element"s, "kernel"s, "filter"s or "channel"s that
    `prune_unit` names, of the "layer" or the "network" that `prune_scope` names, in the order of
    `prune_by`: "magnitude", or "damage" to the loss, for which a Hessian is needed. Before that
    `prune_below`: what is no larger than this becomes zero; `prune_pattern`: "2:4" keeps 2 of 4
    neighbours along the input channels. `requantize`: quantize even what is clustered or pruned
    already. `min_elements`: smaller tensors stay exact.
    Of single layers only: `step`, of method "grid", whole multiples of which the weights become,
    with `feedback` as feedback.py does it, for which calibration data are needed; `layout`: this
    is a weight, whose axes lie as a key of axes.LAYOUTS says; empty: as the graph or names say;
    `fraction`, of method fixed: the fraction length, for the whole tensor and whatever its role;
    with it, of a layer's weight, fraction length and bits of the layer's `input` and `output`, and
    the name of its `bias`.
    """

    method: str = "int8"
    bits: int | None = None
    prune: float = 0.0
    prune_unit: str = "element"
    prune_scope: str = "layer"
    prune_by: str = "magnitude"
    prune_below: float = 0.0
    prune_pattern: str = ""
    quantizer: str = ""
    scales: str = "channel"
    zero_point: bool = False
    levels: str = "auto"
    requantize: bool = False
    min_elements: int = 64
    layout: str = ""
    step: float | None = None
    feedback: bool = False
    fraction: int | None = None
    input: Sequence[int] = ()
    output: Sequence[int] = ()
    bias: str = ""

    @property
    def prunes(self) -> bool:
        """Tell whether anything may become zero that was not."""
        return asks_to_prune(vars(self))

    @property
    def calibrated(self) -> bool:
        """Tell whether data are needed that a file does not hold."""
        return self.feedback or (self.prune_by == "damage" and self.prunes)


def asks_to_prune(stated: Mapping[str, Any]) -> bool:
    """Tell whether these settings, by name, make anything zero."""
    return any(stated.get(key) for key in ("prune", "prune_below", "prune_pattern"))


#: What a recipe says of a layer in fixed point, beside its bits.
LAYER_KEYS = ("fraction", "input", "output", "bias")
#: What a method has for itself, before anything is said of it.
OF_A_METHOD: dict[str, Any] = {
    "bits": None,
    "quantizer": "",
    "zero_point": False,
    "step": None,
    "feedback": False,
    "fraction": None,
    "input": (),
    "output": (),
    "bias": "",
}


def check_settings(settings: Settings, place: str) -> None:
    """Raise ConvertError where the settings of a tensor do not go together."""
    method, bits = settings.method, settings.bits
    if bits is not None and bits not in BITS[method]:
        allowed = f"expected {_listed(BITS[method])}" if BITS[method] else "it has none"
        raise ConvertError(f"bits = {bits} for method = {method!r}: {allowed}", place=place)
    known = QUANTIZERS.get(method, ())
    if settings.quantizer and settings.quantizer not in known:
        allowed = f"expected {_listed(known)}" if known else "it has none"
        problem = f"quantizer = {settings.quantizer!r} for method = {method!r}: {allowed}"
        raise ConvertError(problem, place=place)
    if settings.prunes and method == "grid":
        raise ConvertError("prune for method = 'grid': its step is all there is", place=place)
    if settings.zero_point and method != "affine":
        raise ConvertError(f"zero_point for method = {method!r}: affine has one", place=place)
    if settings.fraction is not None and method != "fixed":
        raise ConvertError(f"fraction for method = {method!r}: fixed has one", place=place)
    _check_layer(settings, place)


def _check_layer(settings: Settings, place: str) -> None:
    """Refuse what is said of a layer in fixed point where that is not all there is to say."""
    said = [key for key in ("input", "output", "bias") if getattr(settings, key)]
    if said and settings.fraction is None:
        raise ConvertError(f"{said[0]} is for a weight with a fraction", place=place)
    if said and not (settings.input and settings.output):
        raise ConvertError("input and output of a layer go together", place=place)


def check_stated(stated: Mapping[str, Any], place: str) -> None:
    """Raise ConvertError where settings that one table states do not go together."""
    for key, value in stated.items():
        check(value, key, place)
    if stated.get("method", "exact") != "exact":
        taken = ("method", "bits", "quantizer", "zero_point", *LAYER_KEYS)
        check_settings(Settings(**{key: stated[key] for key in taken if key in stated}), place)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def check(value: Any, key: str, place: str) -> None:
    """Raise ConvertError unless `value` is one that the setting `key` may have."""
    allowed, legal = CHECKS_OF_LAYERS[key]
    if not legal(value):
        raise ConvertError(f"{key} = {_show(value)}: expected {allowed}", place=place)


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):  # an integer too long to print, or a table too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


def _one_of(names: Iterable[str]) -> tuple[str, Callable[[Any], bool]]:
    known = tuple(names)
    shown = "one of " + ", ".join(name for name in known if name)
    return shown, lambda value: isinstance(value, str) and value in known


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_calibration(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("|synthetic|[0-9a-f]{64}", value))


def _is_step(value: Any) -> bool:
    """Tell whether `value` is a normal number of float32, as scales are."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and SMALLEST_STEP <= value <= LARGEST_STEP


def pattern_of(text: str) -> tuple[int, int]:
    """Return N and M of a pattern "N:M"."""
    keep, of = text.split(":")
    return int(keep), int(of)


def _is_pattern(value: Any) -> bool:
    if value == "":
        return True
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d?:[1-9]\d?", value):
        return False
    keep, of = pattern_of(value)
    return keep < of <= MOST_NEIGHBOURS


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_format(value: Any) -> bool:
    """Tell whether `value` is a fraction length and bits."""
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and _whole(value[0], *_FRACTIONS) and _whole(value[1], 2, 32)


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


_FRACTIONS = (-128, 127)
_FORMAT = ("[fraction length, bits]", _is_format)
_YES = ("true or false", lambda value: isinstance(value, bool))
CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "preset": _one_of(PRESETS),
    "target": _one_of(TARGETS),
    "method": _one_of(METHODS),
    "bits": (
        "a whole number from 1 to 8, or 16",
        lambda v: v is None or _whole(v, 1, 8) or _whole(v, 16, 16),
    ),
    "prune": ("a number from 0 to below 1", _share),
    "prune_unit": _one_of(UNITS),
    "prune_scope": _one_of(SCOPES),
    "prune_by": _one_of(SCORES),
    "prune_below": ("a number from 0 on", _is_size),
    "prune_pattern": (f'"N:M", N below M, M at most {MOST_NEIGHBOURS}', _is_pattern),
    "quantizer": _one_of(("", *(name for names in QUANTIZERS.values() for name in names))),
    "scales": _one_of(SCALES),
    "zero_point": _YES,
    "levels": _one_of(LEVELS),
    "requantize": _YES,
    "equalize": _YES,
    "bias_correction": _YES,
    "shrink": _YES,
    "calibration": ('a SHA-256 or "synthetic"', _is_calibration),
    "min_elements": ("a whole number from 0 on", lambda v: _whole(v, 0, 1 << 40)),
}
CHECKS_OF_LAYERS = CHECKS | {
    "layout": _one_of(LAYOUTS),
    "step": ("a number above 0", _is_step),
    "feedback": _YES,
    "fraction": ("a whole number from -128 to 127", lambda v: _whole(v, *_FRACTIONS)),
    "input": _FORMAT,
    "output": _FORMAT,
    "bias": ("the name of a tensor", lambda v: isinstance(v, str) and bool(v)),
}
