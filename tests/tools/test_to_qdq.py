"""`dcconvert model.dcf --to qdq -o model.onnx`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.compress import compress
from dcformat.tools._fixed_point import fixed_point
from dcformat.tools.dcconvert import main

pytest.importorskip("onnxruntime")


def test_a_fixed_point_file_becomes_onnx_with_quantizers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 20)).astype(np.float32)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k])
            for n, k in (("x", 20), ("y", 8)))  # fmt: skip
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "fc", transB=1)
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "c.npz", x=random.standard_normal((9, 20)).astype(np.float32))
    fixed = fixed_point(tmp_path / "m.onnx", tmp_path / "c.npz")
    model = dcformat.read(tmp_path / "m.onnx")
    dcformat.save(compress(model, fixed.recipe, grams=fixed.grams), tmp_path / "m.dcf")
    command = [str(tmp_path / "m.dcf"), "--to", "qdq", "-o", str(tmp_path / "q.onnx"), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    (made,) = json.loads(result.stdout)["files"]
    assert made["stored_bytes"] == (tmp_path / "q.onnx").stat().st_size
    ops = [node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node]
    assert ops == ["DequantizeLinear", "QuantizeLinear", "DequantizeLinear", "Gemm"]
    refused = CliRunner().invoke(main, [str(tmp_path / "m.onnx"), *command[1:]])
    assert refused.exit_code == 1
    assert "layer 'fc' has no fixed-point format" in refused.stdout
