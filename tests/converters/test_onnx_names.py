"""Names of lifted tensors: the graph's own, unique, and made up only where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import helper
from onnx_models import (
    constant,
    graph,
    identity,
    model_of,
    numbers,
    read_nodes,
    read_proto,
    tensor,
    value,
)

from dcformat.converters import read_onnx


def branch(name: str, *names: str) -> Any:
    nodes = [constant(n, tensor("", numbers(20) + i)) for i, n in enumerate(names)]
    return graph([*nodes, *identity(*names)], [], name, [], [value(names[0], 20)])


def test_equal_names_in_inner_graphs_get_the_path_of_their_graph(tmp_path: Path) -> None:
    unnamed = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("t", "w", "u"), else_branch=branch("e", "w", "v")
    )
    named = helper.make_node(
        "If", ["c"], ["z"], "check", then_branch=branch("t", "w"), else_branch=branch("e", "w", "u")
    )
    main = graph([unnamed, named], [tensor("w", numbers(20))], inputs=[value("c", kind=9)])
    model = read_proto(model_of(main), tmp_path)
    # onnx.helper sorts attributes: else_branch stands first.
    assert [t.name for t in model.tensors] == [
        "If_0/else_branch/w",
        "v",
        "If_0/then_branch/w",
        "u",
        "check/else_branch/w",
        "check/else_branch/u",
        "check/then_branch/w",
        "w",
    ]


def test_made_up_names_do_not_meet_real_ones(tmp_path: Path) -> None:
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "w"))
    initializers = [tensor(n, numbers(20)) for n in ("w", "If_0/then_branch/w")]
    main = graph([node], initializers, inputs=[value("c", kind=9)])
    model = read_proto(model_of(main), tmp_path)
    assert [t.name for t in model.tensors] == [
        "If_0/then_branch/w_2",
        "w",
        "If_0/then_branch/w",
    ]


def test_tensors_in_loops_and_functions_are_lifted(tmp_path: Path) -> None:
    loop = helper.make_node("Loop", ["", "c"], ["y"], "repeat", body=branch("b", "w"))
    function = helper.make_function(
        "local",
        "Scale",
        ["a"],
        ["b"],
        [constant("w", tensor("", numbers(30))), helper.make_node("Mul", ["a", "w"], ["b"])],
        [helper.make_opsetid("", 19)],
    )
    call = helper.make_node("Scale", ["x"], ["s"], domain="local")
    main = graph([loop, call], [tensor("w", numbers(25))])
    model = read_proto(model_of(main, [function]), tmp_path)
    assert [(t.name, t.shape) for t in model.tensors] == [
        ("repeat/body/w", (20,)),
        ("w", (25,)),
        ("Scale/w", (30,)),
    ]


def test_tensors_without_a_usable_name_are_numbered(tmp_path: Path) -> None:
    initializers = [tensor(n, numbers(20)) for n in ("", "a" * 5000, "nul\0", "fine")]
    model = read_nodes([], initializers, tmp_path)
    assert [t.name for t in model.tensors] == [
        "graph/constant_0",
        "graph/constant_1",
        "graph/constant_2",
        "fine",
    ]


def test_any_other_name_is_kept(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/conv/w:0", "ß 文字\n\x1b[31m", "[bold]x"]
    model = read_nodes([], [tensor(n, numbers(20)) for n in names], tmp_path)
    assert [t.name for t in model.tensors] == names


def test_names_that_are_no_text_are_shown_as_escapes(tmp_path: Path) -> None:
    proto = model_of(graph([], [tensor("ab", numbers(20))]))
    data = proto.SerializeToString().replace(b"\x42\x02ab", b"\x42\x02\xff\xfe")
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert [t.name for t in read_onnx.read(path).tensors] == ["\\xff\\xfe"]
