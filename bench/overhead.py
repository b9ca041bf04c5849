"""What a file spends on what, to the byte: `python bench/overhead.py [FILE.dcf ...]`.

Without files: an empty model, a model of ten layers and twenty tensors, and the example network
as firmware would carry it (target mcu, without graph and names) and as dcconvert writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import dcformat
from dcformat.coded import Affine, CodedModel, CodedTensor, Raw
from dcformat.container import ENTRY_BYTES, parse_container
from dcformat.encode import Settings, encode_model
from dcformat.ids import TAIL_BYTES, DType, Section

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits" / "digits.onnx"
CONTENT = (Section.GRAPH, Section.PAYLOAD)


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


def show(title: str, data: bytes) -> None:
    spent = purposes(data)
    beside = len(data) - sum(spent[section.name.lower()] for section in CONTENT)
    print(f"{title}: {len(data)} bytes, {beside} beside graph and payload")
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
    digits = dcformat.compress(dcformat.read(DIGITS), "int8")
    firmware = Settings(target="mcu", graph=False, names=False)
    show("digits, int8, mcu, no graph, no names", encode_model(digits, firmware))
    show("digits, int8", encode_model(digits, Settings()))


if __name__ == "__main__":
    main()
