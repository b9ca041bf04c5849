"""What to do to a network's numbers, and to which: presets, settings, TOML files, JSON.

README shows a recipe file; the JSON form travels in section META (spec/DCF.md, key RECIPE), so
that a verifier can do the same again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dcformat.axes import LAYOUTS
from dcformat.errors import ConvertError

#: What each preset does to weights.
PRESETS: dict[str, str] = {"lossless": "exact", "int8": "int8", "deep": "codebook"}
TARGETS = ("mcu", "host")
METHODS = ("exact", "int8", "codebook", "grid")
QUANTIZERS = ("entropy", "uniform", "kmeans", "linear")
LEVELS = ("auto", "int8", "int16", "float")

SMALLEST_STEP, LARGEST_STEP = 2.0**-126, 2.0**120  #: 127 steps are no infinity yet

_VERSION = 1
_MAX_FILE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """What is done to one tensor of role "weight".

    `method`: "exact", "int8" or "codebook". `prune`: share of the elements that become zero.
    For codebooks: `bits`, at most 2**bits levels (None: 8 for convolutions, 5 for dense
    layers), and a rule's bits below 8 ask for a codebook; `quantizer`, see codebook.py;
    `levels`, the type of the levels ("auto": integers with a scale on mcu, the tensor's own
    type on host). `requantize`: quantize even what is clustered or pruned already.
    `min_elements`: smaller tensors stay exact.
    Of single layers only: `step`, of method "grid", whole multiples of which the weights become,
    with `feedback` as feedback.py does it, for which calibration data are needed; `layout`: this
    is a weight, whose axes lie as a key of axes.LAYOUTS says; empty: as the graph or names say.
    """

    method: str = "int8"
    bits: int | None = None
    prune: float = 0.0
    quantizer: str = "entropy"
    levels: str = "auto"
    requantize: bool = False
    min_elements: int = 64
    layout: str = ""
    step: float | None = None
    feedback: bool = False


@dataclass(frozen=True)
class Rule:
    """Settings for the tensors whose name matches the glob `match`."""

    match: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings for a whole network, and rules for some of its tensors.

    `method` and `target` follow from `preset` where they are not given: "lossless" is for
    hosts, the others for microcontrollers. Of the rules that match a tensor, the last that
    states a setting wins. `origin` is the file that errors name; it is not part of the value.
    Raises ConvertError if a setting is unknown, out of range or contradicts another.
    """

    method: str = ""
    preset: str = "int8"
    target: str = ""
    rules: tuple[Rule, ...] = ()
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self.preset, "preset", self.origin)
        derived = {
            "method": self.method or PRESETS[self.preset],
            "target": self.target or ("host" if self.preset == "lossless" else "mcu"),
        }
        for key, value in derived.items():
            object.__setattr__(self, key, value)
        for key in _CHECKS:
            _check(getattr(self, key), key, self.origin)
        object.__setattr__(self, "prune", float(self.prune))
        _check_together(self)

    def settings_for(self, name: str) -> Settings:
        """Return what the recipe says about the tensor `name`."""
        stated = {f.name: getattr(self, f.name) for f in fields(Settings)}
        for rule in self.rules:
            if fnmatchcase(name, rule.match):
                stated.update(rule.settings)
        if stated["method"] == "int8" and stated["bits"] not in (None, 8):
            stated["method"] = "codebook"
        if stated["levels"] == "auto" and self.target == "host":
            stated["levels"] = "float"
        return Settings(**stated)

    def check_matches(self, names: Iterable[str]) -> None:
        """Raise ConvertError if a rule's pattern matches none of `names`."""
        known = tuple(names)
        for at, rule in enumerate(self.rules):
            if not any(fnmatchcase(name, rule.match) for name in known):
                problem = f"match = {rule.match!r} matches no tensor of the model"
                raise ConvertError(problem, place=_place(self.origin, f"layer {at + 1}"))


def preset_recipe(preset: str = "int8", **settings: Any) -> Recipe:
    """Return the recipe of a preset with settings changed; ConvertError says what is allowed."""
    return _recipe({"preset": preset} | settings, "")


def with_settings(recipe: Recipe, **settings: Any) -> Recipe:
    """Return `recipe` with settings changed; what follows from the preset follows the new one."""
    stated = _minimal(recipe) | settings
    changed = _recipe(stated, recipe.origin)
    return replace(changed, rules=recipe.rules)


def without_feedback(recipe: Recipe) -> Recipe:
    """Return `recipe` with every weight rounded for itself."""
    rules = [Rule(r.match, {**r.settings, "feedback": False}) for r in recipe.rules]
    return replace(recipe, rules=tuple(rules))


def read_recipe(path: str | Path) -> Recipe:
    """Read a TOML recipe: `version = 1`, `[defaults]` and any number of `[[layer]]`.

    Raises ConvertError, naming the file and the key, if it cannot be read or used.
    """
    origin = str(path)
    table = parse_toml(Path(path), origin, "recipe")
    _check_keys(table, ("version", "defaults", "layer"), origin)
    if table.get("version") != _VERSION or isinstance(table["version"], bool):
        raise ConvertError(f"expected version = {_VERSION}", place=origin)
    defaults, layers = table.get("defaults", {}), table.get("layer", [])
    if not isinstance(defaults, dict) or not isinstance(layers, list):
        raise ConvertError("defaults is written [defaults], layer [[layer]]", place=origin)
    return _recipe(defaults, origin, "defaults", layers)


def recipe_json(recipe: Recipe) -> str:
    """Return the shortest canonical JSON of a recipe: what differs from its preset, ASCII."""
    stated: dict[str, Any] = _minimal(recipe)
    if recipe.rules:
        stated["layers"] = [{"match": r.match} | _ordered(r.settings) for r in recipe.rules]
    return json.dumps(stated, separators=(",", ":"))


def recipe_from_json(text: str) -> Recipe:
    """Return the recipe that `recipe_json` wrote; ConvertError if it is none."""
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConvertError("not JSON", place="recipe") from error
    if not isinstance(stated, dict) or not isinstance(stated.get("layers", []), list):
        raise ConvertError("not a recipe", place="recipe")
    layers = stated.pop("layers", [])
    return _recipe(stated, "recipe", layers=layers)


def _recipe(stated: Mapping[str, Any], origin: str, part: str = "", layers: Any = ()) -> Recipe:
    """Return the recipe of checked tables."""
    _check_keys(stated, _DEFAULTS, _place(origin, part))
    for key, value in stated.items():
        _check(value, key, _place(origin, part))
    if len(layers) > MAX_RULES:
        raise ConvertError(f"{len(layers)} layers, at most {MAX_RULES}", place=_place(origin, part))
    rules = tuple(_rule(layer, _place(origin, f"layer {i + 1}")) for i, layer in enumerate(layers))
    return Recipe(**stated, rules=rules, origin=origin)


def _rule(layer: Any, place: str) -> Rule:
    if not isinstance(layer, dict) or not isinstance(layer.get("match"), str):
        raise ConvertError("a layer needs match = a pattern of tensor names", place=place)
    settings = {key: value for key, value in layer.items() if key != "match"}
    _check_keys(layer, ("match", *_PER_LAYER), place)
    for key, value in settings.items():
        _check(value, key, place)
    if settings.get("method") == "exact" and _is_lossy(settings):
        raise ConvertError('method = "exact" leaves nothing to prune or bits', place=place)
    if settings.get("method") == "int8" and settings.get("bits", 8) != 8:
        raise ConvertError('bits are those of method = "codebook"; int8 has 8', place=place)
    if (settings.get("method") == "grid") != ("step" in settings):
        raise ConvertError('method = "grid" and step = a number go together', place=place)
    if settings.get("feedback") and "step" not in settings:
        raise ConvertError('feedback is for method = "grid"', place=place)
    return Rule(layer["match"], settings)


def parse_toml(path: Path, origin: str, kind: str) -> dict[str, Any]:
    """Return the TOML file `path`; messages call it `origin`, and a `kind`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise ConvertError(f"a {kind} has at most {_MAX_FILE} bytes", place=origin)
        return _loads(data.decode())
    except OSError as error:
        raise ConvertError(error.strerror or "cannot be read", place=origin) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not TOML
        reason = " ".join(str(error).split())
        raise ConvertError(f"not a TOML {kind}: {reason}", place=origin) from error


def _minimal(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that differ from those of the preset, and the preset."""
    plain = Recipe(preset=recipe.preset)
    differ = {k: getattr(recipe, k) for k in _DEFAULTS if getattr(recipe, k) != getattr(plain, k)}
    return {"preset": recipe.preset} | differ


def _ordered(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in _PER_LAYER if key in settings}


def _check_together(recipe: Recipe) -> None:
    """Refuse settings that contradict each other."""
    place = recipe.origin
    if recipe.preset == "lossless":
        lossy = [r.match for r in recipe.rules if _is_lossy(r.settings)]
        if recipe.method != "exact" or lossy:
            where = f" (layer {lossy[0]!r})" if lossy else ""
            problem = f"preset lossless changes no number, but the recipe asks for it{where}"
            raise ConvertError(problem, place=place)
    if recipe.method == "exact" and (recipe.prune or recipe.bits is not None):
        raise ConvertError("prune and bits are for weights that are not exact", place=place)
    if recipe.method == "grid":
        raise ConvertError('method = "grid" is for single layers, each has a step', place=place)
    if recipe.method == "int8" and recipe.bits not in (None, 8):
        raise ConvertError("bits is for codebooks (preset deep): int8 has 8", place=place)


def _is_lossy(settings: Mapping[str, Any]) -> bool:
    asked = settings.get("prune") or settings.get("bits") is not None
    return bool(asked) or settings.get("method", "exact") != "exact"


def _loads(text: str) -> dict[str, Any]:
    """Parse TOML: by the standard library, on Python 3.10 by tomli, imported when needed only."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    return tomllib.loads(text)


def _check_keys(stated: Iterable[str], allowed: tuple[str, ...], place: str) -> None:
    for key in stated:
        if key not in allowed:
            raise ConvertError(f"unknown key {key!r}; allowed: {', '.join(allowed)}", place=place)


def _check(value: Any, key: str, place: str) -> None:
    """Raise ConvertError unless `value` is one that the setting `key` may have."""
    allowed, legal = _CHECKS_OF_LAYERS[key]
    if not legal(value):
        raise ConvertError(f"{key} = {_show(value)}: expected {allowed}", place=place)


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):  # an integer too long to print, or a table too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


def _place(origin: str, part: str) -> str:
    return " / ".join(p for p in (origin, part) if p)


def _one_of(names: Iterable[str]) -> tuple[str, Callable[[Any], bool]]:
    known = tuple(names)
    return "one of " + ", ".join(known), lambda value: isinstance(value, str) and value in known


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_step(value: Any) -> bool:
    """Tell whether `value` is a normal number of float32, as scales are."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and SMALLEST_STEP <= value <= LARGEST_STEP


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "preset": _one_of(PRESETS),
    "target": _one_of(TARGETS),
    "method": _one_of(METHODS),
    "bits": ("a whole number from 1 to 8", lambda v: v is None or _whole(v, 1, 8)),
    "prune": ("a number from 0 to below 1", _share),
    "quantizer": _one_of(QUANTIZERS),
    "levels": _one_of(LEVELS),
    "requantize": ("true or false", lambda v: isinstance(v, bool)),
    "min_elements": ("a whole number from 0 on", lambda v: _whole(v, 0, 1 << 40)),
}
_CHECKS_OF_LAYERS = _CHECKS | {
    "layout": _one_of(LAYOUTS),
    "step": ("a number above 0", _is_step),
    "feedback": ("true or false", lambda v: isinstance(v, bool)),
}
_DEFAULTS = tuple(_CHECKS)
MAX_RULES = 1000  #: layers of a recipe: work is rules times tensors
_PER_LAYER = tuple(key for key in _CHECKS_OF_LAYERS if key not in ("preset", "target"))
