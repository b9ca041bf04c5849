"""What torch reads of a file is what is read without it: names, types, bits, ties."""

from __future__ import annotations

import random as chance
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_mutants as mutants

import dcformat
from dcformat.converters import read_torch
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.model import Model, Tensor

torch = pytest.importorskip("torch", reason="torch is not installed (pip install torch==2.13.0)")
torch.set_num_threads(1)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

TYPES = {
    "float64": DType.DOUBLE, "float32": DType.FLOAT, "float16": DType.FLOAT16,
    "bfloat16": DType.BFLOAT16, "complex64": DType.COMPLEX64, "complex128": DType.COMPLEX128,
    "int64": DType.INT64, "int32": DType.INT32, "int16": DType.INT16, "int8": DType.INT8,
    "uint64": DType.UINT64, "uint32": DType.UINT32, "uint16": DType.UINT16, "uint8": DType.UINT8,
    "bool": DType.BOOL, "float8_e4m3fn": DType.FLOAT8E4M3FN, "float8_e5m2": DType.FLOAT8E5M2,
    "float8_e4m3fnuz": DType.FLOAT8E4M3FNUZ, "float8_e5m2fnuz": DType.FLOAT8E5M2FNUZ,
    "float8_e8m0fnu": DType.FLOAT8E8M0,
}  # fmt: skip


def bits(tensor: Any) -> bytes:
    """Return the bytes of a tensor's elements in row-major order."""
    flat = tensor.detach().resolve_conj().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def compare(model: Model, wanted: Mapping[str, Any]) -> None:
    """Names in order, types, shapes and bits; tied where they are one tensor."""
    assert [t.name for t in model.tensors] == list(wanted)
    for one in model.tensors:
        tensor = wanted[one.name]
        assert one.dtype is TYPES[str(tensor.dtype).removeprefix("torch.")]
        assert one.shape == tuple(tensor.shape)
        assert one.data.tobytes() == bits(tensor), one.name
    assert dict(model.ties) == ties(wanted)


def ties(wanted: Mapping[str, Any]) -> dict[str, str]:
    first: dict[object, str] = {}
    found = {}
    for name, tensor in wanted.items():
        place = tensor.untyped_storage().data_ptr() or name
        key = place, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype
        if first.setdefault(key, name) != name:
            found[name] = first[key]
    return found


def loaded(path: Path) -> Any:
    return torch.load(path, weights_only=False, map_location="cpu")


def saved(value: object, folder: Path, **options: Any) -> Model:
    path = folder / "x.pt"
    torch.save(value, path, **options)
    return dcformat.read(path)


LAYOUTS = [{"_use_new_zipfile_serialization": new, "pickle_protocol": p}
           for new in (True, False) for p in (2, 3, 4, 5)]  # fmt: skip


def label(options: dict[str, Any]) -> str:
    kind = "zip" if options["_use_new_zipfile_serialization"] else "legacy"
    return f"{kind}-{options['pickle_protocol']}"


@pytest.fixture(params=LAYOUTS, ids=label)
def layout(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name",
    ["mnist_cnn_bn_burn.pt", "resnet20-12fca82f.th", "resnet32-d509ac18.th"],
)
def test_real_state_dicts(data_dir: Path, name: str) -> None:
    path = data_dir / "pytorch" / name
    value = loaded(path)
    compare(dcformat.read(path), value.get("state_dict", value))


@pytest.mark.realdata
def test_a_real_script(data_dir: Path) -> None:
    path = data_dir / "pytorch" / "silero_vad_v6.jit"
    model = dcformat.read(path)
    compare(model, torch.jit.load(path, map_location="cpu").state_dict())
    assert model.notes == ("left out: _state, _context, CONSTANTS.c0",)


def random(dtype: str, count: int = 12) -> Any:
    rng = np.random.default_rng(5)
    kind = getattr(torch, dtype)
    width = torch.empty(0, dtype=kind).element_size()
    raw = rng.integers(0, 2 if dtype == "bool" else 256, count * width, dtype=np.uint8)
    return torch.from_numpy(raw).view(kind)


def test_every_type(tmp_path: Path, layout: dict[str, Any]) -> None:
    value = OrderedDict((dtype, random(dtype).reshape(3, 4)) for dtype in TYPES)
    compare(saved(value, tmp_path, **layout), value)


def test_every_kind_of_view(tmp_path: Path, layout: dict[str, Any]) -> None:
    base = torch.arange(120, dtype=torch.float32)
    cube = base.reshape(2, 3, 20)
    value = {
        "base": base, "again": base, "cube": cube, "part": base[7:50], "steps": base[3::7],
        "turned": cube.permute(2, 0, 1), "row": cube[1, 2], "repeated": base[:4].expand(5, 4),
        "one": base[5:6].expand(3, 2), "windows": base.unfold(0, 10, 3), "scalar": base[9],
        "empty": base[5:5], "none": torch.empty(0, 3), "diagonal": cube[0, :, :3].diagonal(),
        "last": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "lone": torch.tensor(3),
    }  # fmt: skip
    compare(saved(value, tmp_path, **layout), value)


def test_large_views(tmp_path: Path) -> None:
    base = torch.arange(300_000, dtype=torch.float32)
    value = {
        "base": base, "turned": base.reshape(500, 600).T, "flat": base[1::2], "tied": base,
        "cube": base.reshape(60, 50, 100).permute(2, 0, 1), "wide": base[:100].expand(500, 100),
        "flags": base > 7,
    }  # fmt: skip
    model = saved(value, tmp_path)
    compare(model, value)
    for one in model.tensors:
        whole = value[one.name].numpy()
        window = (slice(11, None, 13),) + (slice(30, 3, -4),) * (whole.ndim - 1)
        np.testing.assert_array_equal(one.piece(window), whole[window])


class Net(torch.nn.Module):
    """Parameters, buffers, a list of parameters, and a weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(7, 5)
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3))
        self.more = torch.nn.ParameterList([torch.ones(2), torch.zeros(3)])
        self.head = torch.nn.Linear(5, 7)
        self.head.weight = self.embed.weight
        self.register_buffer("steps", torch.arange(4))
        self.register_buffer("gone", torch.arange(3), persistent=False)
        self.table = torch.ones(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x)) + self.table.sum() + self.steps.sum()


def test_a_module_s_state_dict(tmp_path: Path, layout: dict[str, Any]) -> None:
    net = Net()
    model = saved(net.state_dict(), tmp_path, **layout)
    compare(model, net.state_dict())
    assert model.ties == {"head.weight": "embed.weight"}
    compare(saved(dict(net.named_parameters()), tmp_path, **layout), dict(net.named_parameters()))
    value = {"a": torch.nn.Buffer(torch.ones(3)), "b": torch.nn.Parameter(torch.ones(2))}
    value["b"].mark = "text"
    compare(saved(value, tmp_path, **layout), value)


def test_a_checkpoint_of_a_training_run(tmp_path: Path, layout: dict[str, Any]) -> None:
    net = torch.nn.Linear(3, 2)
    steps = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    steps.step()
    rate = torch.optim.lr_scheduler.MultiStepLR(steps, [3, 4])
    value = {
        "epoch": 3, "arch": "linear", "model": net.state_dict(), "optimizer": steps.state_dict(),
        "scheduler": rate.state_dict(), "best": np.float64(1.5), "curve": np.arange(5.0),
        "names": {"a", "b"}, "rng": torch.get_rng_state(), "numpy_rng": np.random.get_state(),
        "type": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cpu"),
        "big": 1 << 70, "bytes": b"abc", "words": ["x" * 70000], "complex": 1j,
    }  # fmt: skip
    model = saved(value, tmp_path, **layout)
    compare(model, net.state_dict())
    (note,) = model.notes
    assert note.startswith("the model is model; left out: epoch, arch, optimizer (6 tensors), sch")


def test_a_whole_module_is_refused_by_name(tmp_path: Path, layout: dict[str, Any]) -> None:
    with pytest.raises(ConvertError, match=r"'torch\.nn\.modules\.linear\.Linear', which is"):
        saved(torch.nn.Linear(2, 2), tmp_path, **layout)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized"),
        (
            lambda: torch.quantize_per_channel(
                torch.ones(3, 2), torch.ones(3), torch.zeros(3), 0, torch.qint8
            ),
            "quantized",
        ),
        (lambda: torch.eye(3).to_sparse(), "sparse"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse"),
        (lambda: torch.empty(3, device="meta"), "meta device"),
        (lambda: torch.ones(3, dtype=torch.complex64).conj(), "conjugated"),
        (lambda: torch.ones(3, dtype=torch.complex64).conj().imag, "negated"),
        (lambda: torch.ones(3, dtype=torch.complex32), "no element type torch.complex32"),
    ],
)
def test_tensors_that_cannot_be_read_are_named(
    tmp_path: Path, make: Callable[[], Any], words: str, layout: dict[str, Any]
) -> None:
    with pytest.raises(ConvertError, match=f"tensor 'fc.odd': .*{words}"):
        saved({"fc.good": torch.ones(2), "fc.odd": make()}, tmp_path, **layout)
    left_out = {"state_dict": {"fc.good": torch.ones(2)}, "odd": make()}
    assert "odd (1 tensor)" in saved(left_out, tmp_path, **layout).notes[0]


def test_an_archive_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        model = saved({"a": torch.arange(5.0)}, tmp_path)
    finally:
        torch.serialization.set_crc32_options(True)
    compare(model, {"a": torch.arange(5.0)})


def scripted(module: Any, folder: Path) -> Path:
    torch.jit.save(torch.jit.script(module), folder / "x.pt")
    return folder / "x.pt"


def test_a_script(tmp_path: Path) -> None:
    path = scripted(Net(), tmp_path)
    model = dcformat.read(path)
    compare(model, torch.jit.load(path).state_dict())
    assert model.notes == ("left out: table",)
    traced = torch.jit.trace(torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.ones(1, 3))
    torch.jit.save(traced, path)
    compare(dcformat.read(path), torch.jit.load(path).state_dict())


def test_a_frozen_script_has_its_weights_in_constants(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2).eval()
    frozen = torch.jit.freeze(torch.jit.script(net))
    torch.jit.save(frozen, tmp_path / "x.pt")
    model = read_torch.read(tmp_path / "x.pt")
    assert {t.name for t in model.tensors} == {"CONSTANTS.c0", "CONSTANTS.c1"}
    found = {t.shape: t.data.tobytes() for t in model.tensors}
    assert found == {(2, 3): bits(net.weight), (2,): bits(net.bias)}
    assert "it has no parameters" in model.notes[0]


def named(value: Any) -> dict[str, Any] | None:
    """Return the tensors of a flat dict of torch's; None where it is something else."""
    if not isinstance(value, dict):
        return None
    inner = value.get("state_dict", value)
    flat = isinstance(inner, dict) and all(isinstance(v, torch.Tensor) for v in inner.values())
    return inner if flat else None


def asked(path: Path) -> dict[str, Any] | None:
    """Return what torch reads without running anything; None where it refuses, however it does."""
    try:
        return named(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception:
        return None


def test_torch_reads_the_same_of_damaged_files(tmp_path: Path) -> None:
    """What both read of a mutant is the same; torch is not asked about what is refused here."""
    seeds, rng = [mutants.archives()[0], mutants.legacies()[1]], chance.Random(3)
    path, both = tmp_path / "x.pt", 0
    for _ in range(600):
        path.write_bytes(mutants.damaged(rng.choice(seeds), rng))
        try:
            model = dcformat.read(path)
        except ConvertError:
            continue
        wanted = asked(path)
        if wanted is not None:
            both += 1
            assert {t.name: bits_of(t) for t in model.tensors} == {
                str(name): (tuple(tensor.shape), bits(tensor)) for name, tensor in wanted.items()
            }
    assert both > 10


def bits_of(tensor: Tensor) -> tuple[tuple[int, ...], bytes]:
    return tensor.shape, tensor.data.tobytes()
