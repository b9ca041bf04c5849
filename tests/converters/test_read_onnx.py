"""Reading ONNX: what is lifted, what stays and why, names, and errors in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import (
    ENCODINGS,
    EXTERNAL_MODELS,
    REAL_MODELS,
    constant,
    every_pattern,
    graph,
    identity,
    model_of,
    numbers,
    raw_tensor,
    read_nodes,
    read_proto,
    serialized,
    tensor,
)

from dcformat.converters import read_onnx
from dcformat.converters.onnx_data import encode
from dcformat.converters.onnx_wire import varint
from dcformat.errors import ConvertError, DcfError
from dcformat.graph import decode_graph
from dcformat.ids import DType, GraphFormat
from dcformat.model import Model


def skeleton_of(model: Model) -> Any:
    assert model.graph is not None
    _, skeleton = decode_graph(model.graph.data, len(model.tensors))
    return onnx.ModelProto.FromString(skeleton)


# Real models


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_MODELS)
def test_lifted_tensors_have_the_bits_that_the_onnx_package_reads(
    data_dir: Path, name: str
) -> None:
    path = data_dir / "onnx" / f"{name}.onnx"
    model = read_onnx.read(path)
    theirs = _all_constants(onnx.load(path))
    assert [t.name for t in model.tensors] == [n for n in theirs if n in _names(model)]
    for mine in model.tensors:
        expected = onnx.numpy_helper.to_array(theirs[mine.name])
        assert mine.shape == expected.shape
        assert mine.data.tobytes() == expected.tobytes()
    assert len(model.tensors) + len(model.notes) >= len(theirs)


def _names(model: Model) -> set[str]:
    return {t.name for t in model.tensors}


def _all_constants(model: Any) -> dict[str, Any]:
    """Initializers and Constants in the order of their bytes; inner duplicates numbered."""
    found: list[tuple[str, Any]] = []

    def visit(graph: Any) -> None:
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.HasField("t"):
                    found.append((node.output[0], attribute.t))
                if attribute.HasField("g"):
                    visit(attribute.g)
        found.extend((t.name, t) for t in graph.initializer)

    visit(model.graph)
    names = [name for name, _ in found]
    assert len(names) == len(set(names))
    return dict(found)


@pytest.mark.realdata
def test_all_that_is_large_in_the_real_models_is_lifted(data_dir: Path) -> None:
    for name in REAL_MODELS:
        model = read_onnx.read(data_dir / "onnx" / f"{name}.onnx")
        large = [n for n in model.notes if "bytes only" not in n and "is empty" not in n]
        assert all("an attribute of" in n or "in attribute" in n for n in large), name


@pytest.mark.realdata
def test_the_source_is_described_without_its_path(data_dir: Path) -> None:
    path = data_dir / "onnx" / "mnist_cntk.onnx"
    source = read_onnx.read(path).source
    digest = hashlib.sha256(path.read_bytes()).digest()
    assert (source.format, source.file_bytes, source.sha256) == ("onnx", 26454, digest)


@pytest.mark.realdata
@pytest.mark.parametrize("name", EXTERNAL_MODELS)
def test_external_data_is_lifted_and_no_longer_referred_to(data_dir: Path, name: str) -> None:
    path = data_dir / "onnx" / "external" / f"{name}.onnx"
    model = read_onnx.read(path)
    theirs = _all_constants(onnx.load(path))
    for mine in model.tensors:
        assert mine.data.tobytes() == onnx.numpy_helper.to_array(theirs[mine.name]).tobytes()
    outside = [t for t in skeleton_of(model).graph.initializer if t.external_data]
    assert outside == []
    assert model.source.file_bytes > path.stat().st_size


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["mnist_cntk", "silero_vad_v6", "micro_kws_m_qdq"])
def test_a_truncated_model_is_refused_in_one_line(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    source = (data_dir / "onnx" / f"{name}.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    sizes = {*range(40), *range(0, len(source), len(source) // 60), len(source) - 1}
    for size in sorted(sizes):
        path.write_bytes(source[:size])
        with pytest.raises(ConvertError) as caught:
            read_onnx.read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.realdata
def test_changed_bytes_never_crash_the_reader(data_dir: Path, tmp_path: Path) -> None:
    source = (data_dir / "onnx" / "scan_lstm.onnx").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "changed.onnx"
    refused = 0
    for place in rng.integers(0, len(source), 300):
        changed = bytearray(source)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            read_onnx.read(path)
        except ConvertError:
            refused += 1
    assert refused > 30


# What is lifted


def test_large_constants_are_lifted_and_small_ones_stay(tmp_path: Path) -> None:
    initializers = [tensor("big", numbers(16)), tensor("small", numbers(15))]
    model = read_nodes(
        [constant("c", tensor("", numbers(4, 4))), *identity("big", "small", "c")],
        initializers,
        tmp_path,
    )
    assert [t.name for t in model.tensors] == ["c", "big"]
    assert model.notes == ("small: stays in the graph: it has 60 bytes only",)
    assert skeleton_of(model).graph.initializer[0].raw_data == b""
    assert skeleton_of(model).graph.initializer[1].raw_data == numbers(15).tobytes()


def test_small_parameters_of_a_layer_are_lifted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
        helper.make_node("InstanceNormalization", ["y", "s", "o"], ["z"]),
    ]
    initializers = [
        tensor(name, numbers(*dims))
        for name, dims in [("w", (2, 1, 1, 1)), ("b", (2,)), ("s", (2,)), ("o", (2,))]
    ]
    model = read_nodes(nodes, initializers, tmp_path)
    assert [model.uses[t.name].role for t in model.tensors] == ["weight", "bias", "norm", "norm"]


def test_the_graph_is_marked_as_onnx(tmp_path: Path) -> None:
    model = read_nodes([], [], tmp_path)
    assert model.graph is not None
    assert model.graph.format == GraphFormat.ONNX
    assert model.graph.data[:4] == bytes(4)


ODD = {
    "string": (
        raw_tensor("t", TensorProto.STRING, (40,), string_data=[b"a"] * 40),
        "no element type 8",
    ),
    "undefined": (raw_tensor("t", 0, (40,), float_data=[1.0] * 40), "no element type 0"),
    "two pieces": (
        raw_tensor("t", 1, (40,), float_data=[1.0] * 40, raw_data=bytes(160)),
        "more than one piece",
    ),
    "no data": (raw_tensor("t", 1, (40,)), "holds no data"),
    "wrong size": (raw_tensor("t", 1, (40,), raw_data=bytes(159)), "159 bytes of data where"),
    "wrong field": (raw_tensor("t", 11, (40,), float_data=[1.0] * 40), "does not hold DOUBLE"),
    "negative": (raw_tensor("t", 1, (-1, 40), raw_data=bytes(160)), "shape is impossible"),
    "nine axes": (raw_tensor("t", 1, (1,) * 8 + (40,), raw_data=bytes(160)), "9 axes"),
    "huge": (raw_tensor("t", 1, (1 << 31, 1 << 31), raw_data=bytes(160)), "more than"),
    "empty": (raw_tensor("t", 1, (0,), raw_data=b""), "it is empty"),
    "odd bool": (raw_tensor("t", 9, (64,), raw_data=b"\2" * 64), "neither 0 nor 1"),
    "segment": (
        onnx.TensorProto(
            name="t", data_type=1, dims=[40], raw_data=bytes(160), segment={"begin": 0, "end": 40}
        ),
        "segments or strings",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_tensors_stay_in_the_graph_untouched(kind: str, tmp_path: Path) -> None:
    proto, reason = ODD[kind]
    model = read_nodes(identity("t"), [proto, tensor("u", numbers(20))], tmp_path)
    assert [t.name for t in model.tensors] == ["u"]
    (note,) = model.notes
    assert note.startswith("t: stays in the graph: ")
    assert reason in note
    assert skeleton_of(model).graph.initializer[0] == proto


def test_unpacked_floats_stay_in_the_graph(tmp_path: Path) -> None:
    unpacked = b"".join(b"\x25" + x.tobytes() for x in numbers(20))
    proto = raw_tensor("t", 1, (20,)).SerializeToString() + unpacked
    main = graph([], []).SerializeToString() + b"\x2a" + bytes([len(proto)]) + proto
    whole = model_of(onnx.GraphProto.FromString(main))
    whole.ClearField("graph")
    size = len(main)
    data = whole.SerializeToString() + b"\x3a" + bytes([size & 127 | 128, size >> 7]) + main
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    model = read_onnx.read(path)
    assert model.tensors == ()
    assert "more than one piece" in model.notes[0]


def test_attributes_of_other_operators_stay(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(
        tensor("s", numbers(20)), tensor("", np.arange(20, dtype=np.int64)), [100]
    )
    odd = helper.make_node("Odd", ["x"], ["o"], domain="com.example", table=sparse)
    fill = helper.make_node("ConstantOfShape", ["n"], ["y"], value=tensor("", numbers(20)))
    trees = helper.make_node("Trees", ["x"], ["z"], domain="ai.onnx.ml", a_weights=[0.5] * 99)
    main = graph([fill, trees, odd], [])
    model = read_proto(model_of(main), tmp_path)
    assert model.tensors == ()
    assert sorted(model.notes) == [
        "Trees_1: stays in the graph: 99 values in attribute a_weights",
        "graph/constant_0: stays in the graph: an attribute of ConstantOfShape",
        "graph/constant_1: stays in the graph: an attribute of Odd",
        "graph/constant_2: stays in the graph: an attribute of Odd",
    ]
    assert skeleton_of(model).graph.node[2] == odd


def test_training_information_stays(tmp_path: Path) -> None:
    proto = model_of(graph([], []))
    proto.training_info.add().algorithm.initializer.append(tensor("t", numbers(20)))
    model = read_proto(proto, tmp_path)
    assert model.notes == (
        "graph/constant_0: stays in the graph: part of the training information",
    )


@pytest.mark.parametrize(
    ("dtype", "field", "values"),
    [
        (DType.FLOAT, "float_data", [1.5, -0.0] * 10),
        (DType.COMPLEX64, "float_data", [1.5, -0.0] * 10),
        (DType.DOUBLE, "double_data", [1.5, -0.0] * 10),
        (DType.INT64, "int64_data", [-1, 5] * 10),
        (DType.UINT32, "uint64_data", [4000000000, 5] * 10),
        (DType.INT8, "int32_data", [-128, 5] * 40),
        (DType.FLOAT16, "int32_data", [0x7E01, 0x8000] * 20),
        (DType.BOOL, "int32_data", [1, 0] * 40),
        (DType.UINT4, "int32_data", [0x21, 0xFF] * 40),
    ],
)
def test_typed_fields_are_lifted_and_put_back_as_they_were(
    dtype: DType, field: str, values: list[Any], tmp_path: Path
) -> None:
    per = {DType.COMPLEX64: 0.5, DType.UINT4: 2}.get(dtype, 1)
    proto = raw_tensor("t", int(dtype), (int(len(values) * per),), **{field: values})
    model = read_nodes(identity("t"), [proto], tmp_path)
    (lifted,) = model.tensors
    assert (lifted.dtype, lifted.shape) == (dtype, tuple(proto.dims))
    assert serialized(model) == (tmp_path / "m.onnx").read_bytes()


@pytest.mark.parametrize(("dtype", "field"), ENCODINGS)
def test_every_type_is_lifted_from_every_encoding(dtype: DType, field: int, tmp_path: Path) -> None:
    elements = np.tile(every_pattern(dtype), 64)
    payload = encode(field, dtype, elements)
    head = raw_tensor("t", int(dtype), (2, elements.size // 2)).SerializeToString()
    data = varint(field << 3 | 2) + varint(len(payload)) + payload
    model = read_nodes([], [onnx.TensorProto.FromString(head + data)], tmp_path)
    (lifted,) = model.tensors
    assert (lifted.dtype, lifted.shape) == (dtype, (2, elements.size // 2))
    assert lifted.data.tobytes() == elements.tobytes()
    assert serialized(model) == (tmp_path / "m.onnx").read_bytes()


def test_unknown_operators_and_domains_are_carried(tmp_path: Path) -> None:
    node = helper.make_node("Frob", ["x", "w"], ["y"], domain="com.example", level=3)
    model = read_nodes([node], [tensor("w", numbers(5, 5))], tmp_path)
    assert model.uses["w"].op == "com.example.Frob"
    assert model.uses["w"].role == "other"
    assert skeleton_of(model).graph.node[0] == node


# Errors


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "its first bytes are not those"),
        (b"PK\x03\x04" + bytes(30), "not an ONNX model"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(50), "it seems to be a TensorFlow Lite"),
        (b"\x89DCF\r\n\x1a\n" + bytes(50), "it seems to be a .dcf file"),
        (b"\x08\x07", "it has no graph"),
        (b"\x08\x07\x3a\x00", "imports no operator set"),
        (b"\x3a\xff\xff\xff\xff\x0f", "needs 4294967295 bytes more"),
    ],
)
def test_other_files_are_refused_with_the_reason(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    with pytest.raises(ConvertError, match=reason) as caught:
        read_onnx.read(path)
    assert str(caught.value).startswith(f"{path}: not an ONNX model")


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "random.onnx"
    for head in (b"", b"\x08\x08", b"\x3a\x20"):
        for size in (1, 7, 33, 1000):
            path.write_bytes(head + rng.bytes(size))
            with pytest.raises(ConvertError):
                read_onnx.read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"none\.onnx: cannot read: No such file"):
        read_onnx.read(tmp_path / "none.onnx")
    with pytest.raises(ConvertError, match="is a directory, not an ONNX model"):
        read_onnx.read(tmp_path)


def test_graphs_nested_too_deep_are_refused(tmp_path: Path) -> None:
    def nested(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    content = graph([], [tensor("w", numbers(20))]).SerializeToString()
    for _ in range(60):
        content = nested(1, nested(5, nested(6, content)))
    path = tmp_path / "deep.onnx"
    path.write_bytes(nested(7, content))
    with pytest.raises(ConvertError, match="nested deeper than 100"):
        read_onnx.read(path)


def test_the_reader_looks_at_the_first_bytes() -> None:
    assert read_onnx.READER.accepts(model_of(graph([], [])).SerializeToString()[:8])
    assert read_onnx.READER.accepts(b"\xa2\x01\x00")  # training_info first
    assert not read_onnx.READER.accepts(b"")
    assert not read_onnx.READER.accepts(b"\x89DCF")
    assert not read_onnx.READER.accepts(b"{}")
    assert issubclass(ConvertError, DcfError)
