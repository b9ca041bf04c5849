"""Shapes of every value of an ONNX graph, for one choice of input shapes.

Spec: https://onnx.ai/onnx/repo-docs/ShapeInference.html. Sister file: onnx_compute.py (asks).
Local functions are put in the place of their calls. Dimensions that the model leaves open are those
that were asked for, else 1, and said. Numbers that shapes are made of are worked out while they are
small; where a shape stays unknown nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from onnx import ModelProto, helper, inliner, shape_inference

from dcformat.errors import ConvertError
from dcformat.ids import BITS, DType
from dcformat.model import Array

from .onnx_compute_fold import SMALL, Known, held, stand_in, work_out
from .onnx_scopes import text

Shape = tuple[int, ...]

_MAX_NODES = 1 << 20  # once local functions are in the place of their calls
_ROUNDS = 8
_MAX_DIMS = 64  # of a tensor: the length of what Shape gives
_LONGEST = 1 << 20
_SHAPE_TYPES = frozenset({6, 7})  # INT32, INT64
_POINT_TYPES = frozenset({2, 3})  # UINT8, INT8
_CHANNELS = 1 << 16
_NUMBERS = [
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
    "external_data",
    "data_location",
]


@dataclass(frozen=True)
class Fact:
    """What is known of a value: its element type (0: none) and its shape (None: unknown)."""

    kind: int
    shape: Shape | None

    @property
    def elements(self) -> int | None:
        return None if self.shape is None else prod(self.shape)

    @property
    def size(self) -> int | None:
        """Bytes, elements of less than a byte packed; None where type or shape is unknown."""
        if self.shape is None or self.kind not in BITS:
            return None
        return -(-prod(self.shape) * BITS[DType(self.kind)] // 8)


UNKNOWN = Fact(0, None)


def parse_shapes(texts: Sequence[str]) -> dict[str, Shape]:
    """Return shapes by input of texts like "input=1,3,224,224". Raises ConvertError."""
    shapes: dict[str, Shape] = {}
    for given in texts:
        name, found, sizes = given.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(",")) if sizes.strip() else ()
        except ValueError:
            shape = (-1,)
        if not found or not name or min(shape, default=0) < 0:
            raise ConvertError(f"a shape is given as NAME=1,3,224,224, not {given!r}")
        if name in shapes:
            raise ConvertError(f"two shapes for the input {name!r}")
        shapes[name] = shape
    return shapes


def lighten(model: Any) -> Any:
    """Return a copy of an onnx.ModelProto in which only small tensors have numbers."""
    light = ModelProto()
    light.CopyFrom(model)
    for tensor in _tensors(light):
        if not _is_asked_for(tensor) and prod(tensor.dims) > SMALL:
            strip(tensor)
    return light


def put_numbers(tensor: Any, read: Callable[[], Array | None]) -> None:
    """Give a TensorProto without numbers, in place, those that may say a shape or zero points."""
    small = tensor.data_type in _SHAPE_TYPES and 0 <= prod(tensor.dims) <= SMALL
    if not small and not _is_asked_for(tensor):
        return
    numbers = read()
    if numbers is not None:
        tensor.raw_data = numbers.astype(
            helper.tensor_dtype_to_np_dtype(tensor.data_type)
        ).tobytes()


def _is_asked_for(tensor: Any) -> bool:
    """Tell whether a TensorProto may be the zero points of a tensor's channels."""
    return (
        tensor.data_type in _POINT_TYPES
        and len(tensor.dims) < 2
        and 0 <= prod(tensor.dims) <= _CHANNELS
    )


def strip(tensor: Any) -> None:
    """Take the numbers of a TensorProto away; name, type and dims stay."""
    for field in _NUMBERS:
        tensor.ClearField(field)


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every TensorProto of a model that a graph or function holds."""
    for function in model.functions:
        yield from _tensors_of(function)
    yield from model.graph.initializer
    yield from _tensors_of(model.graph)


def _tensors_of(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
        for inner in held(node):
            yield from inner.initializer
            yield from _tensors_of(inner)


def inlined(model: Any) -> Any:
    """Return a model without local functions. Raises ConvertError where they do not end."""
    if not model.functions:
        return model
    _check_calls(model)
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the library raises what it likes
        raise ConvertError(f"local functions cannot be followed: {one_line(error)}") from error


def _check_calls(model: Any) -> None:
    """Raise ConvertError where functions call themselves or come to too many nodes."""
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size(graph: Any, above: tuple[Any, ...]) -> int:
        total = 0
        for node in _nodes_of(graph):
            key = (node.domain, node.op_type, node.overload)
            if key in above:
                raise ConvertError(f"the function {text(node.op_type)!r} calls itself")
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*above, key))
            total += sizes.get(key, 1)
        return total

    try:
        total = size(model.graph, ())
    except RecursionError:
        raise ConvertError("local functions call each other too deeply") from None
    if total > _MAX_NODES:
        raise ConvertError(f"local functions come to more than {_MAX_NODES} nodes")


def _nodes_of(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for inner in held(node):
            yield from _nodes_of(inner)


def fix_inputs(model: Any, shapes: Mapping[str, Shape]) -> list[str]:
    """Give every input of a model a whole shape, in place; return what was assumed for it.

    A dimension's name has one size everywhere. Raises ConvertError where a shape does not fit.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in given and _is_tensor(v)]
    _check_names(inputs, shapes)
    sizes: dict[str, int] = {}
    for value in inputs:
        _fix(value, shapes.get(text(value.name)), sizes)
    assumed = [line for value in inputs for line in _close(value, sizes)]
    _forget(model, changed=bool(shapes), sizes=sizes)
    return assumed


def _is_tensor(value: Any) -> bool:
    return bool(value.type.HasField("tensor_type"))


def _check_names(inputs: list[Any], shapes: Mapping[str, Shape]) -> None:
    names = [text(value.name) for value in inputs]
    for name in shapes:
        if name not in names:
            known = ", ".join(repr(n) for n in names[:8]) or "none"
            raise ConvertError(f"the model has no input {name!r}; its inputs: {known}")


def _fix(value: Any, shape: Shape | None, sizes: dict[str, int]) -> None:
    if shape is None:
        return
    tensor, name = value.type.tensor_type, text(value.name)
    if tensor.HasField("shape") and len(tensor.shape.dim) != len(shape):
        raise ConvertError(f"input {name!r} has {len(tensor.shape.dim)} dimensions, not {shape}")
    if not tensor.HasField("shape"):
        tensor.shape.CopyFrom(helper.make_tensor_type_proto(1, shape).tensor_type.shape)
    for dim, size in zip(tensor.shape.dim, shape, strict=True):
        symbol = text(dim.dim_param)
        if symbol and sizes.setdefault(symbol, size) != size:
            raise ConvertError(f"dimension {symbol!r} is {sizes[symbol]} and {size}")
        dim.dim_value = size


def _close(value: Any, sizes: Mapping[str, int]) -> Iterator[str]:
    """Give the open dimensions of an input a size; yield a line for each that is assumed."""
    tensor, name = value.type.tensor_type, text(value.name)
    if not tensor.HasField("shape"):
        yield f"input {name!r}: no shape, not even how many dimensions"
        return
    for index, dim in enumerate(tensor.shape.dim):
        symbol = text(dim.dim_param)
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            continue
        if symbol not in sizes:
            yield f"input {name!r}: dimension {symbol or index!r} taken as 1"
        dim.dim_value = sizes.get(symbol, 1)


def _forget(model: Any, changed: bool, sizes: Mapping[str, int]) -> None:
    """Take away shapes that the file states of inner values and that may not hold any more."""
    for value in [*model.graph.value_info, *model.graph.output]:
        if not _is_tensor(value):
            continue
        if changed:
            value.type.tensor_type.ClearField("shape")
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param") and text(dim.dim_param) in sizes:
                dim.dim_value = sizes[text(dim.dim_param)]


def infer(model: Any) -> Any:
    """Return the model with the shapes of its values, as far as they can be known."""
    working = ModelProto()
    working.CopyFrom(model)
    stand_in(working.graph)
    _import_all(working)
    result = _infer(working)
    for _ in range(_ROUNDS):
        if not work_out(working.graph, result.graph, _only_shapes, Known()):
            break
        result = _infer(working)
    annotated = ModelProto()
    annotated.CopyFrom(model)
    _take_over(annotated.graph, result.graph)
    return annotated


def _only_shapes(graph: Any) -> dict[str, Shape | None]:
    return {name: fact.shape for name, fact in facts_of(graph).items()}


def _take_over(graph: Any, found: Any) -> None:
    """Give a graph, in place, the shapes that were found in a copy of it; subgraphs too."""
    for name in ("value_info", "output", "input"):
        graph.ClearField(name)
        getattr(graph, name).extend(getattr(found, name))
    for node, same in zip(graph.node, found.node, strict=True):
        for inner, other in zip(held(node), held(same), strict=False):
            _take_over(inner, other)


def _import_all(model: Any) -> None:
    """Import, in place, the operator sets that a model uses and forgot to import."""
    known = {opset.domain for opset in model.opset_import}
    for domain in sorted({node.domain for node in _nodes_of(model.graph)} - known - {""}):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _longest_list(model: Any) -> int:
    """Return how long a list of numbers can get at most that the library follows for us.

    It goes through as many numbers as a tensor says that it has, and a Concat can double them.
    """
    lengths = {text(t.name): prod(t.dims) for t in model.graph.initializer if len(t.dims) < 2}
    longest = max(lengths.values(), default=0)
    for node in _nodes_of(model.graph):
        own = [prod(a.t.dims) for a in node.attribute if a.HasField("t") and len(a.t.dims) < 2]
        taken = [lengths.get(text(name), _MAX_DIMS) for name in node.input]
        length = sum(taken) if node.op_type == "Concat" else max([*taken, *own, _MAX_DIMS])
        lengths |= dict.fromkeys(map(text, node.output), length)
        longest = max(longest, length)
    return longest


def _infer(model: Any) -> Any:
    try:
        cheap = _longest_list(model) <= _LONGEST
        return shape_inference.infer_shapes(model, data_prop=cheap)
    except Exception as error:  # the library raises what it likes
        raise ConvertError(f"no shapes can be told: {one_line(error)}") from error


def facts_of(graph: Any) -> dict[str, Fact]:
    """Return what a graph says of its values by name; initializers included."""
    facts = {text(v.name): fact_of(v) for v in graph.output}
    facts |= {text(v.name): fact_of(v) for v in (*graph.value_info, *graph.input)}
    facts |= {text(t.name): Fact(t.data_type, tuple(t.dims)) for t in graph.initializer}
    facts |= {
        text(s.values.name): Fact(s.values.data_type, tuple(s.dims))
        for s in graph.sparse_initializer
    }
    return facts


def fact_of(value: Any) -> Fact:
    """Return what a ValueInfoProto says; sequences, maps and optional values are unknown."""
    if not _is_tensor(value):
        return UNKNOWN
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return Fact(tensor.elem_type, None)
    sizes = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    return Fact(tensor.elem_type, None if min(sizes, default=0) < 0 else sizes)


def one_line(error: Exception) -> str:
    """Return what an error of another library says, in one line."""
    return " ".join(str(error).split())[:300]
