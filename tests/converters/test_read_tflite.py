"""Files written by hand: what is lifted, as what, and that every byte comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import (
    BATCH_MATMUL,
    DENSE,
    DENSIFY,
    DEQUANTIZE,
    dense,
    every_kind,
    file_of,
    floats,
    model,
    operator,
    quantized,
    subgraph,
    tensor,
)

import dcformat
from dcformat.coded import Affine, CodedTensor, Raw, expand_tensor
from dcformat.errors import ConvertError
from dcformat.ids import DType, GraphFormat
from dcformat.model import Model, Use
from dcformat.scaled import real


def read(folder: Path, data: bytes) -> Model:
    (folder / "x.tflite").write_bytes(data)
    return dcformat.read(folder / "x.tflite")


def back(folder: Path, data: bytes, preset: str = "lossless") -> tuple[Model, bytes]:
    """Return the model of the file, and the file that is made of its .dcf."""
    found = read(folder, data)
    dcformat.save(dcformat.compress(found, preset), folder / "x.dcf")
    dcformat.write(dcformat.load(folder / "x.dcf").coded_model(), folder / "y.tflite")
    return found, (folder / "y.tflite").read_bytes()


def coded(folder: Path, name: str) -> CodedTensor:
    return dcformat.load(folder / "x.dcf").coded(name)


def fully_connected(weight: dict[int, object], buffer: bytes, **more: object) -> bytes:
    """Return a file with one layer, whose weight is buffer 1."""
    tensors = [tensor("x", (1, 40)), weight, tensor("y", (1, 16))]
    graph = subgraph(tensors, [operator(0, [0, 1], [2])], [0], [2])
    return file_of(model([graph], [DENSE], [buffer], **more))


@pytest.mark.parametrize("data", [dense(), dense(old=True), quantized(), every_kind()])
def test_lossless_and_back_is_the_file_byte_for_byte(tmp_path: Path, data: bytes) -> None:
    found, again = back(tmp_path, data)
    assert again == data
    assert found.graph is not None
    assert found.graph.format == GraphFormat.TFLITE
    assert found.source.file_bytes == len(data)
    dcformat.write(found, tmp_path / "z.tflite")
    assert (tmp_path / "z.tflite").read_bytes() == data
    assert dcformat.verify(tmp_path / "x.dcf", against=tmp_path / "x.tflite").ok


@pytest.mark.parametrize("old", [False, True])
def test_roles_come_from_operators_of_old_files_and_new_ones(tmp_path: Path, old: bool) -> None:
    found = read(tmp_path, dense(old))
    assert [t.name for t in found.tensors] == ["w", "b"]
    assert found.uses["w"] == Use("FullyConnected_0", "FullyConnected", "weight", 0)
    assert found.uses["b"].role == "bias"
    assert found["w"].data.tobytes() == floats(16, 40).tobytes()


def test_the_skeleton_has_no_number_of_what_was_lifted(tmp_path: Path) -> None:
    data = dense()
    found = read(tmp_path, data)
    assert found.graph is not None
    assert len(found.graph.data) == len(data) - 4 * (16 * 40 + 16) + 4 + 2 * 9
    assert floats(16, 40).tobytes()[:64] not in found.graph.data


def test_integers_with_scales_become_affine_values(tmp_path: Path) -> None:
    found, _ = back(tmp_path, quantized(), "int8")
    assert found["conv"].dtype is DType.INT8
    assert found.uses["conv"].out_axis == 0
    assert found.uses["deep"] == Use("DepthwiseConv2D_1", "DepthwiseConv2D", "weight", 3,
                                     (3, 0, 1, 2))  # fmt: skip
    for name, axis, number in (("conv", 0, DType.INT8), ("deep", 3, DType.INT8),
                               ("table", None, DType.UINT8)):  # fmt: skip
        stored = coded(tmp_path, name)
        assert isinstance(stored.values, Affine)
        assert (stored.dtype, stored.values.number) == (DType.FLOAT, number)
        assert stored.values.axis == axis
        assert stored.symbols.tobytes() == found[name].data.tobytes()
        assert expand_tensor(stored).tobytes() == real(found)[name].data.tobytes()
    table = coded(tmp_path, "table")
    wanted = (found["table"].data.astype(np.float32) - 128) * np.float32(0.125)
    assert np.array_equal(expand_tensor(table), wanted)
    bias = coded(tmp_path, "bias")
    assert (bias.dtype, type(bias.values)) == (DType.INT32, Raw)


def test_quantized_weights_keep_their_integers_in_every_preset(tmp_path: Path) -> None:
    for preset in ("int8", "deep", "lossless"):
        assert back(tmp_path, quantized(), preset)[1] == quantized()


def test_coded_floats_come_back_as_what_the_levels_mean(tmp_path: Path) -> None:
    found, again = back(tmp_path, dense(), "int8")
    levels = coded(tmp_path, "w")
    assert isinstance(levels.values, Affine)
    assert len(again) == len(dense())
    twice = read(tmp_path, again)
    assert twice["w"].data.tobytes() == expand_tensor(levels).tobytes()
    assert np.abs(twice["w"].data - found["w"].data).max() <= levels.values.scale.max() * 0.51
    assert twice["b"].data.tobytes() == found["b"].data.tobytes()


@pytest.mark.parametrize(("kind", "dtype"), [(17, DType.INT4), (19, DType.INT2), (20, DType.UINT4)])
def test_small_integers_are_unpacked_and_packed_again(
    tmp_path: Path, kind: int, dtype: DType
) -> None:
    size = 16 * 40 // (4 if kind == 19 else 2)
    raw = np.random.default_rng(5).integers(0, 256, size).astype("u1")
    weight = tensor("w", (16, 40), 1, kind, [0.5] * 15 + [2.0])
    data = fully_connected(weight, raw.tobytes())
    found, again = back(tmp_path, data)
    assert again == data
    assert found["w"].dtype is dtype
    first = int(raw[0]) & (3 if kind == 19 else 15)
    top = 1 << (1 if kind == 19 else 3)
    assert int(found["w"].data[0, 0]) == (first if kind == 20 else (first ^ top) - top)
    stored = coded(tmp_path, "w")
    assert isinstance(stored.values, Affine)
    assert stored.values.number is (DType.UINT8 if kind == 20 else DType.INT8)


def test_int16_with_few_values_shares_levels_that_have_scales(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).choice([-3000, 0, 17, 900], (16, 40)).astype("<i2")
    data = fully_connected(tensor("w", (16, 40), 1, 7, [2.0**-12] * 16), numbers.tobytes())
    _, again = back(tmp_path, data)
    assert again == data
    stored = coded(tmp_path, "w")
    assert (stored.dtype, stored.number_type()) == (DType.FLOAT, DType.INT16)
    assert np.array_equal(expand_tensor(stored), numbers.astype(np.float32) / 4096)


@pytest.mark.parametrize(
    "quantization",
    [
        {"scale": [0.0]},
        {"scale": [-1.0]},
        {"scale": [float("nan")]},
        {"scale": [float("inf")]},
        {"scale": [1e-40]},
        {"scale": [1.0], "zero": [1000]},
        {"scale": [1.0] * 3},
        {"scale": [1.0] * 16, "axis": 1},
        {"scale": [1.0] * 16, "axis": -1},
        {"scale": [1.0] * 16, "zero": [0]},
    ],
)
def test_scales_that_mean_nothing_stay_in_the_graph(
    tmp_path: Path, quantization: dict[str, object]
) -> None:
    weight = tensor("w", (16, 40), 1, 9, **quantization)  # type: ignore[arg-type]
    data = fully_connected(weight, np.arange(640, dtype="i1").tobytes())
    _, again = back(tmp_path, data)
    assert again == data
    assert coded(tmp_path, "w").dtype is DType.INT8


def test_a_sparse_tensor_is_the_vector_of_its_stored_values(tmp_path: Path) -> None:
    weight = tensor("w", (16, 40), 1, sparse=True)
    data = fully_connected(weight, floats(50).tobytes())
    found, again = back(tmp_path, data)
    assert again == data
    assert found["w"].shape == (50,)
    assert found.uses["w"].out_axis is None
    assert len(back(tmp_path, data, "int8")[1]) == len(data)


def test_numbers_behind_dequantize_and_densify_are_weights(tmp_path: Path) -> None:
    tensors = [tensor("x", (1, 40)), tensor("half", (16, 40), 1, 1), tensor("full", (16, 40)),
               tensor("y", (1, 16)), tensor("thin", (16, 40), 2, sparse=True),
               tensor("thick", (16, 40)), tensor("z", (1, 16))]  # fmt: skip
    operators = [operator(1, [1], [2]), operator(0, [0, 2], [3]), operator(2, [4], [5]),
                 operator(0, [0, 5], [6])]  # fmt: skip
    graph = subgraph(tensors, operators, [0], [3, 6])
    half = floats(16, 40).astype("<f2")
    data = file_of(
        model([graph], [DENSE, DEQUANTIZE, DENSIFY], [half.tobytes(), floats(99).tobytes()])
    )
    found, again = back(tmp_path, data)
    assert again == data
    assert found.uses["half"] == Use("FullyConnected_1", "FullyConnected", "weight", 0)
    assert found.uses["thin"].role == "weight"
    assert found["half"].dtype is DType.FLOAT16
    back(tmp_path, data, "int8")
    assert isinstance(coded(tmp_path, "half").values, Affine)


@pytest.mark.parametrize(("adj_y", "axis"), [(0, 2), (1, 1)])
def test_a_batch_matmul_says_how_its_right_side_lies(tmp_path: Path, adj_y: int, axis: int) -> None:
    tensors = [tensor("x", (2, 5, 8)), tensor("w", (2, 8, 8), 1), tensor("y", (2, 5, 8))]
    options = {0: ("b", 0), 1: ("b", adj_y)}
    graph = subgraph(tensors, [operator(0, [0, 1], [2], options=options)], [0], [2])
    found = read(tmp_path, file_of(model([graph], [BATCH_MATMUL], [floats(2, 8, 8).tobytes()])))
    assert found.uses["w"].out_axis == axis


def test_tensors_of_one_buffer_are_ties_where_they_say_the_same(tmp_path: Path) -> None:
    tensors = [tensor("x", (1, 40)), tensor("a", (640,), 1), tensor("w", (16, 40), 1),
               tensor("v", (16, 40), 1), tensor("y", (1, 16)), tensor("z", (1, 16))]  # fmt: skip
    operators = [operator(0, [0, 3], [4]), operator(0, [0, 2], [5])]
    graph = subgraph(tensors, operators, [0], [4, 5])
    data = file_of(model([graph, graph], [DENSE], [floats(16, 40).tobytes()]))
    for preset in ("lossless", "int8"):
        found, again = back(tmp_path, data, preset)
        assert [t.name for t in found.tensors] == ["w", "v", "w_2", "v_2"]
        assert found.ties == {"v": "w", "w_2": "w", "v_2": "w"}
        file = dcformat.load(tmp_path / "x.dcf")
        assert {file.record(name).index for name in file.names} == {0}
        assert len(again) == len(data)
    assert back(tmp_path, data)[1] == data


def test_a_buffer_of_tensors_of_two_types_stays(tmp_path: Path) -> None:
    tensors = [tensor("x", (1, 40)), tensor("w", (16, 40), 1), tensor("bits", (640,), 1, 2),
               tensor("y", (1, 16))]  # fmt: skip
    graph = subgraph(tensors, [operator(0, [0, 1], [3])], [0], [3])
    data = file_of(model([graph], [DENSE], [floats(16, 40).tobytes()]))
    found, again = back(tmp_path, data, "int8")
    assert again == data
    assert found.notes == ("w: stays in the graph: tensors of other types have its bytes, too",)


def test_metadata_and_what_no_tensor_needs_stay_in_the_graph(tmp_path: Path) -> None:
    tensors = [tensor("x", (1, 40)), tensor("w", (16, 40), 1), tensor("y", (1, 16)),
               tensor("also", (16, 40), 2), tensor("words", (9,), 3, 5), tensor("few", (2,), 4, 2),
               tensor("odd", (16, 41), 5)]  # fmt: skip
    graph = subgraph(tensors, [operator(0, [0, 1], [2])], [0], [2])
    numbers = floats(16, 40).tobytes()
    buffers = [numbers, numbers, b"s" * 99, b"\1\0\0\0\2\0\0\0", numbers]
    metadata = [{0: "min_runtime_version", 1: ("I", 2)}, {0: "nowhere", 1: ("I", 77)}]
    data = file_of(model([graph], [DENSE], buffers, metadata=metadata))
    found, again = back(tmp_path, data)
    assert again == data
    assert [t.name for t in found.tensors] == ["w"]
    notes = dict(note.split(": stays in the graph: ") for note in found.notes)
    assert set(notes) == {"also", "words", "few", "odd"}
    assert "element type 5" in notes["words"]
    assert "8 bytes only" in notes["few"]
    assert "2560 bytes" in notes["odd"]


def test_names_that_no_dcf_holds_are_made_and_equal_ones_numbered(tmp_path: Path) -> None:
    names = ["", "same", "same", "nul\0", "n" * 5000]
    tensors = [tensor(name, (16,), number + 1) for number, name in enumerate(names)]
    graph = subgraph(tensors, [], [], [])
    data = file_of(model([graph], [], [floats(16, seed=n).tobytes() for n in range(5)]))
    found, again = back(tmp_path, data)
    assert again == data
    made = ["subgraph0/tensor0", "same", "same_2", "subgraph0/tensor3", "subgraph0/tensor4"]
    assert [t.name for t in found.tensors] == made


def test_numbers_behind_the_flatbuffer_are_read_and_written(tmp_path: Path) -> None:
    tensors = [tensor("x", (1, 40)), tensor("w", (16, 40), 1), tensor("v", (16, 40), 2),
               tensor("y", (1, 16))]  # fmt: skip
    graph = subgraph(tensors, [operator(0, [0, 1], [3])], [0], [3])
    made = model([graph], [DENSE], [])
    size, start = 16 * 40 * 4, 4096
    made[4] = [{}, *({1: ("Q", start + i * size), 2: ("Q", size)} for i in range(2))]
    data = file_of(made)
    data += bytes(start - len(data)) + floats(2, 16, 40).tobytes()
    found, again = back(tmp_path, data)
    assert again == data
    assert found["v"].data.tobytes() == floats(2, 16, 40)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not look like tflite"),
        (b"PK\3\4" + bytes(90), "a zip archive"),
        (dense()[:200], "the file ends at 200"),
        (dense()[:8], "damaged: the model"),
        (file_of(model([], [], [])), "it has no graph"),
        (file_of(model([subgraph([], [], [], [])], [], [], version=2)), "schema version 2"),
        (file_of(model([subgraph([], [], [3], [])], [], [])), "a tensor that is not there"),
        (file_of(model([subgraph([tensor("x", (1,), 9)], [], [], [])], [], [])), "no buffer 9"),
        (file_of(model([subgraph([], [operator(2, [], [])], [], [])], [3], [])), "operator code 2"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ConvertError) as caught:
        read(tmp_path, data)
    assert words in str(caught.value)
    assert str(tmp_path / "x.tflite") in caught.value.place
    assert "\n" not in str(caught.value)


def test_a_table_inside_of_a_buffer_is_refused(tmp_path: Path) -> None:
    weight = tensor("w", (16, 40), 1)
    metadata = [{0: "behind the buffer", 1: ("I", 0)}]
    data = bytearray(fully_connected(weight, floats(16, 40).tobytes(), metadata=metadata))
    start = data.index(floats(16, 40).tobytes())
    size = (len(data) - start) // 4 * 4
    data[start - 4 : start] = size.to_bytes(4, "little")
    shape = data.index(np.array([16, 40], "<i4").tobytes())
    data[shape : shape + 8] = np.array([size // 4, 1], "<i4").tobytes()
    with pytest.raises(ConvertError, match="part of a buffer, and of a table too"):
        read(tmp_path, bytes(data))


def test_tables_that_are_shared_a_thousand_times_are_refused(tmp_path: Path) -> None:
    one = tensor("t", (1,))
    graph = subgraph([one] * 1000, [], [], [])
    assert read(tmp_path, file_of(model([graph], [], []))).tensors == ()
    with pytest.raises(ConvertError, match="shared more often"):
        read(tmp_path, file_of(model([graph] * 1000, [], [])))
