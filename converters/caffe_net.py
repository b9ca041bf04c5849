"""Which blobs the layers of a Caffe network have: names and shapes from its definition.

The shapes of weights of dense layers follow from what goes into them, so shapes are carried through
the layers that come before, by Caffe's rules. Layers of other kinds give outputs of unknown shape,
which is an error only where a weight depends on it. Sister file: prototxt.py (the text).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from dcformat.errors import ConvertError

from .prototxt import Message, parse
from .weights import check_dims, check_name, shown

_SAME_SHAPE = (
    "relu", "prelu", "elu", "sigmoid", "tanh", "dropout", "lrn", "batchnorm", "scale", "bias",
    "eltwise", "softmax", "split", "power", "exp", "log", "absval", "bnll", "threshold", "mvn",
)  # fmt: skip
Shape = tuple[int, ...] | None  # None: not known


@dataclass(frozen=True)
class Layer:
    """A layer with a weight; `op` is ONNX's name of what it does, `bias` the bias's elements."""

    name: str
    op: str
    weight: tuple[int, ...]
    bias: int


@dataclass
class _Net:
    """The shapes of blobs so far, and the layers with weights."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


def layers_of(data: bytes) -> tuple[Layer, ...]:
    """Return the layers with weights in the definition `data`, in its order. ConvertError."""
    text = parse(data)
    net = _Net(_inputs(text))
    for layer in text.messages("layer") + text.messages("layers"):
        name = layer.word("name")
        try:
            if _is_tested(layer):
                _follow(net, layer)
        except ConvertError as error:
            raise error.at(f"layer {shown(name)}") from None
    if not net.layers:
        raise ConvertError("no layer in it has weights: not a network's definition")
    return tuple(net.layers)


def _inputs(text: Message) -> dict[str, Shape]:
    names = text.words("input")
    shapes = [tuple(shape.counts("dim")) for shape in text.messages("input_shape")]
    dims = text.counts("input_dim")
    shapes = shapes or [tuple(dims[at : at + 4]) for at in range(0, len(dims), 4)]
    return dict(zip(names, shapes, strict=False))


def _is_tested(layer: Message) -> bool:
    """Tell whether a layer is part of the network that is not being trained."""
    phases = [rule.word("phase") for rule in layer.messages("include") if rule.words("phase")]
    barred = [rule.word("phase") for rule in layer.messages("exclude")]
    return (not phases or "TEST" in phases) and "TEST" not in barred


def _follow(net: _Net, layer: Message) -> None:
    kind = layer.word("type").replace("_", "").lower()
    made: list[Shape] = [net.shapes.get(name) for name in layer.words("bottom")]
    give = _KINDS.get(kind)
    shape = give(net, layer, made) if give else None
    for top in layer.words("top"):
        net.shapes[top] = shape


def _first(made: list[Shape]) -> Shape:
    return made[0] if made else None


def _same(_: _Net, __: Message, made: list[Shape]) -> Shape:
    return _first(made)


def _input(_: _Net, layer: Message, __: list[Shape]) -> Shape:
    return tuple(layer.message("input_param").message("shape").counts("dim")) or None


def _concat(_: _Net, layer: Message, made: list[Shape]) -> Shape:
    rule = layer.message("concat_param")
    axis = rule.count("axis", rule.count("concat_dim", 1))
    known = [shape for shape in made if shape is not None]
    if not known or len(known) < len(made) or any(len(shape) <= axis for shape in known):
        return None
    return (*known[0][:axis], sum(shape[axis] for shape in known), *known[0][axis + 1 :])


def _flatten(_: _Net, __: Message, made: list[Shape]) -> Shape:
    shape = _first(made)
    return None if shape is None else (*shape[:1], prod(shape[1:]))


def _convolution(net: _Net, layer: Message, made: list[Shape]) -> Shape:
    rule = layer.message("convolution_param")
    shape = _first(made)
    if shape is None or len(shape) != 4:
        raise ConvertError("the channels of its input are not known")
    outputs, group = _outputs(rule), rule.count("group", 1)
    kernel = _pair(rule, "kernel", "kernel_size", None)
    if not group or shape[1] % group or outputs % group:
        raise ConvertError(f"{shape[1]} channels to {outputs} in {group} groups")
    _add(net, layer, rule, "Conv", (outputs, shape[1] // group, *kernel))
    spread = _pair(rule, "dilation", "dilation", 1)
    reach = [s * (k - 1) + 1 for s, k in zip(spread, kernel, strict=True)]
    step, pad = _pair(rule, "stride", "stride", 1), _pair(rule, "pad", "pad", 0)
    sizes = zip(shape[2:], reach, step, pad, strict=True)
    return (shape[0], outputs, *((n + 2 * p - k) // s + 1 for n, k, s, p in sizes))


def _dense(net: _Net, layer: Message, made: list[Shape]) -> Shape:
    rule = layer.message("inner_product_param")
    shape = _first(made)
    outputs, axis = _outputs(rule), rule.count("axis", 1)
    if shape is None or len(shape) <= axis:
        raise ConvertError("the size of its input is not known")
    inputs = prod(shape[axis:])
    turned = rule.flag("transpose", False)
    _add(net, layer, rule, "Gemm", (inputs, outputs) if turned else (outputs, inputs))
    return (*shape[:axis], outputs)


def _pooling(_: _Net, layer: Message, made: list[Shape]) -> Shape:
    rule = layer.message("pooling_param")
    shape = _first(made)
    if shape is None or len(shape) != 4:
        return None
    if rule.flag("global_pooling", False):
        return (*shape[:2], 1, 1)
    kernel = _pair(rule, "kernel", "kernel_size", None)
    step, pad = _pair(rule, "stride", "stride", 1), _pair(rule, "pad", "pad", 0)
    sizes = zip(shape[2:], kernel, step, pad, strict=True)
    return (*shape[:2], *(_pooled(*size) for size in sizes))


def _pooled(size: int, kernel: int, step: int, pad: int) -> int:
    """Return how many windows there are: the last one may stick out, but begins inside."""
    count = -(-(size + 2 * pad - kernel) // step) + 1
    return count - 1 if pad and (count - 1) * step >= size + pad else count


def _pair(rule: Message, word: str, both: str, default: int | None) -> tuple[int, int]:
    """Return a setting for height and width: `<word>_h` and `<word>_w`, or one or two numbers."""
    stated = rule.counts(both) or ([] if default is None else [default])
    high = rule.count(f"{word}_h", stated[0] if stated else 0)
    wide = rule.count(f"{word}_w", stated[-1] if stated else 0)
    if word != "pad" and not (high and wide):
        raise ConvertError(f"its {both} is missing or 0")
    return high, wide


def _outputs(rule: Message) -> int:
    outputs = rule.count("num_output", 0)
    if not outputs:
        raise ConvertError("its num_output is missing or 0")
    return outputs


def _add(net: _Net, layer: Message, rule: Message, op: str, weight: tuple[int, ...]) -> None:
    name = check_name(layer.word("name"))
    if any(other.name == name for other in net.layers):
        raise ConvertError("there are two layers of this name")
    bias = _outputs(rule) if rule.flag("bias_term", True) else 0
    net.layers.append(Layer(name, op, check_dims(weight), bias))


_KINDS: dict[str, Callable[[_Net, Message, list[Shape]], Shape]] = {
    "convolution": _convolution,
    "innerproduct": _dense,
    "pooling": _pooling,
    "concat": _concat,
    "flatten": _flatten,
    "input": _input,
    **dict.fromkeys(_SAME_SHAPE, _same),
}
