"""The C decoder on small machines, under QEMU: the numbers that this machine decodes, on each.

Of every tensor status and CRC of the numbers are compared; then comes the full check. Hosts of 32
bits and big-endian ones, under qemu-user, are in tests/c/test_c_machines.py.
"""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from benches import build, stack, tools

import dcformat
from dcformat import decode
from dcformat.coded import CodedModel, CodedTensor, Raw
from dcformat.encode import Settings, encode_model
from dcformat.ids import DType

BOARDS = ["M0", "M3", "M4", "M7", "M33", "RV32"]
OPTIMIZED = ["-Os", "-O3"]
#: What the compiler takes from libgcc: division and 64-bit shifts and products, where a processor
#: has none. Nothing of a C library, not even memcpy or memset.
LIBGCC = {
    "__aeabi_uidiv",
    "__aeabi_uidivmod",
    "__aeabi_idivmod",
    "__aeabi_llsl",
    "__aeabi_llsr",
    "__aeabi_lmul",
}
LIBGCC |= {"__ashldi3", "__lshrdi3", "__muldi3"}


def expected(data: bytes) -> list[list[str]]:
    """Return what decode.c has to say of each tensor."""
    opened = decode.open_file(data)
    found = []
    for i in range(len(opened.records)):
        crc = zlib.crc32(decode.decode_numbers(opened, i).tobytes())
        found.append(["tensor", f"{i:08x}", f"{0:08x}", f"{crc:08x}"])
    return found


def decoded(name: str, data: bytes, folder: Path, flags: tuple[str, ...] = ("-Os",)) -> int:
    """Decode a file on a board, compare what it says, and return the stack that it took."""
    target = build.TARGETS[name]
    elf = build.program(target, "decode.c", data, folder / name, flags)
    *tensors, (end, status, used) = build.emulate(target, elf)
    assert tensors == expected(data)
    assert (end, int(status, 16)) == ("end", 0)
    return int(used, 16)


def most_stack(name: str, folder: Path) -> int:
    """Return the bound of the stack that decode.c takes, read from its machine code."""
    objdump = build.TARGETS[name].tool("objdump")
    listing = build.call(objdump, "-d", folder / name / "program.elf")
    return stack.worst(stack.read_listing(listing), ["run"])[0]


def file_of(folder: Path, source: Path, **settings: object) -> bytes:
    """Convert a model for mcu, without what firmware does not need."""
    coded = dcformat.compress(dcformat.read(source), **settings)  # type: ignore[arg-type]
    dcformat.save(coded, folder / "model.dcf", target="mcu", graph=False, metadata=False)
    return (folder / "model.dcf").read_bytes()


EXAMPLES = [pytest.param(name, "deep") for name in BOARDS]
EXAMPLES += [pytest.param(name, "int8", marks=pytest.mark.slow) for name in BOARDS]


@pytest.mark.parametrize(("name", "preset"), EXAMPLES)
def test_a_board_decodes_every_tensor_of_the_example(
    name: str, preset: str, digits: Path, tmp_path: Path
) -> None:
    data = file_of(tmp_path, digits / "digits.onnx", preset=preset)
    with tools():
        used = decoded(name, data, tmp_path)
        assert 0 < used <= most_stack(name, tmp_path)


@pytest.mark.parametrize("flags", [("-O0",), ("-O3",)], ids=" ".join)
def test_optimization_changes_nothing(flags: tuple[str, ...], digits: Path, tmp_path: Path) -> None:
    data = file_of(tmp_path, digits / "digits.onnx", preset="deep", prune=0.8)
    with tools():
        decoded("M4", data, tmp_path, flags)


MODELS: dict[str, dict[str, object]] = {
    "micro_kws_m_fp32": {"preset": "int8"},
    "mnist_mlp_bn_pytorch": {"preset": "deep", "prune": 0.8},
    "yunet_n_320": {"preset": "int8"},
}
QUICK = {("micro_kws_m_fp32", "M0"), ("mnist_mlp_bn_pytorch", "M4"), ("yunet_n_320", "RV32")}
REAL = [
    pytest.param(model, name, marks=[] if (model, name) in QUICK else pytest.mark.slow)
    for model in MODELS
    for name in BOARDS
]


@pytest.mark.realdata
@pytest.mark.parametrize(("model", "name"), REAL)
def test_a_board_decodes_a_real_model(
    model: str, name: str, data_dir: Path, tmp_path: Path
) -> None:
    data = file_of(tmp_path, data_dir / "onnx" / f"{model}.onnx", **MODELS[model])
    with tools():
        decoded(name, data, tmp_path)


def small_file() -> bytes:
    """Return a file of about a kilobyte in which every coder of target mcu is used."""
    rng = np.random.default_rng(0)
    sparse = np.where(rng.random((20, 24)) < 0.85, 0, rng.integers(-8, 8, (20, 24)))
    tensors = [
        CodedTensor("sparse", DType.INT8, sparse.astype(np.int8), Raw()),
        CodedTensor("skewed", DType.INT8, rng.geometric(0.5, (20, 20)).astype(np.int8), Raw()),
        CodedTensor("even", DType.UINT4, rng.integers(0, 16, 120).astype(np.uint8), Raw()),
        CodedTensor("bias", DType.FLOAT, rng.normal(0, 1, 20).astype(np.float32), Raw()),
    ]
    return encode_model(CodedModel(tuple(tensors)), Settings("mcu"))


def test_every_flipped_bit_is_an_error_on_the_board(tmp_path: Path) -> None:
    data = small_file()
    assert 700 < len(data) < 1500
    target = build.TARGETS["M3"]
    with tools():
        elf = build.program(target, "flips.c", data, tmp_path, ["-O2"])
        said = build.emulate(target, elf)
    assert said == [["whole", f"{0:08x}"], ["end", f"{8 * len(data):08x}", f"{0:08x}"]]


# ---- what the core asks of others ----


def asked(tool: str, objects: list[Path]) -> set[str]:
    """Return the symbols that objects use and none of them has."""
    listed = build.call(tool, *objects)
    kinds = re.findall(r"^(?:[0-9a-f]+)? *([A-Za-z]) (\S+)$", listed, re.MULTILINE)
    used = {name for kind, name in kinds if kind == "U"}
    return used - {name for kind, name in kinds if kind != "U"}


@pytest.mark.parametrize("name", ["M0", "M4", "RV32"])
def test_the_core_asks_for_no_library_but_libgcc(name: str, tmp_path: Path) -> None:
    target = build.TARGETS[name]
    with tools():
        for flag in OPTIMIZED:
            place = tmp_path / flag
            objects = build.compile_all(target, [build.core(place)], place, [flag])
            assert asked(target.tool("nm"), objects) <= (set() if name == "M4" else LIBGCC)


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
def test_on_x86_it_asks_for_nothing_at_all(bits: str, tmp_path: Path) -> None:
    gcc, nm = shutil.which("gcc"), shutil.which("nm")
    if gcc is None or nm is None:
        pytest.skip("no gcc or no nm on this machine")
    flags = ["-std=c99", "-ffreestanding", "-fno-stack-protector", "-fno-pic", bits]
    source = build.core(tmp_path)
    for flag in OPTIMIZED:
        out = tmp_path / f"core{flag}.o"
        build.call(gcc, *flags, flag, "-c", source, "-o", out)
        assert asked(nm, [out]) == set()
