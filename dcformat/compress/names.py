"""What tensors are for where no graph says it: told from their names and shapes, and printed.

State dicts and lists of arrays have names that frameworks give (PyTorch: `conv1.weight`, NumPy,
Keras and JAX: `dense/kernel`). A bias beside a weight tells which axis counts output channels, and
goes before the convention. What no rule knows stays exact. A recipe's `layout` goes before all.

Sisters: roles.py (what is done), dcformat/axes.py, converters/onnx_uses.py (the same from a graph).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dcformat.axes import LAYOUTS, UNKNOWN
from dcformat.errors import ConvertError
from dcformat.model import Model, Tensor, Use

from .recipe import Recipe
from .settings import Settings

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Rule:
    """Tensors whose name ends as `name`, inside of what `inside` is found in, with so many axes.

    `layout` is a key of LAYOUTS for weights, empty for what stays exact; `op` the operator where it
    is another than the layout's. `says` is printed.
    """

    says: str
    role: str
    name: str
    ranks: range
    layout: str = ""
    op: str = ""
    inside: str = ""


def _weight(
    says: str, name: str, ranks: range, layout: str, op: str = "", inside: str = ""
) -> Rule:
    return Rule(says, "weight", name, ranks, layout, op or LAYOUTS[layout].op, inside)


@dataclass(frozen=True)
class Assumption:
    """What one tensor is taken for, and the words of the rule."""

    use: Use
    says: str


_ANY = range(9)
_ONE, _TWO, _SPATIAL = range(2), range(2, 3), range(3, 6)
_TORCH = r"(\w+_)?weight(_v|_orig)?"  # with what weight_norm and spectral_norm append
_ARRAYS = r"w\d*|weights|(pointwise_)?kernel"
_SCALES = r"(\w+_)?(scale|gamma)|g"
_NORMS = r"norm|^(ln|bn|gn)(_|\d*$)"
_STATISTICS = r"(\w+_)?(running|moving)_(mean|var|variance)|num_batches_tracked"
_TABLE = "weight of an embedding: one row an index"
_TURNED = r"transpos|deconv|^(tconv|conv_?tr?)\d*$"  # for example tconv1, conv_t, convtr

#: The first that fits is taken. Names are in lower case, their parts parted by dots.
RULES = (
    Rule("statistics of a norm", "norm", _STATISTICS, _ANY),
    Rule("bias, beta, b: bias", "bias", r"(\w+_)?(bias|beta)|b\d*|bias_\w+", _ANY),
    Rule("weight, scale, gamma of one axis: norm", "norm", rf"{_TORCH}|{_SCALES}", _ONE),
    Rule("the lengths of normalised weights: norm", "norm", r"(\w+_)?weight_[gu]", _ANY),
    Rule("weight of a norm, by its name", "norm", rf"weight|{_SCALES}", _ANY, inside=_NORMS),
    _weight("weight_ih, weight_hh: LSTM or GRU, OI", r"weight_(ih|hh|hr)\w*", _TWO, "OI", "LSTM"),
    _weight(_TABLE, "weight", _TWO, "OI", "Gather", r"emb|^w[tp]e$"),
    _weight(_TABLE, "embeddings?|embedding_table", _TWO, "OI", "Gather"),
    _weight("weight of 2 axes: dense, OI", _TORCH, _TWO, "OI"),
    _weight("weight of a transposed convolution: IOHW", _TORCH, _SPATIAL, "IOHW", "", _TURNED),
    _weight("weight of 3 to 5 axes: convolution, OIHW", _TORCH, _SPATIAL, "OIHW"),
    _weight("recurrent_kernel: LSTM or GRU, IO", "recurrent_kernel", _TWO, "IO", "LSTM"),
    _weight("kernel, w, weights of 2 axes: dense, IO", _ARRAYS, _TWO, "IO"),
    _weight("kernel of a transposed convolution: HWOI", _ARRAYS, _SPATIAL, "HWOI", "", _TURNED),
    _weight("kernel, w of 3 to 5 axes: convolution, HWIO", _ARRAYS, _SPATIAL, "HWIO"),
    _weight("depthwise_kernel: HWOI", "depthwise_kernel", _SPATIAL, "HWOI", "Conv"),
)
NO_RULE = "no rule: left as it is"

#: The layout that a bias may prove instead of the conventional one.
_OTHER = {"OI": "IO", "IO": "OI", "OIHW": "IOHW", "IOHW": "OIHW", "HWIO": "HWOI", "HWOI": "HWIO"}


def use_of(tensor: Tensor, settings: Settings, uses: Mapping[str, Use]) -> Use | None:
    """Return what a tensor is for: as the recipe says, else as `uses` do."""
    use = uses.get(tensor.name)
    if not settings.layout:
        return use
    layout = LAYOUTS[settings.layout]
    rank = len(tensor.shape)
    if rank < layout.ranks:
        problem = f"layout {settings.layout!r} is for {layout.ranks} axes or more; it has {rank}"
        raise ConvertError(problem, place=f"recipe / tensor {tensor.name!r}")
    node = use.node if use is not None else _parts(tensor.name)[0]
    return Use(node, layout.op, "weight", *layout.axes(rank))


def uses_of(model: Model) -> Mapping[str, Use]:
    """Return what the graph says of the tensors or, where there is none, what is assumed."""
    if is_told(model):
        return model.uses
    return {name: found.use for name, found in assume(model.tensors).items()}


def is_told(model: Model) -> bool:
    """Tell whether the reader knew what the tensors are for."""
    return model.graph is not None or bool(model.uses)


def assume(tensors: Iterable[Tensor]) -> dict[str, Assumption]:
    """Return what names and shapes say; nothing for tensors that no rule knows."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    places = {_key(*_parts(name)): shape for name, shape in shapes.items()}
    found = {name: _assumption(name, shape, places) for name, shape in shapes.items()}
    return {name: assumption for name, assumption in found.items() if assumption is not None}


def assumptions(model: Model, recipe: Recipe) -> dict[str, int]:
    """Return in words what was assumed, and for how many tensors; empty where a graph told."""
    if is_told(model):
        return {}
    known = assume(model.tensors)
    counts: Counter[str] = Counter()
    for tensor in model.tensors:
        layout = recipe.settings_for(tensor.name).layout
        says = known[tensor.name].says if tensor.name in known else NO_RULE
        counts[f"the recipe: {layout}" if layout else says] += 1
    return dict(sorted(counts.items(), key=lambda pair: (pair[0] == NO_RULE, -pair[1], pair[0])))


def _assumption(name: str, shape: tuple[int, ...], places: Shapes) -> Assumption | None:
    prefix, last = _parts(name)
    inside = [part for part in prefix.lower().split(".")[-2:] if part]
    for rule in RULES:
        if len(shape) in rule.ranks and re.fullmatch(rule.name, last.lower()):
            if rule.inside and not _is_inside(rule.inside, inside):
                continue
            return _applied(rule, prefix, shape, _bias(prefix, last, places))
    return None


def _is_inside(pattern: str, inside: list[str]) -> bool:
    """Tell whether the name before, or that before a number (`deconv.0.weight`), fits."""
    if len(inside) > 1 and inside[-1].isdecimal():
        inside = inside[:1]
    return bool(inside) and re.search(pattern, inside[-1]) is not None


def _applied(
    rule: Rule, prefix: str, shape: tuple[int, ...], bias: tuple[int, ...] | None
) -> Assumption:
    """Return what `rule` says of a tensor, corrected by the shape of the bias beside it."""
    if rule.role != "weight":
        return Assumption(Use(prefix, "", rule.role), rule.says)
    if bias == shape:
        return Assumption(Use(prefix, "", "norm"), "weight with a bias of its own shape: norm")
    usual = LAYOUTS[rule.layout].axes(len(shape))
    if bias is None or len(bias) != 1 or _fits(usual[0], shape, bias):
        return Assumption(Use(prefix, rule.op, "weight", *usual), rule.says)
    other = LAYOUTS[_OTHER[rule.layout]]
    turned = other.axes(len(shape))
    if _fits(turned[0], shape, bias):
        says = f"{rule.says}; but its bias fits {_OTHER[rule.layout]}"
        return Assumption(Use(prefix, other.op, "weight", *turned), says)
    says = f"{rule.says}; but its bias fits no axis: one scale"
    return Assumption(Use(prefix, rule.op, "weight", *UNKNOWN), says)


def _fits(axis: int | None, shape: tuple[int, ...], bias: tuple[int, ...]) -> bool:
    return axis is not None and shape[axis] == bias[0]


def _bias(prefix: str, last: str, places: Shapes) -> tuple[int, ...] | None:
    """Return the shape of the bias beside a weight: b1 by w1, in_proj_bias by in_proj_weight."""
    match = re.fullmatch(r"(.*_)?weight(s|_v|_orig)?|(w)(\d*)|\w*kernel", last.lower())
    if match is None:
        return None
    return places.get(_key(prefix, f"b{match[4]}" if match[3] else f"{match[1] or ''}bias"))


def _key(prefix: str, last: str) -> str:
    return f"{prefix}.{last.lower()}"


def _parts(name: str) -> tuple[str, str]:
    """Return what a name's tensor is inside of, and its last part.

    Written as PyTorch does, without the output number of TensorFlow; a weight that PyTorch
    computes from parts (`parametrizations.weight.original1`) as before there were those.
    """
    plain = re.sub(r":\d+$", "", name).replace("/", ".")
    plain = re.sub(r"parametrizations\.(\w+)\.original0$", r"\1_g", plain)
    plain = re.sub(r"parametrizations\.(\w+)\.original1?$", r"\1_v", plain)
    prefix, _, last = plain.rpartition(".")
    return prefix, last
