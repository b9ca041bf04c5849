"""Reading .safetensors: every type to the bit, in order, and clear words for what is no file."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as library
from safetensors_files import LATER, NAMES, entry, file_of, pack, patterns

import dcformat
from dcformat.converters import weights
from dcformat.converters.read_safetensors import READER
from dcformat.errors import ConvertError
from dcformat.ids import BITS, NUMPY, DType, Meta
from dcformat.model import LazyTensor, Model

ONE = {"a": ("U8", [1], b"\1")}
KNOWS_ALL = tuple(map(int, version("safetensors").split(".")[:2])) >= (0, 8)


def read(folder: Path, data: bytes, name: str = "m.safetensors") -> Model:
    path = folder / name
    path.write_bytes(data)
    return dcformat.read(path)


def refused(folder: Path, data: bytes) -> str:
    """Return the line that says why a file is refused, without its name."""
    with pytest.raises(ConvertError) as caught:
        read(folder, data)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{folder / 'm.safetensors'}: ") or " / tensor " in line
    return line.removeprefix(str(folder / "m.safetensors"))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("lazy", [False, True])
def test_every_type_is_read_to_the_bit(
    dtype: DType, lazy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype in LATER and not KNOWS_ALL:
        pytest.skip("this safetensors does not know the type")
    if lazy:
        monkeypatch.setattr(weights, "_AT_ONCE", -1)
    raw = patterns(dtype, 30)
    (tensor,) = read(tmp_path, file_of({"t": (NAMES[dtype], [5, 3, 2], raw)})).tensors
    assert isinstance(tensor, LazyTensor) == lazy
    assert (tensor.name, tensor.dtype, tensor.shape) == ("t", dtype, (5, 3, 2))
    assert tensor.data.dtype == np.dtype(NUMPY[dtype])
    if BITS[dtype] < 8:
        wide = [n for byte in raw for n in (byte & 15, byte >> 4)]
        assert tensor.data.reshape(-1).tolist() == wide
    else:
        assert tensor.data.tobytes() == raw
    assert np.array_equal(tensor.piece((slice(1, 3),)).view(np.uint8), tensor.data[1:3].view("u1"))


def test_what_the_library_reads_is_what_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arrays = {
        f"{kind}.{shape}": np.asarray(rng.integers(0, 2, shape) * 200, dtype=kind)
        for kind in ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
        for shape in ((), (3,), (0,), (2, 0, 3), (7, 5))
    }
    library.save_file(arrays, tmp_path / "m.safetensors", {"format": "np"})
    model = dcformat.read(tmp_path / "m.safetensors")
    assert {t.name for t in model.tensors} == set(arrays)
    for tensor in model.tensors:
        assert tensor.data.dtype == arrays[tensor.name].dtype
        assert tensor.data.tobytes() == arrays[tensor.name].tobytes()
    assert model.metadata == {Meta.SOURCE_METADATA: b'{"format":"np"}'}
    assert model.graph is None
    assert model.source.file_bytes == (tmp_path / "m.safetensors").stat().st_size


def test_tensors_stand_in_the_order_of_their_bytes_and_empty_ones_by_name(tmp_path: Path) -> None:
    header = {
        "z": entry("U8", [1], 0, 1),
        "y": entry("U8", [0], 1, 1),
        "b": entry("U8", [2], 1, 3),
        "x": entry("F32", [0, 4], 1, 1),
        "a": entry("U8", [1], 3, 4),
        "w": entry("U8", [0], 0, 0),
        "v": entry("U8", [0], 4, 4),
    }
    model = read(tmp_path, pack(header, b"\1\2\3\4"))
    assert [t.name for t in model.tensors] == ["w", "z", "x", "y", "b", "a", "v"]
    assert [t.data.tobytes() for t in model.tensors if t.size] == [b"\1", b"\2\3", b"\4"]


def test_metadata_is_kept_in_its_order(tmp_path: Path) -> None:
    model = read(tmp_path, file_of(ONE, {"z": "1", "format": "pt", "ä": "\n"}))
    assert model.metadata == {Meta.SOURCE_METADATA: '{"z":"1","format":"pt","ä":"\\n"}'.encode()}
    assert read(tmp_path, file_of(ONE, {})).metadata == {}


def test_names_may_be_any_that_a_dcf_can_hold(tmp_path: Path) -> None:
    names = ["a b", "größe", '"quoted"', "back\\slash", "line\nfeed", "__metadata", "x" * 4096]
    model = read(tmp_path, file_of({name: ("U8", [1], b"\7") for name in names}))
    assert [t.name for t in model.tensors] == names


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    assert read(folder, file_of(ONE), "größe \U0001f600.SafeTensors").tensors[0].data == [1]


def many(**header: object) -> bytes:
    return pack(header, b"\0" * 8)


HUGE = 1 << 63
REFUSED = {
    "empty": (b"", "does not look like safetensors"),
    "short": (b"\1\0\0", "does not look like safetensors"),
    "no header": (struct.pack("<Q", 0), "does not look like safetensors"),
    "2^60 bytes": (
        struct.pack("<Q", 1 << 60) + b"{}",
        "its header should have 1152921504606846976 bytes, more than 100000000",
    ),
    "above the limit": (
        struct.pack("<Q", 100_000_001) + b"{}",
        "its header should have 100000001 bytes, more than 100000000",
    ),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "web page": (b"<!DOCTYPE html><html>", "a web page"),
    "a zip": (b"PK\3\4" + bytes(60), "a zip archive"),
    "header cut": (pack(b'{"a":')[:-2], "cut short"),
    "space first": (pack(b" {}"), "does not look like safetensors"),
    "a list": (pack(b"[]"), "does not look like safetensors"),
    "no JSON": (pack(b"{nope}"), "JSON of its header is refused: not valid: Expecting"),
    "two values": (pack(b"{}{}"), "not valid: Extra data"),
    "not UTF-8": (pack(b'{"a\xff":1}'), "not UTF-8 at byte 3"),
    "lone surrogate": (
        pack(b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"\0"),
        "not valid: ",
    ),
    "NaN": (pack(b'{"a":NaN}'), "NaN is no number of JSON"),
    "many digits": (pack(b'{"a":' + b"9" * 5000 + b"}"), "JSON of its header is refused"),
    "deep": (pack(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"), "more than types, shapes"),
    "deep objects": (pack(b'{"a":' * 90_000 + b"1" + b"}" * 90_000), "nested too deeply"),
    "many numbers": (pack(b'{"a":[' + b"1," * 90_000 + b"1]}"), "more than types, shapes"),
    "twice": (
        pack(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{}}', b"\0"),
        "the key 'a' stands in it twice",
    ),
    "twice inside": (pack(b'{"a":{"dtype":"U8","dtype":"U8"}}'), "the key 'dtype' stands"),
    "twice in metadata": (
        pack(b'{"__metadata__":{"k":"1","k":"1"}}'),
        "the key 'k' stands in it twice",
    ),
    "twice, escaped": (pack(b'{"a":1,"\\u0061":1}'), "the key 'a' stands in it twice"),
    "metadata of numbers": (pack(b'{"__metadata__":{"k":1}}'), "expected a string"),
    "a number for a tensor": (
        many(a=1),
        "tensor 'a': not an object of dtype, shape and data_offsets",
    ),
    "no type": (many(a={"shape": [1], "data_offsets": [0, 8]}), "tensor 'a': no dtype"),
    "unknown type": (many(a=entry("I4", [16], 0, 8)), "tensor 'a': unknown element type 'I4'"),
    "no such type": (
        pack({"a": entry("F6_E2M3", [4], 0, 3)}, bytes(3)),
        "tensor 'a': a .dcf has no element type F6_E2M3",
    ),
    "half a byte": (pack({"a": entry("F4", [3], 0, 2)}, bytes(2)), "not valid: "),
    "negative dim": (many(a=entry("U8", [-8], 0, 8)), "tensor 'a': no shape of whole numbers"),
    "negative offset": (
        many(a=entry("U8", [8], -8, 0)),
        "tensor 'a': no data_offsets of two whole numbers",
    ),
    "fraction": (many(a=entry("U8", [8.0], 0, 8)), "tensor 'a': no shape of whole numbers"),  # type: ignore[list-item]
    "product overflows": (
        many(a=entry("U8", [HUGE, 2], 0, 8)),
        "tensor 'a': 8 bytes where its shape and type need 18446744073709551616",
    ),
    "beyond u64": (many(a=entry("U8", [1 << 64], 0, 8)), "tensor 'a': no shape of whole numbers"),
    "huge beside zero": (pack({"a": entry("U8", [0, HUGE], 0, 0)}), "tensor 'a': its shape"),
    "large beside zero": (
        many(a=entry("U8", [1 << 31, 1 << 31, 0], 0, 0), b=entry("U8", [8], 0, 8)),
        "tensor 'a': it has more than 1099511627776 elements",
    ),
    "nine axes": (many(a=entry("U8", [8] + [1] * 8, 0, 8)), "tensor 'a': it has 9 axes"),
    "size and shape differ": (
        many(a=entry("U8", [7], 0, 8)),
        "tensor 'a': 8 bytes where its shape and type need 7",
    ),
    "ends before it begins": (
        many(a=entry("U8", [8], 8, 0)),
        "tensor 'a': -8 bytes where its shape and type need 8",
    ),
    "overlap": (
        many(a=entry("U8", [8], 0, 8), b=entry("U8", [4], 4, 8)),
        "not valid: invalid offset for tensor `b`",
    ),
    "same place": (many(a=entry("U8", [8], 0, 8), b=entry("U8", [8], 0, 8)), "not valid: "),
    "a hole": (many(a=entry("U8", [2], 0, 2), b=entry("U8", [4], 4, 8)), "not valid: "),
    "data cut": (pack({"a": entry("U8", [8], 0, 8)}, bytes(7)), "not fully covered"),
    "bytes behind": (pack({"a": entry("U8", [8], 0, 8)}, bytes(9)), "not fully covered"),
    "a bool of 2": (pack({"a": entry("BOOL", [2], 0, 2)}, b"\1\2"), "tensor 'a': a BOOL is"),
    "empty name": (many(**{"": entry("U8", [8], 0, 8)}), "tensor '': its name is empty"),
    "NUL": (many(**{"a\0": entry("U8", [8], 0, 8)}), "its name holds a NUL"),
    "long name": (many(**{"x" * 4097: entry("U8", [8], 0, 8)}), "its name has 4097 bytes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_said_in_one_line(what: str, tmp_path: Path) -> None:
    data, reason = REFUSED[what]
    assert reason in refused(tmp_path, data)


@pytest.mark.parametrize("what", REFUSED)
def test_the_reader_says_so_without_a_look_at_the_first_bytes(what: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(REFUSED[what][0])
    with pytest.raises(ConvertError, match=re.escape(str(path))):
        READER.read(path)


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"gone\.safetensors: cannot read: No such file"):
        READER.read(tmp_path / "gone.safetensors")
    with pytest.raises(ConvertError, match="is a directory"):
        READER.read(tmp_path)
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ConvertError, match="is not a regular file"):
        READER.read(tmp_path / "pipe.safetensors")


def test_too_much_metadata_is_refused(tmp_path: Path) -> None:
    data = file_of(ONE, {"k": "x" * (1 << 23)})
    assert "bytes of metadata, more than 8388608" in refused(tmp_path, data)
    limit = (1 << 23) - len('{"k":""}')
    assert read(tmp_path, file_of(ONE, {"k": "x" * limit})).metadata
    texts = dict.fromkeys(map(str, range((1 << 16) + 1)), "")
    assert "65537 entries of metadata, more than 65536" in refused(tmp_path, file_of(ONE, texts))
    del texts["0"]
    assert read(tmp_path, file_of(ONE, texts)).metadata


def test_a_file_that_changes_after_it_was_read_is_not_read_on(tmp_path: Path) -> None:
    raw = patterns(DType.FLOAT, 1 << 16)
    (tensor,) = read(tmp_path, file_of({"t": ("F32", [1 << 16], raw)})).tensors
    assert tensor.data.tobytes() == raw
    (tmp_path / "m.safetensors").write_bytes(file_of({"t": ("F32", [1 << 15], raw[: 1 << 17])}))
    with pytest.raises(ConvertError, match=r"m\.safetensors / tensor 't': the file has changed"):
        _ = tensor.data


#: Reads a file and prints the most memory that was resident, in MB, above that at the start.
CHILD = """
import sys, dcformat, safetensors, numpy
from pathlib import Path
from dcformat.converters.read_safetensors import READER
def resident(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if what in line) // 1000
before = resident("VmRSS")
try:
    READER.read(Path(sys.argv[1]))
except dcformat.DcfError as error:
    print(resident("VmHWM") - before, str(error)[:300])
"""
#: 30 MB of header each, which the library alone would take 600 MB for.
BOMBS = {
    "dims": b'{"a":{"dtype":"U8","shape":[' + b"1," * 15_000_000 + b'1],"data_offsets":[0,1]}}',
    "lists": b'{"a":{"dtype":"U8","shape":[1],"x":[' + b"[]," * 10_000_000 + b"[]]}}",
    "objects": b'{"a":[' + b"{}," * 10_000_000 + b"{}]}",
    "texts": b'{"__metadata__":{' + b'"a":"",' * 4_000_000 + b'"b":""}}',
    "escapes": b'{"' + rb"\\\"" * 7_500_000 + b'":1}',
    "zeros": bytes(30_000_000),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("what", BOMBS)
def test_a_header_takes_no_more_than_a_few_times_its_size(what: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(pack(BOMBS[what], b"\0"))
    command = [sys.executable, "-c", CHILD, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes, reason = done.stdout.split(" ", 1)
    assert int(megabytes) < 200, reason


@pytest.mark.realdata
def test_a_real_file_agrees_with_the_library(data_dir: Path) -> None:
    path = data_dir / "pytorch" / "silero_vad_16k.safetensors"
    model, wanted = dcformat.read(path), library.load_file(path)
    header = json.loads(path.read_bytes()[8:][: int.from_bytes(path.read_bytes()[:8], "little")])
    assert [t.name for t in model.tensors] == list(header)
    for tensor in model.tensors:
        assert tensor.data.dtype == wanted[tensor.name].dtype
        assert tensor.data.tobytes() == wanted[tensor.name].tobytes()
