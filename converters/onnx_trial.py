"""An ONNX model whose weights are inputs: to run it again and again with other numbers in them.

Sister file: tools/_trials_run.py (runs it). What a weight of a subgraph is fed through stands
outside of it, under a name of its own. The model is otherwise the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy.typing as npt
from onnx import ModelProto, helper, numpy_helper

from dcformat.errors import ConvertError
from dcformat.graph import DATA_FIELDS
from dcformat.ids import DType

from . import onnx_wire as wire
from .onnx_files import FileBytes, look_at
from .onnx_names import names_of
from .onnx_scopes import Node, Program, Site, Steps, follow, program_of, resolve, text
from .onnx_trace import Trace, trace
from .onnx_windows import Window

_FUNCTIONS = 25  # field of ModelProto
_INITIALIZERS = 5  # field of GraphProto
_REALS = frozenset({DType.FLOAT, DType.FLOAT16, DType.DOUBLE})
_SAMPLES = "samples of a trial"  # name of an open axis
_SMALL = 1 << 12  # bytes
_PASSED = frozenset({"Identity", "Transpose"})


@dataclass(frozen=True)
class Meeting:
    """A node in which a weight meets numbers: those of `value`, times `scale`.

    The columns of a dense layer meet axis `axis` of them; a convolution's meet a window.
    `order` brings the weight to (outputs, columns), the axes of the columns following in order.
    """

    value: str
    order: tuple[int, ...]
    columns: int
    axis: int = -1
    window: Window | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Varied:
    """A weight that is an input of the trial model, of the name `feed`."""

    name: str
    feed: str
    dtype: DType
    shape: tuple[int, ...]
    meetings: tuple[Meeting, ...]  # none where one of its uses is not a plain product
    small: npt.NDArray[Any] | None  # its own numbers, where a reader leaves them in the graph


@dataclass(frozen=True)
class Trial:
    """The model as bytes; external data stays in the folder of the file.

    `fixed` are weights that cannot be inputs, each with the reason.
    """

    model: bytes
    varied: tuple[Varied, ...]
    fixed: Mapping[str, str]


def trial_of(path: Path, weights: Iterable[str]) -> Trial:
    """Return the model in the file `path` with `weights` as inputs. Raises ConvertError."""
    file = look_at(path, "the file")
    with file.open() as stream:
        source = FileBytes(stream, file.size)
        found = wire.scan(source)
        program = program_of(_without(source, found, _large(found)))
        sites = _sites(program, names_of(program, found), weights)
        fixed = {name: why for name, site in sites.items() if (why := _refusal(site))}
        chosen = {name: site for name, site in sites.items() if name not in fixed}
        model = _without(source, found, {site.path for site in chosen.values()})
    meetings = _meetings(program, chosen)
    feeds = _lift_out(model, program, chosen)
    varied = tuple(
        Varied(
            name,
            feeds[name],
            DType(site.proto.data_type),
            tuple(site.dims),
            meetings[name],
            None if site.path in _large(found) else numpy_helper.to_array(site.proto),
        )
        for name, site in chosen.items()
    )
    return Trial(bytes(model.SerializeToString()), varied, fixed)


def watched(model: bytes, names: Iterable[str]) -> bytes:
    """Return the model with more outputs: inner values of these names."""
    proto = ModelProto.FromString(model)
    known = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    more = [name for name in dict.fromkeys(names) if name not in known]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in more)
    return bytes(proto.SerializeToString())


def opened(model: bytes, inputs: Iterable[str]) -> bytes:
    """Return the model with the first axis of these inputs of any length.

    It is for the caller to find out whether it then gives each sample what it gave it before.
    """
    proto, names = ModelProto.FromString(model), set(inputs)
    del proto.graph.value_info[:]
    for value in proto.graph.input:
        if value.name in names:
            value.type.tensor_type.shape.dim[0].dim_param = _SAMPLES
    for value in proto.graph.output:
        if value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.ClearField("shape")
    return bytes(proto.SerializeToString())


def _without(source: wire.Source, found: wire.Scan, paths: set[wire.Path]) -> Any:
    """Return the ModelProto without the numbers of the tensors at `paths`."""
    removals = [
        (index, fields)
        for index, span in enumerate(found.tensors)
        if span.path in paths and (fields := [f for f in span.fields if f.number in DATA_FIELDS])
    ]
    light, _ = wire.cut(source, found, removals)
    try:
        return ModelProto.FromString(light)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise ConvertError("not an ONNX model") from error


def _large(found: wire.Scan) -> set[wire.Path]:
    """Return the tensors that a reader takes out of the graph, or whose data is elsewhere."""
    return {
        span.path
        for span in found.tensors
        if sum(f.end - f.start for f in span.fields) >= _SMALL
        or any(f.number == wire.EXTERNAL_DATA for f in span.fields)
    }


def _sites(program: Program, names: Mapping[wire.Path, str], weights: Iterable[str]) -> Any:
    known = {names[site.path]: site for site in program.sites}
    for name in weights:
        if name not in known:
            raise ConvertError(f"the model has no weight {name!r}")
    return {name: known[name] for name in weights}


def _refusal(site: Site) -> str:
    """Say why a weight cannot be an input; empty where it can."""
    root = site.path
    while root[0]:
        root = root[0]
    if root[1][0] == _FUNCTIONS:
        return "is inside a function of the model"
    if site.sparse is not None:
        return "is sparse"
    if site.proto.data_type not in _REALS:
        return "is not of type FLOAT, FLOAT16 or DOUBLE"
    if not site.name:
        return "has no name"
    return ""


def _lift_out(model: Any, program: Program, chosen: Mapping[str, Site]) -> dict[str, str]:
    """Make the weights inputs of the model; return the name of each input."""
    taken = _taken_names(program)
    owners = {name: follow(model, site.path[0]) for name, site in chosen.items()}
    nodes = {n: follow(model, s.path[0][0]) for n, s in chosen.items() if not _is_listed(s)}
    inputs = {value.name for value in model.graph.input}
    feeds: dict[str, str] = {}
    for name, site in chosen.items():
        if name in nodes:
            feeds[name] = _fresh(taken)
            _become_identity(nodes[name], feeds[name])
        elif site.scope.depth:
            feeds[name] = _fresh(taken)
            owners[name].node.insert(0, helper.make_node("Identity", [feeds[name]], [site.name]))
        else:
            feeds[name] = site.name
        if feeds[name] not in inputs:
            dims, kind = site.dims, site.proto.data_type
            model.graph.input.append(helper.make_tensor_value_info(feeds[name], kind, dims))
    listed = [(owners[name], s.path[1][1]) for name, s in chosen.items() if _is_listed(s)]
    for owner, index in sorted(listed, key=lambda pair: -pair[1]):
        del owner.initializer[index]
    return feeds


def _is_listed(site: Site) -> bool:
    """Tell whether a weight is an initializer of a graph, not the value of a Constant node."""
    return bool(site.path[1][0] == _INITIALIZERS and site.path[0] == site.scope.path)


def _become_identity(node: Any, feed: str) -> None:
    node.op_type = "Identity"
    del node.attribute[:]
    node.input.append(feed)


def _taken_names(program: Program) -> set[str]:
    names = {site.name for site in program.sites}
    for node in program.nodes:
        names.update(node.inputs, map(text, node.proto.output), node.scope.inputs)
    return names


def _fresh(taken: set[str]) -> str:
    number = len(taken)
    while f"weight_{number}" in taken:
        number += 1
    taken.add(f"weight_{number}")
    return f"weight_{number}"


def _meetings(program: Program, chosen: Mapping[str, Site]) -> dict[str, tuple[Meeting, ...]]:
    """Return where each weight meets numbers; nothing of one that has a use of another kind."""
    names = {site.path: name for name, site in chosen.items()}
    met: dict[str, list[Meeting | None]] = {name: [] for name in chosen}
    for node, index, found in _uses(program):
        if found.site.path in names:
            met[names[found.site.path]].append(_meeting(node, index, found))
    plain = {name: tuple(m for m in all_ if m is not None) for name, all_ in met.items()}
    return {name: each if _agree(each, met[name]) else () for name, each in plain.items()}


def _agree(plain: tuple[Meeting, ...], all_: list[Meeting | None]) -> bool:
    groups = {m.window.groups if m.window else 1 for m in plain}
    return len(plain) == len(all_) and len(groups) == len({m.order for m in plain}) == 1


def _uses(program: Program) -> Iterator[tuple[Node, int, Trace]]:
    """Yield each node with each tensor that one of its inputs is made of."""
    steps = Steps.of(program)
    for node in program.nodes:
        if node.known_op not in _PASSED:
            for index, name in enumerate(node.inputs):
                for found in trace(node.scope, name, lambda _: None, steps):
                    yield node, index, found


def _meeting(node: Node, index: int, found: Trace) -> Meeting | None:
    """Return where a weight that is input `index` of `node` meets numbers; None: not plainly."""
    plain = all(n.known_op in _PASSED for n in found.passed) and found.view is not None
    if not plain or node.scope.depth or node.domain not in ("", "ai.onnx"):
        return None
    rule = _RULES.get(node.known_op)
    seen = tuple(axes[0] for axes in found.view or ())
    return rule(node, index, found, seen) if rule else None


def _conv(node: Node, index: int, found: Trace, seen: tuple[int, ...]) -> Meeting | None:
    if index != 1 or len(seen) < 3:
        return None
    dims = [found.dims[axis] for axis in seen]
    window = window_of(node, dims[2:])
    return _unless_constant(node, Meeting(node.inputs[0], seen, prod(dims[1:]), 1, window))


def window_of(node: Node, kernel: list[int]) -> Window:
    """Return how a convolution goes over its input."""
    rank = len(kernel)
    return Window(
        kernel=tuple(kernel),
        strides=tuple(node.numbers("strides") or [1] * rank),
        dilations=tuple(node.numbers("dilations") or [1] * rank),
        pads=tuple(node.numbers("pads") or [0] * 2 * rank),
        auto_pad=_string(node, "auto_pad") or "NOTSET",
        groups=node.number("group", 1),
    )


def _gemm(node: Node, index: int, found: Trace, seen: tuple[int, ...]) -> Meeting | None:
    """Y = alpha A B: of a weight A the columns meet those of B, of B the rows those of A."""
    if index > 1 or len(seen) != 2:
        return None
    turned = bool(node.number("transB" if index else "transA"))
    order = seen if turned == bool(index) else seen[::-1]
    other_turned = bool(node.number("transA" if index else "transB"))
    axis = int(other_turned != bool(index))
    scale = next((float(a.f) for a in node.proto.attribute if a.name == "alpha"), 1.0)
    met = Meeting(node.inputs[1 - index], order, found.dims[order[1]], axis, None, scale)
    return _unless_constant(node, met)


def _matmul(node: Node, index: int, found: Trace, seen: tuple[int, ...]) -> Meeting | None:
    if len(seen) != 2:
        return None
    order = seen[::-1] if index else seen
    met = Meeting(node.inputs[1 - index], order, found.dims[order[1]], -1 if index else -2)
    return _unless_constant(node, met)


def _unless_constant(node: Node, met: Meeting) -> Meeting | None:
    """Return `met` unless what the weight meets is a constant itself."""
    return None if isinstance(resolve(node.scope, met.value), Site) else met


def _string(node: Node, name: str) -> str:
    return next((text(a.s) for a in node.proto.attribute if a.name == name), "")


_RULES = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
