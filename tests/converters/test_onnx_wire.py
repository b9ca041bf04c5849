"""The wire walker: cut and fill are inverse, and hostile bytes give one typed error."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import REAL_MODELS, graph, model_of, numbers, tensor

from dcformat.converters import onnx_wire as wire
from dcformat.errors import ConvertError, CorruptError
from dcformat.graph import DATA_FIELDS

Holes = list[tuple[int, int, bytes]]


def message(number: int, content: bytes) -> bytes:
    """A field of wire type 2."""
    return wire.varint(number << 3 | 2) + wire.varint(len(content)) + content


def cut_all(source: bytes) -> tuple[bytes, Holes]:
    """Cut every tensor's data field out."""
    found = wire.scan(source)
    removals = [
        (index, fields)
        for index, tensor in enumerate(found.tensors)
        if (fields := [f for f in tensor.fields if f.number in DATA_FIELDS])
    ]
    skeleton, positions = wire.cut(source, found, removals)
    holes = [
        (position, fields[0].number, source[fields[0].value : fields[0].end])
        for position, (_, fields) in zip(positions, removals, strict=True)
    ]
    return skeleton, holes


def fill(skeleton: bytes, holes: Holes) -> bytes:
    """Put payloads (position, field, bytes) back: the inverse of `cut_all`."""
    found = wire.scan_skeleton(skeleton)
    owners = wire.holders(skeleton, found, [position for position, _, _ in holes])
    changes = [
        wire.Change(
            owner, position, message(number, payload)[: -len(payload) or None], len(payload)
        )
        for owner, (position, number, payload) in zip(owners, holes, strict=True)
    ]
    pieces = wire.weave(skeleton, found, changes)
    return b"".join(holes[p][2] if isinstance(p, int) else bytes(p) for p in pieces)


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_MODELS)
def test_every_real_model_is_filled_back_byte_for_byte(data_dir: Path, name: str) -> None:
    source = (data_dir / "onnx" / f"{name}.onnx").read_bytes()
    skeleton, holes = cut_all(source)
    removed = sum(len(message(number, payload)) for _, number, payload in holes)
    assert len(source) - len(skeleton) >= removed
    assert onnx.ModelProto.FromString(skeleton).HasField("graph")
    assert fill(skeleton, holes) == source


# One tensor in one graph, by hand.
TENSOR = bytes.fromhex(
    "08 02"  # dims: 2
    "10 02"  # data_type: UINT8
    "4a 02 11 22"  # raw_data
    "42 01 77"  # name: w
)
MODEL = message(7, message(5, TENSOR))
SKELETON = bytes.fromhex(
    "3a 09"  # graph, 4 bytes less
    "2a 07"  # initializer, 4 bytes less
    "08 02 10 02 42 01 77"
)


def test_a_cut_leaves_the_rest_and_shorter_lengths() -> None:
    assert cut_all(MODEL) == (SKELETON, [(8, 9, b"\x11\x22")])


def test_a_fill_gives_the_source_again() -> None:
    assert fill(SKELETON, [(8, 9, b"\x11\x22")]) == MODEL


def test_lengths_grow_over_the_limits_of_a_varint() -> None:
    payload = bytes(20000)
    filled = fill(SKELETON, [(8, 9, payload)])
    assert onnx.ModelProto.FromString(filled).graph.initializer[0].raw_data == payload
    assert cut_all(filled) == (SKELETON, [(8, 9, payload)])


def test_a_scan_names_tensors_by_their_way_from_the_model() -> None:
    main = graph([], [tensor("a", numbers(2)), tensor("b", numbers(3))])
    found = wire.scan(model_of(main).SerializeToString())
    assert [t.path for t in found.tensors] == [
        (((), (7, 0)), (5, 0)),
        (((), (7, 0)), (5, 1)),
    ]


def test_lengths_that_are_not_the_shortest_are_read_and_become_so() -> None:
    long_raw = bytes.fromhex("08 02 10 02 4a 82 00 11 22 42 01 77")
    source = bytes.fromhex("3a 8f 80 00 2a 8c 00") + long_raw
    skeleton, holes = cut_all(source)
    assert skeleton == SKELETON
    assert onnx.ModelProto.FromString(fill(skeleton, holes)) == onnx.ModelProto.FromString(source)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("3a", "end inside a number, at byte 1"),
        ("3a 05 08", "field 7 at byte 0 needs 4 bytes more"),
        ("3a 80", "end inside a number, at byte 2"),
        ("3a 80 80 80 80 80 80 80 80 80 80 01", "more than ten bytes, at byte 1"),
        ("3a ff ff ff ff ff ff ff ff ff 01", "field 7 at byte 0 needs"),
        ("3a 03 2a 05 08", "field 5 at byte 2 needs 4 bytes more"),
        ("0b", "wire type 3 is unknown, at byte 0"),
        ("00 00", "field number 0 is impossible, at byte 0"),
        ("08 01 0d 00 00", "field 1 at byte 2 needs 2 bytes more"),
        ("09 00 00 00 00 00 00 00", "field 1 at byte 0 needs 1 bytes more"),
        ("3a 00 3a 00", "field 7 stands twice in one message, at byte 2"),
    ],
)
def test_malformed_bytes_are_refused_with_their_place(source: str, reason: str) -> None:
    with pytest.raises(ConvertError, match=reason):
        wire.scan(bytes.fromhex(source))


def test_nesting_has_a_limit() -> None:
    source = message(5, TENSOR)
    for _ in range(200):
        source = message(1, message(5, message(6, source)))
    with pytest.raises(ConvertError, match="nested deeper than 100"):
        wire.scan(message(7, source))


def test_a_tensor_with_thousands_of_data_fields_is_called_crowded() -> None:
    crowd = message(7, message(5, message(9, b"") * 5000))
    (found,) = wire.scan(crowd).tensors
    assert found.crowded
    assert len(found.fields) < 100


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (0, "no tensor of its own"),
        (3, "no tensor of its own"),
        (5, "not between two fields"),
        (12, "not between two fields"),
    ],
)
def test_holes_stand_between_fields_of_a_tensor(position: int, reason: str) -> None:
    with pytest.raises(CorruptError, match=reason):
        fill(SKELETON, [(position, 9, b"")])


def test_a_tensor_has_one_hole() -> None:
    with pytest.raises(CorruptError, match="no tensor of its own"):
        fill(SKELETON, [(4, 9, b""), (6, 9, b"")])


def test_a_skeleton_that_is_no_model_is_corrupt() -> None:
    with pytest.raises(CorruptError, match="not a ModelProto"):
        fill(b"\x3a\x05", [])


@given(st.binary(max_size=60))
def test_random_bytes_are_a_model_or_a_typed_error(data: bytes) -> None:
    for source in (data, message(7, data), message(7, message(5, data))):
        try:
            skeleton, _ = cut_all(source)
        except ConvertError:
            continue
        assert len(skeleton) <= len(source)


@given(st.data())
def test_one_changed_byte_is_a_model_or_a_typed_error(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(MODEL) - 1))
    changed = bytearray(MODEL)
    changed[place] = data.draw(st.integers(0, 255))
    try:
        skeleton, holes = cut_all(bytes(changed))
    except ConvertError:
        return
    assert len(fill(skeleton, holes)) <= len(changed)
