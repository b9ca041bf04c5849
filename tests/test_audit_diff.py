"""What changed between two files: found by name, by content, by shape; and whether it fits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cases import affine, raw, sparse

from dcformat.audit import audit
from dcformat.audit_budget import FILE, LAYER, PURPOSE, Limit, check_budget, read_budget
from dcformat.audit_diff import Diff, Part, Side, compare, side_of
from dcformat.audit_report import Report
from dcformat.byte_sizes import size_of
from dcformat.coded import CodedModel, CodedTensor
from dcformat.encode import encode_model
from dcformat.errors import ConvertError
from dcformat.file import File
from dcformat.ids import DType


def net(seed: int, prefix: str = "", wide: int = 40) -> list[CodedTensor]:
    """Return three weights and a bias; the seed decides the numbers, not the shapes."""
    rng = np.random.default_rng(seed)
    one, none = np.asarray(0.5, "<f4"), np.asarray(0, np.int32)
    shapes = {"conv1": (8, 36), "conv2": (16, 72), "fc": (10, wide)}
    found = [
        affine(f"{prefix}{name}.weight", sparse(rng, shape, 0.3), one, none, None)
        for name, shape in shapes.items()
    ]
    bias = rng.standard_normal(10).astype("<f4")
    return [*found, raw(f"{prefix}fc.bias", bias, DType.FLOAT)]


def report_of(*tensors: CodedTensor) -> Report:
    return audit(File(encode_model(CodedModel(tensors))))


def diff_of(before: list[CodedTensor], after: list[CodedTensor]) -> Diff:
    return compare(side_of(report_of(*before), "old"), side_of(report_of(*after), "new"))


def check_sum(diff: Diff) -> None:
    """All changes together are the change of the file; those of a row its purposes'."""
    total = sum(row.change for row in diff.rows) + sum(row.change for row in diff.frame)
    assert total == diff.bytes
    assert all(sum(row.purposes.values()) == row.change for row in diff.rows)
    sizes = [abs(row.change) for row in diff.rows]
    assert sizes == sorted(sizes, reverse=True)


def test_a_file_against_itself_has_no_changes() -> None:
    diff = diff_of(net(1), net(1))
    assert (diff.bytes, diff.rows, diff.frame) == (0, (), ())


def test_a_grown_layer_is_one_row() -> None:
    diff = diff_of(net(1), net(1, wide=90))
    check_sum(diff)
    (row,) = [row for row in diff.rows if row.name == "fc.weight"]
    assert (row.was, row.how, row.changed_content) == (None, "name", True)
    assert row.change == (row.after or 0) - (row.before or 0) > 0
    assert diff.rows[0] == row


def test_renamed_layers_are_found_by_content() -> None:
    diff = diff_of(net(1), net(1, "body."))
    check_sum(diff)
    found = {row.name: (row.was, row.how, row.changed_content) for row in diff.rows}
    assert found["body.conv2.weight"] == ("conv2.weight", "content", False)
    assert found["body.fc.bias"] == ("fc.bias", "content", False)
    assert len(found) == 4


def test_renamed_and_trained_layers_are_found_by_shape() -> None:
    diff = diff_of(net(1), net(2, "body."))
    check_sum(diff)
    found = {row.name: (row.was, row.how, row.changed_content) for row in diff.rows}
    assert found["body.conv1.weight"] == ("conv1.weight", "shape", True)
    assert found["body.fc.bias"] == ("fc.bias", "shape", True)


def test_of_one_shape_another_number_of_tensors_is_gone_and_new() -> None:
    three = [raw(f"a{i}", np.full(5, i, np.uint8), DType.UINT8) for i in range(3)]
    two = [raw(f"b{i}", np.full(5, 9 + i, np.uint8), DType.UINT8) for i in range(2)]
    diff = diff_of(three, two)
    check_sum(diff)
    assert sorted(row.how for row in diff.rows) == ["gone"] * 3 + ["new"] * 2
    assert {row.changed_content for row in diff.rows} == {None}


def test_tied_tensors_keep_their_names() -> None:
    first = net(1)
    tied = CodedTensor("tied", first[0].dtype, first[0].symbols, first[0].values)
    diff = diff_of(first, [*first, tied])
    check_sum(diff)
    assert [(row.name, row.how, row.purposes) for row in diff.rows] == [
        ("tied", "new", {"record": 12})
    ]


def test_pairing_takes_no_more_than_a_look_at_each_tensor() -> None:
    """Ten times the tensors, ten times the looks: counted where keys are made."""

    def looks(count: int) -> int:
        Counted.looks = 0
        sides = [
            Side(
                name,
                0,
                tuple(Counted(f"{name}{i}", "", None, (i,), "", {}) for i in range(count)),
                {},
            )
            for name in "ab"
        ]
        assert len(compare(*sides).rows) == count
        return Counted.looks

    assert looks(5000) <= 10 * looks(500) * 1.1


class Counted(Part):
    """A part that counts how often it is asked for its shape."""

    looks = 0

    def __getattribute__(self, name: str) -> object:
        if name == "shape":
            Counted.looks += 1
        return super().__getattribute__(name)


# --- budgets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2048", 2048),
        ("200KiB", 204800),
        ("200 kb", 200000),
        ("1.5MiB", 1572864),
        ("0.3KB", 300),
        ("7B", 7),
        ("2GB", 2 * 10**9),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1e3", "12 QB", "1,000", "0x10", "٣", "1" * 99])
def test_what_is_no_size(text: str) -> None:
    assert size_of(text) is None


def test_a_file_may_be_as_large_as_its_budget_and_no_larger() -> None:
    report = report_of(*net(1))
    (exact,) = check_budget([Limit(FILE, most=report.bytes)], report, None)
    assert (exact.ok, exact.over, exact.advice) == (True, 0, "")
    (over,) = check_budget([Limit(FILE, most=report.bytes - 1)], report, None)
    assert (over.ok, over.over) == (False, 1)
    assert "conv2.weight" in over.advice
    assert "--preset deep" in over.advice


@pytest.mark.parametrize(
    ("distinct", "says"),
    [
        (33, "it has 33 different numbers; --preset deep, or a recipe with bits = 5 or prune"),
        (32, "it has 32 different numbers; a recipe with bits = 4 for it, or prune"),
        (15, "it has 15 different numbers; a recipe with bits = 3 for it, or prune"),
        (3, "it has 3 different numbers; a recipe may prune it"),
        (1, "it has 1 different number; a recipe may prune it"),
    ],
)
def test_advice_asks_for_fewer_numbers_than_there_are(distinct: int, says: str) -> None:
    numbers = (np.arange(6600, dtype=np.int64).reshape(66, 100) * 7 % distinct).astype(np.int8)
    one, none = np.asarray(0.5, "<f4"), np.asarray(0, np.int32)
    report = report_of(affine("w", numbers, one, none, None))
    (answer,) = check_budget([Limit(LAYER, "w", 1)], report, None)
    assert says in answer.advice


def test_a_glob_of_layers_is_all_of_them_together() -> None:
    report = report_of(*net(1))
    size = sum(row.bytes for row in report.tensors if row.name.startswith("conv"))
    fits, over = check_budget(
        [Limit(LAYER, "conv*", size), Limit(LAYER, "conv*", size - 1)], report, None
    )
    assert (fits.ok, over.ok, over.bytes) == (True, False, size)


def test_a_glob_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ConvertError, match="matches no tensor"):
        check_budget([Limit(LAYER, "conv9*", 1)], report_of(*net(1)), None)


def test_a_purpose_has_a_limit() -> None:
    report = report_of(*net(1))
    (over,) = check_budget([Limit(PURPOSE, "names", 3)], report, None)
    assert (over.bytes, over.ok) == (report.purposes["names"], False)
    assert "--no-names" in over.advice


def test_growth_is_against_the_baseline() -> None:
    report = report_of(*net(1, wide=90))
    diff = compare(side_of(report_of(*net(1)), "old"), side_of(report, "new"))
    limits = [
        Limit(FILE, growth=diff.bytes),
        Limit(FILE, growth=diff.bytes - 1),
        Limit(LAYER, "fc.*", growth=0),
        Limit(LAYER, "fc.*", growth=10_000),
        Limit(FILE, growth_share=Fraction(1, 100)),
    ]
    answers = check_budget(limits, report, diff)
    assert [answer.ok for answer in answers] == [True, False, False, True, False]
    assert answers[4].limit == diff.baseline.bytes // 100
    assert "fc.weight" in answers[1].advice
    with pytest.raises(ConvertError, match="wants --baseline"):
        check_budget(limits, report, None)


def test_a_tensor_that_is_gone_counts_for_growth() -> None:
    before, after = net(1), net(1)[:2]
    report = report_of(*after)
    diff = compare(side_of(report_of(*before), "old"), side_of(report, "new"))
    (answer,) = check_budget([Limit(LAYER, "fc.*", growth=0)], report, diff)
    assert (answer.ok, answer.bytes < 0) == (True, True)


def written(folder: Path, text: str) -> Path:
    path = folder / "budget.toml"
    path.write_text(text)
    return path


def test_a_budget_file_says_limits(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
version = 1
[file]
most = "200KiB"
growth = "2.5%"
[[layer]]
match = "fc*"
most = 1000
[[purpose]]
name = "graph"
growth = "1KiB"
""",
    )
    assert read_budget(path) == (
        Limit(FILE, "", 204800, None, Fraction(1, 40)),
        Limit(LAYER, "fc*", 1000),
        Limit(PURPOSE, "graph", None, 1024),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected version = 1"),
        ("version = true\n[file]\nmost = 1", "expected version = 1"),
        ("version = 2\n[file]\nmost = 1", "expected version = 1"),
        ("version = 1", "states no limit"),
        ("version = 1\n[files]\nmost = 1", "unknown key 'files'"),
        ("version = 1\n[file]\nmost = -1", "-1 is not a size"),
        ("version = 1\n[file]\nmost = true", "True is not a size"),
        ("version = 1\n[file]\nmost = 'much'", "'much' is not a size"),
        ("version = 1\n[file]\ngrowth = 'x%'", "'x%' is not a size"),
        ("version = 1\n[file]\nleast = 1", "unknown key 'least'"),
        ("version = 1\n[file]", "wants most or growth"),
        ("version = 1\n[layer]\nmost = 1", "layer is written [[layer]]"),
        ("version = 1\n[[layer]]\nmost = 1", "wants match = a text"),
        ("version = 1\n[[purpose]]\nname = 'gap'\nmost = 1", "no purpose 'gap'"),
        ("version = 1\nfile = 3", "file is written [file]"),
        ("version =", "not a TOML budget"),
    ],
)
def test_what_is_wrong_in_a_budget_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConvertError) as caught:
        read_budget(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
