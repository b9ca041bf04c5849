"""docs/firmware.md is followed to the letter, and the examples say on a board what a host says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

import dcformat
from dcformat.coded import expand
from dcformat.compress import read_recipe

PAGE = (ROOT / "docs" / "firmware.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLE = ROOT / "examples" / "firmware"
WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
QEMU = ["qemu-system-arm", "-M", "mps2-an385", "-nographic", "-monitor", "none", "-serial", "null",
        "-semihosting-config", "enable=on,target=native"]  # fmt: skip


def texts(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")


def run(command: str | list[str], folder: Path) -> str:
    """Run a command, or lines of shell, with the commands of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = ["bash", "-ec", command] if isinstance(command, str) else command
    done = subprocess.run(
        given, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{given}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture
def desk(tmp_path: Path, digits: Path) -> Path:
    """A folder with the files that the page speaks of."""
    shutil.copy(digits / "digits.onnx", tmp_path / "model.onnx")
    (tmp_path / "activations.json").write_text(texts("json")[0])
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "main.c").write_text(texts("c")[0])
    return tmp_path


def test_the_page_works_from_top_to_bottom(desk: Path) -> None:
    need("cc", "arm-none-eabi-gcc", "bash")
    convert, build, board, integers = texts("sh")
    said = run(convert, desk)
    (shown,) = texts("console")
    assert shown in said
    assert run(build, desk).splitlines()[-1] == f"80 rows, {first_column(desk)}"
    size = run(board, desk).splitlines()[1].split()[0]
    stated = re.search(r"FLASH_BYTES (\d+)U", (desk / "build" / "model.h").read_text())
    assert stated is not None
    assert size == stated[1]
    run(integers, desk)
    assert "model_fc2_weight_multiplier" in (desk / "build" / "model.c").read_text()


def first_column(desk: Path) -> int:
    """Return the sum of the first number of each row of fc1, as the host has it."""
    coded = dcformat.compress(dcformat.read(desk / "model.onnx"), "int8")
    (weight,) = [tensor for tensor in coded.tensors if tensor.name == "fc1.weight"]
    assert weight.order == (1, 0)
    return int(weight.numbers()[0].astype(int).sum())


def test_cmake_and_make_take_what_the_page_says(desk: Path) -> None:
    need("cmake", "make")
    (lines,) = texts("cmake")
    head = "cmake_minimum_required(VERSION 3.20)\nproject(x C)\nadd_executable(firmware main.c)\n"
    (desk / "CMakeLists.txt").write_text(head + lines)
    (desk / "main.c").write_text(texts("c")[0])
    where = "-Ddcformat_DIR=$(dcconvert --cmake-dir)"
    run(f"cmake -S . -B out {where} && cmake --build out && out/firmware", desk)
    (lines,) = texts("make")
    (desk / "Makefile").write_text(lines)
    run("make build/model.c && test -s build/model_selftest.c", desk)


def test_every_option_and_file_that_the_page_names_exists() -> None:
    said = run("dcconvert --help", ROOT)
    page = "".join(line for line in PAGE.splitlines(True) if not line.startswith("cmake "))
    assert [one for one in re.findall(r"--[a-z][a-z0-9-]+", page) if one not in said] == []
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", PAGE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: Any) -> Path:
    """The two models of the example, as C, and the picture of each test beside them."""
    folder: Path = tmp_path_factory.mktemp("example")
    model = ROOT / "examples" / "digits" / "digits.onnx"
    recipe, scales = EXAMPLE / "int8.toml", EXAMPLE / "activations.json"
    run(f"dcconvert {model} -o {folder}/digits.c --selftest -q", folder)
    options = f"--recipe {recipe} --activations {scales}"
    run(f"dcconvert {model} -o {folder}/digits_int8.c {options} -q", folder)
    return folder


def built(folder: Path, *sources: str) -> Path:
    """Return a program of this machine from sources of the example; warnings are errors."""
    program = folder / sources[0].removesuffix(".c")
    files = [str(next(p for p in (folder / s, EXAMPLE / s) if p.exists())) for s in sources]
    flags = f"-std=c99 -O2 -ffp-contract=off -DDCF_WITH_FLOAT=1 {WARNINGS}"
    core = ROOT / "dcformat" / "c"
    run(f"gcc {flags} -I{folder} -I{EXAMPLE} -I{core} {' '.join(files)} {core}/*.c -o {program}",
        folder)  # fmt: skip
    return program


def pictures() -> tuple[Any, Any]:
    with np.load(ROOT / "examples" / "digits" / "digits_test.npz") as data:
        return data["images"], data["labels"]


LOOP = """\
#define main example_main
#include "{example}"
#undef main
#include <stdio.h>
int main(void)
{{
    unsigned char pixels[64];
    {type} logits[CLASSES];
    if (dcf_open(&model, {name}_data, sizeof {name}_data) != DCF_OK) {{
        return 1;
    }}
    while (fread(pixels, 1, 64, stdin) == 64) {{
        if (classify(pixels, logits)) {{
            return 2;
        }}
        fwrite(logits, sizeof logits[0], CLASSES, stdout);
    }}
    return 0;
}}
"""


def logits_of(program: Path, dtype: str, images: Any) -> Any:
    """Return what an example computes for pictures."""
    pixels = np.rint(images[:, 0] * 16).astype(np.uint8).tobytes()
    done = subprocess.run([program], input=pixels, capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype).reshape(len(images), 10)


def test_floats_on_a_device_are_those_of_onnxruntime(emitted: Path) -> None:
    need("gcc")
    ort = pytest.importorskip("onnxruntime")
    loop = LOOP.format(example=EXAMPLE / "with_floats.c", type="float", name="digits")
    (emitted / "loop_floats.c").write_text(loop)
    program = built(emitted, "loop_floats.c", "say_host.c", "digits.c", "digits_selftest.c")
    images, labels = pictures()
    found = logits_of(program, "<f4", images)
    source = dcformat.read(ROOT / "examples" / "digits" / "digits.onnx")
    dcformat.write(expand(dcformat.compress(source, "int8")), emitted / "int8.onnx")
    session = ort.InferenceSession(emitted / "int8.onnx", providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"image": images})
    assert np.abs(found - wanted).max() < 1e-4  # sums in another order
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert (found.argmax(axis=1) == labels).sum() == 444


def test_integers_on_a_device_are_those_of_the_rule(emitted: Path) -> None:
    need("gcc")
    loop = LOOP.format(example=EXAMPLE / "with_integers.c", type="int8_t", name="digits_int8")
    (emitted / "loop_integers.c").write_text(loop)
    program = built(
        emitted, "loop_integers.c", "int8_kernels.c", "say_host.c", "digits_int8.c"
    )  # fmt: skip
    images, labels = pictures()
    found = logits_of(program, "i1", images)
    assert (found == integer_network(images)).all()
    assert (found.argmax(axis=1) == labels).sum() >= 440  # in floats 444 of 450


def integer_network(images: Any) -> Any:
    """Return the logits by exact arithmetic: sums in integers, scaled by the real multipliers."""
    source = dcformat.read(ROOT / "examples" / "digits" / "digits.onnx")
    coded = dcformat.compress(source, read_recipe(EXAMPLE / "int8.toml"))
    tensors = {tensor.name: tensor for tensor in coded.tensors}
    layers = json.loads((EXAMPLE / "activations.json").read_text())["layers"]
    values = np.rint(images * 16).astype(np.int64)
    for layer in layers:
        weight = tensors[layer["weight"]]
        numbers = weight.numbers().astype(np.int64)
        convolution = numbers.ndim == 4
        if not convolution:
            values, numbers = values.reshape(len(values), -1), numbers.T
        scales = np.broadcast_to(weight.values.scale.astype(float), (len(numbers),))
        bias = np.rint(tensors[layer["bias"]].numbers() / (layer["input"]["scale"] * scales))
        centred = values - layer["input"]["zero_point"]
        sums = convolved(centred, numbers) if convolution else centred @ numbers.T
        shape = (1, -1, 1, 1) if convolution else (1, -1)
        sums = sums + bias.astype(np.int64).reshape(shape)
        real = (layer["input"]["scale"] * scales / layer["output"]["scale"]).reshape(shape)
        scaled = np.floor(sums * real + 0.5).astype(np.int64) + layer["output"]["zero_point"]
        values = np.clip(scaled, -128, 127)
        if layer["weight"] == "conv1.weight":
            n, c, h, w = values.shape
            values = values.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))
    return values.astype(np.int8)


def convolved(values: Any, kernel: Any) -> Any:
    """Return a 3 x 3 convolution with zeros outside."""
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwyx,ocyx->nohw", windows, kernel)


@pytest.mark.slow
def test_the_example_runs_on_a_board_and_says_what_the_host_says(tmp_path: Path) -> None:
    need("cmake", "arm-none-eabi-gcc", QEMU[0])
    for name in ("examples", "cmake", "dcformat"):
        (tmp_path / name).symlink_to(ROOT / name)
    (commands,) = texts("bash")
    said = run(commands, tmp_path)
    run(f"cmake -S {EXAMPLE} -B host && cmake --build host", tmp_path)
    for program, start in (("with_floats", "([0-9a-f]{8} ){9}"), ("with_integers", r"(-?\d+ ){9}")):
        host = run([str(tmp_path / "host" / program)], tmp_path)
        board = run([*QEMU, "-kernel", str(tmp_path / "build/board" / program)], tmp_path)
        assert board == host
        assert re.match(start, host)
        assert host.endswith(f"class {pictures()[1][0]}\n")
    assert said.endswith(host)


def test_the_picture_is_the_one_that_it_says(tmp_path: Path) -> None:
    header = (EXAMPLE / "picture.h").read_text()
    pixels = [int(one) for one in re.findall(r"\b\d+\b", header.split("{")[1])]
    assert pixels == np.rint(pictures()[0][0, 0] * 16).astype(int).reshape(-1).tolist()


@pytest.mark.slow
def test_the_scales_are_those_that_are_measured() -> None:
    pytest.importorskip("onnxruntime")
    code = "import json, prepare; print(json.dumps(prepare.activations()))"
    made = json.loads(run([sys.executable, "-c", code], EXAMPLE))
    kept = json.loads((EXAMPLE / "activations.json").read_text())
    for ours, theirs in zip(made["layers"], kept["layers"], strict=True):
        for side in ("input", "output"):
            assert ours[side]["zero_point"] == theirs[side]["zero_point"]
            assert ours[side]["scale"] == pytest.approx(theirs[side]["scale"], rel=1e-5)
