"""One network of PyTorch in every format that is written: tensor by tensor the same integers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from c_building import CORE, need, run
from torch_nets import nn, torch

import dcformat
from dcformat.coded import Affine, Codebook, CodedTensor, Raw, expand_tensor
from dcformat.converters.tflite_schema import DTYPES, parse
from dcformat.file import File
from dcformat.ids import NUMPY

Arrays = Mapping[str, npt.NDArray[Any]]

#: name -> preset and settings, and which values rooms weights are to have then.
WAYS: dict[str, tuple[str, dict[str, Any], type]] = {
    "int8 per channel": ("int8", {}, Affine),
    "codebooks": ("deep", {"bits": 5}, Codebook),
}


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """A convolution, a depthwise one, one of 1x1, and a dense layer: each with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.deep = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.point = nn.Conv2d(32, 48, 1)
        self.fully = nn.Linear(48, 10)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.deep(torch.relu(self.first(x))))
        x = nn.functional.max_pool2d(torch.relu(self.point(x)), 8)
        return self.fully(torch.flatten(x, 1))


@pytest.fixture(scope="module", params=WAYS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    """A .dcf of the network, read from disk."""
    preset, settings, room = WAYS[request.param]
    torch.manual_seed(6)
    model = dcformat.from_torch(Net().eval(), (torch.zeros(1, 3, 8, 8),))
    path = tmp_path_factory.mktemp("same") / "net.dcf"
    dcformat.save(dcformat.compress(model, preset, **settings), path)
    made = dcformat.load(path)
    weights = [made.coded(name) for name in made.names if name.endswith("weight")]
    assert [tensor.name.split(".")[0] for tensor in weights] == ["first", "deep", "point", "fully"]
    assert {type(tensor.values) for tensor in weights} == {room}
    return made


def integers(real: npt.NDArray[Any], tensor: CodedTensor) -> npt.NDArray[Any]:
    """Return which numbers of the .dcf an array of floats stands for, each of them exactly."""
    values = tensor.values
    assert real.dtype == NUMPY[tensor.dtype]
    assert real.shape == tensor.shape
    if isinstance(values, Raw):
        return real
    if isinstance(values, Codebook) and values.scale is None:
        index = np.searchsorted(values.levels, real)
        assert np.array_equal(values.levels[index], real)
        return real
    scale = np.asarray(values.scale)  # type: ignore[union-attr]
    if scale.ndim:
        axis = values.axis  # type: ignore[union-attr]
        scale = scale.reshape([-1 if n == axis else 1 for n in range(real.ndim)])
    found = np.rint(real / scale)
    assert np.array_equal((found.astype(np.float32) * scale).astype(np.float32), real)
    return found.astype(tensor.numbers().dtype)


def check_floats(arrays: Arrays, file: File) -> None:
    """Compare arrays of floats: the bits, and the integers that they are multiples of."""
    assert set(arrays) == set(file.names)
    for name in file.names:
        tensor = file.coded(name)
        assert arrays[name].tobytes() == expand_tensor(tensor).tobytes(), name
        assert np.array_equal(integers(arrays[name], tensor), tensor.numbers()), name


def written(file: File, path: Path, **options: Any) -> Path:
    dcformat.write(file.coded_model(), path, **options)
    return path


def test_the_integers_are_worth_comparing(file: File) -> None:
    for name in file.names:
        if name.endswith("weight"):
            assert np.unique(file.coded(name).numbers()).size > 20


@pytest.mark.parametrize("suffix", ["onnx", "safetensors", "npz"])
def test_formats_of_floats_hold_them(file: File, suffix: str, tmp_path: Path) -> None:
    path = written(file, tmp_path / f"net.{suffix}")
    if suffix == "npz":
        with np.load(path) as arrays:
            check_floats(dict(arrays), file)
        return
    check_floats({tensor.name: tensor.data for tensor in dcformat.read(path).tensors}, file)


def test_onnx_holds_them_as_its_own_readers_see_it(file: File, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    made = onnx.load(written(file, tmp_path / "net.onnx"))
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
    check_floats({name: arrays[name] for name in file.names}, file)


def test_tflite_holds_them(file: File, tmp_path: Path) -> None:
    """Axes lie as TFLite wants them there; what has scales is stored as the integers themselves."""
    model = parse(written(file, tmp_path / "net.tflite").read_bytes())
    data, (graph,) = (tmp_path / "net.tflite").read_bytes(), model.subgraphs
    found = {}
    for tensor in graph.tensors:
        region = model.buffers[tensor.buffer]
        if region.size and tensor.type in (0, 9):
            kind = NUMPY[DTYPES[tensor.type]]
            array = np.frombuffer(data[region.start : region.end], kind).reshape(tensor.shape)
            found[tensor.name] = (array, tensor.quantization)
    for name in file.names:
        array, quantization = found[name]
        tensor = file.coded(name)
        if isinstance(tensor.values, Affine):
            assert np.array_equal(array, _as_tflite(tensor.numbers(), name)), name
            assert quantization is not None
            assert np.array_equal(quantization.scale, tensor.values.scale)
            assert not quantization.zero_point.any()
        else:
            real = _as_tflite(expand_tensor(tensor), name)
            assert array.tobytes() == np.ascontiguousarray(real).tobytes(), name


def _as_tflite(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return OIHW as OHWI, and a depthwise weight as 1HWO."""
    if array.ndim != 4:
        return array
    return array.transpose((1, 2, 3, 0) if name.startswith("deep") else (0, 2, 3, 1))


def check_numbers(raw: bytes, file: File, dense: bool) -> None:
    """Compare the bytes of all tensors, one after the other, with the file's numbers."""
    at = 0
    for name in file.names:
        tensor = file.coded(name)
        numbers = tensor.numbers()
        if tensor.order is not None and not dense:
            numbers = numbers.transpose(tensor.order)
        size = numbers.nbytes
        assert raw[at : at + size] == np.ascontiguousarray(numbers).tobytes(), name
        at += size
    assert at == len(raw)


DENSE = """\
#include <stdio.h>
#include "net.h"
int main(void)
{
WRITES
    return 0;
}
"""


def test_arrays_in_c_hold_them(file: File, tmp_path: Path) -> None:
    source = written(file, tmp_path / "net.c", form="dense", layout="oihw")
    arrays = re.findall(r"^extern const \w+ (net_\w+)\[\w+_ELEMENTS\];", _header(source), re.M)
    assert len(arrays) == len(file.names)
    lines = [f"    (void)fwrite({name}, 1, sizeof {name}, stdout);" for name in arrays]
    check_numbers(output(DENSE.replace("WRITES", "\n".join(lines)), source), file, dense=True)


COMPRESSED = """\
#include <stdio.h>
#include "net.h"
static uint8_t scratch[NET_SCRATCH_BYTES + 1U];
static uint8_t out[NET_TENSOR_BYTES];
int main(void)
{
    static dcf_model model;
    unsigned i;
    if (dcf_open(&model, net_data, NET_DATA_BYTES) != DCF_OK) return 1;
    for (i = 0; i < NET_TENSORS; i++) {
        dcf_tensor t;
        if (dcf_tensor_at(&model, i, &t) != DCF_OK) return 2;
        if (dcf_prepare(&t, scratch, sizeof scratch) != DCF_OK) return 3;
        if (dcf_decode(&t, out, t.elements * t.width) != DCF_OK) return 4;
        (void)fwrite(out, 1, t.elements * t.width, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize("form", ["compressed", "blob"])
def test_the_decoder_in_c_gives_them(file: File, form: str, tmp_path: Path) -> None:
    source = written(file, tmp_path / "net.c", form=form)
    check_numbers(output(COMPRESSED, source, *sorted(CORE.glob("*.c"))), file, dense=False)


def _header(source: Path) -> str:
    return source.with_suffix(".h").read_text()


def output(program: str, source: Path, *more: Path) -> bytes:
    """Return what a program says that is built with the generated source."""
    main, made = source.with_name("main.c"), source.with_name("program")
    main.write_text(program)
    beside = [source.with_suffix(".S")] if source.with_suffix(".S").exists() else []
    flags = ("-std=c99", f"-I{CORE}", f"-I{source.parent}")
    run(need("gcc"), *flags, main, source, *beside, *more, "-o", made)
    return subprocess.run([made], capture_output=True, check=True, cwd=source.parent).stdout
