"""dcconvert to C: its options, what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["command_fixtures"]


def test_a_network_becomes_a_source_and_a_header(run: Any, net: Path, tmp_path: Path) -> None:
    result = run("dcconvert", net, "-o", tmp_path / "net.c", "--prefix", "first", "--json")
    assert result.exit_code == 0, result.stderr
    (file,) = json.loads(result.stdout)["files"]
    header = (tmp_path / "net.h").read_text()
    assert f"#define FIRST_DATA_BYTES {file['stored_bytes']}U" in header
    assert (file["tensors"], file["layers"]) == (4, 2)
    assert file["largest_error"] > 0


def test_a_dcf_gives_the_same_source_as_its_model(run: Any, net: Path, tmp_path: Path) -> None:
    for command in (
        ("dcconvert", net, "-o", tmp_path / "net.dcf"),
        ("dcconvert", tmp_path / "net.dcf", "-o", f"{tmp_path}/a/", "--to", "c"),
        ("dcconvert", net, "-o", f"{tmp_path}/b/", "--to", "c"),
    ):
        assert run(*command, "-q").exit_code == 0
    for name in ("net.c", "net.h"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_recipe_counts(run: Any, net: Path, tmp_path: Path) -> None:
    exact = run("dcconvert", net, "-o", tmp_path / "net.c", "--preset", "lossless")
    assert exact.exit_code == 0, exact.stderr
    assert "every bit is kept" in exact.stdout
    header = (tmp_path / "net.h").read_text()
    assert "#define NET_FC_WEIGHT_BITS 32U" in header


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-o", "net.dcf", "--prefix", "x"), "--prefix is for writing C"),
        (("-o", "net.c", "--target", "host"), "--target is for writing .dcf"),
        (("-o", "net.c", "--no-names"), "--no-names is for writing .dcf"),
        (("-o", "-", "--to", "c"), "C is several files"),
        (("-o", "net.npz", "--row-access"), "--row-access is for writing .dcf or C"),
        (("-o", "net.c", "--external"), "--external is for writing .onnx"),
    ],
)
def test_options_that_nothing_would_heed_are_refused(
    run: Any, net: Path, tmp_path: Path, monkeypatch: Any, options: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("dcconvert", net, *options)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_prefix_is_for_one_model(run: Any, net: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(net.read_bytes())
    result = run("dcconvert", net, other, "-o", f"{tmp_path}/", "--to", "c", "--prefix", "x")
    assert result.exit_code == 2
    assert "one model" in result.stderr


def test_no_output_is_an_input(run: Any, net: Path, tmp_path: Path) -> None:
    header = tmp_path / "x.h"
    header.write_bytes(net.read_bytes())
    result = run("dcconvert", header, "--from", "onnx", "-o", tmp_path / "x.c")
    assert result.exit_code == 1
    assert "would replace an input" in result.stderr
    assert header.read_bytes() == net.read_bytes()


def test_a_wrong_prefix_is_one_line(run: Any, net: Path, tmp_path: Path) -> None:
    result = run("dcconvert", net, "-o", tmp_path / "x.c", "--prefix", "a b")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "prefix 'a b'" in result.stderr


def test_a_depfile_names_model_recipe_scales_and_tool(
    run: Any, external_net: Path, tmp_path: Path
) -> None:
    recipe, scales = tmp_path / "my recipe.toml", tmp_path / "scales.json"
    recipe.write_text("version = 1\n")
    scales.write_text('{"version": 1, "layers": []}')
    options = ("--recipe", recipe, "--activations", scales, "--depfile", tmp_path / "x.d")
    result = run("dcconvert", external_net, "-o", tmp_path / "x.c", *options)
    assert result.exit_code == 0, result.stderr
    rule = (tmp_path / "x.d").read_text().split("\n\n")[0]
    assert rule.startswith(f"{tmp_path}/x.c: \\\n")
    weights = external_net.with_name("weights.bin")
    for needed in (external_net, weights, scales, str(recipe).replace(" ", "\\ ")):
        assert f"  {needed} \\\n" in rule
    assert "converters/write_c.py" in rule


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--depfile-target", "x"), "--depfile-target is for --depfile"),
        (("--depfile", "net.onnx"), "would replace"),
        (("--depfile", "net.h"), "would replace"),
        (("--depfile", "-"), "all of them files"),
    ],
)
def test_a_depfile_takes_no_other_files_place(
    run: Any, net: Path, tmp_path: Path, monkeypatch: Any, options: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("dcconvert", net, "-o", "net.c", *options)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_the_folder_for_cmake_is_printed(run: Any) -> None:
    result = run("dcconvert", "--cmake-dir")
    assert (Path(result.stdout.strip()) / "dcformat-config.cmake").is_file()


def test_every_form_is_an_option(run: Any, net: Path, tmp_path: Path) -> None:
    forms = {"compressed": set(), "dense": set(), "blob": {"n.S", "n.bin"}}
    for form, more in forms.items():
        folder = tmp_path / form
        folder.mkdir()
        result = run("dcconvert", net, "-o", folder / "n.c", "--c-form", form, "--selftest")
        assert result.exit_code == 0, result.stderr
        names = {path.name for path in folder.iterdir()}
        assert names == {"n.c", "n.h", "n_selftest.c"} | more
