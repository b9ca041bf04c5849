"""Recipes of all methods through the commands: the page's words, the same bytes, and a verifier."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import dcformat
from dcformat.compress import preset_recipe, settings
from dcformat.compress.recipe import read_recipe
from dcformat.ids import Meta

pytest_plugins = ["command_fixtures"]

PAGE = (ROOT / "docs" / "recipes.md").read_text()
#: A method, and what is said of it.
SAYINGS = {
    "affine": "bits = 4\nzero_point = true",
    "fixed": "bits = 4\nscales = 'tensor'",
    "ternary": "quantizer = 'fitted'",
    "binary": "scales = 'channel'",
    "codebook": "bits = 3\nquantizer = 'entropy'",
    "int8": "prune = 0.5",
    "exact": "",
    "pow2": "quantizer = 'log2'",
    "grid": "step = 0.1",
}


def write(folder: Path, method: str) -> Path:
    path = folder / f"{method}.toml"
    where = "[[layer]]\nmatch = '*'" if method == "grid" else "[defaults]"
    text = f"version = 1\n{where}\nmethod = '{method}'\n{SAYINGS[method]}\n"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("method", settings.METHODS)
def test_a_recipe_gives_the_same_bytes_and_the_verifier_follows_it(
    run: Any, net: Path, tmp_path: Path, method: str
) -> None:
    recipe = write(tmp_path, method)
    outputs = [tmp_path / "a.dcf", tmp_path / "b.dcf"]
    for output in outputs:
        result = run("dcconvert", net, "-o", output, "--recipe", recipe)
        assert result.exit_code == 0, result.output
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    result = run("dcverify", outputs[0], "--against", net)
    assert result.exit_code == 0, result.output


def test_an_error_names_the_file_the_key_and_the_layer(run: Any, net: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("version = 1\n[[layer]]\nmatch = '*'\nmethod = 'fixed'\nbits = 7\n")
    result = run("dcconvert", net, "-o", tmp_path / "x.dcf", "--recipe", recipe)
    assert result.exit_code == 1
    assert "r.toml / layer 1: bits = 7 for method = 'fixed': expected 4, 8, 16" in result.output
    assert not (tmp_path / "x.dcf").exists()


def test_the_page_names_every_setting_and_every_value() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \| .* \|$", PAGE, re.M))
    assert set(rows) == set(settings.CHECKS_OF_LAYERS) - {"preset", "target"}
    assert re.findall(r"`(\w+)`", rows["method"]) == list(settings.METHODS)
    methods = PAGE.split("## Methods")[1].split("##")[0]
    assert re.findall(r"^- `(\w+)`:", methods, re.M) == list(settings.METHODS)
    for name in (name for names in settings.QUANTIZERS.values() for name in names):
        assert f"`{name}`" in PAGE


def test_the_example_of_the_page_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "page.toml"
    path.write_text(PAGE.split("```toml\n")[1].split("```")[0])
    assert read_recipe(path).settings_for("fc1.weight").method == "ternary"


#: What a method says of a real network, as JSON has it.
REAL = {
    "affine": {"bits": 4, "equalize": True, "scales": "tensor"},
    "fixed": {"bits": 8, "prune_unit": "filter", "prune": 0.25},
    "ternary": {"prune_pattern": "2:4"},
    "binary": {},
    "codebook": {"bits": 4, "prune": 0.6, "prune_scope": "network"},
    "pow2": {"bits": 4, "prune_below": 0.001},
}


@pytest.mark.realdata
@pytest.mark.parametrize("method", REAL)
def test_a_real_network_goes_through_every_stage(
    data_dir: Path, tmp_path: Path, method: str
) -> None:
    source = data_dir / "onnx" / "micro_kws_m_fp32.onnx"
    model = dcformat.read(source)
    recipe = preset_recipe("int8", method=method, **REAL[method])
    sizes = [
        dcformat.save(dcformat.compress(model, how), tmp_path / f"{i}.dcf")
        for i, how in enumerate((recipe, recipe, "int8"))
    ]
    assert (tmp_path / "0.dcf").read_bytes() == (tmp_path / "1.dcf").read_bytes()
    assert sizes[0] < sizes[2] or method == "fixed"
    report = dcformat.verify(tmp_path / "0.dcf", against=source, run=True)
    assert report.ok, report


def test_shrinking_is_said_and_kept_in_the_file(run: Any, net: Path, tmp_path: Path) -> None:
    recipe, plain, made = (tmp_path / name for name in ("r.toml", "a.dcf", "b.dcf"))
    recipe.write_text('version = 1\n[defaults]\nprune = 0.25\nprune_unit = "filter"\n')
    assert run("dcconvert", net, "-o", plain, "--recipe", recipe, "-q").exit_code == 0
    result = run("dcconvert", net, "-o", made, "--recipe", recipe, "--shrink")
    assert result.exit_code == 0, result.stderr
    assert "filters of zeros taken out of the graph" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.split()[0] == "shrunk")
    assert "4 filters of zeros, 0 channels nobody took, of 1 layer" in line
    assert "it is an output of the model (2)" in result.stdout
    assert made.stat().st_size < plain.stat().st_size
    assert b'"shrink":true' in dcformat.load(made).metadata[Meta.RECIPE]
    (file,) = json.loads(run("dcconvert", net, "-o", made, "--recipe", recipe, "--shrink",
                             "--json").stdout)["files"]  # fmt: skip
    assert file["shrunk"] == {
        "filters": 4, "channels": 0, "layers": 1, "bytes": 4 * 4 * (18 + 1 + 90),
        "staying": {"it is an output of the model": 2},
    }  # fmt: skip
    checked = run("dcverify", made, "--against", net)
    assert checked.exit_code == 0, checked.stdout
    assert "shrunk by 4 filters and 0 channels: followed again, the same" in checked.stdout
    again = run("dcconvert", made, "-o", tmp_path / "c.dcf", "--shrink")
    assert again.exit_code == 2
    assert "never quantized again" in again.stderr
