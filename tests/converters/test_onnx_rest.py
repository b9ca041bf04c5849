"""Functions, sparse tensors and scopes: small models that come back and run as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import (
    constant,
    graph,
    identity,
    numbers,
    read_proto,
    tensor,
    use_in,
    value,
)
from onnx_runs import OPSET, kept, names, net, refer, run

from dcformat.model import Array

# Local functions


def linear(name: str = "Linear") -> Any:
    """A function of three inputs: x @ w + b + a constant of its own."""
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        constant("c", tensor("", numbers(20))),
        helper.make_node("Add", ["q", "c"], ["r"]),
    ]
    return helper.make_function("local", name, ["a", "w", "b"], ["r"], nodes, OPSET)


def call(op: str, inputs: list[str], output: str) -> Any:
    return helper.make_node(op, inputs, [output], domain="local", name=f"{op}_{output}")


def test_constants_of_functions_are_lifted_and_every_caller_gives_a_weight(tmp_path: Path) -> None:
    nodes = [
        call("Linear", [f"h{i}" if i else "x", f"w{i}", f"b{i}"], f"h{i + 1}") for i in range(5)
    ]
    nodes += identity("h5")
    nodes[-1].output[0] = "y"
    weights = [tensor(f"w{i}", numbers(20, 20) + i) for i in range(5)]
    biases = [tensor(f"b{i}", numbers(20) + i) for i in range(5)]
    model = kept(net(nodes, weights + biases, [linear()]), tmp_path, run, refer)
    assert names(model) == [*(f"w{i}" for i in range(5)), *(f"b{i}" for i in range(5)), "c"]
    assert {use_in(model, f"w{i}") for i in range(5)} == {("weight", 1, (1, 0))}
    assert {use_in(model, f"b{i}") for i in range(5)} == {("bias", None, None)}
    assert model.uses["w3"].node == "Linear/MatMul_0"


def test_a_function_in_a_function_passes_weights_on(tmp_path: Path) -> None:
    outer = helper.make_function(
        "local",
        "Block",
        ["a", "u", "v", "b"],
        ["t"],
        [
            helper.make_node("Transpose", ["v"], ["vt"], perm=[1, 0]),
            call("Linear", ["a", "u", "b"], "s"),
            call("Linear", ["s", "vt", "b"], "t"),
        ],
        [*OPSET, helper.make_opsetid("local", 1)],
    )
    nodes = [call("Block", ["x", "w1", "w2", "b"], "h"), call("Block", ["h", "w3", "w4", "b"], "y")]
    weights = [tensor(f"w{i}", numbers(20, 20) + i) for i in range(1, 5)]
    model = kept(net(nodes, [*weights, tensor("b", numbers(20))], [linear(), outer]), tmp_path, run)
    assert [use_in(model, f"w{i}") for i in range(1, 5)] == [
        ("weight", 1, (1, 0)),
        ("weight", 0, None),
    ] * 2


def test_functions_that_call_each_other_end(tmp_path: Path) -> None:
    def twice(name: str, other: str) -> Any:
        nodes = [call(other, ["w"], "a"), call(other, ["w"], "b"), *identity("w")]
        return helper.make_function("local", name, ["w"], ["a"], nodes, OPSET)

    functions = [twice("F", "G"), twice("G", "F")]
    model = read_proto(
        net([call("F", ["w"], "y")], [tensor("w", numbers(20, 20))], functions), tmp_path
    )
    assert model.uses["w"].role == "other"


def test_chains_of_functions_that_call_twice_end(tmp_path: Path) -> None:
    functions = [
        helper.make_function(
            "local", f"F{i}", ["w"], ["a"], [call(f"F{i + 1}", ["w"], o) for o in "ab"], OPSET
        )
        for i in range(30)
    ]
    functions.append(helper.make_function("local", "F30", ["w"], ["a"], identity("w"), OPSET))
    proto = net([call("F0", ["w"], "y")], [tensor("w", numbers(20, 20))], functions)
    assert names(read_proto(proto, tmp_path)) == ["w"]


def test_functions_with_the_same_attributes_keep_their_own(tmp_path: Path) -> None:
    def scaled(name: str, default: float) -> Any:
        nodes = [
            helper.make_node("Constant", [], ["k"]),
            constant("c", tensor("", numbers(20) * default)),
            helper.make_node("Mul", ["a", "k"], ["m"]),
            helper.make_node("Add", ["m", "c"], ["r"]),
        ]
        nodes[0].attribute.add(name="value_float", ref_attr_name="factor", type=1)
        function = helper.make_function("local", name, ["a"], ["r"], nodes, OPSET)
        function.attribute_proto.append(helper.make_attribute("factor", default))
        return function

    nodes = [
        helper.make_node("F", ["x"], ["h"], domain="local", factor=3.0),
        helper.make_node("G", ["h"], ["y"], domain="local"),
    ]
    proto = net(nodes, [], [scaled("F", 0.5), scaled("G", 2.0)])
    model = kept(proto, tmp_path, run)
    assert names(model) == ["c", "G/c"]


def test_a_tensor_that_is_the_default_of_a_function_stays(tmp_path: Path) -> None:
    function = linear()
    default = helper.make_attribute("table", tensor("", numbers(20)))
    function.attribute_proto.append(default)
    nodes = [call("Linear", ["x", "w", "b"], "y")]
    proto = net(nodes, [tensor("w", numbers(20, 20)), tensor("b", numbers(20))], [function])
    model = kept(proto, tmp_path)
    assert model.notes == ("graph/constant_3: stays in the graph: a default of function Linear",)


# Sparse tensors


def sparse(name: str, dense: Array, flat: bool) -> Any:
    """Return `dense` as a SparseTensorProto, its indices as one number or as coordinates."""
    where = np.flatnonzero(dense) if flat else np.argwhere(dense)
    proto = onnx.SparseTensorProto(dims=dense.shape)
    proto.values.CopyFrom(tensor(name, dense[dense != 0]))
    proto.indices.CopyFrom(tensor("", where.astype(np.int64)))
    return proto


def thin(*shape: int) -> Array:
    dense = numbers(*shape) + 10
    dense.reshape(-1)[np.arange(dense.size) % 3 != 0] = 0
    return dense


@pytest.mark.parametrize("flat", [True, False])
def test_values_of_sparse_initializers_are_weights_and_indices_are_indices(
    tmp_path: Path, flat: bool
) -> None:
    proto = net([helper.make_node("MatMul", ["x", "w"], ["y"], "fc")], [])
    proto.graph.sparse_initializer.append(sparse("w", thin(20, 60), flat))
    model = kept(proto, tmp_path, run)
    assert names(model) == ["w", "w/indices"]
    assert [use_in(model, n) for n in names(model)] == [
        ("weight", None, None),
        ("index", None, None),
    ]
    assert {model.uses[n].node for n in names(model)} == {"fc"}
    assert model["w"].shape == (400,)
    assert model["w/indices"].shape == ((400,) if flat else (400, 2))


def test_sparse_constants_are_lifted(tmp_path: Path) -> None:
    node = helper.make_node("Constant", [], ["w"], sparse_value=sparse("", thin(20, 30), True))
    model = kept(net([node, helper.make_node("MatMul", ["x", "w"], ["y"])], []), tmp_path, run)
    assert names(model) == ["w", "w/indices"]
    assert use_in(model, "w") == ("weight", None, None)


def test_sparse_biases_are_told_by_the_shape_that_nodes_see(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "s"], ["y"]),
    ]
    proto = net(nodes, [tensor("w", numbers(20, 60))])
    proto.graph.sparse_initializer.append(sparse("s", thin(2, 60), True))
    assert use_in(kept(proto, tmp_path, run), "s")[0] == "other"


def test_a_sparse_tensor_without_its_parts_stays(tmp_path: Path) -> None:
    proto = net(identity("x"), [])
    proto.graph.sparse_initializer.add(dims=[3, 4])
    half = proto.graph.sparse_initializer.add(dims=[30])
    half.values.CopyFrom(tensor("v", numbers(30)))
    model = kept(proto, tmp_path)
    assert model.tensors == ()


# Scopes


def branch(name: str, factor: float) -> Any:
    """A subgraph with an initializer and a Constant, both with names that its twin has too."""
    nodes = [
        constant("k", tensor("", numbers(20) * factor)),
        helper.make_node("Mul", ["h", "k"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["u"]),
        helper.make_node("MatMul", ["u", "shared"], [f"{name}_out"]),
    ]
    weight = tensor("w", numbers(20, 20) + factor)
    return graph(nodes, [weight], name, [], [value(f"{name}_out", "N", 20)])


def test_branches_have_names_of_their_own_and_capture_outer_ones(tmp_path: Path) -> None:
    one, two = branch("a", 2), branch("b", 3)
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], "if", then_branch=one, else_branch=two),
    ]
    model = kept(net(nodes, [tensor("shared", numbers(20, 20))]), tmp_path, run, refer)
    assert names(model) == [
        "k",
        "w",
        "if/then_branch/k",
        "if/then_branch/w",
        "shared",
    ]
    weights = ["w", "if/then_branch/w", "shared"]
    assert {use_in(model, name) for name in weights} == {("weight", 1, (1, 0))}


def test_loops_and_scans_carry_tensors(tmp_path: Path) -> None:
    body = graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["next"]),
            helper.make_node("Add", ["next", "outer"], ["out"]),
            helper.make_node("Identity", ["going"], ["on"]),
        ],
        [tensor("w", numbers(20, 20) / 9)],
        "body",
        [
            value("i", kind=TensorProto.INT64),
            value("going", kind=TensorProto.BOOL),
            value("state", 2, 20),
        ],
        [value("on", kind=TensorProto.BOOL), value("out", 2, 20)],
    )
    step = graph(
        [
            helper.make_node("MatMul", ["row", "w"], ["made"]),
            helper.make_node("Identity", ["sum"], ["sum_out"]),
        ],
        [tensor("w", numbers(20, 20) / 7)],
        "step",
        [value("sum", 1), value("row", 20)],
        [value("sum_out", 1), value("made", 20)],
    )
    nodes = [
        helper.make_node("Loop", ["count", "", "x"], ["z"], "loop", body=body),
        helper.make_node(
            "Scan", ["start", "z"], ["end", "y"], "scan", body=step, num_scan_inputs=1
        ),
    ]
    initializers = [
        tensor("count", np.array(3, np.int64)),
        tensor("start", np.zeros(1, np.float32)),
        tensor("outer", numbers(20)),
    ]
    model = kept(net(nodes, initializers), tmp_path, run, refer)
    assert sorted(names(model)) == ["outer", "scan/body/w", "w"]
    assert use_in(model, "w")[0] == use_in(model, "scan/body/w")[0] == "weight"
    assert use_in(model, "outer")[0] == "bias"
