"""Files for TFLite Micro: what is encoded, what stays, and that the runtime answers the same."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tflite_files import (
    DENSE,
    behind_scales,
    dense,
    every_kind,
    file_of,
    int8_weights,
    layers,
    model,
    operator,
    quantized,
    subgraph,
    tensor,
)
from tflm_published import ENCODED, NARROW_TABLE, TEXT, WIDE_TABLE

import dcformat
from dcformat.converters.tflite_schema import parse
from dcformat.converters.tflm_arena import measure
from dcformat.converters.tflm_check import decoded_of
from dcformat.converters.tflm_codes import HUFFMAN, Coded, huffman, lut, lut_by_channel
from dcformat.converters.tflm_scales import for_micro
from dcformat.converters.tflm_tree import Node, Vector, bytes_of, tree_of
from dcformat.converters.write_tflm import encode
from dcformat.errors import ConvertError, CorruptError

KINDS = {"few": 0, "skewed": 1, "zeros": 2}
EXTRA = "needs pip install 'dcformat[tflite]'"


def interpreter(data: bytes) -> Any:
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason=EXTRA)
    return runtime.Interpreter.from_bytes(data)


def answer(made: Any, x: npt.NDArray[Any]) -> bytes:
    made.set_input(x, 0)
    made.invoke()
    found: bytes = made.get_output(0).tobytes()
    return found


def run(data: bytes, x: npt.NDArray[Any]) -> bytes:
    return answer(interpreter(data), x)


@pytest.mark.parametrize("data", [dense(), quantized(), layers("few"), dense(old=True)])
def test_a_tree_that_is_written_says_what_was_read(data: bytes) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=EXTRA)

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        if isinstance(value, np.ndarray):
            return value.tobytes()
        return (
            {k: plain(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value
        )

    again = bytes_of(tree_of(data))
    both = [plain(schema.ModelT.InitFromPackedBuf(one, 0)) for one in (data, again)]
    assert both[0] == both[1]
    assert bytes_of(tree_of(again)) == again
    assert all(region.start % 16 == 0 for region in parse(again).buffers)


@pytest.mark.parametrize("kind", KINDS)
def test_tflite_micro_answers_as_to_plain_weights(kind: str) -> None:
    plain = layers(kind)
    data, encoded = encode(plain)
    names = ["conv", "deep", "fully"]  # of skewed ones the last would not be smaller
    assert [one.name for one in encoded] == names[: 2 if kind == "skewed" else 3]
    assert {one.coded.kind for one in encoded} == {KINDS[kind]}
    assert len(data) < len(plain)
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 16)).astype(np.int8)
    wanted = run(plain, x)
    assert run(data, x) == wanted
    assert len(set(wanted)) > 20  # an answer, and not one number


def test_weights_stand_before_each_layer_that_takes_them() -> None:
    data, encoded = encode(layers("few"))
    (graph,) = parse(data).subgraphs
    decoders = [one for one in graph.operators if one.op == "Custom TFLM_DECODE"]
    assert [one.op for one in graph.operators] == [
        "Custom TFLM_DECODE", "Conv2D", "Custom TFLM_DECODE", "DepthwiseConv2D", "Reshape",
        "Custom TFLM_DECODE", "FullyConnected", "Custom TFLM_DECODE", "FullyConnected",
    ]  # fmt: skip
    assert decoders[2].inputs == decoders[3].inputs
    assert decoders[2].outputs != decoders[3].outputs
    raws = [one.raw for one in encoded]
    assert decoded_of(data) == [*raws, raws[2]]


def test_what_would_not_be_smaller_stays_and_nothing_smaller_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(dense())
    with pytest.raises(ConvertError, match="no weight takes fewer bytes") as caught:
        dcformat.write(dcformat.read(tmp_path / "x.tflite"), tmp_path / "x.tflm")
    assert "x.tflm" in caught.value.place
    assert not (tmp_path / "x.tflm").exists()


def two_users(second: int, outputs: list[int]) -> bytes:
    """A weight of few values that a dense layer takes, and what else is said."""
    tensors = [tensor("x", (32, 64)), tensor("w", (64, 64), 1), tensor("y", (32, 64)),
               tensor("z", (32, 64))]  # fmt: skip
    operators = [operator(0, [0, 1], [2]), operator(1, [1, 1] if second == 0 else [2, 1], [3])]
    graph = subgraph(tensors, operators, [0], outputs)
    weights = int8_weights("few", 64, 64).astype("<f4").tobytes()
    return file_of(model([graph], [DENSE, second], [weights]))


def test_a_weight_that_others_take_too_stays_plain() -> None:
    assert len(encode(two_users(DENSE, [3]))[1]) == 1
    for data in (two_users(0, [3]), two_users(DENSE, [3, 1])):
        with pytest.raises(ConvertError, match="no weight takes fewer bytes"):
            encode(data)


def test_a_layer_without_its_weight_is_no_layer() -> None:
    """Its input stands where others have one; what is taken so stays plain."""
    (graph,) = parse(layers("few")).subgraphs
    cut = changed(layers("few"), lambda root: _only_first(root.nodes(2)[0].nodes(3)[0], 1))
    assert [one.name for one in encode(cut)[1]] == ["deep", "fully"]
    assert graph.operators[0].inputs[1] == 1


def _only_first(operator: Node, tensor: int) -> None:
    operator.link(1, Vector(struct.pack("<i", tensor)))


def test_tables_that_are_not_known_are_refused() -> None:
    with pytest.raises(ConvertError, match="field 6 is not for TFLite Micro"):
        tree_of(every_kind())
    root = tree_of(layers("few"))
    root.nodes(2)[0].nodes(3)[0].put(3, "b", 127)
    with pytest.raises(ConvertError, match="options of kind 127"):
        tree_of(bytes_of(root))


def changed(data: bytes, change: Any) -> bytes:
    root = tree_of(data)
    change(root)
    return bytes_of(root)


def test_the_checker_finds_what_a_runtime_would_not() -> None:
    data, _ = encode(layers("few"))

    def index(root: Node) -> None:
        tensor = root.nodes(2)[0].nodes(0)[parse(data).subgraphs[0].operators[0].inputs[1]]
        tensor.link(0, Vector(struct.pack("<i", 16 + 7)))
        buffer = root.nodes(4)[tensor.get(2, "I")].links[0]
        buffer.data = buffer.data[: 16 + 7]  # type: ignore[union-attr]

    def inputs(root: Node) -> None:
        decode = root.nodes(2)[0].nodes(3)[0]
        decode.links[1].data = decode.links[1].data[:4]  # type: ignore[union-attr]

    def shape(root: Node) -> None:
        first = parse(data).subgraphs[0].operators[0].outputs[0]
        root.nodes(2)[0].nodes(0)[first].links[0].data = struct.pack(  # type: ignore[union-attr]
            "<4i", 1 << 20, 3, 3, 16
        )

    def axis(root: Node) -> None:
        first = parse(data).subgraphs[0].operators[0].outputs[0]
        quantization = root.nodes(2)[0].nodes(0)[first].links[4]
        assert isinstance(quantization, Node)
        quantization.put(6, "i", 1)

    changes = {
        "index 7 into a table of 7": index,
        "1 inputs, 1 outputs": inputs,
        "bytes encoded where": shape,
        "scales along axis 1 of 4": axis,
    }
    for words, change in changes.items():
        with pytest.raises(CorruptError, match=words) as caught:
            decoded_of(changed(data, change))
        assert caught.value.place == "Custom TFLM_DECODE_0"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "preset", "settings", "most"),
    [
        ("ad01_fp32", "deep", {}, 232_228),
        ("ad01_int8", "lossless", {}, 189_764),
        ("pretrainedResnet", "deep", {"bits": 6}, 82_104),
        ("pretrainedResnet_quant", "lossless", {}, 96_172),
        ("vww_96_int8", "lossless", {}, 187_588),
    ],
)
def test_real_models_are_smaller_and_answer_the_same_a_hundred_times(
    name: str, preset: str, settings: dict[str, Any], most: int, data_dir: Path, tmp_path: Path
) -> None:
    source = data_dir / "tflite" / f"{name}.tflite"
    model = dcformat.compress(dcformat.read(source), preset, **settings)
    dcformat.save(model, tmp_path / "m.dcf")
    coded = dcformat.load(tmp_path / "m.dcf").coded_model()
    dcformat.write(coded, tmp_path / "m.tflite")
    made = dcformat.write(coded, tmp_path / "m.tflm")
    assert made.stored == (tmp_path / "m.tflm").stat().st_size <= most * 1.01
    assert made.stored < source.stat().st_size * (0.7 if name in SHRUNK else 1)
    plain, encoded = ((tmp_path / f"m.{end}").read_bytes() for end in ("tflite", "tflm"))
    same_answers(plain, encoded)


def litert(data: bytes, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    runtime = pytest.importorskip("ai_edge_litert.interpreter", reason=EXTRA)
    kernels = runtime.OpResolverType.BUILTIN_REF
    made = runtime.Interpreter(model_content=data, experimental_op_resolver_type=kernels)
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], x)
    made.invoke()
    found: npt.NDArray[Any] = made.get_tensor(made.get_output_details()[0]["index"])
    return found


@pytest.mark.parametrize(("preset", "share"), [("int8", 0.95), ("deep", 0.25)])
def test_the_digits_are_smaller_and_answer_the_same_a_hundred_times(
    preset: str, share: float, digits: Path, tmp_path: Path
) -> None:
    """Of an ONNX graph: scales of channels stand in DEQUANTIZE, which TFLite Micro misreads."""
    model = dcformat.compress(dcformat.read(digits / "digits.onnx"), preset)
    dcformat.save(model, tmp_path / "m.dcf")
    coded = dcformat.load(tmp_path / "m.dcf").coded_model()
    made = [dcformat.write(coded, tmp_path / f"m.{end}").stored for end in ("tflite", "tflm")]
    assert made[1] < made[0] * share
    plain, encoded = ((tmp_path / f"m.{end}").read_bytes() for end in ("tflite", "tflm"))
    same_answers(for_micro(plain), encoded)
    with np.load(digits / "digits_test.npz") as arrays:
        images = next(a for a in arrays.values() if a.ndim == 4)[:50].astype(np.float32)
    runs = interpreter(encoded)
    for image in images[:, None]:
        wanted = litert(plain, image)
        got = np.frombuffer(answer(runs, image), np.float32)
        np.testing.assert_allclose(got, wanted[0], rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_scales_of_channels_become_a_product() -> None:
    plain = behind_scales()
    made = for_micro(plain)
    (graph,) = parse(made).subgraphs
    assert [one.op for one in graph.operators] == ["Dequantize", "Mul", "FullyConnected"]
    assert for_micro(made) == made
    assert for_micro(layers("few")) == layers("few")
    x = np.random.default_rng(1).standard_normal((1, 64)).astype(np.float32)
    wanted = litert(plain, x)
    assert litert(made, x).tobytes() == wanted.tobytes()
    for data, far in ((made, 1e-5), (plain, None)):
        noise = np.abs(np.frombuffer(run(data, x), np.float32) - wanted[0]).max()
        assert noise > 0.1 if far is None else noise < far  # the runtime takes the first scale


def test_scales_that_cannot_be_a_product_are_refused() -> None:
    with pytest.raises(ConvertError, match="'w' has zero points by channel"):
        for_micro(behind_scales(zero=3))
    with pytest.raises(ConvertError, match="'w' goes into Dequantize and into Abs"):
        for_micro(behind_scales(second=101))


#: Models that have to lose 30 %.
SHRUNK = ("ad01_int8", "vww_96_int8")


def same_answers(plain: bytes, encoded: bytes, times: int = 100) -> None:
    graph = parse(plain).subgraphs[0]
    entry = graph.tensors[graph.inputs[0]]
    rng, kind = np.random.default_rng(3), np.int8 if entry.type == 9 else np.float32
    before, after, seen = interpreter(plain), interpreter(encoded), set()
    for _ in range(times):
        noise = rng.normal(rng.uniform(-128, 128), rng.uniform(1, 99), entry.shape)
        x = np.clip(np.round(noise), -128, 127).astype(kind)
        wanted = answer(before, x)
        assert answer(after, x) == wanted
        seen.add(wanted)
    assert len(seen) > times // 20  # answers, and not one answer


@pytest.mark.realdata
def test_a_model_of_even_weights_is_refused_for_a_reason(data_dir: Path) -> None:
    """No encoding of any weight is smaller by what a DECODE takes, nor would one table for all be.

    Codes of one table take the entropy of all weights together at least, and the table two bytes
    for each of their values; then each operator's tables are to be had of what is left.
    """
    path = data_dir / "tflite" / "kws_ref_model.tflite"
    with pytest.raises(ConvertError, match="no weight takes fewer bytes"):
        encode(path.read_bytes())
    model = dcformat.read(path)
    weights = [t.data.reshape(-1) for t in model.tensors if t.data.dtype == np.int8]
    counts = np.bincount(np.concatenate(weights).view(np.uint8))
    share = counts[counts > 0] / counts.sum()
    shared = -np.sum(share * np.log2(share)) * counts.sum() / 8 + 2 * share.size
    assert counts.sum() > 15_000
    assert counts.sum() - shared < 100 * len(weights)


def decoding(coded: Coded, shape: tuple[int, ...], kind: int, channels: int, axis: int) -> bytes:
    """Return a model that does nothing but give a weight, as its output."""
    scales = [0.5] * channels if channels else None
    tensors = [
        tensor("encoded", (len(coded.encoded),), 1, 3),
        tensor("ancillary", (len(coded.ancillary),), 2, 3),
        tensor("decoded", shape, 0, kind, scales, axis=axis),
    ]
    graph = subgraph(tensors, [operator(0, [0, 1], [2])], [], [2])
    made = model([graph], [0], [coded.encoded, coded.ancillary])
    made[1] = [{0: ("b", 32), 1: "TFLM_DECODE", 2: ("i", 1), 3: ("i", 32)}]
    return file_of(made)


@pytest.mark.parametrize("kind", ["i1", "<i2", "<f4"])
@pytest.mark.parametrize("axis", [0, 2])
def test_the_runtime_decodes_what_no_model_here_has(kind: str, axis: int) -> None:
    """Tables by channel, and Huffman codes of 16 bits."""
    rng = np.random.default_rng(8)
    rows = [rng.choice(rng.integers(-99, 99, 9), (6, 8)) for _ in range(40)]
    numbers = np.stack(rows, axis).astype(kind)
    number = {"i1": 9, "<i2": 7, "<f4": 0}[kind]
    found = [lut_by_channel(numbers, axis), lut(numbers.reshape(-1) // 9, True)]
    found += [huffman(numbers.reshape(-1))] if kind != "<f4" else []
    for coded, wanted in zip(found, (numbers, numbers // 9, numbers), strict=False):
        assert coded is not None
        data = decoding(coded, numbers.shape, number, 40, axis)
        assert decoded_of(data) == [wanted.tobytes()]
        made = interpreter(data)
        made.invoke()
        assert made.get_output(0).tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("kind", "wide"), [("i1", 0), ("i1", 1), ("<i2", 1)])
def test_the_runtime_says_of_its_own_vector_what_is_said_here(kind: str, wide: int) -> None:
    table = struct.pack("<24I", *WIDE_TABLE) if wide else struct.pack("<24H", *NARROW_TABLE)
    head = bytes([HUFFMAN, 1, 0, 0, 1, 2 << 4 | wide]) + bytes(10)
    coded = Coded(ENCODED + bytes(4), head + table, HUFFMAN)
    data = decoding(coded, (64,), 9 if kind == "i1" else 7, 0, 0)
    wanted = np.frombuffer(TEXT, "u1").astype(kind).tobytes()
    assert decoded_of(data) == [wanted]
    made = interpreter(data)
    made.invoke()
    assert made.get_output(0).tobytes() == wanted


def test_a_weight_with_tables_by_channel_is_chosen_and_answers_the_same() -> None:
    """Five values in each channel, and hundreds in all of them."""
    rng = np.random.default_rng(5)
    conv = np.stack([rng.choice(rng.integers(-127, 128, 5), (8, 8, 64)) for _ in range(32)])
    plain = layers("few", conv.astype("i1"))
    data, encoded = encode(plain)
    (one,) = [one for one in encoded if one.name == "conv"]
    assert one.coded.kind == 0
    assert one.coded.ancillary[5:7] == bytes([3, 5])
    assert one.coded.size < conv.size * 0.4
    x = rng.integers(-128, 128, (1, 4, 4, 64)).astype(np.int8)
    assert run(data, x) == run(plain, x)


def test_the_arena_is_what_the_interpreter_says(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason=EXTRA)
    (tmp_path / "x.tflite").write_bytes(layers("zeros"))
    source = dcformat.read(tmp_path / "x.tflite")
    arena = dcformat.write(source, tmp_path / "x.tflm", arena=True).facts["arena"]
    assert arena["reason"] == ""
    assert arena["runtime"].startswith("tflite-micro 0.dev")
    most = 32 * 3 * 3 * 16  # bytes of the largest weight; inputs and outputs take 512 each
    assert arena["before"] < most < arena["after"] < arena["before"] + 2 * most
    assert "arena" not in dcformat.write(source, tmp_path / "x.tflm").facts
    assert measure(b"no model", layers("few")).before is None


def test_an_arena_that_cannot_be_measured_stops_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tflite").write_bytes(layers("zeros"))
    source = dcformat.read(tmp_path / "x.tflite")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConvertError, match=r"tflite-micro: pip install 'dcformat\[tflite\]'"):
        dcformat.write(source, tmp_path / "x.tflm", arena=True)
    assert not (tmp_path / "x.tflm").exists()
