"""What graphs cost: MACs that papers and other tools state, bytes and memory counted by hand."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_costs import Chain, mobilenet, model, vgg16, weight
from onnx_models import REAL_MODELS, model_of, value

import dcformat
from dcformat.converters.onnx_compute import (
    Compute,
    Cost,
    compute_of_graph,
    compute_of_proto,
    parse_shapes,
)
from dcformat.converters.onnx_compute_ops import is_free, rule_of
from dcformat.converters.onnx_scopes import program_of
from dcformat.errors import ConvertError, CorruptError
from dcformat.file import model_of as model_of_file

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def of_nodes(nodes: list[Any], inputs: list[Any], *weights: Any, **options: Any) -> Compute:
    return compute_of_proto(model(nodes, inputs, list(weights)), **options)


def one(
    op: str, shapes: list[tuple[int, ...]], *weights: tuple[int, ...], **attributes: Any
) -> Cost:
    """Return the row of one node with these inputs and weights."""
    domain = attributes.pop("domain", "")
    names = [f"i{i}" for i in range(len(shapes))] + [f"w{i}" for i in range(len(weights))]
    node = helper.make_node(op, names, ["y"], "n", domain=domain, **attributes)
    inputs = [value(f"i{i}", *shape) for i, shape in enumerate(shapes)]
    tensors = [weight(f"w{i}", *dims) for i, dims in enumerate(weights)]
    return of_nodes([node], inputs, *tensors).layers[0]


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("bvlc_alexnet", 654_560_384),
        ("resnet50", 4_089_184_256),
        ("squeezenet", 349_151_936),
        ("vgg19", 19_632_062_464),
    ],
)
def test_models_of_the_onnx_package_have_the_known_macs(name: str, macs: int) -> None:
    compute = compute_of_proto(onnx.load(LIGHT / f"light_{name}.onnx"))
    assert compute.macs == macs
    assert compute.complete
    assert compute.peak.complete


@pytest.mark.parametrize(
    ("build", "macs", "parameters"),
    [(vgg16, 15_470_264_320, 138_357_544), (mobilenet, 568_740_352, 4_209_088)],
)
def test_networks_of_the_literature_have_their_macs(build: Any, macs: int, parameters: int) -> None:
    compute = compute_of_proto(build())
    assert (compute.macs, compute.complete) == (macs, True)
    assert abs(compute.parameters - parameters) < 1 << 16  # norms are folded into biases here


def test_a_separable_convolution_stands_next_to_the_plain_one() -> None:
    net = Chain((1, 64, 112, 112)).conv(64, 64, group=64).conv(128, 64, size=1)
    (pair,) = compute_of_proto(net.model).separable
    assert (pair.depthwise, pair.pointwise) == ("conv0", "conv2")
    assert (pair.depthwise_macs, pair.pointwise_macs) == (7_225_344, 102_760_448)
    assert pair.macs == 109_985_792
    assert pair.plain_macs == 924_844_032


def test_mobilenet_is_made_of_thirteen_separable_pairs() -> None:
    assert len(compute_of_proto(mobilenet()).separable) == 13


def test_a_convolution_that_is_not_depthwise_or_not_followed_by_1x1_is_no_pair() -> None:
    grouped = Chain((1, 64, 8, 8)).conv(64, 64, group=32).conv(128, 64, size=1)
    followed = Chain((1, 64, 8, 8)).conv(64, 64, group=64).conv(128, 64, size=3)
    for net in (grouped, followed):
        assert compute_of_proto(net.model).separable == ()


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes", "macs"),
    [
        ((2, 3, 20), (8, 3, 5), {}, 2 * 16 * 8 * 3 * 5),
        ((1, 4, 9, 9), (8, 2, 3, 3), {"group": 2, "strides": [2, 2]}, 4 * 4 * 8 * 2 * 9),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"dilations": [2, 2]}, 25 * 9),
        ((1, 1, 9, 9), (1, 1, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 25 * 9),
        ((1, 1, 9, 9), (1, 1, 2, 2), {"auto_pad": "VALID"}, 64 * 4),
        ((1, 2, 4, 5, 6), (3, 2, 2, 2, 2), {}, 3 * 4 * 5 * 3 * 2 * 8),
    ],
)
def test_convolutions_of_all_kinds(
    shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any], macs: int
) -> None:
    row = one("Conv", [shape], kernel, **attributes)
    assert (row.macs, row.flops, row.status) == (macs, 2 * macs, "counted")


def test_a_transposed_convolution_multiplies_each_input_by_each_weight() -> None:
    row = one("ConvTranspose", [(1, 4, 5, 5)], (4, 3, 2, 2), strides=[2, 2], group=2)
    assert row.macs == 25 * 4 * 3 * 4
    assert row.outputs == ((1, 6, 10, 10),)


@pytest.mark.parametrize(
    ("op", "shapes", "weights", "attributes", "macs"),
    [
        ("Gemm", [(5, 7)], [(7, 3)], {}, 5 * 7 * 3),
        ("Gemm", [(7, 5)], [(3, 7)], {"transA": 1, "transB": 1}, 5 * 7 * 3),
        ("MatMul", [(7,)], [(7, 3)], {}, 21),
        ("MatMul", [(2, 4, 5, 7), (2, 1, 7, 3)], [], {}, 8 * 5 * 7 * 3),
        ("MatMul", [(7,), (7,)], [], {}, 7),
        ("LSTM", [(6, 2, 10)], [(1, 16, 10), (1, 16, 4)], {"hidden_size": 4}, 12 * 16 * 14),
        (
            "GRU",
            [(6, 2, 10)],
            [(2, 12, 10), (2, 12, 4)],
            {"hidden_size": 4, "direction": "bidirectional"},
            12 * 2 * 12 * 14,
        ),
        ("RNN", [(6, 2, 10)], [(1, 4, 10), (1, 4, 4)], {"hidden_size": 4}, 12 * 4 * 14),
        ("Einsum", [(2, 3, 4), (2, 4, 5)], [], {"equation": "bij, bjk -> bik"}, 2 * 3 * 4 * 5),
        ("Einsum", [(3, 4)], [], {"equation": "ij->ji"}, 0),
    ],
)
def test_dense_and_recurrent_layers(
    op: str,
    shapes: list[tuple[int, ...]],
    weights: list[tuple[int, ...]],
    attributes: dict[str, Any],
    macs: int,
) -> None:
    row = one(op, shapes, *weights, **attributes)
    assert (row.macs, row.status) == (macs, "counted")


def test_attention_is_two_products() -> None:
    nodes = [helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=4, kv_num_heads=2)]
    inputs = [value("q", 2, 10, 32), value("k", 2, 6, 16), value("v", 2, 6, 24)]
    main = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("y")])
    wanted = helper.make_model(main, opset_imports=[helper.make_opsetid("", 23)])
    assert compute_of_proto(wanted).macs == 2 * 4 * 10 * 6 * (8 + 12)


def test_the_attention_of_onnxruntime_has_its_projections() -> None:
    row = one("Attention", [(2, 10, 32)], (32, 96), (96,), domain="com.microsoft", num_heads=4)
    assert row.macs == 2 * 10 * 32 * 96 + 2 * 2 * 10 * 10 * 32
    assert row.outputs == ((2, 10, 32),)


def test_operators_that_are_not_counted_are_named_and_never_zero() -> None:
    nodes = [
        helper.make_node("MatMulNBits", ["x", "w"], ["a"], "q", domain="com.microsoft"),
        helper.make_node("DFT", ["a"], ["b"], "dft"),
        helper.make_node("Thing", ["b"], ["y"], "t", domain="other"),
    ]
    compute = of_nodes(nodes, [value("x", 1, 8)], weight("w", 8, 4))
    assert [(r.status, r.macs, r.flops) for r in compute.layers] == [
        ("not counted", None, None)
    ] * 3
    assert not compute.complete
    assert compute.notes[:3] == (
        "com.microsoft.MatMulNBits: not counted (1 nodes)",
        "DFT: not counted (1 nodes)",
        "other.Thing: not counted (1 nodes)",
    )


def test_every_operator_of_onnx_is_counted_free_or_named() -> None:
    schemas = [schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""]
    main = helper.make_graph([helper.make_node(s.name, [], []) for s in schemas], "g", [], [])
    nodes = program_of(model_of(main)).nodes
    assert not [n.op for n in nodes if is_free(n) and rule_of(n)]
    named = {n.op for n in nodes if not is_free(n) and not rule_of(n)}
    assert named >= {"DFT", "STFT"}
    assert len(named) < 20  # new operators come; those known today are in the tables
    assert len(nodes) > 190


def test_a_shape_that_stays_unknown_is_not_guessed() -> None:
    nodes = [
        helper.make_node("Thing", ["x"], ["a"], domain="other"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "mm"),
    ]
    compute = of_nodes(nodes, [value("x", 1, 8)], weight("w", 8, 4))
    row = compute.layers[1]
    assert (row.status, row.macs, row.activation_bytes) == ("unknown shape", None, None)
    assert (row.inputs, row.weights) == ((None, (8, 4)), ())
    assert not compute.peak.complete


def test_open_dimensions_are_one_and_said_unless_they_are_asked_for() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    wanted = model([node], [value("x", "N", 8), value("z", "N", "M")], [weight("w", 8, 4)])
    plain = compute_of_proto(wanted)
    assert plain.macs == 32
    assert plain.assumed == (
        "input 'x': dimension 'N' taken as 1",
        "input 'z': dimension 'N' taken as 1",
        "input 'z': dimension 'M' taken as 1",
    )
    asked = compute_of_proto(wanted, shapes={"x": (5, 8)})
    assert asked.macs == 5 * 32
    assert asked.assumed == ("input 'z': dimension 'M' taken as 1",)


def test_another_batch_than_the_file_states_moves_through_inner_shapes() -> None:
    wanted = Chain((1, 3, 8, 8)).conv(4, 3).add("Flatten").dense(10, 256).model
    wanted = onnx.shape_inference.infer_shapes(wanted)
    single, four = compute_of_proto(wanted), compute_of_proto(wanted, shapes={"x": (4, 3, 8, 8)})
    assert four.macs == 4 * single.macs
    assert four.peak.bytes == 4 * single.peak.bytes


def test_a_target_that_the_graph_computes_is_worked_out() -> None:
    half = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["c"]),
        helper.make_node("Div", ["c", "two"], ["h"]),
        helper.make_node("Concat", ["minus", "h"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"], "mm"),
    ]
    ints = {"one": [1], "two": [2], "minus": [-1]}
    tensors = [onnx.numpy_helper.from_array(np.array(v), k) for k, v in ints.items()]
    row = of_nodes(half, [value("x", 6, 16)], *tensors, weight("w", 8, 4)).layers[-1]
    assert (row.inputs[0], row.macs) == ((12, 8), 12 * 8 * 4)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x"], "NAME=1,3,224,224"),
        (["x=1,a"], "NAME=1,3,224,224"),
        (["x=-1"], "NAME=1,3,224,224"),
        (["=1"], "NAME=1,3,224,224"),
        (["x=1", "x=2"], "two shapes for the input 'x'"),
    ],
)
def test_shapes_that_cannot_be_read(texts: list[str], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        parse_shapes(texts)


def test_shapes_are_read_by_the_last_equals_sign() -> None:
    assert parse_shapes(["x=1,3", "a=b=2", "s="]) == {"x": (1, 3), "a=b": (2,), "s": ()}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"other": (1,)}, "no input 'other'; its inputs: 'x', 'z'"),
        ({"x": (1,)}, "has 2 dimensions"),
        ({"x": (1, 8), "z": (2, 8)}, "dimension 'N' is 1 and 2"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    wanted = model([node], [value("x", "N", 8), value("z", "N", 8)], [])
    with pytest.raises(ConvertError, match=message):
        compute_of_proto(wanted, shapes=shapes)


def test_bytes_and_intensity_of_a_layer() -> None:
    row = one("Gemm", [(2, 8)], (8, 4), (4,))
    assert (row.parameters, row.parameter_bytes) == (36, 144)
    assert row.activation_bytes == 4 * (2 * 8 + 2 * 4)
    assert row.intensity == 2 * 64 / (144 + 96)


def test_quantized_weights_count_in_the_types_of_the_file() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"], "mm"),
    ]
    stored = [weight("q", 4, 8, kind=TensorProto.INT4), weight("s")]
    compute = of_nodes(nodes, [value("x", 1, 8)], *stored, zeros={"q": 8})
    (row,) = compute.layers
    assert (row.weights, row.parameters, row.parameter_bytes) == (("q",), 32, 16)
    assert (row.macs, row.skipped) == (32, 8)


def test_multiplications_by_zeros_are_those_of_the_weights_that_are_zero() -> None:
    net = Chain((1, 3, 8, 8)).conv(4, 3).model
    compute = compute_of_proto(net, zeros={"conv0.0": 54, "conv0.1": 4})
    assert (compute.macs, compute.skipped) == (64 * 108, 64 * 54)
    lstm = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)]
    tensors = [weight("w", 1, 16, 10), weight("r", 1, 16, 4)]
    compute = of_nodes(lstm, [value("x", 6, 2, 10)], *tensors, zeros={"w": 5, "r": 3})
    assert compute.skipped == 12 * (5 + 3)


@pytest.mark.parametrize(("point", "skipped"), [(None, 8), (0, 8), (7, 0)])
@pytest.mark.parametrize("op", ["DequantizeLinear", "MatMulInteger"])
def test_a_zero_that_a_zero_point_moves_saves_nothing(
    op: str, point: int | None, skipped: int
) -> None:
    tail = [] if point is None else ["p"]
    kind = TensorProto.UINT8
    if op == "DequantizeLinear":
        nodes = [
            helper.make_node(op, ["q", "s", *tail], ["w"]),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ]
        inputs = [value("x", 1, 8)]
    else:
        nodes = [helper.make_node(op, ["x", "q", *(["", *tail] if tail else [])], ["y"])]
        inputs = [value("x", 1, 8, kind=kind)]
    points = onnx.numpy_helper.from_array(np.array([point or 0] * 4, np.uint8), "p")
    tensors = [weight("q", 8, 4, kind=kind), weight("s", 4), points]
    compute = of_nodes(nodes, inputs, *tensors, zeros={"q": 8})
    assert (compute.macs, compute.skipped) == (32, skipped)


def test_a_tensor_used_twice_is_one_parameter_in_the_totals() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    compute = of_nodes(nodes, [value("x", 1, 8)], weight("w", 8, 8))
    assert [r.parameters for r in compute.layers] == [64, 64]
    assert (compute.parameters, compute.parameter_bytes) == (64, 256)


def test_the_peak_is_where_most_bytes_live_at_once() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "first"),  # x, a: 32 + 32 bytes
        helper.make_node("MatMul", ["a", "w"], ["b"], "wide"),  # a, b: 32 + 128
        helper.make_node("MatMul", ["b", "v"], ["c"], "back"),  # a is kept: 32 + 128 + 32
        helper.make_node("Add", ["a", "c"], ["y"], "sum"),
    ]
    peak = of_nodes(nodes, [value("x", 1, 8)], weight("w", 8, 32), weight("v", 32, 8)).peak
    assert (peak.bytes, peak.node, peak.complete) == (192, "back", True)
    assert peak.tensors == (("b", (1, 32), 128), ("a", (1, 8), 32), ("c", (1, 8), 32))


def test_results_that_nothing_takes_need_no_memory() -> None:
    nodes = [helper.make_node("Dropout", ["x"], ["y", "mask"])]
    compute = of_nodes(nodes, [value("x", 1, 8), value("unused", 1000)])
    assert (compute.peak.bytes, compute.activation_bytes) == (64, 64)


def branch(name: str, columns: int) -> Any:
    """A graph that takes x from outside."""
    tensor = weight(f"{name}_w", 8, columns)
    nodes = [
        helper.make_node("MatMul", ["x", f"{name}_w"], ["m"], "mm"),
        helper.make_node("ReduceSum", ["m"], ["o"], "sum", keepdims=0),
    ]
    return helper.make_graph(nodes, name, [], [value("o")], [tensor])


def test_of_an_if_both_branches_are_rows_and_the_larger_counts() -> None:
    node = helper.make_node(
        "If", ["c"], ["y"], "if", then_branch=branch("then", 4), else_branch=branch("else", 100)
    )
    inputs = [value("c", kind=TensorProto.BOOL), value("x", 2, 8)]
    compute = of_nodes([node], inputs)
    rows = {(r.where, r.op): (r.macs, r.in_total) for r in compute.layers}
    assert rows["if/then_branch", "MatMul"] == (64, False)
    assert rows["if/else_branch", "MatMul"] == (1600, True)
    assert compute.macs == 1600
    assert "then_branch 64 MACs" in compute.notes[0]
    assert "else_branch 1600 MACs" in compute.notes[0]
    # c (1 byte), x, and in the branch m and o together
    assert compute.peak.bytes == 1 + 64 + 800 + 4 + 4  # y as well


def test_a_scan_counts_one_iteration_and_says_so() -> None:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["e", "w"], ["f"], "mm"),
            helper.make_node("Add", ["s", "f"], ["t"]),
            helper.make_node("Identity", ["t"], ["u"]),
        ],
        "body",
        [value("s", 1, 4), value("e", 1, 8)],
        [value("t", 1, 4), value("u", 1, 4)],
    )
    node = helper.make_node("Scan", ["s0", "x"], ["s1", "y"], "scan", body=body, num_scan_inputs=1)
    inputs = [value("s0", 1, 4), value("x", 7, 1, 8)]
    compute = of_nodes([node], inputs, weight("w", 8, 4))
    assert compute.macs == 32
    assert compute.notes == ("scan: Scan counted for one iteration",)
    assert compute.layers[1].weights == ("w",)


def test_local_functions_are_counted_at_each_call() -> None:
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    opsets = [helper.make_opsetid("", 19)]
    function = helper.make_function("local", "Dense", ["a", "b"], ["c"], body, opsets)
    nodes = [
        helper.make_node("Dense", ["x", "w"], ["h"], domain="local"),
        helper.make_node("Dense", ["h", "w"], ["y"], domain="local"),
    ]
    outputs = [helper.make_empty_tensor_value_info("y")]
    main = helper.make_graph(nodes, "g", [value("x", 1, 8)], outputs, [weight("w", 8, 8)])
    compute = compute_of_proto(model_of(main, [function]))
    assert (compute.macs, compute.parameters) == (128, 64)
    assert [r.weights for r in compute.layers] == [("w",), ("w",)]


def test_functions_without_end_are_refused() -> None:
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("local", 1)]
    twice = [
        helper.make_function(
            "local",
            f"f{i}",
            ["a"],
            ["c"],
            [
                helper.make_node(f"f{i + 1}", ["a"], ["b"], domain="local"),
                helper.make_node(f"f{i + 1}", ["b"], ["c"], domain="local"),
            ],
            opsets,
        )
        for i in range(40)
    ]
    last = helper.make_function(
        "local", "f40", ["a"], ["c"], [helper.make_node("Identity", ["a"], ["c"])], opsets
    )
    again = helper.make_function(
        "local", "f0", ["a"], ["c"], [helper.make_node("f0", ["a"], ["c"], domain="local")], opsets
    )
    main = helper.make_graph(
        [helper.make_node("f0", ["x"], ["y"], domain="local")],
        "g",
        [value("x", 1)],
        [helper.make_empty_tensor_value_info("y")],
    )
    with pytest.raises(ConvertError, match="more than 1048576 nodes"):
        compute_of_proto(model_of(main, [*twice, last]))
    with pytest.raises(ConvertError, match="calls itself"):
        compute_of_proto(model_of(main, [again]))


def test_a_graph_of_a_file_costs_what_its_source_does(digits: Path, tmp_path: Path) -> None:
    source = dcformat.read(digits / "digits.onnx")
    dcformat.save(dcformat.compress(source, "deep", prune=0.5), tmp_path / "d.dcf")
    file = dcformat.load(tmp_path / "d.dcf")
    zeros = {name: int((file[name] == 0).sum()) for name in file}
    stored = model_of_file(file)
    assert stored.graph is not None
    compute = compute_of_graph(
        stored.graph.data, file.names, lambda i: stored.tensors[i].data, zeros=zeros
    )
    plain = compute_of_proto(onnx.load(digits / "digits.onnx"))
    assert compute.macs == plain.macs > 0
    assert compute.complete
    assert plain.skipped == 0 < compute.skipped < compute.macs
    assert [r.name for r in compute.layers] == [r.name for r in plain.layers]
    assert {w for r in compute.layers for w in r.weights} <= set(file.names)


def test_a_shape_that_is_a_tensor_of_the_file_is_asked_for(tmp_path: Path) -> None:
    target = onnx.numpy_helper.from_array(np.array([1] * 9 + [4, 4]), "target")
    nodes = [
        helper.make_node("Reshape", ["x", "target"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    wanted = model(
        [*nodes],
        [value("x", 16)],
        [target, onnx.numpy_helper.from_array(np.ones((4, 64), np.float32), "w")],
    )
    onnx.save(wanted, tmp_path / "m.onnx")
    source = dcformat.read(tmp_path / "m.onnx")
    assert source.graph is not None
    names = [t.name for t in source.tensors]
    assert "target" in names
    known = compute_of_graph(source.graph.data, names, lambda i: source.tensors[i].data)
    assert (known.macs, known.complete) == (4 * 4 * 64, True)
    unknown = compute_of_graph(source.graph.data, names, lambda _: None)
    assert (unknown.macs, unknown.complete) == (0, False)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("MatMul", ["s"], ["y"]),
        helper.make_node("Conv", ["s", "s"], ["y"]),
        helper.make_node("Slice", ["", "s", "s"], ["y"]),
        helper.make_node("ConstantOfShape", ["s"], ["y"], value=[1]),
        helper.make_node("ConstantOfShape", [""], ["y"]),
        helper.make_node("Concat", ["s", "s"], ["y"]),
        helper.make_node("Einsum", ["s", "s"], ["y"], equation="i,ij->j"),
        helper.make_node("Gather", ["s", "odd"], ["y"]),
        helper.make_node("If", ["s"], ["y"]),
    ],
    ids=lambda node: node.op_type,
)
def test_a_node_that_is_wrong_is_unknown_or_an_error_in_one_line(node: Any) -> None:
    odd = TensorProto(name="odd", data_type=99, dims=[1], raw_data=b"1")
    shape = onnx.numpy_helper.from_array(np.array([2, 3]), "s")
    tail = helper.make_node("Reshape", ["x", "y"], ["z"])
    wanted = model([node, tail], [value("x", 6)], [shape, odd], ("z",))
    assert one_line_or_nothing(wanted)


def one_line_or_nothing(wanted: Any) -> bool:
    try:
        return compute_of_proto(wanted).macs == 0
    except ConvertError as error:
        return "\n" not in str(error)


def test_lists_that_say_to_be_endless_are_not_gone_through() -> None:
    long = [TensorProto(name=n, data_type=7, dims=[1 << 62], raw_data=bytes(8)) for n in "ab"]
    node = helper.make_node("Add", ["a", "b"], ["y"])
    assert one_line_or_nothing(model([node], [value("x", 6)], long))
    double = [helper.make_node("Concat", ["s", "s"], ["c0"], axis=0)]
    double += [
        helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(60)
    ]
    start = onnx.numpy_helper.from_array(np.array([2, 3]), "s")
    assert one_line_or_nothing(model(double, [value("x", 6)], [start], ("c60",)))


@pytest.mark.parametrize("data", [b"", b"\x01\0\0\0", b"\0\0\0\0\x0a\x05ab", b"\0\0\0\0\xff\xff"])
def test_a_section_that_is_no_graph_gives_a_typed_error(data: bytes) -> None:
    with pytest.raises(CorruptError):
        compute_of_graph(data, [], lambda _: None)


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_MODELS)
def test_real_models_are_counted_or_say_why_not(name: str, data_dir: Path) -> None:
    compute = compute_of_proto(onnx.load(data_dir / "onnx" / f"{name}.onnx"))
    shown = json.loads(json.dumps(compute.as_dict(), allow_nan=False))
    assert shown["macs"] == sum(r["macs"] or 0 for r in shown["layers"] if r["in_total"])
    assert shown["complete"] or shown["notes"]


@pytest.mark.parametrize("name", ["bvlc_alexnet", "resnet50", "squeezenet", "vgg19", "densenet121"])
def test_another_tool_counts_the_same_convolutions_and_dense_layers(name: str) -> None:
    """onnx-tool counts a bias as one MAC for each element of the result; we count none."""
    tool = pytest.importorskip("onnx_tool", reason="onnx-tool is not installed")
    graph = tool.Model(str(LIGHT / f"light_{name}.onnx")).graph
    graph.shape_infer()
    graph.profile()
    theirs = [node for node in graph.nodemap.values() if node.op_type in ("Conv", "Gemm")]
    compute = compute_of_proto(onnx.load(LIGHT / f"light_{name}.onnx"))
    ours = [row for row in compute.layers if row.status == "counted"]
    assert len(ours) == len(theirs) >= 8
    for row, node in zip(ours, theirs, strict=True):
        bias = prod(row.outputs[0] or ()) if len(row.inputs) == 3 else 0
        assert row.macs == sum(node.macs) - bias


@pytest.mark.parametrize("name", ["size", "picked", "flat", "x"])
def test_names_that_are_not_utf8_are_no_reason_to_end(name: str) -> None:
    """protobuf reads them as bytes, which it takes from nobody."""
    nodes = [
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Gelu", ["x"], ["flat"], domain="com.microsoft"),
        helper.make_node("Identity", ["size"], ["picked"]),
        helper.make_node("Reshape", ["flat", "picked"], ["y"]),
    ]
    whole = model(nodes, [value("x", 1, 4)], []).SerializeToString()
    mark = bytes([len(name)]) + name.encode()
    odd = onnx.ModelProto.FromString(whole.replace(mark, bytes([len(name)]) + b"\xff" * len(name)))
    assert [cost.op for cost in compute_of_proto(odd).layers]
