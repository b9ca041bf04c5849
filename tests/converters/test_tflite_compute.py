"""MACs, bytes and memory of TFLite graphs, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import dense, every_kind, file_of, floats, model, operator, subgraph, tensor

import dcformat
from dcformat.converters.onnx_compute import COUNTED, FREE, NOT_COUNTED, UNKNOWN, Compute
from dcformat.converters.tflite_compute import compute_of_tflite
from dcformat.converters.tflite_skeleton import parts_of, uses_of_tflite
from dcformat.model import Model

CONV, DEPTHWISE, DENSE, TRANSPOSE, MATMUL, ADD, CUSTOM, CONV3D = 3, 4, 9, 67, 126, 0, 32, 132


def compute(folder: Path, data: bytes, zeros: dict[str, int] | None = None) -> Compute:
    (folder / "x.tflite").write_bytes(data)
    found = dcformat.read(folder / "x.tflite")
    assert found.graph is not None
    sizes, names = [t.size for t in found.tensors], [t.name for t in found.tensors]
    return compute_of_tflite(found.graph.data, sizes, names, zeros or {})


def layer(
    code: int, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], **more: object
) -> bytes:
    tensors = [tensor("x", x), tensor("w", w, 1), tensor("y", y), tensor("shape", (4,), 2, 2)]
    inputs = more.pop("inputs", [0, 1])
    one = operator(0, inputs, [2], **more)  # type: ignore[arg-type]
    graph = subgraph(tensors, [one], [0], [2])
    return file_of(model([graph], [code], [floats(*w).tobytes(), bytes(16)]))


@pytest.mark.parametrize(
    ("data", "macs"),
    [
        (layer(CONV, (2, 9, 9, 4), (8, 3, 3, 4), (2, 7, 7, 8)), 2 * 7 * 7 * 8 * 3 * 3 * 4),
        (layer(CONV, (1, 9, 9, 4), (8, 3, 3, 2), (1, 7, 7, 8)), 7 * 7 * 8 * 3 * 3 * 2),
        (layer(DEPTHWISE, (1, 9, 9, 4), (1, 3, 3, 8), (1, 7, 7, 8)), 7 * 7 * 8 * 3 * 3),
        (layer(DENSE, (5, 40), (16, 40), (5, 16)), 5 * 16 * 40),
        (layer(TRANSPOSE, (1, 5, 5, 4), (8, 3, 3, 4), (1, 10, 10, 8), inputs=[3, 1, 0]),
         5 * 5 * 4 * 3 * 3 * 8),
        (layer(MATMUL, (2, 5, 8), (2, 8, 6), (2, 5, 6)), 2 * 5 * 6 * 8),
        (layer(MATMUL, (2, 8, 5), (2, 8, 6), (2, 5, 6), options={0: ("b", 1)}), 2 * 5 * 6 * 8),
        (layer(CONV3D, (1, 4, 4, 4, 3), (2, 2, 2, 3, 9), (1, 3, 3, 3, 9)), 27 * 9 * 8 * 3),
    ],
)  # fmt: skip
def test_macs_are_those_of_the_definition(tmp_path: Path, data: bytes, macs: int) -> None:
    found = compute(tmp_path, data)
    assert [row.status for row in found.layers] == [COUNTED]
    assert (found.macs, found.complete) == (macs, True)
    assert found.layers[0].weights == ("w",)


def test_bytes_parameters_and_zeros_of_a_layer(tmp_path: Path) -> None:
    found = compute(tmp_path, dense(), {"w": 64})
    (row,) = found.layers
    assert (row.name, row.op) == ("FullyConnected_0", "FullyConnected")
    assert (row.parameters, row.parameter_bytes) == (656, 2624)
    assert row.activation_bytes == 4 * (40 + 16)
    assert row.skipped == 64
    assert (found.parameters, found.parameter_bytes) == (656, 2624)
    assert (found.peak.bytes, found.peak.node) == (224, "FullyConnected_0")
    assert found.peak.tensors == (("x", (1, 40), 160), ("y", (1, 16), 64))


def test_what_is_not_counted_makes_the_totals_bounds(tmp_path: Path) -> None:
    tensors = [tensor("x", (1, 40)), tensor("a", (1, 40)), tensor("b", (1, 40)), tensor("c", (1,))]
    operators = [operator(0, [0, 0], [1]), operator(1, [1], [2]), operator(2, [2, 2], [3])]
    graph = subgraph(tensors, operators, [0], [3])
    made = model([graph], [ADD, CUSTOM, DENSE], [])
    made[1][1][1] = "Conv2D"  # a custom operator may be called anything
    found = compute(tmp_path, file_of(made))
    assert [row.op for row in found.layers] == ["Add", "Custom Conv2D", "FullyConnected"]
    assert [row.status for row in found.layers] == [FREE, NOT_COUNTED, COUNTED]
    assert not found.complete
    assert found.notes == ("Custom Conv2D: not counted (1 operators)",)
    lost = subgraph([tensor("x", (4,)), tensor("y", (4,))], [operator(0, [0, -1], [1])], [0], [1])
    rows = compute(tmp_path, file_of(model([lost], [DENSE], []))).layers
    assert [row.status for row in rows] == [UNKNOWN]


def test_a_negative_length_is_no_shape(tmp_path: Path) -> None:
    (row,) = compute(tmp_path, layer(DENSE, (-5, 40), (16, 40), (-5, 16))).layers
    assert (row.status, row.macs, row.activation_bytes) == (UNKNOWN, None, 0)
    assert (row.inputs, row.outputs) == ((None, (16, 40)), (None,))


def test_activations_live_until_their_last_use(tmp_path: Path) -> None:
    sizes = {"x": 10, "a": 100, "b": 20, "c": 30, "y": 5}
    tensors = [tensor(name, (size,)) for name, size in sizes.items()]
    operators = [operator(0, [0, 0], [1]), operator(0, [1, 1], [2]), operator(0, [2, 0], [3]),
                 operator(0, [3, 3], [4])]  # fmt: skip
    peak = compute(
        tmp_path, file_of(model([subgraph(tensors, operators, [0], [4])], [ADD], []))
    ).peak
    assert (peak.bytes, peak.node) == (4 * (10 + 100 + 20), "Add_1")  # x is taken by Add_2
    assert [name for name, _, _ in peak.tensors] == ["a", "b", "x"]


def test_other_subgraphs_and_constants_are_told_apart(tmp_path: Path) -> None:
    found = compute(tmp_path, every_kind())
    assert found.macs == 4 * 640  # Dequantize and Densify are done once: they have no row
    assert [row.op for row in found.layers] == ["FullyConnected"] * 5
    assert [row.in_total for row in found.layers] == [True] * 4 + [False]
    assert found.layers[-1].where == "subgraph 1 'main'"
    assert found.notes == ("1 operators of other subgraphs are not in the totals",)


def test_open_axes_are_told(tmp_path: Path) -> None:
    x = tensor("x", (1, 40)) | {7: np.array([-1, 40], "<i4")}
    graph = subgraph([x, tensor("y", (1, 40))], [operator(0, [0, 0], [1])], [0], [1])
    found = compute(tmp_path, file_of(model([graph], [ADD], [])))
    assert found.assumed == ("input x: axes that the file leaves open taken as in 1x40",)


def read(folder: Path, data: bytes) -> Model:
    (folder / "x.tflite").write_bytes(data)
    return dcformat.read(folder / "x.tflite")


def test_the_parts_of_a_file_sum_to_its_size(tmp_path: Path) -> None:
    for data in (dense(), every_kind()):
        found = read(tmp_path, data)
        assert found.graph is not None
        parts = parts_of(found.graph, [tensor.size for tensor in found.tensors])
        assert sum(parts.values()) == len(data)
        assert parts["header"] == 8
        assert min(parts.values()) >= 0
    assert parts["tensors"] == 2560 + 396 + 1280 + 320
    assert parts["buffers that stay"] == 16


def test_uses_of_a_dcf_are_those_of_its_source(tmp_path: Path) -> None:
    found = read(tmp_path, every_kind())
    dcformat.save(found, tmp_path / "x.dcf")
    file = dcformat.load(tmp_path / "x.dcf")
    assert {file.names[i]: use for i, use in uses_of_tflite(file).items()} == found.uses


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("ad01_int8", 264_192),
        ("kws_ref_model", 2_656_768),
        ("pretrainedResnet_quant", 12_501_632),
        ("vww_96_int8", 7_489_664),
    ],
)
def test_macs_of_the_networks_of_mlperf_tiny(name: str, macs: int, data_dir: Path) -> None:
    """As published: 0.264 M, 2.7 M, 12.5 M and 7.5 M multiplications."""
    found = dcformat.read(data_dir / "tflite" / f"{name}.tflite")
    assert found.graph is not None
    sizes, names = [t.size for t in found.tensors], [t.name for t in found.tensors]
    got = compute_of_tflite(found.graph.data, sizes, names, {})
    assert (got.macs, got.complete) == (macs, True)
