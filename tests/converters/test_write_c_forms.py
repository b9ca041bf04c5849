"""The dense and the blob form of C, self-tests, and multipliers of layers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import numpy as np
import onnx
import pytest
from c_building import ARM, COMPILERS, CORE, compiled, flash_bytes, macros, need, run
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import dcformat
from dcformat.coded import Affine, Codebook, CodedModel, CodedTensor, Fixed, Raw, expand_tensor
from dcformat.converters.c_layers import Activation, Activations, layers_of, multiplier_of
from dcformat.converters.c_text import double, single
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.model import LayerFormat

WITHOUT_LITERALS = ("raw_complex64", "raw_complex128")


def rooms() -> CodedModel:
    """Tensors of every room and type that has a dense form."""
    return CodedModel(tuple(t for t in cases.tensors() if t.name not in WITHOUT_LITERALS))


def emit(coded: Any, folder: Path, **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    dcformat.write(coded, folder / "model.c", **options)
    return folder / "model.c"


def tensor(name: str, numbers: Any, order: tuple[int, ...] | None = None) -> CodedTensor:
    return CodedTensor(name, DType.INT8, np.asarray(numbers, np.int8), Raw(), order)


MAIN = """\
#include <stdio.h>
#include "model.h"
int main(void)
{
    BEFORE
    printf("%ld\\n", (long)model_selftest(ARGUMENTS));
    return 0;
}
"""


def selftest(source: Path, *flags: str, arguments: str = "", before: str = "") -> int:
    """Build the self-test with the decoder and return what it says."""
    main = source.with_name("main.c")
    main.write_text(MAIN.replace("ARGUMENTS", arguments).replace("BEFORE", before))
    program = source.with_name("program")
    more = [source.with_suffix(".S")] if source.with_suffix(".S").exists() else []
    decoder = sorted(CORE.glob("*.c")) if "dcf.h" in source.with_suffix(".h").read_text() else []
    sources = [main, source, source.with_name("model_selftest.c"), *more, *decoder]
    run(need("gcc"), "-std=c99", f"-I{CORE}", f"-I{source.parent}", *flags, *sources, "-o", program)
    return int(run(program))


def decoding(source: Path) -> int:
    before = "static uint8_t scratch[MODEL_SCRATCH_BYTES + 1U];"
    return selftest(source, arguments="scratch, MODEL_SCRATCH_BYTES", before=before)


@pytest.mark.parametrize("form", ["compressed", "dense", "blob"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_form_compiles_without_a_warning(tmp_path: Path, form: str, compiler: str) -> None:
    source = emit(rooms(), tmp_path, form=form, selftest=True)
    compiled(source, compiler)
    compiled(source.with_name("model_selftest.c"), compiler)


@pytest.mark.parametrize("form", ["compressed", "blob"])
def test_the_selftest_decodes_every_tensor(tmp_path: Path, form: str) -> None:
    source = emit(rooms(), tmp_path, form=form, selftest=True)
    assert decoding(source) == -1


def test_the_selftest_of_arrays_reads_them_all(tmp_path: Path) -> None:
    source = emit(rooms(), tmp_path, form="dense", selftest=True)
    assert selftest(source) == -1
    text = source.with_name("model_selftest.c").read_text()
    arrays = set(re.findall(r"const \w+ (model_\w+)\[", source.read_text()))
    assert {name for name in arrays if f"differs({name}, " not in text} == set()


def test_the_selftest_names_the_first_tensor_that_differs(tmp_path: Path) -> None:
    coded = CodedModel(tuple(tensor(f"t{i}", [i, 1, 2]) for i in range(5)))
    source = emit(coded, tmp_path, form="dense", selftest=True)
    source.write_text(re.sub(r"(model_t3\[.*?\n +3,) 1", r"\1 0", source.read_text()))
    assert selftest(source) == 3


def test_the_selftest_finds_a_changed_payload(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    skewed = (rng.standard_normal((4, 40, 50)) * 9).astype(np.int8)
    coded = CodedModel(tuple(tensor(f"t{i}", skewed[i]) for i in range(4)))
    source = emit(coded, tmp_path, form="blob", selftest=True)
    blob = source.with_suffix(".bin")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    assert decoding(source) in (1, 2)
    data[60] ^= 1
    blob.write_bytes(data)
    assert decoding(source) == 4


@pytest.mark.parametrize("form", ["compressed", "dense"])
def test_flash_is_what_the_macro_says(tmp_path: Path, form: str) -> None:
    source = emit(rooms(), tmp_path, form=form)
    size = macros(source.with_suffix(".h"), ["MODEL_FLASH_BYTES"])["MODEL_FLASH_BYTES"]
    made = dcformat.write(rooms(), source, form=form)
    assert flash_bytes(source, tmp_path) == size == made.stored


def test_flash_of_a_blob_is_that_of_the_file(tmp_path: Path) -> None:
    source = emit(rooms(), tmp_path, form="blob")
    size = macros(source.with_suffix(".h"), ["MODEL_FLASH_BYTES"])["MODEL_FLASH_BYTES"]
    assert flash_bytes(source.with_suffix(".S"), tmp_path, f"-I{tmp_path}") == size
    path = f'-DMODEL_BIN="{tmp_path}/model.bin"'
    assert flash_bytes(source.with_suffix(".S"), tmp_path, path) == size
    assert source.with_suffix(".bin").stat().st_size == size
    assert flash_bytes(source, tmp_path) == 0
    assert need(ARM)


def test_a_dense_array_stands_in_kernel_order_or_in_that_of_the_source(tmp_path: Path) -> None:
    numbers = np.arange(2 * 3 * 2 * 2, dtype=np.int8).reshape(2, 3, 2, 2)
    coded = CodedModel((tensor("w", numbers, (0, 2, 3, 1)),))
    ohwi = values_of(emit(coded, tmp_path, form="dense"), "model_w")
    assert ohwi == np.transpose(numbers, (0, 2, 3, 1)).reshape(-1).tolist()
    oihw = emit(coded, tmp_path, form="dense", layout="oihw")
    assert values_of(oihw, "model_w") == numbers.reshape(-1).tolist()
    found = macros(oihw.with_suffix(".h"), ["MODEL_W_ROWS", "MODEL_W_COLUMNS"])
    assert list(found.values()) == [2, 12]


def values_of(source: Path, symbol: str) -> list[int]:
    (body,) = re.findall(rf"\b{symbol}\[.*?\] = {{\n(.*?)\n}};", source.read_text(), re.DOTALL)
    return [int(one) for one in body.replace("\n", " ").split(",") if one.strip()]


def test_a_depthwise_weight_stands_as_cmsis_nn_takes_it(tmp_path: Path) -> None:
    weight = np.arange(4 * 3 * 3, dtype=np.float32).reshape(4, 1, 3, 3)
    for group, axes in ((4, (1, 2, 3, 0)), (1, (0, 2, 3, 1))):
        model = conv_model(weight, group)
        path = tmp_path / f"{group}.onnx"
        path.write_bytes(model.SerializeToString())
        source = emit(dcformat.read(path), tmp_path, form="dense")
        (body,) = re.findall(r"model_w\[.*?\] = {\n(.*?)\n};", source.read_text(), re.DOTALL)
        found = [float(one.strip().rstrip("F")) for one in body.split(",") if one.strip()]
        assert found == np.transpose(weight, axes).reshape(-1).tolist()


def conv_model(weight: np.ndarray, group: int) -> onnx.ModelProto:
    channels = weight.shape[1] * group
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", group=group)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 5, 5])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constant = numpy_helper.from_array(weight, "w")
    graph = helper.make_graph([node], "g", [given], [made], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_four_bits_are_packed_low_half_first(tmp_path: Path) -> None:
    coded = CodedModel((tensor("w", [1, 2, 3, 4, -8]), tensor("wide", [1, 8])))
    source = emit(coded, tmp_path, form="dense", pack_int4=True, selftest=True)
    assert values_of(source, "model_w") == [0x21, 0x43, 0x08]
    assert values_of(source, "model_wide") == [1, 8]
    found = macros(source.with_suffix(".h"), ["MODEL_W_BITS", "MODEL_W_ELEMENTS"])
    assert list(found.values()) == [4, 5]
    assert selftest(source) == -1
    for compiler in COMPILERS:
        compiled(source, compiler)


def test_tied_tensors_are_one_array_under_two_names(tmp_path: Path) -> None:
    coded = CodedModel((tensor("a", [1, 2]), tensor("b", [1, 2])))
    source = emit(coded, tmp_path, form="dense", selftest=True)
    assert "#define model_b model_a" in source.with_suffix(".h").read_text()
    assert macros(source.with_suffix(".h"), ["MODEL_FLASH_BYTES"]) == {"MODEL_FLASH_BYTES": 2}
    assert selftest(source) == -1


@pytest.mark.parametrize("name", WITHOUT_LITERALS)
def test_numbers_without_literals_are_refused_by_name(tmp_path: Path, name: str) -> None:
    coded = CodedModel(tuple(t for t in cases.tensors() if t.name == name))
    with pytest.raises(ConvertError, match=name):
        emit(coded, tmp_path, form="dense")
    assert list(tmp_path.iterdir()) == []


def test_a_nan_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="mask: a NaN"):
        emit(CodedModel((floats("mask", 1.0, math.nan),)), tmp_path, form="dense")
    assert list(tmp_path.iterdir()) == []


def test_infinity_has_a_name(tmp_path: Path) -> None:
    data = np.array([np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    coded = CodedModel((CodedTensor("mask", DType.FLOAT, data, Raw()),))
    source = emit(coded, tmp_path, form="dense", selftest=True)
    for compiler in COMPILERS:
        compiled(source, compiler)
    assert selftest(source, "-lm") == -1


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_nine_digits_are_a_float(value: float) -> None:
    text = single(value)
    assert text.endswith("F")
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?F", text)
    assert re.search(r"[.e]", text)
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_seventeen_digits_are_a_double(value: float) -> None:
    assert np.float64(double(value)).tobytes() == np.float64(value).tobytes()


@given(st.floats(2.0**-60, 2.0**29))
def test_a_multiplier_is_right_to_31_bits(real: float) -> None:
    multiplier, shift = multiplier_of(real)
    if not multiplier:
        assert real < 2.0**-31
        return
    assert 1 << 30 <= multiplier < 1 << 31
    assert -31 <= shift <= 30
    assert abs(math.ldexp(multiplier, shift - 31) - real) <= real * 2.0**-31


def test_edges_of_multipliers() -> None:
    assert multiplier_of(0.0) == (0, 0)
    assert multiplier_of(1.0) == (1 << 30, 1)
    assert multiplier_of(0.5) == (1 << 30, 0)
    assert multiplier_of(1 - 2.0**-33) == (1 << 30, 1)
    for real in (math.inf, math.nan, -1.0, 2.0**31):
        with pytest.raises(ConvertError):
            multiplier_of(real)


def weight(name: str = "w", scale: Sequence[float] = (0.5, 0.25)) -> CodedTensor:
    numbers = np.array([[1, -2, 3], [4, 5, -6]], np.int8)
    values = Affine(DType.INT8, np.array(scale, "<f4"), np.zeros(len(scale), "<i4"), 0)
    return CodedTensor(name, DType.FLOAT, numbers, values)


def floats(name: str, *numbers: float) -> CodedTensor:
    return CodedTensor(name, DType.FLOAT, np.array(numbers, "<f4"), Raw())


def activations(**changes: Any) -> dict[str, Any]:
    layer = {"weight": "w", "bias": "b", "input": {"scale": 0.125, "zero_point": -128},
             "output": {"scale": 0.5, "zero_point": 3}}  # fmt: skip
    return {"version": 1, "layers": [layer | changes]}


@pytest.mark.parametrize("form", ["compressed", "dense", "blob"])
def test_scales_become_multipliers_shifts_and_biases(tmp_path: Path, form: str) -> None:
    file = tmp_path / "scales.json"
    file.write_text(json.dumps(activations()))
    coded = CodedModel((weight(), floats("b", 1.0, -0.5)))
    source = emit(coded, tmp_path, form=form, activations=file, selftest=True)
    assert values_of(source, "model_w_multiplier") == [1 << 30, 1 << 30]  # 0.125 and 0.0625
    assert values_of(source, "model_w_shift") == [-2, -3]
    assert values_of(source, "model_w_bias") == [16, -16]
    names = ["MODEL_W_INPUT_ZERO_POINT", "MODEL_W_OUTPUT_ZERO_POINT", "MODEL_W_CHANNELS"]
    text = source.with_suffix(".h").read_text()
    assert [re.search(rf"#define {name} (.*)", text)[1] for name in names] == ["(-128)", "3", "2U"]
    for compiler in COMPILERS:
        compiled(source, compiler)
    if form != "blob":
        stated = macros(source.with_suffix(".h"), ["MODEL_FLASH_BYTES"])["MODEL_FLASH_BYTES"]
        assert flash_bytes(source, tmp_path) == stated


def test_fixed_layers_become_fractions_and_shifts(tmp_path: Path) -> None:
    layer = LayerFormat("l", "w", "b", 7, 8, 5, 8, 9, 16, 4, 8, rounding=1)
    numbers = np.array([[1, 2], [3, 4]], np.int8)
    w = CodedTensor("w", DType.FLOAT, numbers, Fixed(DType.INT8, np.asarray(5, np.int32)))
    b = CodedTensor("b", DType.FLOAT, numbers[0].astype("<i2"),
                    Fixed(DType.INT16, np.asarray(9, np.int32)))  # fmt: skip
    source = emit(CodedModel((w, b), layers=(layer,)), tmp_path)
    names = ("INPUT_FRACTION", "WEIGHT_FRACTION", "BIAS_FRACTION", "OUTPUT_FRACTION",
             "RIGHT_SHIFT", "BIAS_LEFT_SHIFT", "MULTIPLIER", "ROUNDING")  # fmt: skip
    found = macros(source.with_suffix(".h"), [f"MODEL_W_{name}" for name in names])
    assert list(found.values()) == [7, 5, 9, 4, 8, 3, 1 << 30, 1]
    assert "#define MODEL_W_SHIFT (-7)" in source.with_suffix(".h").read_text()
    assert "#define MODEL_B_FRACTION 9" in source.with_suffix(".h").read_text()
    compiled(source, "gcc")


def test_a_format_that_is_not_given_gives_no_macro(tmp_path: Path) -> None:
    layer = LayerFormat("l", "w", None, 0, 0, 5, 8, 0, 0, 4, 8)
    source = emit(CodedModel((tensor("w", [[1, 2], [3, 4]]),), layers=(layer,)), tmp_path)
    text = source.with_suffix(".h").read_text()
    assert "MODEL_W_WEIGHT_FRACTION 5" in text
    assert not re.search("INPUT_FRACTION|RIGHT_SHIFT|BIAS", text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight": "x"}, "no tensor of this name"),
        ({"bias": "x"}, "no tensor 'x' for its bias"),
        ({"bias": "w"}, "6 biases for 2"),
        ({"weight": "b", "bias": None}, "stored as float"),
        ({"input": {"scale": 0}}, "a scale of 0"),
        ({"input": {"scale": float("inf")}}, "a scale of inf"),
        ({"input": {"scale": "1"}}, "a scale of '1'"),
        ({"input": {"scale": 10**400}}, "a scale of"),
        ({"input": {"scale": 1, "zero_point": 0.5}}, "a zero point"),
        ({"input": {"zero_point": 1}}, "no scale"),
        ({"output": {"scale": 1e-20}}, "far too small"),
        ({"input": {"scale": 1e-20}}, "does not fit into 32 bits"),
        ({"more": 1}, "unknown: 'more'"),
        ({"input": [1]}, "wanted an object"),
    ],
)
def test_scales_that_cannot_be_used_are_named(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    file = tmp_path / "scales.json"
    file.write_text(json.dumps(activations(**change)))
    coded = CodedModel((weight(), floats("b", 1.0, -0.5)))
    with pytest.raises(ConvertError, match=re.escape(reason)):
        emit(coded, tmp_path / "made", activations=file)
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", '{"version": 2, "layers": []}', "\xff",
                                  "[" * 100000])  # fmt: skip
def test_files_that_are_no_scales_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "scales.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConvertError, match=r"scales\.json"):
        emit(CodedModel((weight(),)), tmp_path, activations=tmp_path / "scales.json")


def test_weights_without_one_scale_a_channel_are_refused() -> None:
    numbers = np.ones((2, 3), np.int8)
    one = np.asarray(1, "<f4")
    points = np.array([1, 0], "<i4")
    bad = [
        Affine(DType.INT8, np.ones(3, "<f4"), np.zeros(3, "<i4"), 1),
        Affine(DType.INT8, np.ones(2, "<f4"), points, 0),
        Affine(DType.INT8, np.ones((2, 1), "<f4"), np.zeros((2, 1), "<i4"), 1, 3),
        Raw(),
    ]
    each = Activation(1.0, 0)
    for values in bad:
        dtype = DType.INT8 if isinstance(values, Raw) else DType.FLOAT
        model = CodedModel((CodedTensor("w", dtype, numbers, values),))
        with pytest.raises(ConvertError, match="layer of 'w'"):
            layers_of(model, {"w": "w"}, [Activations("w", None, each, each)])
    book = Codebook(DType.INT8, np.array([-1, 1], np.int8), scale=one)
    model = CodedModel((CodedTensor("w", DType.FLOAT, numbers.astype(np.uint8), book),))
    (layer,) = layers_of(model, {"w": "w"}, [Activations("w", None, each, each)])
    assert layer.arrays["shift"][1].tolist() == [1, 1]


def test_a_layer_is_described_once(tmp_path: Path) -> None:
    each = Activation(1.0, 0)
    twice = [Activations("w", None, each, each)] * 2
    with pytest.raises(ConvertError, match="already"):
        layers_of(CodedModel((weight(),)), {"w": "w"}, twice)


def test_options_of_another_form_are_refused(tmp_path: Path) -> None:
    coded = CodedModel((tensor("w", [1]),))
    for options in ({"layout": "oihw"}, {"pack_int4": True}, {"form": "x"}, {"layout": "x"}):
        with pytest.raises(ConvertError):
            emit(coded, tmp_path, **options)
    with pytest.raises(ConvertError, match="layout"):
        emit(coded, tmp_path, form="dense", layout="x")


def test_dense_numbers_are_those_of_the_model(tmp_path: Path) -> None:
    coded = CodedModel((weight(),))
    source = emit(coded, tmp_path, form="dense")
    scale = [0.5, 0.25]
    numbers = np.array(values_of(source, "model_w")).reshape(2, 3)
    assert (numbers * np.array(scale)[:, None] == expand_tensor(coded.tensors[0])).all()
    assert "model_w_scale[2U] = {\n    0.5F, 0.25F," in source.read_text()
