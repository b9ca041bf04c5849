"""What a file spends on what, to the byte: `python bench/overhead.py [FILE.dcf ...]`.

Without files: an empty model; ten dense layers, twenty tensors, that know no source; ten
convolutions read from ONNX, in each preset; and the example network as firmware would carry it
(target mcu, without graph and names) and as dcconvert writes it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

import dcformat
from dcformat.api import recipe_target
from dcformat.coded import Affine, CodedModel, CodedTensor, Raw
from dcformat.container import ENTRY_BYTES, parse_container
from dcformat.encode import Settings, encode_model
from dcformat.ids import TAIL_BYTES, DType, Section
from dcformat.model import Model

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits" / "digits.onnx"
CONTENT = (Section.GRAPH, Section.PAYLOAD)
FLOAT = onnx.TensorProto.FLOAT


def purposes(data: bytes) -> dict[str, int]:
    """Return the bytes of a file by purpose; they sum to its size."""
    container = parse_container(data)
    entries = container.entries.values()
    header_size = int.from_bytes(data[12:14], "little")
    spent = {"header": header_size, "section table": ENTRY_BYTES * len(entries)}
    for section in Section:
        spent[section.name.lower()] = len(container.stored(section))
    spent["tail"] = TAIL_BYTES
    spent["padding"] = len(data) - sum(spent.values())
    return spent


def ten_layers() -> CodedModel:
    """Return ten dense layers of 32 x 32 int8 weights, one scale a channel, and their biases."""
    rng = np.random.default_rng(0)
    tensors = []
    for i in range(10):
        symbols = np.clip(np.rint(rng.laplace(0, 9, (32, 32))), -127, 127).astype(np.int8)
        scale = rng.uniform(0.001, 0.01, 32).astype(np.float32)
        values = Affine(DType.INT8, scale, np.zeros(32, np.int32), axis=0)
        bias = rng.standard_normal(32).astype(np.float32)
        tensors.append(CodedTensor(f"layer{i}.weight", DType.FLOAT, symbols, values))
        tensors.append(CodedTensor(f"layer{i}.bias", DType.FLOAT, bias, Raw()))
    return CodedModel(tuple(tensors))


def ten_convolutions(folder: Path) -> Model:
    """Return ten convolutions of 16 channels, 3 x 3, and their biases, read from an ONNX file."""
    rng = np.random.default_rng(0)
    nodes, constants, channels = [], [], 3
    for i in range(10):
        names = [f"conv{i}.weight", f"conv{i}.bias"]
        shapes = [(16, channels, 3, 3), (16,)]
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        constants += [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)]
        nodes.append(helper.make_node("Conv", [f"y{i}", *names], [f"y{i + 1}"]))
        channels = 16
    ends = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("y0", "y10")]
    graph = helper.make_graph(nodes, "ten", ends[:1], ends[1:], constants)
    path = folder / "ten.onnx"
    onnx.save(helper.make_model(graph), path)
    return dcformat.read(path)


def show(title: str, data: bytes) -> None:
    spent = purposes(data)
    beside = len(data) - sum(spent[section.name.lower()] for section in CONTENT)
    less = f", {beside - spent['tables']} without tables" if spent["tables"] else ""
    print(f"{title}: {len(data)} bytes, {beside} beside graph and payload{less}")
    for purpose, size in spent.items():
        if size:
            print(f"  {purpose:14}{size:8}")


def main() -> None:
    for name in sys.argv[1:]:
        show(name, Path(name).read_bytes())
    if len(sys.argv) > 1:
        return
    show("empty model", encode_model(CodedModel(), Settings()))
    show("ten layers, twenty tensors", encode_model(ten_layers(), Settings()))
    with tempfile.TemporaryDirectory() as folder:
        ten = ten_convolutions(Path(folder))
    for preset in ("lossless", "int8", "deep"):
        coded = dcformat.compress(ten, preset)
        title = f"ten convolutions, {preset}"
        show(title, encode_model(coded, Settings(target=recipe_target(coded))))
    digits = dcformat.compress(dcformat.read(DIGITS), "int8")
    firmware = Settings(target="mcu", graph=False, names=False)
    show("digits, int8, mcu, no graph, no names", encode_model(digits, firmware))
    show("digits, int8", encode_model(digits, Settings()))


if __name__ == "__main__":
    main()
