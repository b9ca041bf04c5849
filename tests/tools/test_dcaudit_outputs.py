"""dcaudit: comparisons, budgets, other models, Markdown and CSV; errors that name their file."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_documents import asked
from command_nets import make_net
from conftest import ROOT
from handmade import fix_crcs
from tflite_files import dense

from dcformat.tools._audit_markdown import escaped
from dcformat.tools._audit_text import Column, lines

pytest_plugins = ["command_fixtures"]


@pytest.fixture
def pair(run: Any, net: Path) -> tuple[Path, Path]:
    """The network as int8.dcf and as deep.dcf."""
    made = net.with_name("int8.dcf"), net.with_name("deep.dcf")
    assert run("dcconvert", net, "-o", made[0], "-q").exit_code == 0
    assert run("dcconvert", net, "-o", made[1], "-q", "--preset", "deep").exit_code == 0
    return made


def test_a_baseline_shows_what_changed(run: Any, pair: tuple[Path, Path]) -> None:
    old, new = pair
    diff = asked(run, new, "--baseline", old)["diff"]
    change = new.stat().st_size - old.stat().st_size
    assert (diff["bytes"], diff["baseline"]["bytes"]) == (change, old.stat().st_size)
    total = sum(row["change"] for row in [*diff["rows"], *diff["frame"]])
    assert total == change != 0
    text = run("dcaudit", new, "--baseline", old).stdout
    assert f"changes against {old}: {change:+,} B of {old.stat().st_size:,} B" in text


def test_no_change_is_said(run: Any, pair: tuple[Path, Path]) -> None:
    text = run("dcaudit", pair[0], "--baseline", pair[0]).stdout
    size = pair[0].stat().st_size
    assert text.endswith(f"changes against {pair[0]}: +0 B of {size:,} B: none\n")


def test_a_baseline_may_be_what_json_printed(run: Any, pair: tuple[Path, Path]) -> None:
    old, new = pair
    kept = old.with_suffix(".json")
    kept.write_text(run("dcaudit", old, "--json").stdout)
    from_json, from_dcf = (asked(run, new, "--baseline", b)["diff"] for b in (kept, old))
    for diff in (from_json, from_dcf):
        del diff["baseline"]["name"]
    assert from_json == from_dcf


def test_both_sides_have_shared_tables_in_one_place(
    run: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Moved from the frame to tensors they would look like changes, and there are none."""
    path = pair[1]
    plain, split = tmp_path / "plain.json", tmp_path / "split.json"
    plain.write_text(run("dcaudit", path, "--json").stdout)
    split.write_text(run("dcaudit", path, "--json", "--split-shared").stdout)
    assert asked(run, path, "--baseline", plain)["diff"]["rows"] == []
    assert asked(run, path, "--baseline", split, "--split-shared")["diff"]["rows"] == []
    same = "give both sides the same"
    assert fails(run, path, "--baseline", split) == f"{split}: was made with --split-shared: {same}"
    line = fails(run, path, "--baseline", plain, "--split-shared")
    assert line == f"{plain}: was made without --split-shared: {same}"
    old = json.loads(plain.read_text()) | {"schema": "1.1"}
    del old["split_shared"]
    old["frame"][0] |= {"table": 0, "users": ["a", "b"]}
    plain.write_text(json.dumps(old))
    assert fails(run, path, "--baseline", plain, "--split-shared") == line
    assert asked(run, path, "--baseline", plain)["diff"]["rows"] == []


def test_renamed_layers_are_called_so(run: Any, pair: tuple[Path, Path]) -> None:
    old, _ = pair
    renamed = old.with_name("renamed.onnx")
    renamed.write_bytes(make_net("body.weight").SerializeToString())
    file = renamed.with_suffix(".dcf")
    run("dcconvert", renamed, "-o", file, "-q")
    rows = asked(run, file, "--baseline", old)["diff"]["rows"]
    assert [(row["name"], row["was"], row["how"]) for row in rows] == [
        ("body.weight", "conv1.weight", "content")
    ]
    assert "body.weight (was conv1.weight)" in run("dcaudit", file, "--baseline", old).stdout


def fails(run: Any, *arguments: object) -> str:
    """Return the one line on standard error of a command that ends with 1."""
    result = run("dcaudit", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return str(line).removeprefix("dcaudit: ")


def test_what_is_no_baseline_is_one_line_that_names_it(
    run: Any, net: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    _, new = pair
    other = tmp_path / "other"

    def says(content: bytes) -> str:
        other.write_bytes(content)
        return fails(run, new, "--baseline", other).removeprefix(f"{other}: ")

    neither = "a baseline is a .dcf, or what dcaudit --json printed of one; this is neither"
    assert says(net.read_bytes()) == neither
    assert says(b"") == neither
    assert says(b"{").startswith("not valid: ")
    assert says(b"{}") == "JSON, but not of dcaudit --json"
    assert says(b'{"command": "dcaudit"}') == "says no version of its schema"
    newer = json.loads(run("dcaudit", new, "--json").stdout)
    assert says(json.dumps({**newer, "schema": "1.3"}).encode()) == (
        "schema 1.3; this dcaudit knows 1.2"
    )
    assert says(json.dumps({**newer, "schema": "2.0"}).encode()) == (
        "schema 2.0; this dcaudit knows 1.2"
    )
    del newer["tensors"][0]
    assert says(json.dumps(newer).encode()) == "its rows do not sum to its file"
    newer["tensors"][0]["purposes"] = {"symbols": -1}
    assert says(json.dumps(newer).encode()).startswith("not a whole document of dcaudit: ")
    failure = {
        "command": "dcaudit",
        "version": "",
        "schema": "1.0",
        "status": "error",
        "error": "e",
    }
    assert says(json.dumps(failure).encode()) == "holds no audit, but an error: e"
    assert fails(run, new, "--baseline", tmp_path / "none").endswith("No such file or directory")


def test_a_file_of_a_newer_minor_version_is_named(run: Any, pair: tuple[Path, Path]) -> None:
    old, new = pair
    data = bytearray(old.read_bytes())
    data[10] = 2
    old.write_bytes(fix_crcs(bytes(data)))
    reason = "header: version 0.2; this reader knows 0.1"
    assert fails(run, new, "--baseline", old) == f"{old}: {reason}"
    assert fails(run, old) == f"{old}: {reason}"


def test_wrong_files_are_one_line(run: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, new = pair
    (tmp_path / "empty.dcf").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("hello, world")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    for name in ("empty.dcf", "text.onnx", "image.png", "none.dcf", "none.onnx"):
        assert fails(run, tmp_path / name).startswith(f"{tmp_path / name}: ")
    line = fails(run, new, "--against", tmp_path / "text.onnx")
    assert line.startswith(f"{tmp_path / 'text.onnx'}: ")
    assert fails(run, new, "--budget", tmp_path / "none.toml").startswith(str(tmp_path))


def test_a_source_that_has_other_tensors_is_said(
    run: Any, net: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Else a comparison with the wrong model would look like one that found nothing."""
    some = tmp_path / "some.onnx"
    some.write_bytes(make_net("body.weight").SerializeToString())
    result = run("dcaudit", pair[0], "--against", some)
    line = f"{some}: nothing to compare with 1 tensor of the file, such as conv1.weight"
    assert (result.exit_code, result.stderr) == (0, f"dcaudit: {line}\n")
    other = tmp_path / "other.tflite"
    other.write_bytes(dense())
    assert fails(run, pair[0], "--against", other) == (
        f"{other}: no tensor in it has name, type and shape of one of the file"
    )
    assert run("dcaudit", pair[0], "--against", net).stderr == ""


def test_powers_of_two_are_called_so(run: Any, net: Path) -> None:
    """Their numbers are bytes, but no integers."""
    recipe, path = net.with_name("pow2.toml"), net.with_name("pow2.dcf")
    recipe.write_text('version = 1\n[defaults]\nmethod = "pow2"\n')
    assert run("dcconvert", net, "-o", path, "--recipe", recipe, "-q").exit_code == 0
    assert "dense pow2 huffman" in run("dcaudit", path).stdout


def test_a_budget_ends_with_1_and_says_what_to_do(run: Any, pair: tuple[Path, Path]) -> None:
    old, _ = pair
    size = old.stat().st_size
    doc = asked(run, old, "--budget", size)
    assert (doc["status"], doc["budget"]["ok"]) == ("ok", True)
    doc = asked(run, old, "--budget", size - 1, status=1)
    (limit,) = doc["budget"]["limits"]
    assert (doc["status"], limit["over"]) == ("failed", 1)
    result = run("dcaudit", old, "--budget", size - 1)
    assert result.exit_code == 1
    assert "most is fc.weight" in result.stdout
    quiet = run("dcaudit", old, "--budget", size - 1, "-q")
    assert (quiet.exit_code, quiet.stdout) == (1, "")
    assert quiet.stderr.startswith(f"dcaudit: {old}: over budget: file: {size:,} B where ")


def test_a_budget_file_has_limits_of_all_kinds(run: Any, pair: tuple[Path, Path]) -> None:
    old, new = pair
    budget = old.with_name("budget.toml")
    budget.write_text(
        'version = 1\n[file]\nmost = "1MiB"\ngrowth = "1000%"\n'
        '[[layer]]\nmatch = "conv1"\nmost = 1\n[[purpose]]\nname = "graph"\nmost = 1\n'
    )
    doc = asked(run, new, "--baseline", old, "--budget", budget, status=1)
    assert [(row["what"], row["ok"]) for row in doc["budget"]["limits"]] == [
        ("file", True),
        ("growth of file", True),
        ("layer conv1", False),
        ("purpose graph", False),
    ]
    assert "wants --baseline" in fails(run, new, "--budget", budget)


def test_what_is_neither_size_nor_toml_is_wrong_usage(run: Any, pair: tuple[Path, Path]) -> None:
    result = run("dcaudit", pair[0], "--budget", "much")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "neither a size like 200KiB nor a .toml" in result.stderr


def test_another_model_is_estimated_by_the_encoder(
    run: Any, net: Path, pair: tuple[Path, Path]
) -> None:
    for path, preset in zip(pair, ("int8", "deep"), strict=True):
        doc = asked(run, net, "--preset", preset)
        assert doc["file"]["bytes"] == path.stat().st_size
        assert doc["source"]["bytes"] == net.stat().st_size
        assert (doc["source"]["format"], doc["source"]["packed_bytes"]) == ("onnx", 4 * 1754)
        assert doc["estimate"]["preset"] == preset
        assert any(row["largest_error"] for row in doc["tensors"])
    assert "an estimate: what dcconvert --preset int8 makes of it" in run("dcaudit", net).stdout
    assert sorted(p.name for p in net.parent.iterdir()) == ["deep.dcf", "int8.dcf", "net.onnx"]


def test_kinds_are_told_by_name_by_content_or_by_from(
    run: Any, net: Path, pair: tuple[Path, Path]
) -> None:
    renamed = net.with_name("file.bin")
    shutil.copy(pair[0], renamed)
    assert asked(run, renamed)["source"] is None
    doc = json.loads(run("dcaudit", "-", "--from", "onnx", "--json", stdin=net.read_bytes()).stdout)
    assert (doc["source"]["name"], doc["file"]["name"]) == ("-", "stdin.dcf")
    result = run("dcaudit", pair[0], "--preset", "deep")
    assert (result.exit_code, "--preset is for models" in result.stderr) == (2, True)


def test_csv_sums_to_the_file(run: Any, pair: tuple[Path, Path]) -> None:
    result = run("dcaudit", pair[1], "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert sum(int(row["bytes"]) for row in rows) == pair[1].stat().st_size
    conv = next(row for row in rows if row["name"] == "conv1.weight")
    assert (conv["kind"], conv["shape"], conv["op"]) == ("tensor", "16x2x3x3", "Conv")
    columns = list(rows[0])
    purposes = columns[columns.index("symbols") :]
    for row in rows:
        assert sum(int(row[purpose]) for purpose in purposes) == int(row["bytes"])


def test_markdown_has_budget_changes_and_tables(run: Any, pair: tuple[Path, Path]) -> None:
    old, new = pair
    out = old.with_name("comment.md")
    result = run("dcaudit", new, "--baseline", old, "--budget", "100", "--markdown", out)
    assert result.exit_code == 1
    text = out.read_text()
    assert text.startswith("### ")
    assert text.endswith("</details>\n")
    assert "| OVER | file |" in text
    assert f"{new.stat().st_size:,} B where 100 B are allowed" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count(" | ") for line in rows if "fc.weight" in line} != {0}


def test_names_cannot_leave_their_cell_of_markdown() -> None:
    assert escaped("a|b`<img>*_[x](y)") == r"a\|b\`\<img\>\*\_\[x\](y)"


@pytest.mark.parametrize("output", ["--csv", "--markdown"])
def test_hostile_names_stay_in_their_line(run: Any, net: Path, output: str) -> None:
    net.write_bytes(make_net("=x\n|\x1b[31m<b>\u202e").SerializeToString())
    text = run("dcaudit", net, output, "-").stdout
    assert not {"\x1b", "\u202e"} & set(text)
    assert "\\x1b" in text.replace("\\\\", "\\")
    if output == "--csv":
        (row,) = [r for r in csv.DictReader(io.StringIO(text)) if "x1b" in r["name"]]
        assert row["name"].startswith("'=x\\x0a|")


def test_one_output_can_be_printed(run: Any, pair: tuple[Path, Path]) -> None:
    assert run("dcaudit", pair[0], "--csv", "-", "--markdown", "-").exit_code == 2
    assert run("dcaudit", pair[0], "--csv", "-", "--json").exit_code == 2
    assert fails(run, pair[0], "--csv", pair[0].parent / "no" / "x.csv")


def test_the_limits_are_those_of_the_registry(run: Any) -> None:
    result = run("dcaudit", "--limits")
    assert result.exit_code == 0
    found = dict(line.split() for line in result.stdout.splitlines())
    table = (ROOT / "spec" / "registry.md").read_text().split("## Limits")[1].split("## ")[0]
    stated = re.findall(r"^\| (\w+) \| (\d+) \|", table, re.MULTILINE)
    assert found == {name: f"{int(value):,}" for name, value in stated}


def test_a_table_folds_to_a_width() -> None:
    columns = [Column("name", right=False), Column("bytes"), Column("more", 1), Column("least", 2)]
    rows = [["a_rather_long_name.weight", "12,345", "1", "2"], ["b", "7", "x", ""]]
    whole = lines(columns, rows, None)
    assert whole[1] == "a_rather_long_name.weight  12,345     1      2"
    narrow = lines(columns, rows, 40)
    assert narrow[1] == "a_rather_long_name.weight  12,345     1"
    least = lines(columns, rows, 24)
    assert least[1] == "a_rather….weight  12,345"
    assert max(map(len, least)) <= 24


def test_compute_is_counted_where_there_is_a_graph(run: Any, pair: tuple[Path, Path]) -> None:
    """A 3x3 convolution of 2 channels to 16 on 5x5: 3x3 places; a dense layer 144 to 10."""
    doc = asked(run, pair[0])
    found = {row["name"]: row["macs"] for row in doc["compute"]["layers"] if row["macs"]}
    assert found == {"conv1": 3 * 3 * 16 * 2 * 3 * 3, "fc": 1440}
    assert doc["compute"]["macs"] == 4032
    text = run("dcaudit", pair[0]).stdout
    assert "compute: 4,032 MACs" in text
    assert "conv1  Conv  2,592  64.3 %" in text
    two = asked(run, pair[0], "--shape", "x=2,2,5,5")["compute"]
    assert two["macs"] == 8064


def test_a_shape_that_does_not_fit_is_one_line(
    run: Any, net: Path, pair: tuple[Path, Path]
) -> None:
    assert fails(run, pair[0], "--shape", "x=2,many").startswith(f"{pair[0]}: ")
    bare = net.with_name("bare.dcf")
    run("dcconvert", pair[0], "-o", bare, "--no-graph", "-q")
    assert asked(run, bare)["compute"] is None
    assert "ONNX graph" in fails(run, bare, "--shape", "x=1,2,5,5")


def test_csv_has_multiplications_beside_the_weight(run: Any, pair: tuple[Path, Path]) -> None:
    text = run("dcaudit", pair[0], "--csv", "-").stdout
    found = {row["name"]: row["macs"] for row in csv.DictReader(io.StringIO(text)) if row["macs"]}
    assert found == {"conv1.weight": "2592", "fc.weight": "1440"}


def test_html_is_one_page(run: Any, pair: tuple[Path, Path]) -> None:
    out = pair[0].with_name("page.html")
    assert run("dcaudit", pair[1], "--baseline", pair[0], "--html", out, "-q").exit_code == 0
    page = out.read_text()
    assert page.startswith("<!doctype html>"[:9])
    assert "fc.weight" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")


def test_markdown_has_compute(run: Any, pair: tuple[Path, Path]) -> None:
    text = run("dcaudit", pair[0], "--markdown", "-").stdout
    assert "| conv1 | Conv | 2,592 | 64.3 % |" in text


def test_calib_runs_the_model_and_looks_at_activations(
    run: Any, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    calib = tmp_path / "calib.npz"
    np.savez(calib, x=np.random.default_rng(1).standard_normal((6, 2, 5, 5)).astype("f4"))
    found = asked(run, pair[0], "--calib", calib)["activations"]
    relu = next(row for row in found["layers"] if row["op"] == "Relu")
    assert (found["samples"], relu["elements"], relu["low"]) == (6, 6 * 144, 0)
    assert 0.2 < relu["zero_share"] < 0.8
    result = run("dcaudit", pair[0], "--calib", calib, "--markdown", tmp_path / "x.md")
    assert "activations of 6 samples" in result.stdout
    assert "activations of 6 samples" in (tmp_path / "x.md").read_text()
    assert fails(run, pair[0], "--calib", tmp_path / "no.npz").startswith(str(tmp_path / "no.npz"))
    bare = tmp_path / "bare.dcf"
    run("dcconvert", pair[0], "-o", bare, "--no-graph", "-q")
    assert fails(run, bare, "--calib", calib) == (
        f"{bare}: --calib runs the graph, and there is none"
    )
