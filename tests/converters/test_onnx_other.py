"""Files that are not ONNX are called by their names, with what to do about them."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
from onnx import helper
from onnx_models import graph, model_of, numbers, tensor, value

import dcformat
from dcformat.converters import read_onnx
from dcformat.converters.onnx_other import explain
from dcformat.converters.onnx_wire import varint
from dcformat.errors import ConvertError


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    return stream.getvalue()


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
NODE = message(1, message(1, b"conv1/weights") + message(2, b"Const"))
OTHERS = {
    "ort": (b"\x18\0\0\0ORTM" + bytes(60), "own format (.ort): convert the .onnx"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(60), "a TensorFlow Lite model (.tflite)"),
    "zip": (zipped(), "a zip archive, as of PyTorch (.pt)"),
    "pickle": (pickle.dumps({"w": 1}), "torch.onnx.export"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "as of Keras (.h5)"),
    "saved model": (
        b"\x08\x01" + message(2, message(1, message(1, b"serve")) + message(2, NODE * 40)),
        "a TensorFlow SavedModel (.pb): export it with tf2onnx",
    ),
    "frozen graph": (NODE * 40, "a TensorFlow graph (.pb): export it with tf2onnx"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(60), "a GGUF file"),
    "safetensors": (len(HEADER).to_bytes(8, "little") + HEADER + bytes(4), "a safetensors file"),
    "dcf": (b"\x89DCF\r\n\x1a\n" + bytes(60), "a .dcf file"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "page": (b"<!DOCTYPE html><html></html>", "a web page: fetch the file itself"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_named(kind: str, tmp_path: Path) -> None:
    content, words = OTHERS[kind]
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    for read in (read_onnx.read, dcformat.read):
        with pytest.raises(ConvertError) as caught:
            read(path)
        assert words in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_real_ort_file_is_refused_by_its_own_name(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = model_of(
        graph([node], [tensor("w", numbers(9, 9))], "g", [value("x", 1, 9)], [value("y", 1, 9)])
    )
    model.ir_version = 9
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for name in ("m.ort", "renamed.onnx"):
        (tmp_path / name).write_bytes((tmp_path / "m.ort").read_bytes())
        with pytest.raises(ConvertError, match=r"convert the \.onnx file that it was made from"):
            dcformat.read(tmp_path / name)


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert explain(b"") == ""
    assert explain(b"\x89PNG\r\n\x1a\n") == ""
    assert explain(model_of(graph([], [])).SerializeToString()) == ""


def test_a_model_that_is_cut_is_called_cut(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of(graph([], [tensor("w", numbers(99))])).SerializeToString()[:-9])
    with pytest.raises(ConvertError, match="not an ONNX model, or cut short: field"):
        read_onnx.read(path)
