"""Writing .pt: what torch.load gives is the model, ties share a storage, errors are ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors_files import same, tensor

import dcformat
from dcformat.converters import write_torch
from dcformat.converters.read_torch import READER
from dcformat.converters.write_torch import WRITER
from dcformat.errors import ConvertError
from dcformat.file import model_of
from dcformat.ids import DType
from dcformat.model import Model, Tensor

torch = pytest.importorskip("torch", reason="needs pip install 'dcformat[torch]'")

TYPES = [d for d, name in write_torch._NAMES.items() if hasattr(torch, name)]
LACKS = sorted(set(DType) - set(write_torch._NAMES))


def load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def bits(value: Any) -> bytes:
    return bytes(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def test_torch_loads_every_type_to_the_bit(tmp_path: Path) -> None:
    model = Model(tuple(tensor(d.name, d, (4, 3), d) for d in TYPES))
    WRITER.write(model, tmp_path / "m.pt")
    state = load(tmp_path / "m.pt")
    assert type(state) is OrderedDict
    assert list(state) == [d.name for d in TYPES]
    for t in model.tensors:
        assert str(state[t.name].dtype) == f"torch.{write_torch._NAMES[t.dtype]}"
        assert tuple(state[t.name].shape) == t.shape
        assert bits(state[t.name]) == t.data.tobytes()
    assert same(READER.read(tmp_path / "m.pt"), model)


def test_scalars_and_empty_tensors(tmp_path: Path) -> None:
    shapes = ((), (0,), (2, 0, 3), (1,))
    model = Model(tuple(tensor(str(s), d, s) for s in shapes for d in (DType.FLOAT,)))
    WRITER.write(model, tmp_path / "m.pt")
    assert same(READER.read(tmp_path / "m.pt"), model)


@pytest.mark.parametrize("dtype", LACKS)
def test_a_type_that_torch_lacks_is_named(dtype: DType, tmp_path: Path) -> None:
    model = Model((tensor("fc.w", dtype, (4,)),))
    with pytest.raises(ConvertError, match=rf"m\.pt / tensor 'fc\.w': .* type {dtype.name}"):
        WRITER.write(model, tmp_path / "m.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_an_older_torch_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(write_torch._NAMES, DType.FLOAT8E8M0, "float8_of_tomorrow")
    with pytest.raises(ConvertError, match="has no element type FLOAT8E8M0"):
        WRITER.write(Model((tensor("w", DType.FLOAT8E8M0, (4,)),)), tmp_path / "m.pt")


def storage(value: Any) -> int:
    return int(value.untyped_storage().data_ptr())


def test_ties_share_a_storage_through_a_dcf_and_chance_does_not(tmp_path: Path) -> None:
    embed, ones = tensor("embed", DType.FLOAT, (40, 3)), np.ones(64, "<f4")
    tensors = (
        embed,
        Tensor("norm1", DType.FLOAT, ones),
        Tensor("norm2", DType.FLOAT, ones),
        Tensor("head", DType.FLOAT, embed.data),
    )
    dcformat.save(Model(tensors), tmp_path / "m.dcf")
    WRITER.write(model_of(dcformat.load(tmp_path / "m.dcf")), tmp_path / "m.pt")
    state = load(tmp_path / "m.pt")
    assert storage(state["embed"]) == storage(state["head"])
    assert storage(state["norm1"]) != storage(state["norm2"])
    back = READER.read(tmp_path / "m.pt")
    assert back.ties == {"head": "embed"}
    assert same(back, Model(tensors))


def test_equal_models_give_equal_bytes_and_the_models_numbers_are_not_lent(tmp_path: Path) -> None:
    one = tensor("a", DType.FLOAT, (9,))
    for name in ("1.pt", "2.pt"):
        WRITER.write(Model((one, tensor("b", DType.BOOL, (3,)))), tmp_path / name)
    assert (tmp_path / "1.pt").read_bytes() == (tmp_path / "2.pt").read_bytes()
    fixed = np.frombuffer(one.data.tobytes(), "<f4")  # that nobody may write to
    WRITER.write(Model((Tensor("a", DType.FLOAT, fixed),)), tmp_path / "3.pt")


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    one = tensor("a", DType.FLOAT, (9,))
    with pytest.raises(ConvertError, match=r"tensor 'a': two tensors have this name"):
        WRITER.write(Model((one, one)), tmp_path / "m.pt")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", range(0, 12, 3))
def test_an_error_of_the_disk_is_that_error_and_leaves_nothing(
    error: BaseException, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = write_torch.atomic_output

    class Failing:
        def __init__(self, stream: Any) -> None:
            self.stream, self.left = stream, after

        def write(self, data: bytes) -> int:
            self.left -= 1
            if self.left < 0:
                raise error
            return int(self.stream.write(data))

    @contextmanager
    def failing(path: Path) -> Iterator[Any]:
        with writing(path) as stream:
            yield Failing(stream)

    monkeypatch.setattr(write_torch, "atomic_output", failing)
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ConvertError
    with pytest.raises(wanted) as caught:
        WRITER.write(Model((tensor("a", DType.FLOAT, (9,)),)), tmp_path / "m.pt")
    if wanted is ConvertError:
        assert "cannot write: No space left on device" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_shares_its_numbers_is_said() -> None:
    one, two = tensor("a", DType.FLOAT, (9,)), tensor("b", DType.FLOAT, (9,))
    assert WRITER.remarks(Model((one, two))) == ()
    (said,) = WRITER.remarks(Model((one, two), ties={"b": "a"}))
    assert said.endswith("unless of one value throughout: 'b' (as 'a')")
