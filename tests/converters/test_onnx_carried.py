"""Every type, and what is carried untouched: models that come back and run as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import (
    every_pattern,
    identity,
    numbers,
    raw_tensor,
    read_proto,
    serialized,
    tensor,
)
from onnx_runs import kept, names, net, refer, run

from dcformat.converters import read_onnx
from dcformat.converters.onnx_data import RAW_DATA, encode
from dcformat.converters.onnx_wire import varint
from dcformat.converters.write_onnx import WRITER
from dcformat.ids import BITS, DType
from dcformat.model import Array

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
@pytest.mark.filterwarnings("ignore")  # where onnx makes its cases
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
