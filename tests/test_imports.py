"""Imports run one way, from what knows little to what knows much, and few of them are foreign."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from conftest import ROOT

FOLDERS = {"dcformat": "dcformat", "converters": "dcformat.converters", "tools": "dcformat.tools",
           "cmake": "dcformat.cmake"}  # fmt: skip

# A module imports from the lines above its own and from its own line; `*` is one package.
LAYERS = (
    ("axes", "cmake", "errors", "ids"),
    ("byte_sizes", "checks", "fields", "files", "frames", "jobs", "model", "scratch"),
    (
        "_core",
        "kmeans",
        "kernels",
        "rounding",
        "coded",
        "container",
        "formats",
        "graph",
        "ordered",
        "rans",
        "predictable",
        "predicted",
        "records",
        "sections",
    ),
    ("encodings*", "native", "firmware"),
    ("compress*", "scaled"),
    ("tables", "walk"),
    ("stored", "forms", "forms_context", "fastest", "pool", "prints", "encode", "decode", "plain"),
    ("file", "canonical", "text*"),
    ("audit*", "verify*"),
    ("", "api"),
    ("converters*",),
    ("tools*",),
    ("__main__",),
)
# What one line does not say: pairs on one line, or in one package, that stay strangers.
STRANGERS = (
    ("encode", "decode"),
    ("decode", "encode"),
    ("encodings.layout_*", "encodings.[vc]*_*"),
    ("encodings.values_*", "encodings.[lc]*_*"),
    ("encodings.coder_*", "encodings.[lv]*_*"),
    ("encodings.layout_*", "encodings.layout_*"),
    ("encodings.values_*", "encodings.values_*"),
    ("encodings.coder_*", "encodings.coder_*"),
    ("encodings*", "native"),
    ("native", "encodings*"),
    ("text*", "file"),
    ("text*", "canonical"),
    ("file", "text*"),
    ("canonical", "text*"),
    ("converters.read_*", "converters.write_*"),
    ("converters.write_*", "converters.read_*"),
)
# The only files that may import these; a star is any module.
FOREIGN = {
    "numpy": ("*",),
    "zstandard": ("frames", "encodings.coder_zstd"),
    "tomli": ("compress.recipe",),
    "onnx": ("converters.*onnx*",),
    "google": ("converters.*onnx*",),
    "onnx_ir": ("converters.torch_export",),
    "onnxruntime": ("tools.*",),
    "matplotlib": ("tools._search_plot",),
    "ai_edge_litert": ("tools._run_tflite",),
    "tflite_micro": ("tools._arena",),
    "safetensors": ("converters.read_safetensors",),
    "onnxscript": ("converters.torch_export",),
    "torch": (
        "converters.pt2_run",
        "converters.take_torch",
        "converters.torch_export",
        "converters.write_torch",
    ),
    "click": ("tools.*",),
    "rich": ("tools.*",),
}
# spec/SECURITY.md, S5: opening a file must not execute it.
BANNED = {"pickle", "shelve", "marshal", "dill", "joblib"}


def modules() -> dict[str, Path]:
    """Return every module of the package by name, "dcformat." cut off."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            dotted = ".".join((package, *parts)).removesuffix(".__init__")
            found[dotted.removeprefix("dcformat").removeprefix(".")] = path
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """Yield the absolute names that a module imports, anywhere in it."""
    path = MODULES[name]
    package = f"dcformat.{name}".rstrip(".").split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*start, *(node.module or "").split(".")]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own(name: str) -> Iterator[str]:
    """Yield the modules of this package that a module imports, "dcformat." cut off."""
    for target in imported(name):
        if target.split(".")[0] == "dcformat":
            short = target.removeprefix("dcformat").removeprefix(".")
            yield short if short in MODULES or short == "_core" else short.rpartition(".")[0]


def layer(name: str) -> int:
    hits = [i for i, line in enumerate(LAYERS) if any(fnmatchcase(name, p) for p in line)]
    assert len(hits) == 1, f"{name or 'dcformat'} stands in {len(hits)} layers of this test"
    return hits[0]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_own_layer_and_those_below(name: str) -> None:
    assert [other for other in own(name) if layer(other) > layer(name)] == []


@pytest.mark.parametrize("name", MODULES)
def test_strangers_do_not_import_each_other(name: str) -> None:
    barred = [other for mine, other in STRANGERS if fnmatchcase(name, mine)]
    met = [other for other in own(name) if any(fnmatchcase(other, b) for b in barred)]
    assert met == []


def test_imports_have_no_circle() -> None:
    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done and name in MODULES:
            for other in set(own(name)) - {name}:
                visit(other, (*above, name))
        done.add(name)

    done: set[str] = set()
    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_foreign_packages_are_imported_where_they_belong_only(name: str) -> None:
    known = sys.stdlib_module_names | {"dcformat", "tomllib"}
    for target in imported(name):
        top = target.split(".")[0]
        assert top not in BANNED
        if top not in known:
            allowed = FOREIGN.get(top, ())
            assert any(fnmatchcase(name, pattern) for pattern in allowed), target


def test_import_dcformat_loads_numpy_and_zstandard_only() -> None:
    code = """
import sys, numpy, zstandard
before = set(sys.modules)
import dcformat
everything = [getattr(dcformat, name) for name in dcformat.__all__]
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names) - {"dcformat", "numpy", "zstandard"}))
print(*sorted(name for name in sys.modules if name.startswith("dcformat.")))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    foreign, loaded = run.stdout.split("\n")[:2]
    assert foreign == ""
    assert "dcformat.api" in loaded.split()
    later = {"dcformat.converters", "dcformat.tools", "dcformat.text"}
    assert not later & set(loaded.split())


def test_functions_stay_functions_when_modules_of_the_same_name_are_loaded() -> None:
    code = """
import dcformat
first = dcformat.compress, dcformat.verify
from dcformat.compress import recipe
from dcformat.verify import FILE_CHECKS
assert (dcformat.compress, dcformat.verify) == first
assert first[0].__name__ == "compress" and first[1].__name__ == "verify"
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)
