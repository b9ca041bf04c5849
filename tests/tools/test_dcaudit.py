"""dcaudit: rows that sum to the file, one document for every output, errors in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audit_documents import SCHEMA_FILE, asked, schema
from handmade import fix_crcs
from invalid import whole

from dcformat.audit_report import PURPOSES
from dcformat.tools._audit_json import SCHEMA

pytest_plugins = ["command_fixtures"]

#: What each version of the schema said. A change is a new version: a line more, none less.
SCHEMAS = {
    "1.0": "27cc4439c83c0c22648d62dacb20a30da5e8d261aff700dddaf5d51b8a23876d",
    "1.1": "3bde4e9d436be96b6c2fcf13cf49a0879d98bc65737d80c336c7c9f15cfe3a0e",
    "1.2": "63dd12bfbe730fda0fa119fca464854cd5fd669091c72ffe36c73d11c875e943",
}


@pytest.fixture
def made(run: Any, net: Path) -> Path:
    """The network as net.dcf, int8."""
    path = net.with_suffix(".dcf")
    assert run("dcconvert", net, "-o", path, "-q").exit_code == 0
    return path


def test_the_schema_is_one_and_a_change_is_a_new_version() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    said = json.dumps(schema(), sort_keys=True).encode()
    assert list(SCHEMAS)[-1] == SCHEMA
    assert hashlib.sha256(said).hexdigest() == SCHEMAS[SCHEMA], "a new version, and a line above"
    assert f'"schema": {{"const": "{SCHEMA}"}}' in SCHEMA_FILE.read_text()


def test_the_schema_knows_every_purpose() -> None:
    assert schema()["$defs"]["purpose"]["enum"] == list(PURPOSES)


def test_a_field_that_the_schema_does_not_know_is_refused(run: Any, made: Path) -> None:
    """So that the test above fails when a field changes: objects are closed, fields required."""
    doc = asked(run, made)
    for part in (doc, doc["file"], doc["tensors"][0], doc["layers"][0], doc["totals"]):
        part["more"] = 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(doc, schema()["$defs"]["report"] | {"$defs": schema()["$defs"]})
        del part["more"]
        first = next(iter(part))
        kept = part.pop(first)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(doc, schema()["$defs"]["report"] | {"$defs": schema()["$defs"]})
        part[first] = kept


def test_the_document_sums_to_the_file(run: Any, made: Path) -> None:
    doc = asked(run, made)
    size = made.stat().st_size
    assert doc["file"]["bytes"] == size
    assert sum(row["bytes"] for row in doc["purposes"]) == size
    rest = sum(row["bytes"] for row in doc["frame"])
    assert sum(row["bytes"] for row in doc["tensors"]) + rest == size
    assert sum(row["bytes"] for row in doc["layers"]) + rest == size
    for row in [*doc["tensors"], *doc["layers"]]:
        assert sum(row["purposes"].values()) == row["bytes"]


def test_rows_say_what_the_graph_and_the_numbers_say(run: Any, made: Path, net: Path) -> None:
    rows = {row["name"]: row for row in asked(run, made, "--against", net)["tensors"]}
    conv = rows["conv1.weight"]
    assert (conv["layer"], conv["op"], conv["role"]) == ("conv1", "Conv", "weight")
    assert (conv["shape"], conv["elements"]) == ([16, 2, 3, 3], 288)
    assert (conv["values"], conv["number"]) == ("AFFINE", "INT8")
    assert 0 < conv["rms_error"] <= conv["largest_error"] < 0.05
    assert conv["low"] < 0 < conv["high"]
    assert sum(conv["histogram"]) == 288
    assert rows["fc.bias"]["largest_error"] == 0


def test_an_estimate_has_the_rows_of_its_file(run: Any, made: Path, net: Path) -> None:
    estimate, file = asked(run, net), asked(run, made, "--against", net)
    for part in ("layers", "tensors", "compute"):
        assert estimate[part] == file[part]


def test_layers_are_nodes(run: Any, made: Path) -> None:
    layers = {row["name"]: row["op"] for row in asked(run, made)["layers"]}
    assert layers == {"conv1": "Conv", "fc": "Gemm"}


def test_what_is_printed_has_the_rows(run: Any, made: Path) -> None:
    result = run("dcaudit", made)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{made}: {made.stat().st_size:,} B")
    at = lines.index("tensors, largest first")
    assert lines[at + 2].split()[:3] == ["fc.weight", "Gemm", "10x144"]


def test_standard_input_is_a_file_too(run: Any, made: Path) -> None:
    doc = json.loads(run("dcaudit", "-", "--json", stdin=made.read_bytes()).stdout)
    assert doc == {**asked(run, made), "file": doc["file"]}
    assert doc["file"]["name"] == "-"


def test_damage_is_named_the_rest_is_shown_and_the_end_is_1(run: Any, tmp_path: Path) -> None:
    data = bytearray(whole())
    data[-20] ^= 1  # in tensor b, numbers as they stand
    path = tmp_path / "x.dcf"
    path.write_bytes(fix_crcs(bytes(data)))
    doc = asked(run, path, status=1)
    assert (doc["status"], doc["problems"][0]["place"]) == ("failed", "b")
    assert [row["status"] for row in doc["tensors"]] == ["ok", "damaged", "ok"]
    quiet = run("dcaudit", path, "-q")
    assert quiet.stdout == ""
    assert quiet.stderr.splitlines()[0].startswith(f"dcaudit: {path}: b: ")


def test_a_file_that_cannot_be_opened_is_one_line(run: Any, made: Path) -> None:
    made.write_bytes(made.read_bytes()[:-1])
    result = run("dcaudit", made)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dcaudit: {made}: header: file ends at ")
    result = run("dcaudit", made, "--json")
    doc = json.loads(result.stdout)
    jsonschema.validate(doc, schema())
    assert (doc["status"], doc["error"]) == ("error", line.removeprefix("dcaudit: "))


def completed(start: Any, typed: str) -> list[str]:
    """Return what a shell is told to put in the place of the last word."""
    words = typed.split(" ")
    asks = {
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
        f"_{words[0].upper()}_COMPLETE": "bash_complete",
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in asks.items():
            patch.setenv(key, value)
        done = start(words[0])
    assert done.returncode == 0
    return list(done.stdout.decode().split())


@pytest.mark.parametrize("command", ["dcaudit", "dcconvert", "dcverify"])
def test_shells_are_told_the_options(start: Any, command: str) -> None:
    assert completed(start, f"{command} --vers") == ["plain,--version"]


@pytest.mark.parametrize(
    "typed",
    [
        "dcaudit mod",
        "dcaudit x --baseline mod",
        "dcconvert mod",
        "dcconvert x -o mod",
        "dcverify mod",
    ],
)
def test_shells_are_told_where_files_are_named(start: Any, typed: str) -> None:
    """So that they complete them: told nothing they complete nothing."""
    assert completed(start, typed) == ["file,mod"]
