"""The rest of ONNX: every feature in a small model that comes back and runs as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import (
    constant,
    every_pattern,
    graph,
    identity,
    model_of,
    numbers,
    raw_tensor,
    read_proto,
    serialized,
    tensor,
    use_in,
    value,
)

from dcformat.converters import read_onnx
from dcformat.converters.onnx_data import RAW_DATA, encode
from dcformat.converters.onnx_wire import varint
from dcformat.converters.write_onnx import WRITER
from dcformat.ids import BITS, DType
from dcformat.model import Array, Model

OPSET = [helper.make_opsetid("", 19)]


def net(
    nodes: list[Any],
    initializers: list[Any],
    functions: list[Any] | None = None,
    shape: tuple[int, ...] = (2, 20),
) -> Any:
    """Return a model that makes `y` of `x`, both of floats in `shape`."""
    main = graph(nodes, initializers, "g", [value("x", *shape)], [value("y")])
    main.output[0].type.tensor_type.ClearField("shape")
    model = model_of(main, functions)
    model.ir_version = 9
    return model


def run(path: Path, shape: tuple[int, ...] = (2, 20)) -> list[Array]:
    """Return what onnxruntime makes of one input."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {"x": numbers(*shape)})]


def refer(path: Path, shape: tuple[int, ...] = (2, 20)) -> list[Array]:
    """Return what onnx's own evaluator makes of one input."""
    return [
        np.asarray(y) for y in ReferenceEvaluator(onnx.load(path)).run(None, {"x": numbers(*shape)})
    ]


def kept(proto: Any, folder: Path, *runs: Callable[[Path], list[Array]]) -> Model:
    """Read a model, check that it comes back in one file and runs the same in two; return it."""
    model = read_proto(proto, folder)
    path, outside = folder / "m.onnx", folder / "outside.onnx"
    assert serialized(model) == path.read_bytes()
    WRITER.write(model, outside, external=True)
    assert serialized(read_onnx.read(outside)) == path.read_bytes()
    for once in runs:
        before, after = once(path), once(outside)
        assert [y.dtype for y in before] == [y.dtype for y in after]
        assert [y.tobytes() for y in before] == [y.tobytes() for y in after]
    return model


def names(model: Model) -> list[str]:
    return [t.name for t in model.tensors]


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


# Types


#: Types that onnxruntime casts in operator set 19; later ones depend on its version.
OLD = set(DType) - {DType.COMPLEX64, DType.COMPLEX128} - {d for d in DType if d >= DType.UINT4}


@pytest.mark.parametrize("dtype", list(DType))
def test_every_type_is_cast_as_before(dtype: DType, tmp_path: Path) -> None:
    elements = np.resize(every_pattern(dtype), 2400 * 8 // BITS[dtype])
    payload = encode(RAW_DATA, dtype, elements)
    proto = raw_tensor("t", int(dtype), (elements.size,), raw_data=payload)
    model = net([helper.make_node("Cast", ["t"], ["y"], to=TensorProto.FLOAT)], [proto])
    if dtype not in OLD:
        model.opset_import[0].version, model.ir_version = 25, 13
    assert names(kept(model, tmp_path, *([run] if dtype in OLD else []))) == ["t"]
    for once in (run, refer):
        if works(once, tmp_path / "m.onnx"):
            kept(model, tmp_path, once)


def works(once: Callable[[Path], list[Array]], path: Path) -> bool:
    """Tell whether a runtime, of the version that is here, knows what the model is made of."""
    try:
        once(path)
    except Exception:  # of many types
        return False
    return True


def test_strings_stay_with_a_note(tmp_path: Path) -> None:
    words = raw_tensor("t", TensorProto.STRING, (40,), string_data=[b"\xff\0word"] * 40)
    model = kept(
        net([*identity("t"), helper.make_node("Relu", ["x"], ["y"])], [words]), tmp_path, run
    )
    assert model.notes == ("t: stays in the graph: a .dcf has no element type 8",)


def test_tensors_without_axes_and_without_elements(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scalar"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "scalar", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scalar", "zero"], ["d"]),
        helper.make_node("Concat", ["d", "none"], ["y"], axis=0),
    ]
    initializers = [
        tensor("scalar", np.array(0.5, np.float32)),
        tensor("zero", np.array(3, np.uint8)),
        tensor("none", np.zeros((0, 20), np.float32)),
    ]
    model = kept(net(nodes, initializers), tmp_path, run)
    assert model.tensors == ()
    assert sorted(model.notes) == [
        "none: stays in the graph: it is empty",
        "scalar: stays in the graph: it has 4 bytes only",
        "zero: stays in the graph: it has 1 bytes only",
    ]


# What is carried untouched


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_what_the_reader_does_not_know_is_kept(tmp_path: Path) -> None:
    proto = net([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor("w", numbers(20, 20))])
    proto.graph.quantization_annotation.add(tensor_name="w").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="s"
    )
    for place in (proto, proto.graph, proto.graph.initializer[0]):
        place.metadata_props.add(key="k", value="v")
    part = onnx.TensorProto()
    part.ParseFromString(
        proto.graph.initializer[0].SerializeToString()
        + field(999, b"unknown")
        + varint(1000 << 3)
        + varint(5)
        + varint(1001 << 3 | 5)
        + b"1234"
        + varint(1002 << 3 | 1)
        + b"12345678"
    )
    proto.graph.initializer[0].CopyFrom(part)
    proto.training_info.add().initialization.initializer.append(tensor("seed", numbers(30)))
    model = kept(proto, tmp_path, run)
    assert names(model) == ["w"]
    assert b"unknown" in serialized(model)


def test_data_in_two_chunks_stays_with_a_note(tmp_path: Path) -> None:
    head = raw_tensor("w", 1, (20, 20)).SerializeToString()
    half = numbers(20, 20).tobytes()[:800], numbers(20, 20).tobytes()[800:]
    whole = net([helper.make_node("MatMul", ["x", "w"], ["y"])], []).graph
    main = whole.SerializeToString() + field(5, head + field(4, half[0]) + field(4, half[1]))
    model = net([], [])
    model.ClearField("graph")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString() + field(7, main))
    read = read_onnx.read(path)
    assert read.tensors == ()
    assert read.notes == ("w: stays in the graph: its data stands in more than one piece",)
    assert serialized(read) == path.read_bytes()
    assert np.array_equal(run(path)[0], numbers(2, 20) @ numbers(20, 20))


# Everything that the onnx package brings


@pytest.mark.slow
def test_every_case_of_onnx_comes_back_byte_for_byte(tmp_path: Path) -> None:
    from onnx.backend.test.case.node import collect_testcases  # noqa: PLC0415 - it takes seconds

    models = [case.model for case in collect_testcases(None) if case.model is not None]
    assert len(models) > 1500
    for number, proto in enumerate(models):
        model = read_proto(proto, tmp_path)
        assert serialized(model) == (tmp_path / "m.onnx").read_bytes(), number


BUNDLED = Path(onnx.__file__).parent / "backend" / "test" / "data"


@pytest.mark.parametrize("folder", ["light", "simple", "pytorch-converted", "pytorch-operator"])
def test_every_bundled_model_comes_back_byte_for_byte(folder: str, tmp_path: Path) -> None:
    paths = sorted((BUNDLED / folder).rglob("*.onnx"))
    assert len(paths) >= 9
    for path in paths:
        WRITER.write(read_onnx.read(path), tmp_path / "back.onnx")
        assert (tmp_path / "back.onnx").read_bytes() == path.read_bytes(), path
