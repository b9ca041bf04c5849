"""CMake and Make with generated C: what is built again, and when, in folders with hostile names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper

from dcformat.errors import ConvertError
from dcformat.tools._depfile import escaped, write_depfile

GENERATORS = {"Ninja": "ninja", "Unix Makefiles": "make"}
CONVERTS = "--depfile-target"
SCRIPTS = Path(sys.executable).parent

LISTS = """\
cmake_minimum_required(VERSION 3.20)
project(firmware C ASM)
FIND
dcf_add_model(net MODEL "my net.onnx" RECIPE recipe.toml PREFIX first SELFTEST)
dcf_add_model(other MODEL "my net.onnx" FORM blob OPTIONS --row-access)
dcf_add_model(arrays MODEL "my net.onnx" FORM dense)
add_executable(firmware main.c)
target_link_libraries(firmware PRIVATE net other arrays)
"""
MAIN = """\
#include <stdio.h>
#include "net.h"
#include "other.h"
#include "arrays.h"
int main(void)
{
    static uint8_t scratch[FIRST_SCRATCH_BYTES + 1];
    dcf_model m;
    printf("%ld %d %d %d\\n", (long)first_selftest(scratch, sizeof scratch),
           dcf_open(&m, other_data, OTHER_DATA_BYTES), (int)OTHER_TENSORS, (int)arrays_b[1]);
    return 0;
}
"""
FIND = {
    "find_package": "find_package(dcformat REQUIRED)",
    "add_subdirectory": 'add_subdirectory("{folder}" dcformat)',
}


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")


def run(*command: str | Path, folder: Path, fails: bool = False) -> str:
    environment = os.environ | {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, said[-4000:]
    return said


def save_net(path: Path, scale: float = 1.0, location: str | None = None) -> None:
    """Write a dense layer; its weight in a file of its own if it has a `location`."""
    random = np.random.default_rng(1)
    weight = (random.standard_normal((10, 60)) * scale).astype(np.float32)
    constants = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(np.arange(10, dtype=np.float32), "b"),
    ]
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=1)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 60])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph([node], "net", [given], [made], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    outside = {"save_as_external_data": True, "location": location, "size_threshold": 64}
    onnx.save_model(model, path, **(outside if location else {}))


@dataclass(frozen=True)
class Project:
    """A source folder and a build folder, both with blanks in their paths."""

    source: Path
    build: Path

    def make(self) -> str:
        return run("cmake", "--build", self.build, "--verbose", folder=self.source)

    def times(self) -> dict[str, int]:
        """Return when each file of the build that a change may reach was written."""
        paths = [p for p in self.build.rglob("*") if p.suffix in (".c", ".h", ".o", ".a", ".bin")]
        paths.append(self.build / "firmware")
        kept = [p for p in paths if "CompilerId" not in str(p) and p.exists()]
        return {str(p.relative_to(self.build)): p.stat().st_mtime_ns for p in kept}


def configured(tmp_path: Path, generator: str, how: str) -> Project:
    need("cmake")
    need(GENERATORS[generator])
    project = Project(tmp_path / "a project", tmp_path / "the build")
    project.source.mkdir()
    save_net(project.source / "my net.onnx")
    (project.source / "recipe.toml").write_text('version = 1\n[defaults]\npreset = "int8"\n')
    find = FIND[how].format(folder=ROOT / "cmake")
    (project.source / "CMakeLists.txt").write_text(LISTS.replace("FIND", find))
    (project.source / "main.c").write_text(MAIN)
    configure(project, generator)
    return project


def configure(project: Project, generator: str) -> None:
    run("cmake", "-G", generator, "-S", project.source, "-B", project.build,
        f"-Ddcformat_DIR={ROOT / 'cmake'}", folder=project.source)  # fmt: skip


def later() -> None:
    """Let the next file be newer for a build system that counts whole ticks of a clock."""
    time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS)
def test_cmake_builds_again_when_and_only_when_something_has_changed(
    tmp_path: Path, generator: str
) -> None:
    project = configured(tmp_path, generator, "find_package")
    project.make()
    program = project.build / "firmware"
    assert run(program, folder=tmp_path) == "-1 0 2 1\n"

    first = project.times()
    later()
    assert CONVERTS not in project.make()
    assert project.times() == first

    later()  # touched, but the same: converted again, nothing compiled
    (project.source / "my net.onnx").touch()
    assert CONVERTS in project.make()
    assert project.times() == first
    assert CONVERTS not in project.make()

    later()
    save_net(project.source / "my net.onnx", 2.0)
    project.make()
    changed = {name for name, when in project.times().items() if first.get(name) != when}
    assert {"dcf/net/net.c", "dcf/other/other.bin", "dcf/arrays/arrays.c", "firmware"} <= changed
    assert not any("dcformat_decoder" in name for name in changed)

    before = project.times()
    later()
    recipe = project.source / "recipe.toml"
    recipe.write_text('version = 1\n[defaults]\npreset = "lossless"\n')
    project.make()
    changed = {name for name, when in project.times().items() if before.get(name) != when}
    assert "dcf/net/net.c" in changed
    assert not any("other" in name or "arrays" in name for name in changed)
    assert run(program, folder=tmp_path) == "-1 0 2 1\n"


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS)
def test_cmake_heeds_changed_options_and_a_changed_tool(tmp_path: Path, generator: str) -> None:
    project = configured(tmp_path, generator, "add_subdirectory")
    project.make()
    before = project.times()
    later()
    lists = project.source / "CMakeLists.txt"
    lists.write_text(lists.read_text().replace(" OPTIONS --row-access", " PREFIX second"))
    main = project.source / "main.c"
    main.write_text(MAIN.replace("other_", "second_").replace("OTHER_", "SECOND_"))
    project.make()
    changed = {name for name, when in project.times().items() if before.get(name) != when}
    assert "dcf/other/other.h" in changed
    assert not any(name.startswith("dcf/net") for name in changed)

    stamp = project.build / "dcf" / "net" / "net.stamp"
    assert str(ROOT / "converters" / "write_c.py") in (
        (project.build / "dcf" / "net" / "net.d").read_text()
        if (project.build / "dcf" / "net" / "net.d").exists()
        else run("ninja", "-t", "deps", folder=project.build)
    )
    assert stamp.exists()


@pytest.mark.slow
def test_cmake_says_what_is_wrong(tmp_path: Path) -> None:
    project = configured(tmp_path, "Unix Makefiles", "find_package")
    lists = project.source / "CMakeLists.txt"
    good = lists.read_text()
    for call, reason in (
        ("dcf_add_model(x)", "no MODEL"),
        ('dcf_add_model(x MODEL "my net.onnx" PREFXI y)', "unknown: PREFXI;y"),
        ("dcf_add_model(x MODEL [[a$b.onnx]])", "cannot watch"),
    ):
        lists.write_text(f"{good}\n{call}\n")
        said = run("cmake", "-B", project.build, "-S", project.source, folder=tmp_path, fails=True)
        assert reason in " ".join(said.split())
    lists.write_text(f'{good}\ndcf_add_model(x MODEL "recipe.toml")\n')
    said = run("cmake", "--build", project.build, folder=tmp_path, fails=True)
    assert "dcconvert: " in said
    assert not (project.build / "dcf" / "x" / "x.stamp").exists()


MAKEFILE = """\
include $(shell dcconvert --cmake-dir)/dcformat.mk
$(eval $(call dcf_model,build/net,net.onnx,--prefix first --selftest))
build/net.o: build/net.c
\t$(CC) -std=c99 -I$(DCF_INCLUDE) -c $< -o $@
"""


def test_make_builds_again_when_and_only_when_something_has_changed(tmp_path: Path) -> None:
    need("make")
    save_net(tmp_path / "net.onnx", location="net weights.bin")
    (tmp_path / "build").mkdir()
    (tmp_path / "Makefile").write_text(MAKEFILE)
    made = tmp_path / "build" / "net.o"
    run("make", "build/net.o", folder=tmp_path)
    first = made.stat().st_mtime_ns
    assert "up to date" in run("make", "build/net.o", folder=tmp_path)
    later()
    (tmp_path / "net.onnx").touch()
    assert "dcconvert" in run("make", "build/net.o", folder=tmp_path)
    assert made.stat().st_mtime_ns == first
    later()
    save_net(tmp_path / "new.onnx", 3.0, location="new.bin")
    shutil.move(tmp_path / "new.bin", tmp_path / "net weights.bin")  # beside, as only it knows
    run("make", "build/net.o", folder=tmp_path)
    assert made.stat().st_mtime_ns > first


HOSTILE = ("a b.bin", "a#b.bin", "a$b.bin", "a:b.bin", "a%b.bin", "$(HOME).bin", "größe 重み.bin",
           "-x.bin", "a(b)[c]{d}.bin", "a: b.bin", " # $$ : .bin", "~a.bin",
           "a@b!c+d,e.bin")  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("builder", ["make", "ninja"])
def test_builders_understand_depfiles(tmp_path: Path, name: str, builder: str) -> None:
    need(builder)
    source = tmp_path / name
    source.write_text("1")
    write_depfile(str(tmp_path / "x.d"), "out", [name])
    (tmp_path / "step.sh").write_text("#!/bin/sh\necho again >> log; touch out\n")
    if builder == "make":
        (tmp_path / "Makefile").write_text("out:\n\tsh step.sh\n-include x.d\n")
    else:
        (tmp_path / "build.ninja").write_text(
            "rule r\n  command = sh step.sh\n  depfile = x.d\nbuild out: r\n"
        )

    def builds() -> int:
        run(builder, "out" if builder == "make" else "-v", folder=tmp_path)
        return (tmp_path / "log").read_text().count("again")

    assert builds() == 1
    later()
    assert builds() == 1
    later()
    source.touch()
    assert builds() == 2
    if "%" in name and builder == "make":  # an empty rule would be one for a pattern
        return
    source.unlink()
    assert builds() == 3


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "a\tb",
        "a;b",
        "a=b",
        "a|b",
        "a*b",
        "a\x7f",
        "a\\b",
        "a&b",
        "'",
        '"',
        "?",
        "<",
        "",
        "a\udcffb",
    ],
)
def test_names_that_a_depfile_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(ConvertError, match="depfile"):
        escaped(name)


def test_a_target_that_make_takes_for_a_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="pattern"):
        write_depfile(str(tmp_path / "x.d"), "a%b.c", [])
