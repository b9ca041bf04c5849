"""A good file passes every check; a changed bit, number, graph or source is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat import native, verify_run
from dcformat.checks import Report
from dcformat.coded import Affine, CodedModel
from dcformat.compress import compress, preset_recipe
from dcformat.errors import ConvertError
from dcformat.ids import GraphFormat, Meta
from dcformat.model import Graph
from dcformat.verify import FILE_CHECKS, verify

SOURCE_CHECKS = ("source", "tensors", "recipe", "same graph", "rebuilt")


def write_onnx(path: Path, nodes: Sequence[Any], domain: str = "") -> Path:
    """Write a model y = f(x) of these nodes; w is a weight [32, 16], x is [N, 32]."""
    weight = np.random.default_rng(3).standard_normal((32, 16)).astype(np.float32)
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dense layer as source.onnx."""
    return write_onnx(tmp_path / "source.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])])


@pytest.fixture
def save(source: Path, tmp_path: Path) -> Callable[..., Path]:
    """Save the dense layer as a .dcf: save(preset, change=coded -> coded, **settings)."""

    def save(
        preset: str = "int8",
        change: Callable[[CodedModel], CodedModel] | None = None,
        **settings: Any,
    ) -> Path:
        coded = compress(dcformat.read(source), preset_recipe(preset))
        path = tmp_path / f"{preset}.dcf"
        dcformat.save(change(coded) if change else coded, path, **settings)
        return path

    return save


def statuses(report: Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


def faults(report: Report) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if check.status == "failed"}


@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_the_digits_model_passes_every_check(digits: Path, tmp_path: Path, preset: str) -> None:
    path = tmp_path / "digits.dcf"
    model = dcformat.read(digits / "digits.onnx")
    dcformat.save(compress(model, preset_recipe(preset)), path)
    report = verify(path, digits / "digits.onnx", run=True)
    assert faults(report) == {}
    names = (*FILE_CHECKS, *SOURCE_CHECKS, "outputs")
    skipped = {} if native.AVAILABLE else {"decoders": "skipped"}
    assert statuses(report) == dict.fromkeys(names, "ok") | skipped
    assert (report.largest_error == 0) == (preset == "lossless")
    assert ("identical" in report["outputs"].detail) == (preset == "lossless")
    byte_for_byte = "byte for byte" in report["rebuilt"].detail
    assert byte_for_byte == (preset == "lossless")


def test_a_file_without_names_graph_and_metadata_passes(
    save: Callable[..., Path], source: Path
) -> None:
    report = verify(save(names=False, graph=False), source, run=True)
    assert report.ok
    assert report["content id"].status == "skipped"
    assert report["same graph"].status == "skipped"
    assert report["outputs"].status == "skipped"
    bare = verify(save("lossless", names=False, hashes=False, metadata=False), source)
    assert bare.ok
    assert bare["recipe"].detail == "none stated; no tensor differs"
    silent = verify(save(metadata=False), source)
    assert set(faults(silent)) == {"recipe"}
    assert "states no recipe" in silent["recipe"].detail


def test_every_changed_byte_is_found(save: Callable[..., Path]) -> None:
    path = save()
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        report = verify(path)
        assert faults(report), place
        assert [check.name for check in report.checks] == list(FILE_CHECKS)


def test_every_truncation_is_found(save: Callable[..., Path]) -> None:
    path = save()
    whole = path.read_bytes()
    for size in range(0, len(whole), 11):
        path.write_bytes(whole[:size])
        assert "TRUNCATED" in verify(path)["structure"].detail
    path.write_bytes(whole + b"\0")
    assert "STRUCTURE" in verify(path)["structure"].detail


def test_faults_are_named_with_their_place(save: Callable[..., Path]) -> None:
    path = save(graph=False)
    whole = bytearray(path.read_bytes())
    whole[-20] ^= 1
    path.write_bytes(whole)
    report = verify(path)
    assert "section PAYLOAD" in report["checksums"].detail
    assert "CHECKSUM" in report["checksums"].detail
    assert report["numbers"].status == "failed"
    assert report["canonical"].status == "skipped"


def test_another_writing_of_the_same_content_is_not_canonical(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcformat.frames.compress", lambda data: bytes(data) + b"longer")
    path = save()
    monkeypatch.undo()
    assert set(faults(verify(path))) == {"canonical"}


def test_frames_of_another_libzstd_are_not_compared(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save()
    monkeypatch.setattr("dcformat.frames.VERSION", "0.0.1")
    report = verify(path)
    assert report.ok
    assert "another libzstd" in report["canonical"].detail


def test_a_wrong_content_id_is_found(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcformat.encode.content_id_of", lambda names, contents: bytes(32))
    path = save()
    monkeypatch.undo()
    assert set(faults(verify(path))) == {"content id"}


@pytest.mark.skipif(not native.AVAILABLE, reason="the C core is not built")
def test_two_decoders_that_differ_are_found(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save()
    right = native.decode_numbers
    monkeypatch.setattr(native, "decode_numbers", lambda opened, index: right(opened, index)[::-1])
    report = verify(path)
    assert "decoders" in faults(report)
    monkeypatch.setattr(native, "AVAILABLE", False)
    assert verify(path)["decoders"].status == "skipped"


def test_another_source_is_found(save: Callable[..., Path], tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    other = write_onnx(tmp_path / "other.onnx", nodes)
    found = faults(verify(save(), other))
    assert set(found) == {"source", "same graph"}


def nudged(coded: CodedModel) -> CodedModel:
    """Return the model with one number of its only tensor changed."""
    (tensor,) = coded.tensors
    symbols = tensor.symbols.copy()
    symbols.flat[5] += 1
    return dataclasses.replace(coded, tensors=(dataclasses.replace(tensor, symbols=symbols),))


def rescaled(coded: CodedModel) -> CodedModel:
    """Return the model with scales that are right to within 1 in a million."""
    (tensor,) = coded.tensors
    assert isinstance(tensor.values, Affine)
    values = dataclasses.replace(tensor.values, scale=tensor.values.scale * np.float32(0.999999))
    return dataclasses.replace(coded, tensors=(dataclasses.replace(tensor, values=values),))


@pytest.mark.parametrize(
    ("preset", "change", "names"),
    [
        ("lossless", nudged, {"recipe"}),
        ("int8", nudged, {"tensors", "recipe"}),
        ("int8", rescaled, {"recipe"}),
    ],
)
def test_numbers_that_the_recipe_does_not_give_are_found(
    save: Callable[..., Path],
    source: Path,
    preset: str,
    change: Callable[[CodedModel], CodedModel],
    names: set[str],
) -> None:
    path = save(preset, change)
    assert verify(path).ok
    found = faults(verify(path, source))
    assert set(found) == names
    assert all("w: " in detail for detail in found.values())


def test_a_changed_graph_is_found(save: Callable[..., Path], source: Path) -> None:
    def change(coded: CodedModel) -> CodedModel:
        assert coded.graph is not None
        data = coded.graph.data.replace(b"MatMul", b"MatMux")
        return dataclasses.replace(coded, graph=Graph(GraphFormat.ONNX, data))

    found = faults(verify(save("lossless", change), source, run=True))
    assert set(found) == {"same graph", "rebuilt", "outputs"}


def test_tensors_that_are_not_in_both_are_named(save: Callable[..., Path], source: Path) -> None:
    def change(coded: CodedModel) -> CodedModel:
        (tensor,) = coded.tensors
        return dataclasses.replace(coded, tensors=(dataclasses.replace(tensor, name="v"),))

    report = verify(save("lossless", change, graph=False), source)
    assert faults(report) == {"tensors": "w: missing in the file (and 1 more)"}
    assert report["tensors"].notes == ("v: not in the source",)


def test_a_recipe_that_is_none_is_found(save: Callable[..., Path], source: Path) -> None:
    def change(coded: CodedModel) -> CodedModel:
        return dataclasses.replace(coded, metadata={**coded.metadata, Meta.RECIPE: b"{}x"})

    found = faults(verify(save("int8", change, target="mcu"), source))
    assert set(found) == {"recipe"}
    assert "cannot be read" in found["recipe"]


def test_what_cannot_be_checked_at_all_is_raised(
    save: Callable[..., Path], source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConvertError, match="cannot read"):
        verify(tmp_path / "no.dcf")
    with pytest.raises(ConvertError, match=r"no\.onnx"):
        verify(save(), tmp_path / "no.onnx")
    with pytest.raises(ConvertError, match="source"):
        verify(save(), run=True)


def test_without_onnxruntime_the_way_out_is_told(
    save: Callable[..., Path], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConvertError, match=r"pip install 'dcformat\[run\]'"):
        verify(save(), source, run=True)


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("WALL_SECONDS", 0.01, "took longer than 0.01 s"),
        ("MEMORY_BYTES", 1 << 27, "does not run in onnxruntime: "),
    ],
)
def test_a_model_that_wants_too_much_is_stopped(
    save: Callable[..., Path],
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: float,
    words: str,
) -> None:
    monkeypatch.setattr(verify_run, limit, value)
    check = verify(save(), source, run=True)["outputs"]
    assert check.status == "skipped"
    assert words in check.detail


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Anything", ["x", "w"], ["y"], domain="elsewhere"), "does not run"),
        (helper.make_node("RandomNormalLike", ["w"], ["y"]), "answers differently each time"),
    ],
)
def test_sources_that_cannot_be_compared_are_skipped_with_the_reason(
    tmp_path: Path, node: Any, words: str
) -> None:
    source = write_onnx(tmp_path / "source.onnx", [node])
    path = tmp_path / "x.dcf"
    dcformat.save(compress(dcformat.read(source), preset_recipe("lossless")), path)
    report = verify(path, source, run=True)
    assert report.ok
    assert report["outputs"].status == "skipped"
    assert words in report["outputs"].detail


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(
    save: Callable[..., Path], source: Path
) -> None:
    path = save()
    first = verify(path, source, run=True, runs=1)["outputs"].detail
    assert first == verify(path, source, run=True, runs=1)["outputs"].detail
    assert first != verify(path, source, run=True, runs=1, seed=1)["outputs"].detail


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["external/conv_qdq_external_ini", "external/external_data_offset"]
)
@pytest.mark.parametrize("preset", ["lossless", "int8"])
def test_sources_with_external_data_pass(
    data_dir: Path, tmp_path: Path, name: str, preset: str
) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    path = tmp_path / "x.dcf"
    dcformat.save(compress(dcformat.read(source), preset_recipe(preset)), path)
    report = verify(path, source, run=True)
    assert faults(report) == {}
    assert report["outputs"].status == "ok"


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_every_real_model_passes(data_dir: Path, tmp_path: Path, preset: str) -> None:
    for source in sorted((data_dir / "onnx").rglob("*.onnx")):
        path = tmp_path / f"{source.stem}.dcf"
        dcformat.save(compress(dcformat.read(source), preset_recipe(preset)), path)
        assert faults(verify(path, source, run=True)) == {}, source.name


def test_what_one_file_cannot_hold_is_not_built_back(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, source = tmp_path / "digits.dcf", digits / "digits.onnx"
    dcformat.save(dcformat.compress(dcformat.read(source), "int8"), path)
    assert verify(path, against=source)["rebuilt"].status == "ok"
    monkeypatch.setattr("dcformat.verify_source.MOST_REBUILT", 1000)
    report = verify(path, against=source)
    assert report.ok
    assert report["rebuilt"].status == "skipped"
