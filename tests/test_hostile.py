"""Small files that ask for much, and files that are valid and strange (S3, S4, S6)."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from handmade import crc, file_of, unhex
from onnx import helper, numpy_helper

import dcformat
from dcformat.api import recipe_target
from dcformat.canonical import faults
from dcformat.coded import Affine, CodedModel, CodedTensor, Raw
from dcformat.compress.recipe import MAX_RULES, recipe_from_json
from dcformat.encode import Settings, encode_model
from dcformat.errors import Code, ConvertError, CorruptError, DcfError, LimitError
from dcformat.file import File
from dcformat.files import read_container
from dcformat.ids import DType, Meta


def code_of(data: bytes) -> Code:
    try:
        File(data)
    except DcfError as error:
        return error.code
    return Code.OK


def empty(*dims: int) -> bytes:
    """Return a file with one FLOAT tensor of these dims, one of them 0."""
    size = 4 + len(dims)
    head = bytes([size, 1, len(dims), 0, 0, 0, 0, 0]) + crc(b"") + bytes(4)
    return file_of([head + struct.pack(f"<{len(dims)}I", *dims)])


def test_dims_beside_a_zero_are_bounded_too() -> None:
    assert File(empty(0, 1000, 1000))["#0"].shape == (0, 1000, 1000)
    assert code_of(empty(0, 2**32 - 1, 2**32 - 1)) == Code.LIMIT


def test_a_block_may_be_longer_than_its_axis() -> None:
    values = Affine(DType.INT8, np.ones((1, 4), "<f4"), np.zeros((1, 4), np.int32), 0, 2**32 - 1)
    tensor = CodedTensor("w", DType.FLOAT, np.arange(12, dtype=np.int8).reshape(3, 4), values)
    file = File(encode_model(CodedModel((tensor,))))
    assert file["w"].tolist() == np.arange(12.0).reshape(3, 4).tolist()


def test_packed_elements_need_their_bits_before_anything_is_allocated() -> None:
    size = struct.pack("<I", 1 << 20)
    head = unhex("06 02 01 00 00 00 00 00 00 00 00 00") + size + struct.pack("<I", 2**32 - 1)
    assert code_of(file_of([head + unhex("01 00 00 00")], bytes(1 << 20))) == Code.STRUCTURE
    assert code_of(file_of([head + unhex("00 01 00 00")], bytes(1 << 20))) == Code.TRUNCATED


def lone(elements: int) -> bytes:
    """Return a file with a UINT8 tensor of one symbol that takes no bits."""
    head = unhex("07 02 01 00 00 00 01 00") + crc(bytes(elements)) + bytes(4)
    record = head + struct.pack("<I", elements) + unhex("01 00 00 00 00 00 00 00")
    return file_of([record], b"", [unhex("02 00 00")])


def test_a_tensor_above_the_budget_is_refused_before_it_is_decoded() -> None:
    assert File(lone(1 << 20), budget=1 << 20)["#0"].size == 1 << 20
    with pytest.raises(LimitError, match="budget"):
        File(lone(1 << 20), budget=(1 << 20) - 1)["#0"]


def test_what_a_file_decodes_to_is_bounded_by_its_size() -> None:
    assert code_of(lone(1 << 20)) == Code.OK
    assert code_of(lone((1 << 20) + 1)) == Code.LIMIT


def test_a_payload_whose_table_lacks_a_canonical_symbol_is_not_canonical() -> None:
    numbers = bytes([0] * 12 + [1])
    # runs written as values: the canonical writing needs run digits, which the table has not
    head = unhex("08 02 01 00 02 00 01 00") + crc(numbers)
    record = head + unhex("02 00 00 00 0d 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00")
    file = File(file_of([record], bytes([0, 0b0000_1000]), [unhex("02 00 01")]))
    assert file["#0"].tolist() == list(numbers)
    assert any("canonical" in fault for fault in faults(file))


@pytest.mark.parametrize(
    "recipe",
    [b"[]", b"null", b"{", b"\xff", b"[" * 5000, b'{"preset":' + b"9" * 5000 + b"}", b'{"x":1}'],
)
def test_a_strange_recipe_is_an_error_of_the_recipe(recipe: bytes) -> None:
    with pytest.raises(ConvertError, match="recipe"):
        recipe_target(CodedModel(metadata={Meta.RECIPE: recipe}))


def test_a_recipe_has_a_bounded_number_of_rules() -> None:
    layers = [{"match": f"a{i}*", "bits": 4} for i in range(MAX_RULES + 1)]
    with pytest.raises(ConvertError, match="layers, at most"):
        recipe_from_json(json.dumps({"preset": "deep", "layers": layers}))


def test_checking_many_tensors_that_share_nothing_is_quick_enough_to_finish() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 200, 40).astype(np.uint8) for _ in range(1000)]
    tensors = tuple(CodedTensor(f"t{i}", DType.UINT8, row, Raw()) for i, row in enumerate(rows))
    assert list(faults(File(encode_model(CodedModel(tensors), Settings())))) == []


def test_an_endless_source_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(CorruptError):
        File(read_container("/dev/zero"))
    good = encode_model(CodedModel())
    path = tmp_path / "x.dcf"
    path.write_bytes(good + bytes(10_000_000))
    assert len(read_container(path)) == len(good) + 1


@pytest.mark.parametrize("scale", [1e-42, 1e-39, 3e38])
def test_weights_of_extreme_size_stay_within_half_a_step(tmp_path: Path, scale: float) -> None:
    rng = np.random.default_rng(1)
    weight = (rng.uniform(-1, 1, (32, 32)) * scale).astype(np.float32)
    weight[3] = rng.uniform(-1, 1, 32).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 32])],
        [helper.make_tensor_value_info("y", 1, [1, 32])],
        [numpy_helper.from_array(weight, "w")],
    )
    source, file = tmp_path / "m.onnx", tmp_path / "m.dcf"
    onnx.save(helper.make_model(graph), source)
    dcformat.save(dcformat.compress(dcformat.read(source), "int8"), file)
    report = dcformat.verify(file, against=source)
    assert report.ok, [c for c in report.checks if c.status == "failed"]


DCCONVERT = str(Path(sys.executable).with_name("dcconvert"))


def test_a_pipe_is_read_once(tmp_path: Path, digits: Path) -> None:
    pipe = tmp_path / "m.onnx"
    os.mkfifo(pipe)
    reader = subprocess.Popen([DCCONVERT, "-q", str(pipe), "-o", str(tmp_path / "x.dcf")])
    pipe.write_bytes((digits / "digits.onnx").read_bytes())
    assert reader.wait(60) == 0
    assert (tmp_path / "x.dcf").exists()


def test_links_that_lead_nowhere_are_one_line(tmp_path: Path) -> None:
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    command = [DCCONVERT, str(loop), "-o", str(tmp_path / "x.dcf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "internal" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
