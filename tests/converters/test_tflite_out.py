"""Operators of ONNX as .tflite: what LiteRT (ai_edge_litert) gives is what onnxruntime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from tflite_runs import Array, Lite, agree, in_onnxruntime, model_of, numbers, one

from dcformat.converters.tflite_out import Wanted, translated
from dcformat.errors import ConvertError

Case = tuple[str, dict[str, Any], list[Array]]


IMAGE = numbers(1, 4, 9, 8)
ELEMENTS: list[Case] = [
    *((op, {}, [IMAGE]) for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Exp", "Neg", "Abs",
                                   "Floor", "Ceil", "Round", "Sin", "Cos", "Sign", "Elu", "Erf",
                                   "HardSigmoid", "Softplus", "LeakyRelu", "Identity")),
    *((op, {}, [np.abs(IMAGE) + np.float32(0.1)]) for op in ("Sqrt", "Log", "Reciprocal")),
    ("LeakyRelu", {"alpha": 0.3}, [IMAGE]),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.3}, [IMAGE]),
    *((op, {}, [IMAGE, IMAGE[..., ::-1] + 5]) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *((op, {}, [IMAGE, numbers(8, seed=2)]) for op in ("Add", "Sub", "Mul", "Div")),
    *((op, {}, [numbers(4, 1, 1), IMAGE]) for op in ("Add", "Sub", "Mul", "Div")),
    ("Sum", {}, [IMAGE, IMAGE, numbers(8)]),
    ("Mean", {}, [IMAGE, IMAGE * 2, IMAGE * 3]),
    ("Max", {}, [IMAGE, -IMAGE, numbers(8)]),
    ("Pow", {}, [np.abs(IMAGE) + np.float32(0.1), numbers(8)]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes", "inputs"), ELEMENTS)
def test_elements(op: str, attributes: dict[str, Any], inputs: list[Array]) -> None:
    assert agree(*one(op, attributes, inputs)).transposes == 0


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    agree(*one("Gelu", {"approximate": approximate}, [IMAGE], opset=20))


@pytest.mark.parametrize("exponent", [2.0, 0.5, 3.0])
def test_power_of_a_constant(exponent: float) -> None:
    held = np.array(exponent, np.float32)
    agree(*one("Pow", {}, [np.abs(IMAGE) + np.float32(0.1), held], constants=1))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 6), (-1, 1), (0, None), (-0.5, 0.7), (None, 0.3), (0.2, None)]
)
def test_clip(low: float | None, high: float | None) -> None:
    bounds = [np.array([] if b is None else b, np.float32) for b in (low, high)]
    agree(*one("Clip", {}, [IMAGE, *bounds], constants=2))


def test_prelu_has_a_slope_for_each_channel() -> None:
    agree(*one("PRelu", {}, [IMAGE, numbers(4, 1, 1)], constants=1))


@pytest.mark.parametrize("op", ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
def test_comparisons(op: str) -> None:
    left = np.round(IMAGE)
    agree(*one(op, {}, [left, np.round(numbers(8))], kind=np.bool_))


def test_where_chooses() -> None:
    agree(*one("Where", {}, [IMAGE > 0, IMAGE, numbers(8)]))
    agree(*one("Where", {}, [IMAGE > 0, IMAGE, np.array(3, np.float32)], constants=1))


def test_logic() -> None:
    for op in ("And", "Or"):
        agree(*one(op, {}, [IMAGE > 0, IMAGE > 1], kind=np.bool_))
    agree(*one("Not", {}, [IMAGE > 0], kind=np.bool_))


@pytest.mark.parametrize(("to", "kind"), [(7, np.int64), (6, np.int32), (9, np.bool_)])
def test_cast(to: int, kind: Any) -> None:
    agree(*one("Cast", {"to": to}, [np.round(IMAGE)], kind=kind))


AXES: list[tuple[str, dict[str, Any], list[Array], int]] = [
    ("Concat", {"axis": 1}, [IMAGE, numbers(1, 2, 9, 8)], 0),
    ("Concat", {"axis": -1}, [IMAGE, IMAGE, IMAGE], 0),
    ("Slice", {}, [IMAGE, *map(np.array, ([1, -3], [3, 1 << 40], [1, 2]))], 3),
    ("Slice", {}, [IMAGE, *map(np.array, ([-1, 0], [-(1 << 40), 8], [2, 3], [-1, 2]))], 4),
    ("Slice", {}, [IMAGE, *map(np.array, ([6, 0], [1, 8], [2, 3], [-2, 3]))], 4),
    ("Pad", {}, [IMAGE, np.array([0, 1, 2, 3, 0, 0, 1, 0])], 1),
    ("Pad", {}, [IMAGE, np.array([0, 0, 2, -3, 0, 0, 1, 0]), np.array(1.5, np.float32)], 2),
    ("Pad", {"mode": "reflect"}, [IMAGE, np.array([0, 0, 2, 3, 0, 0, 1, 0])], 1),
    ("Reshape", {}, [IMAGE, np.array([2, 0, -1])], 1),
    ("Flatten", {"axis": 2}, [IMAGE], 0),
    ("Squeeze", {}, [IMAGE, np.array([0])], 1),
    ("Unsqueeze", {}, [IMAGE, np.array([0, 3])], 1),
    ("Expand", {}, [numbers(4, 1, 8), np.array([2, 1, 9, 1])], 1),
    ("Tile", {}, [IMAGE, np.array([1, 2, 1, 3])], 1),
    ("Gather", {"axis": 2}, [IMAGE, np.array([[0, -1], [3, 2]])], 1),
    ("Gather", {"axis": 1}, [IMAGE, np.array(-2)], 1),
    ("Gather", {"axis": 1}, [IMAGE, np.array([3, 0, 1])], 0),
    ("Transpose", {"perm": [0, 3, 1, 2]}, [IMAGE], 0),
    ("SpaceToDepth", {"blocksize": 2}, [numbers(1, 3, 4, 6)], 0),
    ("DepthToSpace", {"blocksize": 2}, [numbers(1, 12, 4, 6)], 0),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, [numbers(1, 12, 4, 6)], 0),
]


@pytest.mark.parametrize(("op", "attributes", "inputs", "constants"), AXES)
def test_axes(op: str, attributes: dict[str, Any], inputs: list[Array], constants: int) -> None:
    agree(*one(op, attributes, inputs, constants))


def behind_a_conv(op: str, *, more: list[Array] = (), **attributes: Any) -> tuple[bytes, Any]:  # type: ignore[assignment]
    """Return a model in which a node stands between two convolutions, where channels lie last."""
    held = {"w": numbers(4, 4, 3, 3), **{f"more{i}": array for i, array in enumerate(more)}}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(op, ["a", *(f"more{i}" for i in range(len(more)))], ["b"], **attributes),
    ]
    return model_of(nodes, {"x": IMAGE}, {"b": np.float32}, held), {"x": IMAGE}


BETWEEN: list[Case] = [
    ("Slice", {}, [*map(np.array, ([1], [3], [1]))]),
    ("Pad", {}, [np.array([0, 1, 2, 3, 0, 0, 1, 0])]),
    ("Reshape", {}, [np.array([1, 2, 2, 9, 8])]),
    ("Reshape", {}, [np.array([1, 4, 72])]),
    ("Reshape", {}, [np.array([2, 2, 72])]),
    ("Reshape", {}, [np.array([1, -1])]),
    ("Reshape", {}, [np.array([36, 8])]),
    ("Reshape", {}, [np.array([6, 6, 8])]),
    ("Transpose", {"perm": [3, 0, 2, 1]}, []),
    ("ReduceMean", {"axes": [1], "keepdims": 0}, []),
    ("ReduceMax", {"axes": [-1, 1], "keepdims": 1}, []),
    ("ReduceL2", {"axes": [2], "keepdims": 0}, []),
    ("Softmax", {"axis": 1}, []),
    ("Softmax", {"axis": 2}, []),
    ("LogSoftmax", {"axis": -1}, []),
    ("Gather", {"axis": 1}, [np.array([[0, -1], [3, 2]])]),
    ("Gather", {"axis": 2}, [np.array(1)]),
    ("Tile", {}, [np.array([1, 2, 1, 3])]),
    ("Expand", {}, [np.array([2, 1, 1, 1, 1])]),
    ("Add", {}, [numbers(4, 1, 1)]),
    ("Mul", {}, [numbers(9, 8)]),
    ("Sub", {}, [numbers(3, 1, 4, 1, 8)]),
    ("Unsqueeze", {}, [np.array([1])]),
    ("LayerNormalization", {"axis": -1}, [numbers(8), numbers(8)]),
    ("LayerNormalization", {"axis": 2, "epsilon": 0.1}, [numbers(9, 8)]),
    ("InstanceNormalization", {}, [numbers(4), numbers(4)]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes", "more"), BETWEEN)
def test_axes_are_found_where_a_convolution_leaves_them(
    op: str, attributes: dict[str, Any], more: list[Array]
) -> None:
    written = agree(*behind_a_conv(op, more=more, **attributes))
    assert written.transposes <= 2 + (op in ("Transpose", "LogSoftmax"))


def test_split_and_concat_do_not_move_channels() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Split", ["a", "sizes"], ["b", "c"], axis=1),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["y"], axis=1),
    ]
    held = {"w": numbers(5, 4, 1, 1), "sizes": np.array([2, 3])}
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)
    assert agree(model, {"x": IMAGE}).transposes == 2


@pytest.mark.parametrize(
    ("op", "attributes", "axes"),
    [
        ("ReduceMean", {"keepdims": 0}, None),
        ("ReduceMean", {"axes": [1, -1]}, None),
        ("ReduceSum", {}, [2]),
        ("ReduceSum", {"keepdims": 0}, [0, 3]),
        ("ReduceMax", {"axes": [2]}, None),
        ("ReduceMin", {"axes": [1]}, None),
        ("ReduceProd", {"axes": [1]}, None),
        ("ReduceL1", {"axes": [1]}, None),
        ("ReduceL2", {"axes": [1]}, None),
        ("ReduceSumSquare", {"axes": [1]}, None),
    ],
)
def test_reductions(op: str, attributes: dict[str, Any], axes: list[int] | None) -> None:
    more = [] if axes is None else [np.array(axes)]
    agree(*one(op, attributes, [IMAGE, *more], len(more)))


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("attributes", [{"axis": 1}, {"axis": -1, "keepdims": 0}])
def test_where_the_largest_is(op: str, attributes: dict[str, Any]) -> None:
    agree(*one(op, attributes, [IMAGE], kind=np.int64))


@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_of_old_models_is_of_several_axes(opset: int) -> None:
    agree(*one("Softmax", {"axis": 1}, [IMAGE], opset=opset))
    agree(*one("Softmax", {"axis": 2}, [numbers(3, 4, 5)], opset=opset))


RESIZES = [
    *({"mode": "nearest", "coordinate_transformation_mode": way, "nearest_mode": rounding}
      for way in ("asymmetric", "half_pixel", "align_corners")
      for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")),
    *({"mode": "linear", "coordinate_transformation_mode": way}
      for way in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")),
]  # fmt: skip


@pytest.mark.parametrize("sizes", [(18, 16), (5, 11), (3, 4)])
@pytest.mark.parametrize("attributes", RESIZES)
def test_resize(attributes: dict[str, Any], sizes: tuple[int, int]) -> None:
    empty = np.array([], np.float32)
    inputs = [IMAGE, empty, empty, np.array([1, 4, *sizes])]
    agree(*one("Resize", attributes, inputs, constants=3))


def test_resize_by_scales() -> None:
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                  "nearest_mode": "floor"}  # fmt: skip
    scales = np.array([1, 1, 2, 1.6], np.float32)
    agree(*one("Resize", attributes, [IMAGE, np.array([], np.float32), scales], constants=2))
    agree(*one("Upsample", {"mode": "nearest"}, [IMAGE, np.float32([1, 1, 2, 3])], 1, opset=9))


def test_quantized_activations_are_rounded_as_they_say() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["y"]),
    ]
    held = {"s": np.array(0.03, np.float32), "z": np.array(7, np.int8)}
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)
    agree(model, {"x": IMAGE})


def test_weights_that_are_integers_stay_these_integers() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], axis=0),
        helper.make_node("Conv", ["x", "v"], ["y"]),
    ]
    held = {"w": np.random.default_rng(1).integers(-128, 128, (5, 4, 3, 3)).astype(np.int8),
            "s": numbers(5, low=0.001, high=0.1), "z": np.zeros(5, np.int8)}  # fmt: skip
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)
    written = agree(model, {"x": IMAGE}, within=1e-5)
    assert held["w"].transpose(0, 2, 3, 1).tobytes() in written.data


def test_an_input_that_is_an_output_is_copied() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32, "z": np.float32})
    agree(model, {"x": IMAGE})


def test_shapes_that_are_worked_out_leave_nothing_behind() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    held = {"first": np.array([0]), "rest": np.array([-1])}
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)
    assert agree(model, {"x": IMAGE}).operators == 1


def test_an_open_batch_is_one_or_what_is_asked_for() -> None:
    closed, _ = one("Relu", {}, [numbers(2, 3)])
    proto = onnx.ModelProto.FromString(closed)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    model = proto.SerializeToString()
    single, four = translated(model), translated(model, Wanted(batch=4))
    assert single.notes == ("input 'in0': dimension 'N' taken as 1",)
    assert four.notes == ("input 'in0': dimension 0 taken as 4",)
    for written, rows in ((single, 1), (four, 4)):
        feeds = {"in0": numbers(rows, 3)}
        wanted = in_onnxruntime(model, feeds)["out"]
        assert np.array_equal(Lite(written.data).run(feeds)["out"], wanted)
    with pytest.raises(ConvertError, match="no input has an open first dimension"):
        translated(closed, Wanted(batch=4))


def test_other_open_dimensions_want_a_shape() -> None:
    proto = onnx.ModelProto.FromString(one("Relu", {}, [IMAGE])[0])
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in ((2, "h"), (3, "w")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    model = proto.SerializeToString()
    words = r"input 'in0' leaves dimensions \[2, 3\] open, .*: --shape in0=1,4,\?,\?"
    with pytest.raises(ConvertError, match=words):
        translated(model)
    written = translated(model, Wanted(shape=("in0=1,4,5,6",)))
    agree(model, {"in0": numbers(1, 4, 5, 6)}, written)
    with pytest.raises(ConvertError, match="a shape is given as"):
        translated(model, Wanted(shape=("in0",)))


def test_all_that_cannot_be_written_is_said_at_once() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "x"], ["a"], "odd"),
        helper.make_node("NonZero", ["x"], ["b"], "free"),
        helper.make_node("Relu", ["a"], ["c"], "fine"),
        helper.make_node("Hardmax", ["c"], ["d"], "later"),
    ]
    model = model_of(nodes, {"x": numbers(4, 4, 3, 3)}, {"d": np.float32, "b": np.int64})
    with pytest.raises(ConvertError) as caught:
        translated(model)
    assert caught.value.message == (
        "3 nodes cannot be written as TFLite: 'odd' (Conv): its weight is computed; "
        "'free' (NonZero): not an operator that TFLite has; "
        "'later' (Hardmax): not an operator that TFLite has"
    )


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "constants", "words"),
    [
        ("Conv", {}, [numbers(1, 2, 3, 4, 5), numbers(3, 2, 1, 1, 1)], 1, "an input of 5 axes"),
        ("Pad", {"mode": "edge"}, [IMAGE, np.array([0, 1, 2, 3, 0, 0, 1, 0])], 1, "mode edge"),
        ("Elu", {"alpha": 0.5}, [IMAGE], 0, "alpha other than 1"),
        ("Reshape", {}, [IMAGE, np.array([-1])], 0, "its shape is computed"),
        ("ArgMax", {"select_last_index": 1}, [IMAGE], 0, "select_last_index"),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, [IMAGE], 0, "dilations"),
        ("Resize", {"mode": "cubic"}, [IMAGE, *[np.array([], np.float32)] * 2,
                                       np.array([1, 4, 18, 16])], 3, "mode cubic"),
    ],
)  # fmt: skip
def test_what_tflite_has_not_is_refused(
    op: str, attributes: dict[str, Any], inputs: list[Array], constants: int, words: str
) -> None:
    kind = np.int64 if op == "ArgMax" else np.float32
    with pytest.raises(ConvertError, match=rf"'the node' \({op}\): {words}"):
        translated(one(op, attributes, inputs, constants, kind)[0])


def test_types_that_tflite_does_not_compute_with_are_refused() -> None:
    with pytest.raises(ConvertError, match=r"arithmetic on BOOL|not a valid"):
        translated(one("Add", {}, [IMAGE > 0, IMAGE > 1], kind=np.bool_)[0])


def test_damaged_models_are_refused() -> None:
    for data in (b"", b"\x08", b"not a model at all", one("Relu", {}, [IMAGE])[0][:-9]):
        with pytest.raises(ConvertError):
            translated(data)


def test_the_same_model_gives_the_same_bytes() -> None:
    model, _ = behind_a_conv("Softmax", axis=1)
    assert translated(model).data == translated(model).data
