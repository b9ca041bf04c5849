"""The vectors under tests/vectors: what they decode to, and how the bad ones fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparing import for_hosts

from dcformat import decode, native
from dcformat.canonical import faults
from dcformat.coded import expand_tensor
from dcformat.errors import Code, DcfError
from dcformat.file import File
from dcformat.graph import decode_graph
from dcformat.ids import Coder
from dcformat.verify import FAILED, verify

VECTORS = Path(__file__).parent / "vectors"
GOOD = sorted(p.with_suffix(".dcf") for p in VECTORS.rglob("*.json"))
BAD = sorted((VECTORS / "invalid").glob("*.dcf"))
LATER = sorted((VECTORS / "sections").glob("*.dcf"))
#: section -> what reads it
READERS: dict[str, Callable[[File], object]] = {
    "NAMES": lambda file: file.names,
    "HASHES": lambda file: file.hashes,
    "FIXED": lambda file: file.layers,
    "META": lambda file: file.metadata,
    "GRAPH": lambda file: (
        file.graph and decode_graph(file.graph.data, len(file.opened.records), file.graph.format)
    ),
}


def name_of(path: Path) -> str:
    return str(path.relative_to(VECTORS).with_suffix(""))


def full_check(decoder: Any, data: bytes) -> Code:
    """Return the error of opening, checking and decoding everything."""
    try:
        opened = decoder.open_file(data)
        decoder.check_file(opened)
        for index in range(len(decode.open_file(data).records)):
            decoder.decode_numbers(opened, index)
    except DcfError as error:
        return error.code
    return Code.OK


def has_frame(data: bytes) -> bool:
    """Tell whether a file opens and has a tensor that the C core leaves out."""
    try:
        records = decode.open_file(data).records
    except DcfError:
        return False
    return any(record.head.coder == Coder.ZSTD and not record.unsupported for record in records)


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_a_valid_vector_decodes_to_its_numbers(path: Path) -> None:
    file = File(path.read_bytes())
    wanted = json.loads(path.with_suffix(".json").read_text())["tensors"]
    assert [row["name"] for row in wanted] == list(file.names)
    for row in wanted:
        tensor = file.coded(row["name"])
        assert (tensor.dtype.name, list(tensor.shape)) == (row["dtype"], row["shape"])
        assert tensor.number_type().name == row["number_type"]
        assert tensor.numbers().tobytes().hex() == row["numbers"]
        elements = row.get("elements", row["numbers"])
        assert expand_tensor(tensor).tobytes().hex() == elements


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_a_valid_vector_is_canonical(path: Path) -> None:
    assert list(faults(File(path.read_bytes()))) == []


@pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")
@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_both_decoders_agree_on_a_valid_vector(path: Path) -> None:
    data = path.read_bytes()
    mine, theirs = decode.open_file(data), native.open_file(data)
    native.check_file(theirs)
    for index in range(len(mine.records)):
        if not for_hosts(mine, mine.record(index)):
            numbers = decode.decode_numbers(mine, index)
            assert native.decode_numbers(theirs, index).tobytes() == numbers.tobytes()


@pytest.mark.parametrize("path", BAD, ids=name_of)
def test_an_invalid_vector_gives_the_error_of_its_name(path: Path) -> None:
    """S6: a typed error, never part of a tensor."""
    assert full_check(decode, path.read_bytes()) == Code[path.stem.split("-")[0]]


@pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")
@pytest.mark.parametrize("path", BAD, ids=name_of)
def test_the_c_decoder_gives_the_same_error(path: Path) -> None:
    data = path.read_bytes()
    got, wanted = full_check(native, data), Code[path.stem.split("-")[0]]
    assert got == (Code.UNSUPPORTED if has_frame(data) else wanted)


@pytest.mark.parametrize("path", LATER, ids=name_of)
def test_a_section_gives_the_error_of_its_name_when_it_is_read(path: Path) -> None:
    section, wanted, _ = path.stem.split("-")
    file = File(path.read_bytes())
    if wanted == "OK":
        READERS[section](file)
    else:
        with pytest.raises(DcfError, match=f"section {section}") as caught:
            READERS[section](file)
        assert caught.value.code == Code[wanted]


@pytest.mark.parametrize("path", LATER, ids=name_of)
def test_verify_reads_every_section(path: Path) -> None:
    check = {"NAMES": "names", "HASHES": "names", "FIXED": "metadata", "META": "metadata"}
    section, wanted, _ = path.stem.split("-")
    failed = {c.name for c in verify(path).checks if c.status == FAILED} - {"canonical"}
    assert bool(failed) == (wanted != "OK")
    assert wanted in ("OK", "CHECKSUM") or check.get(section, "graph") in failed


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_a_valid_vector_passes_every_check(path: Path) -> None:
    assert [c for c in verify(path).checks if c.status == FAILED] == []


def test_the_vectors_are_those_that_their_program_writes() -> None:
    command = [sys.executable, str(VECTORS / "make.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
