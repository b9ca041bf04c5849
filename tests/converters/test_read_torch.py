"""Files of torch.save become models: names, types, bits, ties, what is taken and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch_files as made

import dcformat
from dcformat.converters import read_torch
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.model import LazyTensor, Model


def read(data: bytes, folder: Path, name: str = "x.pt") -> Model:
    path = folder / name
    path.write_bytes(data)
    return dcformat.read(path)


def refused(data: bytes, folder: Path) -> str:
    """Return the reason for which a file is refused: one line that names the file."""
    with pytest.raises(ConvertError) as caught:
        read(data, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "x.pt") in message
    return message


WEIGHT = np.arange(6, dtype="<f4").reshape(2, 3)
BIAS = np.array([-0.0, np.nan], "<f4")
STATE = {"fc.weight": WEIGHT, "fc.bias": BIAS}


def same(model: Model, wanted: dict[str, np.ndarray]) -> None:
    assert [t.name for t in model.tensors] == list(wanted)
    for one in model.tensors:
        assert one.shape == wanted[one.name].shape
        assert one.data.tobytes() == wanted[one.name].tobytes()


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("root", ["archive", "my model", "a.b"])
def test_a_state_dict_is_read(tmp_path: Path, root: str, deflated: bool) -> None:
    model = read(made.state_dict(STATE, root=root, deflated=deflated), tmp_path)
    same(model, STATE)
    assert model.notes == ()
    assert model.graph is None
    assert model.source.format == "torch"
    assert model.source.file_bytes == (tmp_path / "x.pt").stat().st_size


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".bin", ".ckpt", ".jit", ".pth.tar"])
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    same(read(made.state_dict(STATE), tmp_path, f"x{suffix}"), STATE)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"GGUF" + bytes(100), "GGUF"),
        (b"\x40\0\0\0\0\0\0\0{", "safetensors"),
        (b"version https://git-lfs", "Git LFS"),
        (b"lmgg" + bytes(100), "ggml"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (bytes(257) + b"ustar", "tar archive"),
        (b"", "does not look like torch"),
    ],
)
def test_other_content_is_named(tmp_path: Path, head: bytes, what: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(head)
    with pytest.raises(ConvertError, match=what):
        dcformat.read(path)


def legacy_file(system: bytes = made.SYSTEM) -> bytes:
    none = b"N"
    value = made.mapping(
        [
            ("fc.weight", made.plain("77", WEIGHT, [none])),
            ("fc.bias", made.plain("9", BIAS, [none])),
        ]
    )
    return made.legacy(
        made.pickle(value), {"77": (6, WEIGHT.tobytes()), "9": (2, BIAS.tobytes())}, system
    )


def test_the_legacy_layout_is_read(tmp_path: Path) -> None:
    same(read(legacy_file(), tmp_path), STATE)


def test_legacy_storages_are_little_endian_whatever_the_writer_was(tmp_path: Path) -> None:
    big = made.SYSTEM.replace(b"\x88u.", b"\x89u.")
    same(read(legacy_file(big), tmp_path), STATE)


def test_a_big_endian_archive_is_read(tmp_path: Path) -> None:
    arrays = {
        "f": WEIGHT, "i": np.array([1, -2], "<i8"), "b": np.array([True, False]),
        "c": np.array([1 + 2j], "<c8"),
    }  # fmt: skip
    value = made.mapping([(n, made.plain(n, a)) for n, a in arrays.items()])
    storages = {n: a.astype(a.dtype.newbyteorder(">")).tobytes() for n, a in arrays.items()}
    data = made.Archive(made.pickle(value), storages, members={"byteorder": b"big"}).bytes()
    same(read(data, tmp_path), arrays)
    odd = made.Archive(made.pickle(value), storages, members={"byteorder": b"pdp"}).bytes()
    assert "byte order" in refused(odd, tmp_path)


def one_storage(array: np.ndarray, *views: tuple[str, int, list[int], list[int]]) -> bytes:
    """Return a file with views of one storage, remembered as a pickler does."""
    where = made.storage("0", made.STORAGES[array.dtype.str], array.size)
    pairs = [(n, made.tensor(where, first, size, stride)) for n, first, size, stride in views]
    return made.Archive(made.pickle(made.mapping(pairs)), {"0": array.tobytes()}).bytes()


def test_equal_views_are_tied_and_others_are_not(tmp_path: Path) -> None:
    data = one_storage(
        np.arange(12, dtype="<f4"),
        ("a", 0, [3, 4], [4, 1]),
        ("b", 0, [3, 4], [4, 1]),
        ("c", 2, [2, 4], [4, 1]),
        ("d", 0, [4, 3], [1, 4]),
    )
    model = read(data, tmp_path)
    base = np.arange(12, dtype="<f4")
    same(model, {"a": base.reshape(3, 4), "b": base.reshape(3, 4), "c": base[2:10].reshape(2, 4),
                 "d": base.reshape(3, 4).T.copy()})  # fmt: skip
    assert model.ties == {"b": "a"}
    assert model["a"].data is model["b"].data
    dcformat.save(model, tmp_path / "x.dcf")
    ties = [r.head.tied for r in dcformat.load(tmp_path / "x.dcf").opened.records]
    assert ties == [None, 0, None, None]


def test_views_of_all_kinds(tmp_path: Path) -> None:
    base = np.arange(24, dtype="<f4")
    views = {
        "repeated": (5, [2, 3], [0, 0]),
        "rows": (0, [3, 4], [0, 1]),
        "columns": (0, [4, 3], [1, 0]),
        "apart": (1, [4], [6]),
        "overlapping": (0, [5, 3], [2, 1]),
        "scalar": (7, [], []),
        "one": (23, [1, 1], [99, 99]),
        "empty": (24, [0, 5], [5, 1]),
        "turned": (0, [2, 3, 4], [1, 8, 2]),
    }
    data = one_storage(base, *((n, *view) for n, view in views.items()))
    step = base.itemsize
    wanted = {
        n: np.lib.stride_tricks.as_strided(base[first:], size, [s * step for s in stride]).copy()
        if np.prod(size)
        else np.empty(size, "<f4")
        for n, (first, size, stride) in views.items()
    }
    same(read(data, tmp_path), wanted)


def test_a_view_may_not_end_behind_its_storage(tmp_path: Path) -> None:
    base = np.arange(24, dtype="<f4")
    for view in (("a", 1, [24], [1]), ("a", 25, [0], [1]), ("a", 0, [2, 2], [23, 1])):
        assert "ends behind its storage '0' of 24" in refused(one_storage(base, view), tmp_path)
    assert "'a'" in refused(one_storage(base, view), tmp_path)


def test_large_tensors_stay_in_the_file_until_they_are_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((700, 900)).astype("<f4")
    data = one_storage(
        base.reshape(-1),
        ("plain", 0, [700, 900], [900, 1]),
        ("turned", 0, [900, 700], [1, 900]),
        ("part", 450, [700, 400], [900, 1]),
        ("again", 0, [700, 900], [900, 1]),
        ("apart", 3, [40000], [15]),
    )
    model = read(data, tmp_path)
    wanted = {"plain": base, "turned": base.T, "part": base.reshape(-1)[450:][: 699 * 900 + 400]}
    wanted["part"] = np.lib.stride_tricks.as_strided(base.reshape(-1)[450:], (700, 400), (3600, 4))
    wanted |= {"again": base, "apart": base.reshape(-1)[3::15][:40000]}
    same(model, wanted)
    windows = [(slice(5, 600, 7),), (slice(None), slice(300, 2, -3)), (slice(3, 3),), ()]
    for one in model.tensors:
        assert isinstance(one, LazyTensor)
        for window in windows:
            fits = window[: len(one.shape)]
            np.testing.assert_array_equal(one.piece(fits), wanted[one.name][fits])
    assert vars(model["plain"])["_read"] is vars(model["again"])["_read"]
    (tmp_path / "x.pt").write_bytes(data[:-1])
    with pytest.raises(ConvertError, match=r"tensor 'plain'.*changed"):
        model["plain"].piece(())


def test_large_tensors_of_a_compressed_archive(tmp_path: Path) -> None:
    base = np.arange(400_000, dtype="<f4")
    where = made.storage("0", "Float", base.size)
    views = {
        "plain": made.tensor(where, 0, [400, 1000]),
        "turned": made.tensor(where, 0, [1000, 400], [1, 1000]),
        "apart": made.tensor(where, 3, [20, 10000], [19000, 1]),
        "far": made.tensor(where, 0, [9, 10, 200], [40000, 4, 100]),
    }
    pickle, numbers = made.pickle(made.mapping(views)), {"0": base.tobytes()}
    strided = np.lib.stride_tricks.as_strided
    wanted = {
        "plain": base.reshape(400, 1000),
        "turned": base.reshape(400, 1000).T.copy(),
        "apart": strided(base[3:], (20, 10000), (76000, 4)).copy(),
        "far": strided(base, (9, 10, 200), (160000, 16, 400)).copy(),
    }
    for deflated in (False, True):
        model = read(made.Archive(pickle, numbers, deflated=deflated).bytes(), tmp_path)
        same(model, wanted)
        for one in model.tensors[:3]:
            window = (slice(1, None, 3), slice(7, 9))
            np.testing.assert_array_equal(one.piece(window), wanted[one.name][window])
    big = {"0": base.astype(">f4").tobytes()}
    data = made.Archive(pickle, big, members={"byteorder": b"big"}).bytes()
    same(read(data, tmp_path), wanted)


def test_storages_that_are_elsewhere_are_read(tmp_path: Path) -> None:
    for place in ("cuda:0", "mps", "xpu:1"):
        value = made.mapping({"a": made.tensor(made.storage("0", "Float", 6, place), 0, [2, 3])})
        data = made.Archive(made.pickle(value), {"0": WEIGHT.tobytes()}).bytes()
        same(read(data, tmp_path), {"a": WEIGHT})
    value = made.mapping({"a": made.tensor(made.storage("0", "Float", 6, "meta"), 0, [2, 3])})
    data = made.Archive(made.pickle(value), {"0": WEIGHT.tobytes()}).bytes()
    assert "tensor 'a': its storage is on the meta device" in refused(data, tmp_path)


def test_every_element_type(tmp_path: Path) -> None:
    from dcformat.converters.torch_words import DTYPES  # noqa: PLC0415
    from dcformat.ids import WIDTH  # noqa: PLC0415

    raw = bytes(range(1, 33))
    for of, dtype in DTYPES.items():
        count = 32 // WIDTH[dtype]
        where = made.storage("0", "Untyped", 32)
        parts = [where, made.integer(0), made.numbers([count]), made.numbers([1]), b"\x89"]
        parts += [made.ORDERED, made.name(f"torch.{of}")]
        value = made.call("torch._utils._rebuild_tensor_v3", parts)
        bits = bytes([1, 0] * 16) if dtype is DType.BOOL else raw
        data = made.Archive(made.pickle(value), {"0": bits}).bytes()
        one = read(data, tmp_path)["tensor"]
        assert (one.dtype, one.shape, one.data.tobytes()) == (dtype, (count,), bits)


def test_a_bool_is_0_or_1(tmp_path: Path) -> None:
    where = made.storage("0", "Bool", 4)
    data = made.Archive(made.pickle(made.tensor(where, 0, [4])), {"0": b"\0\1\2\0"}).bytes()
    assert "a BOOL is neither 0 nor 1" in refused(data, tmp_path)


REAL = ["mnist_cnn_bn_burn.pt", "resnet20-12fca82f.th", "resnet32-d509ac18.th", "silero_vad_v6.jit"]


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_files_go_to_dcf_and_back(data_dir: Path, tmp_path: Path, name: str) -> None:
    source = data_dir / "pytorch" / name
    model = read_torch.read(source)
    dcformat.save(dcformat.compress(model, "lossless"), tmp_path / "x.dcf")
    back = dcformat.load(tmp_path / "x.dcf")
    assert list(back) == [t.name for t in model.tensors]
    for one in model.tensors:
        assert back[one.name].tobytes() == one.data.tobytes()
    report = dcformat.verify(tmp_path / "x.dcf", against=source)
    assert report.ok, [c for c in report.checks if c.status == "failed"]
