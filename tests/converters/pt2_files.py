"""Archives as torch.export.save writes them, made by hand: no PyTorch is needed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcformat.converters.pt2_archive import DTYPES
from dcformat.ids import NUMPY, DType

NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
Edit = Callable[[dict[str, bytes]], None]


def meta(dtype: DType, sizes: Any, strides: Any = None, offset: int = 0) -> dict[str, Any]:
    """Return a TensorMeta; strides are those of a contiguous tensor unless given."""
    if strides is None:
        strides = [int(np.prod(sizes[axis + 1 :])) for axis in range(len(sizes))]
    return {
        "dtype": NUMBERS[dtype],
        "sizes": [{"as_int": n} for n in sizes],
        "requires_grad": True,
        "device": {"type": "cuda", "index": 0},
        "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": offset},
        "layout": 7,
    }


def entry(path: str, tensor_meta: Any, use_pickle: bool = False) -> dict[str, Any]:
    return {
        "path_name": path,
        "is_param": True,
        "use_pickle": use_pickle,
        "tensor_meta": tensor_meta,
    }


def program() -> dict[str, Any]:
    """Return a program that doubles its input and has no parameter."""

    def tensor(name: str) -> dict[str, Any]:
        return {"as_tensor": {"name": name}}

    spec = {"type": None, "context": None, "children_spec": []}
    inputs = {"type": "builtins.tuple", "context": "null", "children_spec": [spec]}
    keywords = {"type": "builtins.dict", "context": "[]", "children_spec": []}
    call = {"type": "builtins.tuple", "context": "null", "children_spec": [inputs, keywords]}
    node = {
        "target": "torch.ops.aten.add.Tensor",
        "inputs": [
            {"name": "self", "arg": tensor("x"), "kind": 1},
            {"name": "other", "arg": tensor("x"), "kind": 1},
        ],
        "outputs": [tensor("add")],
        "metadata": {"stack_trace": "File /home/me/net.py"},
        "is_hop_single_tensor_return": None,
        "name": "add",
    }
    graph = {
        "inputs": [tensor("x")],
        "outputs": [tensor("add")],
        "nodes": [node],
        "tensor_values": {name: meta(DType.FLOAT, (2, 3)) for name in ("x", "add")},
        "sym_int_values": {},
        "sym_bool_values": {},
        "sym_float_values": {},
        "custom_obj_values": {},
        "is_single_tensor_return": False,
    }
    signature = {
        "input_specs": [{"user_input": {"arg": tensor("x")}}],
        "output_specs": [{"user_output": {"arg": tensor("add")}}],
    }
    whole = {
        "inputs": [],
        "outputs": [],
        "in_spec": json.dumps([1, call]),
        "out_spec": json.dumps([1, spec]),
        "forward_arg_names": ["x"],
    }
    return {
        "graph_module": {
            "graph": graph,
            "signature": signature,
            "module_call_graph": [{"fqn": "", "signature": whole}, {"fqn": "a", "signature": None}],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10},
        "range_constraints": {},
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"],
        "torch_version": "2.13.0",
        "guards_code": [],
    }


def weights() -> dict[str, Any]:
    """Return tensors by name: plain, tied, transposed, a row of another, of other types."""
    rng = np.random.default_rng(7)
    return {
        "conv.weight": rng.standard_normal((8, 4, 3, 3)).astype(NUMPY[DType.FLOAT]),
        "fc.weight": rng.standard_normal((24, 40)).astype(NUMPY[DType.FLOAT]),
        "half": rng.standard_normal((5, 7)).astype(NUMPY[DType.FLOAT16]),
        "steps": np.arange(3, dtype=NUMPY[DType.INT64]),
        "on": np.array([True, False]),
    }


TYPES = {"half": DType.FLOAT16, "steps": DType.INT64, "on": DType.BOOL}


def members() -> dict[str, bytes]:
    """Return the members of an archive by name, the root left out."""
    files = {
        "archive_format": b"pt2",
        "archive_version": b"0",
        "byteorder": b"little",
        ".data/version": b"6\n",
        "models/model.json": json.dumps(program()).encode(),
        "data/sample_inputs/model.pt": b"cos\nsystem\n(S'false'\ntR.",  # never looked at
        "data/constants/model_constants_config.json": b'{"config": {}}',
    }
    config = {}
    for number, (name, data) in enumerate(weights().items()):
        files[f"data/weights/weight_{number}"] = data.tobytes()
        config[name] = entry(f"weight_{number}", meta(TYPES.get(name, DType.FLOAT), data.shape))
    config["tied.weight"] = config["fc.weight"]
    config["turned"] = entry("weight_1", meta(DType.FLOAT, (40, 24), (1, 40)))
    config["row"] = entry("weight_1", meta(DType.FLOAT, (40,), (1,), 80))
    files["data/weights/model_weights_config.json"] = json.dumps({"config": config}).encode()
    return files


def write(path: Path, files: Mapping[str, bytes], root: str = "net/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(root + name), data)
    return path


def edited(table: bytes, edit: Callable[[Any], None]) -> bytes:
    """Return JSON after a change."""
    found = json.loads(table)
    edit(found)
    return json.dumps(found).encode()
