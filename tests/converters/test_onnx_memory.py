"""Models larger than memory: what reading and writing them keeps of it, measured in a child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx_models import graph, model_of, raw_tensor, write_large

from dcformat.converters import read_onnx
from dcformat.converters.write_onnx import WRITER
from dcformat.errors import ConvertError

_MEASURE = """
import resource, sys
from pathlib import Path
from dcformat.converters import read_onnx, write_onnx
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
model = read_onnx.read(Path(sys.argv[1]))
(tensor,) = model.tensors
tensor.piece((slice(100, 200),))
if len(sys.argv) > 2:
    write_onnx.write(model, Path(sys.argv[2]), external=sys.argv[3:] == ["external"])
print(tensor.shape[0], model.source.file_bytes, peak() - before)
"""


def growth(*arguments: object) -> tuple[int, int, int]:
    """Return elements, file bytes, and by how much memory grows that reading and writing take.

    `arguments` are the path of the model, that of the output if it is to be written, "external".
    """
    line = [sys.executable, "-c", _MEASURE, *map(str, arguments)]
    child = subprocess.run(line, capture_output=True, text=True, check=True)
    elements, size, grown = map(int, child.stdout.split())
    return elements, size, grown


linux = pytest.mark.skipif(sys.platform != "linux", reason="sparse files, and ru_maxrss in KiB")


@linux
def test_reading_takes_little_memory_whatever_the_file_has(tmp_path: Path) -> None:
    write_large(tmp_path / "m.onnx", 100 << 20)
    elements, size, grown = growth(tmp_path / "m.onnx")
    assert elements == 100 << 20
    assert size == (tmp_path / "m.onnx").stat().st_size
    assert grown < 16 << 20


@linux
@pytest.mark.parametrize("external", [[], ["external"]])
def test_writing_takes_little_memory_too(tmp_path: Path, external: list[str]) -> None:
    write_large(tmp_path / "m.onnx", 100 << 20)
    grown = growth(tmp_path / "m.onnx", tmp_path / "out.onnx", *external)[2]
    assert grown < 40 << 20
    made = tmp_path / ("out.onnx.data" if external else "out.onnx")
    assert made.stat().st_size - (100 << 20) in range(200)
    made.unlink()


@linux
@pytest.mark.slow
def test_a_file_at_the_limit_of_protobuf_is_read_and_one_above_is_not(tmp_path: Path) -> None:
    path, limit = tmp_path / "m.onnx", (1 << 31) - 1
    write_large(path, 1 << 20)
    frame = path.stat().st_size - (1 << 20)
    write_large(path, limit - frame - 100)
    left = limit - path.stat().st_size
    write_large(path, limit - frame - 100, head=left)
    while path.stat().st_size > limit:  # lengths may take a byte more
        left -= 1
        write_large(path, limit - frame - 100, head=left)
    assert path.stat().st_size == limit
    elements, size, grown = growth(path)
    assert (elements, size) == (limit - frame - 100, limit)
    assert grown < 16 << 20
    write_large(path, limit - frame - 100, head=left + 1)
    assert path.stat().st_size == limit + 1
    with pytest.raises(ConvertError, match="a protobuf message ends at 2 GiB"):
        read_onnx.read(path)


@linux
@pytest.mark.slow
def test_a_model_above_two_gib_goes_from_pair_to_pair(tmp_path: Path) -> None:
    size = (1 << 31) + (1 << 20)
    with (tmp_path / "w.bin").open("wb") as stream:
        stream.write(b"begin")
        stream.truncate(size - 3)
        stream.seek(size - 3)
        stream.write(b"end")
    proto = raw_tensor("w", onnx.TensorProto.UINT8, (size >> 20, 1 << 20))
    proto.data_location = onnx.TensorProto.EXTERNAL
    proto.external_data.add(key="location", value="w.bin")
    path, out = tmp_path / "m.onnx", tmp_path / "out.onnx"
    path.write_bytes(model_of(graph([], [proto])).SerializeToString())
    rows, _, grown = growth(path, out, "external")
    assert rows == size >> 20
    assert grown < 40 << 20
    with (tmp_path / "out.onnx.data").open("rb") as stream:
        assert stream.read(8) == b"begin\0\0\0"
        assert stream.seek(0, 2) == size
        stream.seek(-4, 2)
        assert stream.read() == b"\0end"
    (tmp_path / "out.onnx.data").unlink()
    with pytest.raises(ConvertError, match=r"holds at most 2 GiB; external=True"):
        WRITER.write(read_onnx.read(path), tmp_path / "whole.onnx")
