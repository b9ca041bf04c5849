"""C sources for firmware: what compilers say of them, and that they hold the model's numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from c_building import COMPILERS, CORE, compiled, flash_bytes, macros, need, refused, run

import dcformat
from dcformat.coded import CodedModel, CodedTensor, Raw, expand_tensor, same_bits
from dcformat.converters.c_names import Names, prefix_of, quoted
from dcformat.decode import decode_numbers, open_file
from dcformat.encode import Settings
from dcformat.errors import ConvertError
from dcformat.ids import DType

HOSTILE = (
    "*/ int broken; /*", "??/", "???/", "line\nbreak", "ends with \\", "a\\\n", "int", "for",
    "größe/重み", "0starts with a digit", "", "x" * 300, "A", "a", "a_2", "A_2", "%s%n", "\x1b[31m",
    "$(touch x)", "#include <x>", '"', "'", "data", "t_data", "T", "tensors", "rows",
)  # fmt: skip


def model_of(tensors: Sequence[CodedTensor]) -> CodedModel:
    return CodedModel(tuple(tensors))


def every_room() -> CodedModel:
    return model_of(list(cases.tensors()))


def bytes_of(source: Path) -> bytes:
    """Return the bytes of the array in generated C."""
    text = re.sub(r"/\*.*?\*/", "", source.read_text(), flags=re.DOTALL)
    return bytes(int(one, 16) for one in re.findall(r"\b0x([0-9a-f]{2})\b", text))


def emit(coded: Any, folder: Path, name: str = "model.c", **options: Any) -> Path:
    """Return the path of the C source that was written for `coded`."""
    folder.mkdir(exist_ok=True)
    dcformat.write(coded, folder / name, **options)
    return folder / name


@pytest.fixture(scope="module")
def small(digits: Path) -> CodedModel:
    return dcformat.compress(dcformat.read(digits / "digits.onnx"), "int8")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_digits_compile_without_a_warning(
    small: CodedModel, tmp_path: Path, compiler: str
) -> None:
    compiled(emit(small, tmp_path), compiler)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_room_and_type_compiles(tmp_path: Path, compiler: str) -> None:
    compiled(emit(every_room(), tmp_path), compiler)


def test_the_array_is_a_valid_file_of_the_same_numbers(tmp_path: Path) -> None:
    coded = every_room()
    data = bytes_of(emit(coded, tmp_path))
    (tmp_path / "back.dcf").write_bytes(data)
    report = dcformat.verify(tmp_path / "back.dcf")
    assert report.ok, [check for check in report.checks if check.status == "failed"]
    file = dcformat.load(tmp_path / "back.dcf")
    assert (file.graph, file.metadata, file.hashes, file.names[0]) == (None, {}, (), "#0")
    for name, tensor in zip(file.names, coded.tensors, strict=True):
        assert same_bits(file[name], expand_tensor(tensor))


def test_flash_is_what_the_macro_says(small: CodedModel, tmp_path: Path) -> None:
    source = emit(small, tmp_path)
    found = macros(source.with_suffix(".h"), ["MODEL_FLASH_BYTES", "MODEL_DATA_BYTES"])
    assert flash_bytes(source, tmp_path) == found["MODEL_FLASH_BYTES"]
    assert found["MODEL_DATA_BYTES"] == len(bytes_of(source))


def test_macros_of_a_tensor_say_what_its_record_says(small: CodedModel, tmp_path: Path) -> None:
    source = emit(small, tmp_path)
    opened = open_file(bytes_of(source))
    names = ("ROWS", "COLUMNS", "BITS", "STORED_BYTES", "DECODED_BYTES", "ROW_BYTES")
    index = macros(source.with_suffix(".h"), ["MODEL_T_FC1_WEIGHT"])["MODEL_T_FC1_WEIGHT"]
    head = opened.record(index).head
    found = macros(source.with_suffix(".h"), [f"MODEL_FC1_WEIGHT_{name}" for name in names])
    assert list(found.values()) == [80, 512, 8, head.payload_size, 80 * 512, 512]
    assert decode_numbers(opened, index).nbytes == 80 * 512


def test_scratch_is_what_the_decoder_asks_for(tmp_path: Path) -> None:
    coded = every_room()
    source = emit(coded, tmp_path)
    header = source.with_suffix(".h")
    names = re.findall(r"#define (MODEL_\w+_SCRATCH_BYTES)", header.read_text())
    assert len(names) == len(coded.tensors)
    lines = "\n".join(f"    {name}," for name in names)
    (tmp_path / "scratch.c").write_text(SCRATCH.replace("NAMES", lines))
    program = tmp_path / "scratch"
    sources = [source, tmp_path / "scratch.c", *sorted(CORE.glob("*.c"))]
    run(need("gcc"), "-std=c99", f"-I{CORE}", *sources, "-o", program)
    asked = [tuple(map(int, line.split())) for line in run(program).splitlines()]
    assert len(asked) == len(coded.tensors)
    assert [pair for pair in asked if pair[0] < pair[1]] == []
    assert any(stated == needed > 0 for stated, needed in asked)


SCRATCH = """\
#include <stdio.h>
#include "model.h"
static const unsigned long stated[] = {
NAMES
};
int main(void)
{
    static dcf_model m;
    dcf_tensor t;
    uint32_t i;
    if (dcf_open(&m, model_data, sizeof model_data) != DCF_OK || m.tensors != MODEL_TENSORS) {
        return 1;
    }
    for (i = 0; i < m.tensors; i++) {
        if (dcf_tensor_at(&m, i, &t) != DCF_OK) {
            return 2;
        }
        printf("%lu %lu\\n", stated[i], (unsigned long)dcf_workspace_bytes(&t));
    }
    return 0;
}
"""


def test_macros_serve_in_conditions(small: CodedModel, tmp_path: Path) -> None:
    header = emit(small, tmp_path).with_suffix(".h")
    names = re.findall(r"^#define (MODEL_\w+_(?:BYTES|ROWS|COLUMNS|BITS|TENSORS)) ",
                       header.read_text(), re.MULTILINE)  # fmt: skip
    checks = "\n".join(f'#if {name} + 1 < 1\n#error "{name}"\n#endif' for name in names)
    source = tmp_path / "conditions.c"
    source.write_text(f'#include "model.h"\n{checks}\ntypedef int done;\n')
    compiled(source, "gcc", "-Wundef")
    assert len(names) > 40


def test_the_header_goes_in_twice_and_into_cpp(small: CodedModel, tmp_path: Path) -> None:
    emit(small, tmp_path)
    body = '#include "model.h"\n#include "model.h"\nint use(void);\n'
    body += "int use(void) { return model_data[0]; }\nint main(void) { return use() != 0x89; }\n"
    for name, compiler in (("main.c", "gcc"), ("main.cpp", "g++")):
        (tmp_path / name).write_text(body)
        main = compiled(tmp_path / name, compiler)
        model = compiled(tmp_path / "model.c", "gcc")
        run(need("g++"), main, model, "-o", tmp_path / "program")
        run(tmp_path / "program")


def test_two_models_go_into_one_program(small: CodedModel, tmp_path: Path) -> None:
    other = dcformat.write(small, tmp_path / "b.c", prefix="Second")
    assert [path.name for path in other.files] == ["b.h", "b.c"]
    emit(small, tmp_path, "a.c")
    (tmp_path / "main.c").write_text(
        '#include "a.h"\n#include "b.h"\n'
        "int main(void)\n{\n    return a_data[A_T_FC1_WEIGHT] !="
        " Second_data[SECOND_T_FC1_WEIGHT];\n}\n"
    )
    objects = [compiled(tmp_path / name, "gcc") for name in ("a.c", "b.c", "main.c")]
    run(need("gcc"), *objects, "-o", tmp_path / "program")
    run(tmp_path / "program")


def test_the_same_model_gives_the_same_bytes_and_no_file_is_touched(
    small: CodedModel, tmp_path: Path
) -> None:
    source = emit(small, tmp_path / "one")
    files = [source, source.with_suffix(".h")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    emit(small, tmp_path / "one", settings=Settings(jobs=2))
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before
    other = emit(small, tmp_path / "a folder")
    assert [other.read_bytes(), other.with_suffix(".h").read_bytes()] == [b for b, _ in before]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"model.c", "model.h"}


def test_the_sources_tell_of_no_place_and_no_time(small: CodedModel, tmp_path: Path) -> None:
    source = emit(small, tmp_path)
    for path in (source, source.with_suffix(".h")):
        text = path.read_bytes()
        assert str(tmp_path).encode() not in text
        assert b"\r" not in text
        assert not re.search(rb"\b20\d\d-\d\d|#line|__DATE__|__FILE__", text)
        assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("compiler", COMPILERS)
def test_hostile_names_cannot_break_the_source(tmp_path: Path, compiler: str) -> None:
    tensors = [
        CodedTensor(name or "?", DType.INT8, np.array([i], np.int8), Raw())
        for i, name in enumerate(HOSTILE)
    ]
    source = emit(model_of(tensors), tmp_path)
    compiled(source, compiler, "-trigraphs") if "++" not in compiler else compiled(source, compiler)
    assert "broken;" not in re.sub(
        r"/\*.*?\*/", "", source.with_suffix(".h").read_text(), flags=re.DOTALL
    )
    header = source.with_suffix(".h").read_text()
    macro_names = re.findall(r"^#define (\w+)", header, re.MULTILINE)
    macro_names += re.findall(r"^    (MODEL_T_\w+) =", header, re.MULTILINE)
    assert len(set(macro_names)) == len(macro_names)
    assert header.isascii()


def test_symbols_stay_apart_whatever_the_names(tmp_path: Path) -> None:
    """A tensor "t_a" has a macro ..._T_A_ROWS, and a tensor "a_rows" would have an entry of it."""
    tensors = [CodedTensor(name, DType.INT8, np.zeros((2, 3), np.int8), Raw())
               for name in ("t_a", "a_rows", "h", "T.A", "tensors")]  # fmt: skip
    compiled(emit(model_of(tensors), tmp_path, "t.c"), "gcc")


def test_equal_names_are_numbered_in_order() -> None:
    names = Names(lambda word: [f"M_{word}"])
    assert names.words(["Conv", "conv", "conv_2", "é", ""]) == ["conv", "conv_2", "conv_2_2",
                                                                "ue9", "tensor"]  # fmt: skip


@pytest.mark.parametrize(
    ("stem", "prefix"),
    [("model", "model"), ("3d net", "m_3d_net"), ("for", "m_for"), ("dcf", "m_dcf"),
     ("dcf-net", "m_dcf_net"), ("__init__", "init"), ("Größe", "gr_uf6_uxdf_e"), ("!!", "model")],
)  # fmt: skip
def test_a_prefix_is_made_of_any_file_name(stem: str, prefix: str) -> None:
    assert prefix_of(stem) == prefix.replace("uxdf", "udf")


@pytest.mark.parametrize("prefix", ["3d", "a__b", "_a", "a_", "a b", "int", "dcf", "DCF_x", "ä"])
def test_a_prefix_that_is_no_identifier_is_refused(
    small: CodedModel, tmp_path: Path, prefix: str
) -> None:
    with pytest.raises(ConvertError, match="prefix"):
        emit(small, tmp_path, prefix=prefix)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_quoted_name_is_one_harmless_line(name: str) -> None:
    text = quoted(name)
    assert text.isascii()
    assert text.isprintable()
    assert not re.search(r"\*/|/\*|\?\?|\\$", text)


@pytest.mark.parametrize("name", ['a".c', "a\\b.c", "a\nb.c", "model.h", "a*b.c"])
def test_a_file_name_that_cannot_be_included_is_refused(
    small: CodedModel, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConvertError):
        dcformat.write(small, tmp_path / name, "c")
    assert list(tmp_path.iterdir()) == []


def test_a_source_refuses_a_header_of_another_run(small: CodedModel, tmp_path: Path) -> None:
    source = emit(small, tmp_path)
    header = source.with_suffix(".h")
    header.write_text(re.sub(r"(DATA_CRC 0x)\w+", r"\g<1>12345678U", header.read_text()))
    assert "of one run" in refused(source)


def test_a_model_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="no tensors"):
        emit(CodedModel(), tmp_path)


def test_placing_macros_are_taken_from_the_command_line(small: CodedModel, tmp_path: Path) -> None:
    source = emit(small, tmp_path)
    flags = ['-DDCF_SECTION=__attribute__((section(".extflash")))', "-DDCF_ALIGN(bytes)="]
    made = compiled(source, "gcc", *flags)
    assert ".extflash" in run(need("objdump"), "-h", made)


@pytest.fixture(scope="module")
def detector(data_dir: Path, tmp_path_factory: Any) -> Path:
    model = dcformat.read(data_dir / "onnx" / "ultraface_rfb320.onnx")
    return emit(dcformat.compress(model, "deep"), tmp_path_factory.mktemp("detector"))


@pytest.mark.realdata
@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_real_detector_compiles_without_a_warning(detector: Path, compiler: str) -> None:
    compiled(detector, compiler)


@pytest.mark.realdata
def test_flash_of_a_real_detector_is_what_the_macro_says(detector: Path, tmp_path: Path) -> None:
    size = macros(detector.with_suffix(".h"), ["MODEL_FLASH_BYTES"])["MODEL_FLASH_BYTES"]
    assert flash_bytes(detector, tmp_path) == size
