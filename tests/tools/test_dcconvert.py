"""dcconvert: every direction, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dcformat
from dcformat.ids import MAGIC, Meta
from dcformat.tools.dcconvert import main

pytest_plugins = ["command_fixtures"]


def parsed(run: Any, *arguments: object) -> dict[str, Any]:
    result = run("dcconvert", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_the_default_is_int8_and_the_first_line_says_that_it_is_lossy(run: Any, net: Path) -> None:
    result = run("dcconvert", net, "-o", net.with_suffix(".dcf"))
    assert result.exit_code == 0
    first, second, *rest = result.stdout.splitlines()
    assert first == "int8: lossy, 8-bit weights; use --preset lossless to keep every bit"
    assert second == f"{net} -> {net.with_suffix('.dcf')}"
    assert any("left alone     2: bias (2)" in line for line in rest)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (["--preset", "lossless"], "lossless: every bit is kept"),
        (
            ["--preset", "deep"],
            "deep: lossy, weights in 8-bit codebooks (or int8 where that is smaller), 5-bit",
        ),
        (["--preset", "deep", "--bits", "4"], "deep: lossy, weights in 4-bit codebooks; use"),
        (["--prune", "0.5"], "int8: lossy, 8-bit weights, 0.5 of them pruned; use"),
    ],
)
def test_the_first_line_names_preset_and_loss(
    run: Any, net: Path, options: list[str], first: str
) -> None:
    result = run("dcconvert", net, "-o", net.with_suffix(".dcf"), *options)
    assert result.stdout.startswith(first)


def test_lossless_there_and_back_is_the_source_byte_for_byte(
    run: Any, net: Path, tmp_path: Path
) -> None:
    there, back = tmp_path / "net.dcf", tmp_path / "back.onnx"
    assert run("dcconvert", net, "-o", there, "--preset", "lossless", "-q").exit_code == 0
    result = run("dcconvert", there, "-o", back)
    assert result.exit_code == 0
    assert result.stdout.startswith("no weight is changed\n")
    assert back.read_bytes() == net.read_bytes()


@pytest.mark.parametrize("middle", ["net.dcf", "net.onnx"])
def test_tensors_come_out_as_npz(run: Any, net: Path, tmp_path: Path, middle: str) -> None:
    out = tmp_path / "out.npz"
    if middle == "net.dcf":
        run("dcconvert", net, "-o", tmp_path / middle, "--preset", "lossless")
    assert run("dcconvert", tmp_path / middle, "-o", out).exit_code == 0
    model = dcformat.read(net)
    with np.load(out) as arrays:
        assert len(arrays.files) == 4
        for tensor in model.tensors:
            assert arrays[tensor.name].tobytes() == tensor.data.tobytes()


def test_a_dcf_is_written_again_with_the_same_numbers(run: Any, net: Path, tmp_path: Path) -> None:
    first, second, bare = (tmp_path / n for n in ("a.dcf", "b.dcf", "c.dcf"))
    run("dcconvert", net, "-o", first)
    assert run("dcconvert", first, "-o", second).exit_code == 0
    assert second.read_bytes() == first.read_bytes()
    stripped = ["--no-names", "--no-graph", "--target", "host"]
    assert run("dcconvert", first, "-o", bare, *stripped).exit_code == 0
    before, after = dcformat.load(first), dcformat.load(bare)
    assert after.graph is None
    assert after.names == ("#0", "#1", "#2", "#3")
    assert after.metadata[Meta.CONTENT_ID] == before.metadata[Meta.CONTENT_ID]
    for old, new in zip(before.names, after.names, strict=True):
        assert before[old].tobytes() == after[new].tobytes()


def test_a_file_without_names_is_read_but_not_written_again(
    run: Any, net: Path, tmp_path: Path
) -> None:
    bare, again, back = (tmp_path / n for n in ("bare.dcf", "again.dcf", "back.onnx"))
    run("dcconvert", net, "-o", bare, "--no-names", "--preset", "lossless")
    result = run("dcconvert", bare, "-o", again)
    assert result.exit_code == 1
    assert "names were left out" in result.stderr
    assert not again.exists()
    assert run("dcconvert", bare, "-o", back).exit_code == 0
    assert back.read_bytes() == net.read_bytes()


def test_a_folder_takes_several_inputs_and_is_made(run: Any, net: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(net.read_bytes())
    result = run("dcconvert", net, other, "-o", f"{tmp_path}/new/")
    assert result.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["net.dcf", "other.dcf"]


def test_one_bad_input_does_not_stop_the_others(run: Any, net: Path, tmp_path: Path) -> None:
    result = run("dcconvert", tmp_path / "no.onnx", net, "-o", f"{tmp_path}/new/", "--json")
    assert result.exit_code == 1
    assert result.stderr == f"dcconvert: {tmp_path}/no.onnx: no such file\n"
    answer = json.loads(result.stdout)
    assert answer["status"] == "error"
    assert [file["status"] for file in answer["files"]] == ["error", "ok"]
    assert (tmp_path / "new" / "net.dcf").exists()


def test_json_numbers_are_those_of_the_files(run: Any, net: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.dcf"
    answer = parsed(run, net, "-o", out, "--prune", "0.25")
    assert (answer["command"], answer["status"], answer["lossy"]) == ("dcconvert", "ok", True)
    (file,) = answer["files"]
    size = out.stat().st_size
    assert file["stored_bytes"] == size == sum(file["sections"].values())
    assert file["source_bytes"] == net.stat().st_size
    assert file["weight_bytes"] == 4 * (288 + 16 + 1440 + 10)
    assert file["source_ratio"] == round(net.stat().st_size / size, 4)
    assert (file["tensors"], file["layers"]) == (4, 2)
    assert file["left_alone"] == {"bias": 2}
    model, stored = dcformat.read(net), dcformat.load(out)
    errors = {t.name: float(np.abs(t.data - stored[t.name]).max()) for t in model.tensors}
    assert file["largest_error"] == pytest.approx(max(errors.values()), rel=1e-6)
    assert errors[file["largest_error_tensor"]] == max(errors.values())
    assert [line["name"] for line in file["tensor_lines"]] == [t.name for t in model.tensors]


def test_the_summary_states_sizes_to_the_byte(run: Any, net: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.dcf"
    text = run("dcconvert", net, "-o", out).stdout
    size, source = out.stat().st_size, net.stat().st_size
    assert f"  stored         {size:,} B (" in text
    assert f"  source file    {source:,} B (" in text
    assert f", {source / size:.2f} times what is stored\n" in text


def test_external_data_counts_as_part_of_the_source(
    run: Any, external_net: Path, tmp_path: Path
) -> None:
    answer = parsed(run, external_net, "-o", tmp_path / "net.dcf")
    sizes = [path.stat().st_size for path in external_net.parent.iterdir()]
    assert answer["files"][0]["source_bytes"] == sum(sizes)


def test_verbose_lists_every_tensor_with_its_reason(run: Any, net: Path, tmp_path: Path) -> None:
    text = run("dcconvert", net, "-o", tmp_path / "net.dcf", "-v").stdout
    assert "conv1.bias (Conv bias): 16 elements, left alone: bias; exact\n" in text
    assert "fc.weight (Gemm weight): 1,440 elements, int8 per channel, largest error 0.0" in text
    assert "section payload: " in text


def test_quiet_prints_nothing(run: Any, net: Path, tmp_path: Path) -> None:
    result = run("dcconvert", net, "-o", tmp_path / "net.dcf", "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_standard_output_carries_the_file_and_nothing_else(start: Any, net: Path) -> None:
    done = start("dcconvert", net, "-o", "-", "--preset", "lossless")
    assert done.returncode == 0
    assert done.stdout.startswith(MAGIC)
    assert done.stderr.startswith(b"lossless: every bit is kept\n")
    again = start("dcconvert", "-", "--from", "dcf", "-o", "-", "--to", "onnx", input=done.stdout)
    assert again.stdout == net.read_bytes()
    npz = start("dcconvert", net, "-o", "-", "--to", "npz", "-q")
    assert npz.stdout.startswith(b"PK")
    assert npz.stderr == b""


def test_json_goes_to_standard_error_where_standard_output_is_the_file(
    start: Any, net: Path
) -> None:
    done = start("dcconvert", net, "-o", "-", "--json")
    assert json.loads(done.stderr)["files"][0]["stored_bytes"] == len(done.stdout)


def test_a_recipe_file_decides_and_options_win(run: Any, net: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'version = 1\n[defaults]\npreset = "deep"\nbits = 3\n'
        '[[layer]]\nmatch = "fc.*"\nmethod = "exact"\n'
    )
    answer = parsed(run, net, "-o", tmp_path / "a.dcf", "--recipe", recipe)
    done = {line["name"]: line["done"] for line in answer["files"][0]["tensor_lines"]}
    assert done["fc.weight"] == "exact"
    assert done["conv1.weight"].startswith("codebook")
    assert answer["settings"].startswith("deep: lossy")
    assert "1 rule for single layers" in answer["settings"]
    answer = parsed(run, net, "-o", tmp_path / "b.dcf", "--recipe", recipe, "--bits", "2")
    assert answer["settings"].startswith("deep: lossy, weights in 2-bit codebooks, 1 rule")


def test_encoder_options_reach_the_encoder(run: Any, net: Path, tmp_path: Path) -> None:
    sizes = {}
    for option in ("--target=mcu", "--target=host", "--row-access", "--prefer=speed", "--jobs=2"):
        out = tmp_path / f"{option[2:].replace('=', '_')}.dcf"
        assert run("dcconvert", net, "-o", out, "--prune=0.6", option).exit_code == 0
        sizes[option] = out.read_bytes()
    assert sizes["--jobs=2"] == sizes["--target=mcu"]
    assert sizes["--row-access"] != sizes["--target=mcu"]


@pytest.mark.parametrize("name", ["a.dcf", "a.c"])
def test_row_access_says_what_it_costs(run: Any, net: Path, tmp_path: Path, name: str) -> None:
    out, options = tmp_path / name, ("--preset=deep", "--prune=0.6")
    (plain,) = parsed(run, net, "-o", out, *options)["files"]
    assert plain["row_access_bytes"] is None
    (by_rows,) = parsed(run, net, "-o", out, *options, "--row-access")["files"]
    cost = by_rows["row_access_bytes"]
    assert cost == by_rows["stored_bytes"] - plain["stored_bytes"] > 0
    said = run("dcconvert", net, "-o", out, *options, "--row-access")
    assert f"rows alone     +{cost:,} bytes (" in said.stdout


def test_help_and_version_end_with_0(run: Any) -> None:
    for option in ("-h", "--help", "--version"):
        result = run("dcconvert", option)
        assert result.exit_code == 0
        assert "dcconvert" in result.stdout


def test_every_option_has_help() -> None:
    assert [p.name for p in main.params if not getattr(p, "help", None)] == ["inputs"]


@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_the_digits_model_goes_there_and_back(
    run: Any, digits: Path, tmp_path: Path, preset: str
) -> None:
    there, back = tmp_path / "digits.dcf", tmp_path / "digits.onnx"
    source = digits / "digits.onnx"
    answer = parsed(run, source, "-o", there, "--preset", preset)
    assert answer["files"][0]["stored_bytes"] < source.stat().st_size
    assert run("dcconvert", there, "-o", back).exit_code == 0
    assert (back.read_bytes() == source.read_bytes()) == (preset == "lossless")
