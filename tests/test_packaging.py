"""What is installed, and that pyproject.toml, the package and the wheel tell the same story."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, metadata, requires, version
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import dcformat
from dcformat.encode import PRODUCER

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version_is_told_everywhere() -> None:
    assert dcformat.__version__ == PROJECT["version"] == version("dcformat")
    assert f"dcformat {dcformat.__version__}" == PRODUCER
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_installed_package_asks_for_these_packages_and_no_framework() -> None:
    base = [line for line in requires("dcformat") or () if "extra ==" not in line]
    names = {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in base}
    assert names == {"numpy", "zstandard", "onnx", "safetensors", "click", "rich", "tomli"}


def test_onnxruntime_is_the_extra_called_run() -> None:
    asked = [line for line in requires("dcformat") or () if 'extra == "run"' in line]
    assert [line.split(">")[0] for line in asked] == ["onnxruntime"]


def test_zstandard_is_held_to_one_minor_version() -> None:
    (pin,) = [line for line in PROJECT["dependencies"] if line.startswith("zstandard")]
    low, high = re.findall(r"0\.(\d+)", pin)
    assert int(high) == int(low) + 1


def test_the_licence_is_apache_and_its_text_travels_along() -> None:
    assert metadata("dcformat")["License-Expression"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("name", PROJECT["scripts"])
def test_every_command_that_is_promised_loads(name: str) -> None:
    (script,) = entry_points(group="console_scripts", name=name)
    assert callable(script.load())


@pytest.mark.parametrize("name", PROJECT["entry-points"]["dcformat.converters"])
def test_every_converter_that_is_promised_loads_and_knows_its_name(name: str) -> None:
    (entry,) = entry_points(group="dcformat.converters", name=name)
    verb, kind = name.split("-", 1)
    converter = entry.load()
    if verb in ("take", "shrink"):  # of live objects and of graphs: no file format
        assert callable(converter)
        return
    assert type(converter).__name__.lower() == {"read": "reader", "write": "writer"}[verb]
    assert converter.format == kind


@pytest.mark.slow
def test_the_wheel_holds_one_name_the_core_and_nothing_else(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "*.so", "__pycache__")
    tree = shutil.copytree(ROOT, tmp_path / "tree", ignore=left_out)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*build, str(tree)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"dcformat-{PROJECT['version']}-cp310-abi3-")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    folder = f"dcformat-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == {"dcformat", folder}
    assert {"dcformat/py.typed", "dcformat/_core.abi3.so"} <= set(names)
    builds = {"dcformat-config.cmake", "CMakeLists.txt", "dcformat.mk"}
    assert {f"dcformat/cmake/{name}" for name in builds} <= set(names)
    assert {"dcformat/c/dcf.h", "dcformat/converters/decoder_sizes.json"} <= set(names)
    assert f"{folder}/licenses/LICENSE" in names
    for source, inside in ((f, f"dcformat/{f}") for f in ("converters", "tools")):
        files = [path for p in ("*.py", "*.css", "*.js") for path in (ROOT / source).glob(p)]
        assert {f"{inside}/{path.name}" for path in files} <= set(names)
