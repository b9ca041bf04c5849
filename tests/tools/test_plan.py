"""Which inputs become which outputs."""

from __future__ import annotations

import io
from pathlib import Path

import click
import pytest

from dcformat.errors import ConvertError
from dcformat.ids import MAGIC
from dcformat.tools._plan import Job, check_formats, opened, plan


def test_suffixes_tell_the_kinds() -> None:
    assert plan(["a.onnx"], "a.dcf", None, None) == [Job("a.onnx", "a.dcf", "onnx", "dcf")]
    assert plan(["A.DCF"], "b.npz", None, None) == [Job("A.DCF", "b.npz", "dcf", "npz")]
    assert plan(["a.bin"], "b.out", "onnx", "dcf") == [Job("a.bin", "b.out", "onnx", "dcf")]


def test_a_folder_takes_many_inputs(tmp_path: Path) -> None:
    jobs = plan(["x/a.onnx", "x/b.onnx"], f"{tmp_path}", None, None)
    assert [job.output for job in jobs] == [f"{tmp_path}/a.dcf", f"{tmp_path}/b.dcf"]
    assert plan(["a.dcf"], "new/", None, "npz")[0].output == "new/a.npz"


def test_several_inputs_without_a_folder_are_a_usage_error() -> None:
    with pytest.raises(click.UsageError, match="several inputs need a folder"):
        plan(["a.onnx", "b.onnx"], "c.dcf", None, None)


def test_standard_input_needs_a_format() -> None:
    with pytest.raises(click.UsageError, match="--from"):
        plan(["-"], "c.dcf", None, None)
    assert plan(["-"], "-", "onnx", None) == [Job("-", "-", "onnx", "dcf")]


@pytest.mark.parametrize(
    ("source", "output"), [("a.xyz", "a.dcf"), ("a.onnx", "a.xyz"), ("a", "a.dcf")]
)
def test_an_unknown_suffix_is_named(source: str, output: str) -> None:
    with pytest.raises(ConvertError, match=r"no converter can (read|write) files named"):
        plan([source], output, None, None)


def test_a_renamed_dcf_file_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(MAGIC)
    with pytest.raises(ConvertError, match="use --from dcf"):
        plan([str(path)], "a.onnx", None, None)


def test_an_output_never_replaces_an_input(tmp_path: Path) -> None:
    real = tmp_path / "a.dcf"
    real.write_bytes(b"")
    link = tmp_path / "b.dcf"
    link.symlink_to(real)
    for source in (real, link):
        with pytest.raises(ConvertError, match="would replace an input"):
            plan([str(source)], str(tmp_path / "." / "a.dcf"), None, None)
    with pytest.raises(ConvertError, match="would replace an input"):
        plan([str(real)], f"{tmp_path}/", None, None)


def test_two_inputs_never_become_one_output(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"both x/a.onnx and y/a.onnx"):
        plan(["x/a.onnx", "y/a.onnx"], f"{tmp_path}/", None, None)


def test_unknown_formats_are_usage_errors() -> None:
    check_formats("dcf", "npz")
    with pytest.raises(click.UsageError, match=r"--from tar: choose from dcf, .*onnx"):
        check_formats("tar", None)


def test_standard_input_is_spooled_and_named_in_errors() -> None:
    job = Job("-", "-", "onnx", "dcf")
    with opened(job, io.BytesIO(b"abc")) as path:
        assert path.read_bytes() == b"abc"
    assert not path.exists()
    with (
        pytest.raises(ConvertError, match=r"^standard input: bad"),
        opened(job, io.BytesIO(b"")) as path,
    ):
        raise ConvertError("bad", place=str(path))


def test_missing_files_and_folders_are_told_before_reading(tmp_path: Path) -> None:
    missing = Job(str(tmp_path / "no.onnx"), "-", "onnx", "dcf")
    with pytest.raises(ConvertError, match="no such file"), opened(missing, io.BytesIO()):
        pass
    with (
        pytest.raises(ConvertError, match="is a directory"),
        opened(Job(str(tmp_path), "-", "onnx", "dcf"), io.BytesIO()),
    ):
        pass
