"""Real weights without a graph: into a .dcf and out of it, as each kind of file that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import numpy as library

import dcformat
from dcformat.converters.read_safetensors import READER as SAFETENSORS
from dcformat.converters.write_npz import member_name
from dcformat.file import model_of
from dcformat.model import Model

pytestmark = pytest.mark.realdata

NAMES = (
    "mnist_cnn_bn_burn.pt",
    "resnet20-12fca82f.th",
    "resnet32-d509ac18.th",
    "silero_vad_16k.safetensors",
    "silero_vad_v6.jit",
)
PLAIN = NAMES[:3]  # state dicts, which torch loads
Facts = list[tuple[str, Any, tuple[int, ...], bytes]]


def facts(model: Model) -> Facts:
    return [(t.name, t.dtype, t.shape, t.data.tobytes()) for t in model.tensors]


@pytest.fixture(scope="module")
def through(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Model, Model]:
    """Return a source, and the same after it went through a .dcf without loss."""
    path = tmp_path_factory.mktemp("through") / "m.dcf"
    model = dcformat.read(data_dir / "pytorch" / request.param)
    dcformat.save(model, path)
    return model, model_of(dcformat.load(path))


every = pytest.mark.parametrize("through", NAMES, indirect=True)


def test_no_file_of_the_folder_is_left_out(data_dir: Path) -> None:
    assert {path.name for path in (data_dir / "pytorch").iterdir()} == set(NAMES)


@every
def test_safetensors_hold_the_same(through: tuple[Model, Model], tmp_path: Path) -> None:
    source, stored = through
    path = tmp_path / "m.safetensors"
    dcformat.write(stored, path)
    back = SAFETENSORS.read(path)
    assert sorted(facts(back)) == sorted(facts(source)) == sorted(facts(stored))
    found = library.load_file(path)
    assert {k: (v.shape, v.tobytes()) for k, v in found.items()} == {
        name: (shape, data) for name, _, shape, data in facts(source)
    }
    dcformat.save(back, tmp_path / "again.dcf")
    ties = model_of(dcformat.load(tmp_path / "again.dcf")).ties
    assert {frozenset(tie) for tie in ties.items()} == {frozenset(t) for t in stored.ties.items()}


@pytest.mark.parametrize("through", ["silero_vad_16k.safetensors"], indirect=True)
def test_a_safetensors_file_comes_back_byte_for_byte(
    through: tuple[Model, Model], data_dir: Path, tmp_path: Path
) -> None:
    dcformat.write(through[1], tmp_path / "m.safetensors")
    source = data_dir / "pytorch" / "silero_vad_16k.safetensors"
    assert (tmp_path / "m.safetensors").read_bytes() == source.read_bytes()


@every
def test_npz_holds_the_same(through: tuple[Model, Model], tmp_path: Path) -> None:
    source, stored = through
    dcformat.write(stored, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as found:
        assert found.files == [member_name(t.name) for t in source.tensors]
        for tensor in source.tensors:
            array = found[member_name(tensor.name)]
            assert (array.dtype, array.shape) == (tensor.data.dtype, tensor.shape)
            assert array.tobytes() == tensor.data.tobytes()


@every
def test_torch_loads_the_same(through: tuple[Model, Model], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs pip install 'dcformat[torch]'")
    source, stored = through
    dcformat.write(stored, tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(state) == [t.name for t in source.tensors]
    for tensor in source.tensors:
        array = state[tensor.name].numpy()
        assert (array.dtype, array.shape) == (tensor.data.dtype, tensor.shape)
        assert array.tobytes() == tensor.data.tobytes()
    back = dcformat.read(tmp_path / "m.pt")
    assert facts(back) == facts(source)
    assert back.ties == source.ties


@pytest.mark.parametrize("through", PLAIN, indirect=True)
def test_ties_and_numbers_are_those_of_the_source_by_torch(
    through: tuple[Model, Model], data_dir: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["through"]
    torch = pytest.importorskip("torch", reason="needs pip install 'dcformat[torch]'")
    source = data_dir / "pytorch" / name
    theirs = torch.load(source, map_location="cpu", weights_only=True)
    theirs = theirs.get("state_dict", theirs)
    dcformat.write(through[1], tmp_path / "m.pt")
    mine = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(mine) == list(theirs)
    for key, tensor in theirs.items():
        assert mine[key].dtype == tensor.dtype
        assert torch.equal(mine[key], tensor)
    assert sharing(mine) == sharing(theirs)


def sharing(state: dict[str, Any]) -> list[int]:
    """Return for each tensor the number of the first one that has the same storage."""
    places = [tensor.untyped_storage().data_ptr() for tensor in state.values()]
    return [places.index(place) for place in places]


@pytest.mark.parametrize("preset", ["int8", "deep"])
@pytest.mark.parametrize("name", NAMES)
def test_lossy_presets_verify_and_leave_as_safetensors(
    name: str, preset: str, data_dir: Path, tmp_path: Path
) -> None:
    source = data_dir / "pytorch" / name
    model = dcformat.read(source)
    dcformat.save(dcformat.compress(model, preset), tmp_path / "m.dcf")
    assert dcformat.verify(tmp_path / "m.dcf", against=source).ok
    assert (tmp_path / "m.dcf").stat().st_size < source.stat().st_size / 2.5
    dcformat.write(model_of(dcformat.load(tmp_path / "m.dcf")), tmp_path / "m.safetensors")
    back = SAFETENSORS.read(tmp_path / "m.safetensors")
    assert [(t.name, t.shape) for t in back.tensors] == [(t.name, t.shape) for t in model.tensors]
