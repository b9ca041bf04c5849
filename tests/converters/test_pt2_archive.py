"""Archives of torch.export without PyTorch: weights to the bit, and one line for what is wrong."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pt2_files import TYPES, edited, entry, members, meta, program, weights, write

import dcformat
from dcformat.converters import pt2_checks, torch_export
from dcformat.errors import ConvertError, DcfError
from dcformat.ids import DType
from dcformat.model import Model

PROGRAM, TABLE = "models/model.json", "data/weights/model_weights_config.json"


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where PyTorch is not installed: no test of this file takes seconds, nor needs it."""
    monkeypatch.setattr(torch_export, "missing", lambda: "torch")


def read(folder: Path, **changed: bytes | None) -> Model:
    """Read the archive with members replaced, or left out where None; `__` stands for nothing."""
    files = {**members(), **{k: v for k, v in changed.items() if v is not None}}
    for name, data in changed.items():
        if data is None:
            del files[name]
    return dcformat.read(write(folder / "m.pt2", files))


def test_weights_come_with_their_bits(tmp_path: Path) -> None:
    model, wanted = read(tmp_path), weights()
    wanted["tied.weight"] = wanted["fc.weight"]
    wanted["turned"] = np.ascontiguousarray(wanted["fc.weight"].T)
    wanted["row"] = wanted["fc.weight"][2]
    assert [t.name for t in model.tensors] == list(wanted)
    for tensor in model.tensors:
        assert tensor.dtype is TYPES.get(tensor.name, DType.FLOAT)
        assert tensor.shape == wanted[tensor.name].shape
        assert tensor.data.tobytes() == wanted[tensor.name].tobytes()
    assert model.ties == {"tied.weight": "fc.weight"}
    assert model.source.format == "pt2"
    assert model.graph is None


def test_without_torch_the_graph_is_missed_and_the_way_out_said(tmp_path: Path) -> None:
    model = read(tmp_path)
    assert model.notes == ("no graph: torch is not installed: pip install 'dcformat[torch]'",)
    with pytest.raises(ConvertError, match=r"has no graph .*pip install 'dcformat\[torch\]'"):
        dcformat.write(model, tmp_path / "m.onnx")
    dcformat.save(dcformat.compress(model, "int8"), tmp_path / "m.dcf")
    report = dcformat.verify(tmp_path / "m.dcf", against=tmp_path / "m.pt2")
    assert report.ok


def test_without_torch_for_real(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt2", members())
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'torch' else find(n, *a)\n"
        "sys.modules['torch'] = sys.modules['onnxscript'] = None\n"
        "from dcformat.tools.dcconvert import main\n"
        f"main([{str(path)!r}, '-o', {str(tmp_path / 'm.dcf')!r}])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "no graph: torch is not installed: pip install 'dcformat[torch]'" in run.stdout
    assert "weight of 3 to 5 axes: convolution, OIHW (1)" in run.stdout
    assert "weight of 2 axes: dense, OI (2)" in run.stdout


def test_what_was_assumed_is_in_the_json(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt2", members())
    command = ["-m", "dcformat.tools.dcconvert", path, "-o", tmp_path / "m.dcf", "--json"]
    environment = {"PYTHONPATH": str(_without_torch(tmp_path))}
    run = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, env=environment
    )
    (file,) = json.loads(run.stdout)["files"]
    assert file["assumed"] == {
        "weight of 2 axes: dense, OI": 2,
        "weight of 3 to 5 axes: convolution, OIHW": 1,
        "no rule: left as it is": 5,
    }


def _without_torch(folder: Path) -> Path:
    """Return a folder for the path in which a module of torch cannot be found."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'torch' else find(n, *a)\n"
    )
    return site


def test_numbers_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    data = np.arange(1 << 15, dtype="<f4").reshape(128, 256)
    table = json.dumps({"config": {"big": entry("w", meta(DType.FLOAT, data.shape))}}).encode()
    model = read(tmp_path, **{TABLE: table, "data/weights/w": data.tobytes()})
    np.testing.assert_array_equal(model["big"].piece((slice(3, 5), slice(7, 9))), data[3:5, 7:9])
    with (tmp_path / "m.pt2").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ConvertError, match="has changed"):
        model["big"].data  # noqa: B018


def _meta(**changed: Any) -> Callable[[Any], None]:
    return lambda table: table["config"]["fc.weight"]["tensor_meta"].update(changed)


def _entry(**changed: Any) -> Callable[[Any], None]:
    return lambda table: table["config"]["fc.weight"].update(changed)


SIZES = [{"as_int": 24}, {"as_int": 40}]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (_meta(sizes=[{"as_int": 24}, {"as_int": 41}]), "ends behind the 960 elements"),
        (_meta(sizes=[{"as_int": 1 << 40}, {"as_int": 40}]), "its shape is impossible"),
        (_meta(sizes=[{"as_int": -1}, {"as_int": 40}]), "its sizes are no sizes"),
        (_meta(sizes=[{"as_int": 1}] * 9, strides=[{"as_int": 1}] * 9), "9 axes, more than 8"),
        (_meta(sizes=[{"as_expr": {"expr_str": "s0"}}] * 2), "its sizes are no sizes"),
        (_meta(sizes=3), "list '3' is refused"),
        (_meta(sizes=[{"as_int": True}] * 2), "number 'True' is refused"),
        (_meta(strides=[{"as_int": 1 << 60}, {"as_int": 1}]), "ends behind"),
        (_meta(strides=[{"as_int": -40}, {"as_int": 1}]), "its strides are no sizes"),
        (_meta(strides=SIZES[:1]), "2 axes and 1 strides"),
        (_meta(storage_offset={"as_int": 1}), "ends behind the 960 elements"),
        (_meta(dtype=9), "no tensors of type 9"),
        (_meta(dtype=[7]), r"number '\[7\]' is refused"),
        (_meta(dtype=8, sizes=[{"as_int": 480}], strides=[{"as_int": 2}]), "ends behind the 480"),
        (_meta(layout=1), "layout 1"),
        (_entry(use_pickle=True), "a pickled object, which is code"),
        (_entry(tensor_meta=None), "a pickled object, which is code"),
        (_entry(path_name="../../../etc/passwd"), "path '../../../etc/passwd' is refused"),
        (_entry(path_name="weight_99"), "has no member 'net/data/weights/weight_99'"),
        (_entry(path_name=".."), r"has no member 'net/data/weights/\.\.'"),
        (_entry(path_name=7), "path '7' is refused"),
        (lambda table: table["config"].update({"": table["config"]["half"]}), "name is empty"),
        (lambda table: table["config"].update({"a\0": table["config"]["half"]}), "a NUL"),
        (lambda table: table["config"].update({"\ud800": table["config"]["half"]}), "not UTF-8"),
        (lambda table: table.update(config=[]), "is refused"),
        (lambda table: table["config"].update(half=[]), "is refused"),
    ],
)
def test_a_lying_table_is_an_error_of_one_line(
    tmp_path: Path, edit: Callable[[Any], None], problem: str
) -> None:
    with pytest.raises(ConvertError, match=problem) as error:
        read(tmp_path, **{TABLE: edited(members()[TABLE], edit)})
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "m.pt2"))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({TABLE: b"\xff\xfe"}, "not UTF-8"),
        ({TABLE: b"[" * 100_000}, "nested too deeply"),
        ({TABLE: b'{"config": {"a": 1, "a": 1}}'}, "stands in it twice"),
        ({TABLE: None}, "has no member"),
        ({PROGRAM: None}, "did not write: it has no models"),
        ({PROGRAM: b"{"}, r"models/model\.json: not valid"),
        ({"byteorder": b"big"}, "not little-endian"),
        ({PROGRAM: None, "data/aotinductor/model/x.so": b""}, "a compiled package"),
        ({PROGRAM: None, "models/a.json": b"{}", "models/b.json": b"{}"}, "it holds 2 programs"),
        ({"data/weights/../x": b""}, "it leaves the archive"),
    ],
)
def test_a_wrong_archive_is_an_error_of_one_line(
    tmp_path: Path, changed: dict[str, bytes | None], problem: str
) -> None:
    with pytest.raises(ConvertError, match=problem) as error:
        read(tmp_path, **changed)
    assert "\n" not in str(error.value)


def test_weights_may_be_compressed_and_tables_not(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members().items():
            how = zipfile.ZIP_STORED if name.endswith(".json") else zipfile.ZIP_DEFLATED
            archive.writestr("net/" + name, data, how)
    model = dcformat.read(path)
    assert model["fc.weight"].data.tobytes() == weights()["fc.weight"].tobytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members().items():
            archive.writestr("net/" + name, data)
    with pytest.raises(ConvertError, match=r"model_weights_config\.json: it is compressed"):
        dcformat.read(path)


def test_custom_objects_are_refused_and_not_unpickled(tmp_path: Path) -> None:
    table = json.dumps({"config": {"thing": entry("custom_obj_0", None, True)}}).encode()
    name = "data/constants/model_constants_config.json"
    with pytest.raises(ConvertError, match="tensor 'thing': it is a pickled object"):
        read(tmp_path, **{name: table, "data/constants/custom_obj_0": b"cos\nsystem\n."})


def test_a_name_that_is_weight_and_constant_is_refused(tmp_path: Path) -> None:
    table = json.dumps({"config": {"half": json.loads(members()[TABLE])["config"]["half"]}})
    name = "data/constants/model_constants_config.json"
    data = {name: table.encode(), "data/constants/weight_2": members()["data/weights/weight_2"]}
    with pytest.raises(ConvertError, match="tensor 'half' is there twice"):
        read(tmp_path, **data)


def node(**changed: Any) -> Callable[[Any], None]:
    return lambda found: found["graph_module"]["graph"]["nodes"][0].update(changed)


def size(text: Any) -> Callable[[Any], None]:
    def edit(found: Any) -> None:
        values = found["graph_module"]["graph"]["tensor_values"]["x"]
        values["sizes"][0] = {"as_expr": {"expr_str": text, "hint": None}}

    return edit


def called(kind: str) -> Callable[[Any], None]:
    def edit(found: Any) -> None:
        call = found["graph_module"]["module_call_graph"][0]["signature"]
        call["in_spec"] = call["in_spec"].replace("builtins.dict", kind)

    return edit


HOSTILE: dict[str, Callable[[Any], None]] = {
    "expression": size("__import__('os').system('false')"),
    "expression with a dot": size("s0.name"),
    "expression with a power": size("9**9**9**9"),
    "expression without end": size("s0+" * 1000),
    "expression of a wrong type": size(["s0"]),
    "expression that is too deep": size("-" * 3000 + "1"),
    "expression of depth": size("Add(" * 900 + "1" + ")" * 900),
    "expression with a NUL": size("s0\0"),
    "expression with a tower": size("Pow(Integer(9), Pow(Integer(9), Integer(9)))"),
    "expression with a high power": size("Pow(Integer(9), Integer(99))"),
    "expression with powers of powers": size("Pow(Pow(Integer(9), Integer(8)), Integer(8))"),
    "expression with a long number": size("1" * 3000),
    "expression with a text": size("Integer('os')"),
    "expression that calls a result": size("Max(1)(2)"),
    "expression that calls an index": size("Max[0](2)"),
    "expression with a comprehension": size("Max(*[s0 for s0 in s0])"),
    "expression with a lambda": size("(lambda: 1)()"),
    "expression with a walrus": size("(s0 := 1)"),
    "expression of an unknown function": size("Function('f')"),
    "expression of a symbol with code": size("Symbol('os.system')"),
    "expression of a symbol with a cause": size("Symbol('s0', commutative=print('x'))"),
    "expression of a symbol with a star": size("Symbol('s0', **{})"),
    "operator of torch": node(target="torch.os.system"),
    "operator that opens files": node(target="torch.ops.aten.from_file.default"),
    "operator of operator": node(target="_operator.methodcaller"),
    "operator with underscores": node(target="torch.ops.aten.__class__.mro"),
    "operator of a higher order": node(target="torch.ops.higher_order.call_torchbind"),
    "operator of an extension": node(target="#triton:kernel"),
    "name with code": node(name='x=__import__("os").system("false")'),
    "name with a newline": node(name="add\n"),
    "operator as an argument": node(inputs=[{"name": "", "arg": {"as_operator": "torch.load"}}]),
    "custom object": node(inputs=[{"name": "x", "arg": {"as_custom_obj": {"name": "x"}}}]),
    "two kinds of argument": node(inputs=[{"name": "x", "arg": {"as_int": 1, "as_none": True}}]),
    "class of arguments": called("os.system"),
    "class that is no text": called("\ud800"),
    "another schema": lambda found: found["schema_version"].update(major=9),
    "custom objects": lambda found: found["graph_module"]["graph"].update(
        custom_obj_values={"x": {"name": "x", "class_fqn": "y"}}
    ),
    "range of what is no symbol": lambda found: found.update(
        range_constraints={"__import__": {"min_val": 0, "max_val": 1}}
    ),
    "list": lambda found: found.update(graph_module=[]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_could_run_code_is_not_handed_to_pytorch(what: str) -> None:
    found = program()
    HOSTILE[what](found)
    with pytest.raises(ConvertError) as error:
        pt2_checks.checked(json.loads(json.dumps(found)))
    assert "\n" not in str(error.value)


S7 = "Symbol('s7', positive=True, integer=True)"


@pytest.mark.parametrize(
    "text",
    [
        "s0",
        "2*s0 + 1",
        S7,
        f"Mul(Integer(4), Max(Integer(1), Add(FloorDiv({S7}, Integer(2)), Integer(-3))))",
        f"Pow({S7}, Integer(2))",
        f"And(GreaterThan({S7}, Integer(2)), Unequality({S7}, Integer(7)))",
    ],
)
def test_expressions_of_sizes_are_taken(text: str) -> None:
    found = program()
    size(text)(found)
    kept = pt2_checks.checked(found)["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]
    assert kept["as_expr"]["expr_str"] == text


def test_what_is_not_needed_is_not_kept() -> None:
    found = program()
    found["guards_code"] = ["__import__('os').system('false')"]
    found["unknown"] = "x"
    kept = pt2_checks.checked(found)
    assert kept["guards_code"] == []
    assert "unknown" not in kept
    graph = kept["graph_module"]["graph"]
    assert graph["nodes"][0]["metadata"] == {}
    assert graph["tensor_values"]["x"]["device"] == {"type": "cpu", "index": None}
    assert [call["fqn"] for call in kept["graph_module"]["module_call_graph"]] == [""]


def damaged(rng: random.Random, path: Path) -> bytes:
    """Return the archive with some bytes changed, cut, repeated or moved."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(data))
        how = rng.randrange(5)
        if how == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif how == 2:
            del data[place : place + rng.choice((1, 4, 30))]
        elif how == 3:
            data[place:place] = data[place : place + rng.choice((1, 4, 30))]
        else:
            data = data[:place]
        if not data:
            break
    return bytes(data)


def rewritten(rng: random.Random, path: Path) -> bytes:
    """Return an archive with sound CRCs in which the JSON lies somewhere."""
    files = members()
    name = rng.choice((TABLE, TABLE, TABLE, PROGRAM))
    files[name] = edited(files[name], lambda found: _lie(rng, found))
    return write(path.with_name("rewritten.pt2"), files).read_bytes()


LIES = (
    None,
    True,
    -1,
    0,
    1,
    7,
    1 << 31,
    1 << 62,
    1 << 70,
    0.5,
    "",
    "..",
    "x" * 5000,
    [],
    {},
    "\ud800",
)


def _lie(rng: random.Random, found: Any) -> None:
    """Change one value somewhere inside."""
    while True:
        keys = list(found) if isinstance(found, dict) else list(range(len(found)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(found[key], (dict, list)) and found[key] and rng.random() < 0.85:
            found = found[key]
            continue
        if rng.random() < 0.2:
            del found[key]
        else:
            found[key] = rng.choice(LIES)
        return


def _fault(path: Path) -> str:
    """Read an archive whole; return the error, "" where there is none."""
    try:
        model = dcformat.read(path)
        assert sum(t.data.size for t in model.tensors) < 1 << 20
        with zipfile.ZipFile(path) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(PROGRAM)]
            pt2_checks.checked(json.loads(archive.read(name)))
    except DcfError as error:
        return str(error)
    return ""


def _mutate(folder: Path, seeds: range) -> None:
    base = write(folder / "base.pt2", members())
    faults = []
    for seed in seeds:
        rng = random.Random(seed)
        make = rng.choice((damaged, rewritten))
        (folder / "mutant.pt2").write_bytes(make(rng, base))
        faults.append(_fault(folder / "mutant.pt2"))
    assert 0 < faults.count("") < len(seeds) / 2
    assert all("\n" not in fault and len(fault) < 2000 for fault in faults)


def test_damaged_archives_are_errors_of_one_line(tmp_path: Path) -> None:
    _mutate(tmp_path, range(200))


@pytest.mark.slow
def test_two_thousand_damaged_archives(tmp_path: Path) -> None:
    _mutate(tmp_path, range(1000, 3000))
