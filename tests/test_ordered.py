"""Levels in ascending order: packed by halves, by hand and by the program, and what is no such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat import native, ordered
from dcformat.coded import Codebook, CodedModel, CodedTensor
from dcformat.decode import open_file
from dcformat.encode import Settings, encode_model
from dcformat.encodings.values_codebook import Levels, parse_sorted, write_sorted
from dcformat.errors import Code, DcfError, UnsupportedError
from dcformat.fields import Fields
from dcformat.file import File
from dcformat.ids import NUMPY, DType, TableKind
from dcformat.plain import plain_file


@given(keys=st.sets(st.integers(0, 2**16 - 1), min_size=1, max_size=256), bits=st.just(16))
def test_keys_come_back(keys: set[int], bits: int) -> None:
    ascending = sorted(keys)
    packed = ordered.pack(ascending, bits)
    assert ordered.unpack(Fields(memoryview(packed), ""), len(ascending), bits) == ascending


def test_three_keys_by_hand() -> None:
    """Of four bits: 5 of 1 to 14, less 1, in four; 2 of 0 to 4 in three; 15 of 6 to 15 in four."""
    assert ordered.pack([2, 5, 15], 4) == (4 | 2 << 4 | 9 << 7).to_bytes(2, "little")
    assert ordered.pack(range(16), 4) == b""  # there is no other


@pytest.mark.parametrize("dtype", sorted(ordered.FLOATS))
def test_levels_of_every_type_come_back_to_the_bit(dtype: DType) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2 ** (8 * np.dtype(NUMPY[dtype]).itemsize), 200, np.uint64)
    bits = np.unique(bits.astype(f"<u{np.dtype(NUMPY[dtype]).itemsize}"))
    ascending = ordered.from_keys(np.sort(ordered.sort_keys(bits, dtype)), dtype)
    levels = np.ascontiguousarray(ascending).view(NUMPY[dtype])
    entry = write_sorted(dtype, levels)
    assert entry is not None
    found = parse_sorted(memoryview(entry), "")
    assert isinstance(found, Levels)
    assert (found.level, found.levels.tobytes()) == (dtype, levels.tobytes())
    assert write_sorted(dtype, levels[::-1]) is None
    assert write_sorted(dtype, np.repeat(levels[:1], 2)) is None


def code_of(entry: bytes) -> Code:
    try:
        return Code.OK if parse_sorted(memoryview(entry), "") else Code.UNSUPPORTED
    except DcfError as error:
        return error.code


def test_what_is_no_table_of_levels_is_an_error() -> None:
    entry = write_sorted(DType.FLOAT16, np.array([-1, 0.5, 2], np.float16)) or b""
    assert code_of(entry) == Code.OK
    assert code_of(entry[:2]) == Code.TRUNCATED
    assert code_of(entry[:-1]) == Code.TRUNCATED
    assert code_of(entry + b"\0") == Code.STRUCTURE
    assert code_of(entry[:1] + b"\x63" + entry[2:]) == Code.UNSUPPORTED
    assert code_of(entry[:1] + bytes([DType.INT16]) + entry[2:]) == Code.STRUCTURE
    assert code_of(entry[:3] + b"\xff" * (len(entry) - 3)) == Code.STRUCTURE  # above the greatest
    assert code_of(entry[:-1] + bytes([entry[-1] | 0x80])) == Code.PADDING


def model() -> CodedModel:
    levels = np.linspace(-1, 1, 200).astype("<f4")
    symbols = np.random.default_rng(1).integers(0, 200, (40, 50)).astype(np.uint8)
    return CodedModel((CodedTensor("w", DType.FLOAT, symbols, Codebook(DType.FLOAT, levels)),))


def test_only_the_smallest_files_have_them_and_hosts_read_them_fast() -> None:
    data = {target: encode_model(model(), Settings(target)) for target in ("host", "smallest")}
    kinds = {target: open_file(one).table_entries[0][0] for target, one in data.items()}
    assert kinds == {"host": TableKind.CODEBOOK, "smallest": TableKind.CODEBOOK_SORTED}
    assert plain_file(open_file(data["host"])) is None
    plain = plain_file(open_file(data["smallest"]))
    assert plain is not None
    assert File(plain)["#0"].tobytes() == File(data["host"])["w"].tobytes()
    assert File(data["smallest"]).coded_model() == model()
    if native.AVAILABLE:
        native.decode_numbers(native.open_file(plain), 0)
        with pytest.raises(UnsupportedError):
            native.decode_numbers(native.open_file(data["smallest"]), 0)


@pytest.mark.realdata
def test_squeezenet_is_as_small_as_it_gets(data_dir: Path, tmp_path: Path) -> None:
    import dcformat  # noqa: PLC0415

    source = dcformat.read(data_dir / "caffe_deep_compression" / "compressed_SqueezeNet.net")
    assert dcformat.save(source, tmp_path / "s.dcf", target="smallest") <= 533_000
    back = dcformat.load(tmp_path / "s.dcf")
    assert all(back[t.name].tobytes() == t.data.tobytes() for t in source.tensors)
