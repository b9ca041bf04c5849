"""Reading and writing take steps in proportion to the size of a model, whatever it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import constant, graph, model_of, numbers, raw_tensor, tensor, value

from dcformat.converters import (
    onnx_external,
    onnx_files,
    onnx_lazy,
    onnx_lift,
    onnx_numbers,
    onnx_scopes,
    onnx_uses,
    onnx_wire,
    read_onnx,
    write_onnx,
)

#: Functions that everything else is made of, by the modules that call them.
INNER: dict[str, tuple[Any, ...]] = {
    "read_field": (onnx_wire,),
    "_look_up": (onnx_scopes,),
    "_own_uses": (onnx_uses,),
    "read_into": (onnx_files, onnx_lazy),
    "refusal": (onnx_external,),
    "follow": (onnx_lift, write_onnx),
    "encode": (onnx_numbers,),
}


def chain(count: int, folder: Path) -> Any:
    """Layers one after the other, each with a weight, a bias, and a shape that all share."""
    nodes, tensors = [], [tensor("shape", np.array([1, 8], np.int64))]
    for i in range(count):
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"a{i}"]))
        nodes.append(helper.make_node("Reshape", [f"a{i}", "shape"], [f"b{i}"]))
        nodes.append(helper.make_node("Add", [f"b{i}", f"c{i}"], [f"x{i + 1}"]))
        tensors += [tensor(f"w{i}", numbers(8, 8)), tensor(f"c{i}", numbers(8))]
    return model_of(graph(nodes, tensors))


def branches(count: int, folder: Path) -> Any:
    """Many branches with tensors of the same names, one in the other by fours."""

    def branch(depth: int) -> Any:
        nodes = [constant("k", tensor("", numbers(40))), helper.make_node("Add", ["x", "k"], ["y"])]
        if depth:
            inner = helper.make_node("If", ["q"], ["z"], then_branch=branch(depth - 1))
            nodes.append(inner)
        return graph(nodes, [tensor("w", numbers(40))], "b", [], [value("y")])

    nodes = [
        helper.make_node("If", ["q"], [f"y{i}"], then_branch=branch(3)) for i in range(count // 4)
    ]
    return model_of(graph(nodes, []))


def calls(count: int, folder: Path) -> Any:
    """Many calls of one function."""
    body = [
        helper.make_node("MatMul", ["a", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["r"]),
    ]
    function = helper.make_function("local", "F", ["a", "w", "b"], ["r"], body, [])
    nodes, tensors = [], []
    for i in range(count):
        inputs = [f"x{i}", f"w{i}", f"b{i}"]
        nodes.append(helper.make_node("F", inputs, [f"x{i + 1}"], domain="local"))
        tensors += [tensor(f"w{i}", numbers(8, 8)), tensor(f"b{i}", numbers(8))]
    return model_of(graph(nodes, tensors), [function])


def outside(count: int, folder: Path) -> Any:
    """Many tensors in one file beside the model."""
    (folder / "w.bin").write_bytes(numbers(count, 40).tobytes())
    tensors = []
    for i in range(count):
        proto = raw_tensor(f"w{i}", TensorProto.FLOAT, (40,))
        proto.data_location = onnx.TensorProto.EXTERNAL
        proto.external_data.add(key="location", value="w.bin")
        proto.external_data.add(key="offset", value=str(i * 160))
        tensors.append(proto)
    return model_of(graph([], tensors))


def wide(count: int, folder: Path) -> Any:
    """One node with many inputs and attributes, and one tensor that many nodes take."""
    attributes = {f"a{i}": i for i in range(count)}
    many = [f"w{i}" for i in range(count)]
    nodes = [
        helper.make_node("Concat", many, ["y"], axis=0, **attributes),
        helper.make_node("MatMul", ["x", "y"], ["z"]),
        *(helper.make_node("MatMul", [f"x{i}", "w0"], [f"z{i}"]) for i in range(count)),
    ]
    return model_of(graph(nodes, [tensor(name, numbers(4, 4)) for name in many]))


def steps(make: Callable[[int, Path], Any], count: int, folder: Path) -> Counter[str]:
    """Count the calls of the inner functions that reading and writing a model take."""
    folder.mkdir()
    (folder / "m.onnx").write_bytes(make(count, folder).SerializeToString())
    found: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name, modules in INNER.items():
            for module in modules:
                patch.setattr(module, name, counted(name, getattr(module, name), found))
        model = read_onnx.read(folder / "m.onnx")
        write_onnx.write(model, folder / "a.onnx")
        write_onnx.write(model, folder / "b.onnx", external=True)
    assert len(model.tensors) >= count
    return found


def counted(name: str, real: Any, found: Counter[str]) -> Any:
    def count(*arguments: Any, **options: Any) -> Any:
        found[name] += 1
        return real(*arguments, **options)

    return count


@pytest.mark.parametrize("make", [chain, branches, calls, outside, wide])
def test_twice_the_model_takes_twice_the_steps(
    make: Callable[[int, Path], Any], tmp_path: Path
) -> None:
    once, twice = steps(make, 200, tmp_path / "once"), steps(make, 400, tmp_path / "twice")
    assert min(once[name] for name in ("read_field", "read_into", "follow", "encode")) > 200
    assert {name: (once[name], n) for name, n in twice.items() if n > 2.1 * once[name] + 20} == {}


def test_functions_that_call_twice_are_followed_for_so_many_steps(tmp_path: Path) -> None:
    functions = [
        helper.make_function(
            "local",
            f"F{i}",
            ["w"],
            ["a"],
            [
                helper.make_node(f"F{i - 1}" if i else "Relu", ["w"], [o], domain="local")
                for o in "ab"
            ],
            [],
        )
        for i in range(40)
    ]
    node = helper.make_node("F39", ["w"], ["y"], domain="local")
    model = model_of(graph([node], [tensor("w", numbers(20))]), functions)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_scopes, "_look_up", counted("_look_up", onnx_scopes._look_up, found))
        read_onnx.read(tmp_path / "m.onnx")
    assert 1 << 16 < found["_look_up"] < 1 << 20
