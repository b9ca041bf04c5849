"""Roles, output axes and kernel orders, operator by operator, on graphs made by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import (
    graph,
    model_of,
    numbers,
    read_nodes,
    read_proto,
    tensor,
    use_in,
    value,
)

from dcformat.converters import read_onnx
from dcformat.converters.onnx_views import identity, reshaped, squeezed, transposed, unsqueezed

WEIGHT, BIAS, NORM, INDEX, OTHER = "weight", "bias", "norm", "index", "other"
MS = {"domain": "com.microsoft"}


def node(op: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), ["y"], **attributes)


def passing(op: str, source: str, target: str, *more: str, **attributes: Any) -> Any:
    return helper.make_node(op, [source, *more], [target], **attributes)


@pytest.mark.parametrize(
    ("made", "dims", "axis", "order"),
    [
        (node("Conv", "x", "w"), (4, 3, 5), 0, (0, 2, 1)),
        (node("Conv", "x", "w"), (4, 3, 5, 5), 0, (0, 2, 3, 1)),
        (node("Conv", "x", "w"), (4, 3, 2, 2, 2), 0, (0, 2, 3, 4, 1)),
        (node("ConvInteger", "x", "w"), (4, 3, 5, 5), 0, (0, 2, 3, 1)),
        (node("QLinearConv", "x", "s", "z", "w"), (4, 3, 5, 5), 0, (0, 2, 3, 1)),
        (node("FusedConv", "x", "w", **MS), (4, 3, 5, 5), 0, (0, 2, 3, 1)),
        (node("ConvTranspose", "x", "w"), (4, 3, 5, 5), 1, (1, 2, 3, 0)),
        (node("ConvTranspose", "x", "w"), (4, 3, 6), 1, (1, 2, 0)),
        (node("ConvTranspose", "x", "w", group=2), (4, 3, 5, 5), None, None),
        (node("Gemm", "x", "w"), (4, 6), 1, (1, 0)),
        (node("Gemm", "x", "w", transB=1), (4, 6), 0, None),
        (node("Gemm", "w", "x"), (4, 6), 0, None),
        (node("Gemm", "w", "x", transA=1), (4, 6), 1, (1, 0)),
        (node("MatMul", "x", "w"), (4, 6), 1, (1, 0)),
        (node("MatMul", "x", "w"), (2, 4, 6), 2, (0, 2, 1)),
        (node("MatMul", "x", "w"), (30,), None, None),
        (node("MatMul", "w", "x"), (4, 6), 0, None),
        (node("MatMul", "w", "x"), (2, 4, 6), 1, None),
        (node("MatMulInteger", "x", "w"), (4, 6), 1, (1, 0)),
        (node("QLinearMatMul", "x", "s", "z", "w"), (4, 6), 1, (1, 0)),
        (node("FusedMatMul", "x", "w", **MS), (4, 6), 1, (1, 0)),
        (node("FusedMatMul", "x", "w", transB=1, **MS), (4, 6), 0, None),
        (node("Attention", "x", "w", **MS), (4, 12), 1, (1, 0)),
        (node("EmbedLayerNormalization", "x", "x", "w", **MS), (9, 4), 0, None),
        (node("EmbedLayerNormalization", "x", "x", "e", "w", **MS), (9, 4), 0, None),
        (node("Gather", "w", "x"), (9, 4), 0, None),
        (node("LSTM", "x", "w"), (2, 16, 5), 1, None),
        (node("LSTM", "x", "e", "w"), (2, 16, 4), 1, None),
        (node("GRU", "x", "w"), (1, 12, 5), 1, None),
        (node("RNN", "x", "e", "w"), (1, 4, 4), 1, None),
    ],
)
def test_weights_and_their_axes(
    made: Any, dims: tuple[int, ...], axis: int | None, order: Any, tmp_path: Path
) -> None:
    model = read_nodes([made], [tensor("w", numbers(*dims))], tmp_path)
    assert use_in(model, "w") == (WEIGHT, axis, order)
    assert model.uses["w"].node == f"{made.op_type}_0"
    assert model.uses["w"].op == (f"{made.domain}." if made.domain else "") + made.op_type


@pytest.mark.parametrize(
    ("made", "role"),
    [
        (node("Conv", "x", "e", "t"), BIAS),
        (node("ConvTranspose", "x", "e", "t"), BIAS),
        (node("Gemm", "x", "e", "t"), BIAS),
        (node("LSTM", "x", "e", "e", "t"), BIAS),
        (node("GRU", "x", "e", "e", "t"), BIAS),
        (node("Attention", "x", "e", "t", **MS), BIAS),
        (node("FastGelu", "x", "t", **MS), BIAS),
        (node("SkipLayerNormalization", "x", "x", "e", "e", "t", **MS), BIAS),
        (node("SkipLayerNormalization", "x", "x", "t", **MS), NORM),
        (node("EmbedLayerNormalization", "x", "x", "e", "e", "e", "t", **MS), NORM),
        (node("BatchNormalization", "x", "t", "e", "e", "e"), NORM),
        (node("BatchNormalization", "x", "e", "e", "e", "t"), NORM),
        (node("LayerNormalization", "x", "t"), NORM),
        (node("InstanceNormalization", "x", "e", "t"), NORM),
        (node("GroupNormalization", "x", "t", "e", num_groups=2), NORM),
        (node("Mul", "x", "t"), OTHER),
        (node("Add", "x", "t"), OTHER),
        (node("Gather", "t", "x"), OTHER),
        (node("LSTM", "x", "e", "e", "e", "", "", "", "t"), OTHER),
        (node("Conv", "x", "t", domain="com.example"), OTHER),
    ],
)
def test_other_roles_of_a_vector(made: Any, role: str, tmp_path: Path) -> None:
    model = read_nodes([made], [tensor("t", numbers(20))], tmp_path)
    assert use_in(model, "t") == (role, None, None)


@pytest.mark.parametrize(
    ("made", "role"),
    [
        (node("Reshape", "x", "t"), INDEX),
        (node("Slice", "x", "t", "t"), INDEX),
        (node("Gather", "x", "t"), INDEX),
        (node("Gather", "t", "x"), INDEX),
        (node("Cast", "t", to=1), OTHER),
    ],
)
def test_integers_that_shape_or_address_are_indices(made: Any, role: str, tmp_path: Path) -> None:
    model = read_nodes([made], [tensor("t", np.arange(20, dtype=np.int64))], tmp_path)
    assert use_in(model, "t") == (role, None, None)


def test_a_gather_along_another_axis_or_of_another_rank_is_no_embedding(tmp_path: Path) -> None:
    nodes = [node("Gather", "a", "x", axis=1), node("Gather", "b", "x")]
    initializers = [tensor("a", numbers(4, 9)), tensor("b", numbers(2, 4, 9))]
    model = read_nodes(nodes, initializers, tmp_path)
    assert [model.uses[t].role for t in "ab"] == [OTHER, OTHER]


# Through other nodes


def quantized(name: str, *dims: int) -> list[Any]:
    data = (np.arange(int(np.prod(dims))) % 250 - 120).astype(np.int8).reshape(dims)
    return [tensor(name, data), tensor("scale", numbers(1)), tensor("zero", np.zeros(1, np.int8))]


@pytest.mark.parametrize(
    "op", ["Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "onnx.brevitas/Quant"]
)
def test_a_weight_is_found_behind_nodes_that_keep_its_shape(op: str, tmp_path: Path) -> None:
    domain, _, name = op.rpartition("/")
    attributes = {"to": TensorProto.FLOAT16} if op == "Cast" else {}
    nodes = [passing(name, "w", "v", domain=domain, **attributes), node("Conv", "x", "v")]
    model = read_nodes(nodes, [tensor("w", numbers(4, 3, 5, 5))], tmp_path)
    assert use_in(model, "w") == (WEIGHT, 0, (0, 2, 3, 1))


def test_a_quantized_weight_and_bias_are_found_behind_dequantization(tmp_path: Path) -> None:
    nodes = [
        passing("DequantizeLinear", "w", "v", "scale", "zero"),
        passing("DequantizeLinear", "b", "c", "scale"),
        node("Conv", "x", "v", "c"),
    ]
    bias = tensor("b", np.arange(4, dtype=np.int32))
    model = read_nodes(nodes, [*quantized("w", 4, 3, 5, 5), bias], tmp_path)
    assert use_in(model, "w") == (WEIGHT, 0, (0, 2, 3, 1))
    assert use_in(model, "b") == (BIAS, None, None)
    assert [t.name for t in model.tensors] == ["w", "b"]


def test_a_quantized_embedding_is_a_weight(tmp_path: Path) -> None:
    nodes = [passing("DequantizeLinear", "w", "v", "scale"), node("Gather", "v", "x")]
    assert use_in(read_nodes(nodes, quantized("w", 30, 4), tmp_path), "w") == (WEIGHT, 0, None)


def test_a_constant_node_is_a_weight_like_an_initializer(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor("ignored", numbers(4, 6))),
        node("MatMul", "x", "w"),
    ]
    assert use_in(read_nodes(nodes, [], tmp_path), "w") == (WEIGHT, 1, (1, 0))


def test_a_transposed_weight_has_the_axes_of_the_tensor_itself(tmp_path: Path) -> None:
    nodes = [passing("Transpose", "w", "v", perm=[1, 0]), node("MatMul", "x", "v")]
    model = read_nodes(nodes, [tensor("w", numbers(4, 6))], tmp_path)
    assert use_in(model, "w") == (WEIGHT, 0, None)


def test_a_convolution_of_a_transposed_tensor(tmp_path: Path) -> None:
    nodes = [passing("Transpose", "w", "v", perm=[3, 2, 0, 1]), node("Conv", "x", "v")]  # HWIO
    model = read_nodes(nodes, [tensor("w", numbers(5, 5, 3, 4))], tmp_path)
    assert use_in(model, "w") == (WEIGHT, 3, (3, 0, 1, 2))


@pytest.mark.parametrize(
    ("shape", "axis", "order"),
    [
        ([256, 10], 3, (3, 0, 1, 2)),
        ([-1, 10], 3, (3, 0, 1, 2)),
        ([16, 160], None, (1, 2, 3, 0)),
        ([128, 20], None, None),
    ],
)
def test_a_reshaped_weight(shape: list[int], axis: Any, order: Any, tmp_path: Path) -> None:
    nodes = [passing("Reshape", "w", "v", "shape"), node("MatMul", "x", "v")]
    target = tensor("shape", np.array(shape, np.int64))
    model = read_nodes(nodes, [tensor("w", numbers(16, 4, 4, 10)), target], tmp_path)
    assert use_in(model, "w") == (WEIGHT, axis, order)


def test_a_weight_that_is_reshaped_to_what_only_the_run_knows(tmp_path: Path) -> None:
    nodes = [passing("Reshape", "w", "v", "x"), node("MatMul", "x", "v")]
    model = read_nodes(nodes, [tensor("w", numbers(16, 4))], tmp_path)
    assert use_in(model, "w") == (WEIGHT, None, None)


def test_a_recurrent_weight_whose_gates_are_put_in_another_order(tmp_path: Path) -> None:
    cuts = [passing("Slice", "w", f"g{i}", "i", "i", "i") for i in range(3)]
    nodes = [
        *cuts,
        helper.make_node("Concat", ["g1", "g0", "g2"], ["all"], axis=0),
        passing("Unsqueeze", "all", "v", "axes"),
        node("GRU", "x", "v"),
    ]
    axes = tensor("axes", np.zeros(1, np.int64))
    model = read_nodes(nodes, [tensor("w", numbers(12, 5)), axes], tmp_path)
    assert use_in(model, "w") == (WEIGHT, 0, None)


def test_a_tensor_computed_with_others_is_no_weight(tmp_path: Path) -> None:
    nodes = [passing("Mul", "w", "v", "x"), node("MatMul", "x", "v")]
    model = read_nodes(nodes, [tensor("w", numbers(16, 4))], tmp_path)
    assert use_in(model, "w") == (OTHER, None, None)


def test_a_chain_is_followed_a_few_nodes_far(tmp_path: Path) -> None:
    for length, role in ((8, WEIGHT), (9, OTHER)):
        names = ["w", *(f"v{i}" for i in range(length))]
        chain = [passing("Identity", a, b) for a, b in pairwise(names)]
        nodes = [*chain, node("MatMul", "x", names[-1])]
        model = read_nodes(nodes, [tensor("w", numbers(16, 4))], tmp_path)
        assert model.uses["w"].role == role


def test_nodes_that_take_each_other_end(tmp_path: Path) -> None:
    nodes = [passing("Concat", "v", "v", "v", axis=0), node("MatMul", "x", "v")]
    assert read_nodes(nodes, [], tmp_path).tensors == ()


# A bias that is added


@pytest.mark.parametrize(
    ("between", "dims", "role"),
    [
        ([], (20,), BIAS),
        ([], (1, 20), BIAS),
        ([], (20, 1, 1), BIAS),
        ([], (20, 2), OTHER),
        ([passing("Reshape", "m", "r", "x")], (20,), BIAS),
        ([passing("Mul", "m", "r", "x")], (20,), BIAS),
        ([passing("Relu", "m", "r")], (20,), OTHER),
    ],
)
def test_a_vector_added_to_a_layer_is_its_bias(
    between: list[Any], dims: tuple[int, ...], role: str, tmp_path: Path
) -> None:
    last = "r" if between else "m"
    nodes = [passing("MatMul", "x", "m", "w"), *between, node("Add", "t", last)]
    initializers = [tensor("w", numbers(4, 20)), tensor("t", numbers(*dims))]
    model = read_nodes(nodes, initializers, tmp_path)
    assert model.uses["t"].role == role


# Several uses


def test_weight_goes_before_other_roles_and_the_first_node_counts(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"], "scale"),
        helper.make_node("MatMul", ["x", "w"], ["b"], "head"),
        helper.make_node("Gather", ["w", "x"], ["c"], "embed"),
    ]
    model = read_nodes(nodes, [tensor("w", numbers(8, 8))], tmp_path)
    assert model.uses["w"].node == "head"
    assert use_in(model, "w") == (WEIGHT, 1, (1, 0))


def test_a_tensor_that_nothing_uses_has_an_empty_use(tmp_path: Path) -> None:
    model = read_nodes([], [tensor("w", numbers(8, 8))], tmp_path)
    assert (model.uses["w"].node, model.uses["w"].op, model.uses["w"].role) == ("", "", OTHER)


# Scopes


def test_a_weight_of_the_outer_graph_is_found_from_an_inner_one(tmp_path: Path) -> None:
    body = graph([helper.make_node("MatMul", ["i", "w"], ["o"])], [], "b", [value("i", 4)])
    loop = helper.make_node("Loop", ["", "c", "x"], ["y"], "repeat", body=body)
    model = read_proto(model_of(graph([loop], [tensor("w", numbers(4, 6))])), tmp_path)
    assert use_in(model, "w") == (WEIGHT, 1, (1, 0))
    assert model.uses["w"].node == "repeat/body/MatMul_0"


def test_an_inner_input_hides_an_outer_name(tmp_path: Path) -> None:
    body = graph([helper.make_node("MatMul", ["i", "w"], ["o"])], [], "b", [value("w", 4)])
    loop = helper.make_node("Loop", ["", "c", "x"], ["y"], body=body)
    model = read_proto(model_of(graph([loop], [tensor("w", numbers(4, 6))])), tmp_path)
    assert use_in(model, "w") == (OTHER, None, None)


def test_a_weight_that_is_given_to_a_function_is_found_in_it(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 19)]
    body = [passing("Transpose", "k", "t", perm=[1, 0]), node("MatMul", "a", "t")]
    function = helper.make_function("local", "Linear", ["a", "k"], ["y"], body, opsets)
    call = helper.make_node("Linear", ["x", "w"], ["z"], domain="local")
    main = graph([call], [tensor("w", numbers(4, 6))])
    model = read_proto(model_of(main, [function]), tmp_path)
    assert use_in(model, "w") == (WEIGHT, 0, None)
    assert model.uses["w"].node == "Linear/MatMul_1"


def test_functions_that_call_themselves_end(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("local", 1)]
    body = [helper.make_node("F", ["a"], ["b"], domain="local"), node("MatMul", "x", "a")]
    function = helper.make_function("local", "F", ["a"], ["y"], body, opsets)
    assert read_proto(model_of(graph([], []), [function]), tmp_path).tensors == ()


# Views


def test_views_of_reshapes() -> None:
    view = identity(3)
    assert reshaped(view, [2, 3, 4], [6, 4]) == ((0, 1), (2,))
    assert reshaped(view, [2, 3, 4], [2, -1]) == ((0,), (1, 2))
    assert reshaped(view, [2, 3, 4], [0, 0, 4]) == ((0,), (1,), (2,))
    assert reshaped(view, [2, 3, 4], [2, 1, 3, 4]) == ((0,), (), (1,), (2,))
    assert reshaped(view, [2, 3, 1], [2, 3]) == ((0,), (1, 2))
    assert reshaped(view, [2, 3, 4], [4, 6]) is None
    assert reshaped(view, [2, 3, 4], [5, -1]) is None
    assert reshaped(view, [2, 3, 4], [-1, -1]) is None
    assert reshaped(view, [2, 3, 4], [-2, 4]) is None
    assert reshaped(view, [2, 3, 4], [24, 1, 1, 0]) is None
    assert reshaped(view, [2, 0, 4], [0, 0]) is None
    assert reshaped(view, [2, 3, 4], None) is None


def test_views_of_transpositions_and_single_axes() -> None:
    assert transposed(identity(3), []) == ((2,), (1,), (0,))
    assert transposed(identity(3), [0, 0, 1]) is None
    assert unsqueezed(identity(1), [0, -1]) == ((), (0,), ())
    assert unsqueezed(identity(1), [7]) is None
    assert squeezed(identity(3), [-1]) == ((0,), (1,))


@pytest.mark.realdata
def test_the_weights_of_real_models_have_roles_and_axes(data_dir: Path) -> None:
    counts = {}
    for name in ("silero_vad_v6", "espcn_qonnx_customdomain", "micro_kws_m_qdq", "mnist_cntk"):
        uses = read_onnx.read(data_dir / "onnx" / f"{name}.onnx").uses.values()
        weights = [u for u in uses if u.role == WEIGHT]
        assert all(u.out_axis is not None for u in weights)
        counts[name] = (len(weights), sum(u.role == BIAS for u in uses))
    assert counts == {
        "silero_vad_v6": (16, 14),
        "espcn_qonnx_customdomain": (4, 3),
        "micro_kws_m_qdq": (6, 6),
        "mnist_cntk": (3, 3),
    }
