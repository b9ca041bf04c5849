"""Which file becomes which: the inputs and outputs of one dcconvert run, before anything is read.

Spec: spec/SECURITY.md (S7, S8).    Sister: tools/dcconvert.py
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import click

from dcformat import formats
from dcformat.errors import ConvertError
from dcformat.files import scratch_folder, undone
from dcformat.ids import MAGIC
from dcformat.tools._terminal import safe_name

DCF = "dcf"
STANDARD = "-"


@dataclass(frozen=True)
class Job:
    """One file to make: paths as the user wrote them, `-` for the standard streams.

    `in_folder` says that the output's folder was asked for and is made if need be; `external` that
    the numbers are to stand in a second file.
    """

    source: str
    output: str
    source_format: str
    output_format: str
    in_folder: bool = False
    external: bool = False

    @property
    def writer(self) -> formats.Writer | None:
        """What writes the output, None for a .dcf."""
        if self.output_format == DCF:
            return None
        return formats.writer_for(Path(self.output), self.output_format)

    @property
    def chooses(self) -> bool:
        """Tell whether the output's numbers are chosen by a recipe."""
        writer = self.writer
        return writer is None or writer.coded

    @property
    def outputs(self) -> list[str]:
        """Paths of the files that may be made; none for standard output."""
        if self.output == STANDARD:
            return []
        writer = self.writer
        beside = writer.beside(Path(self.output)) if writer else ()
        more = [f"{self.output}.data"] if self.external else []
        return [self.output, *more, *map(str, beside)]


def plan(
    inputs: Sequence[str],
    output: str,
    source_format: str | None,
    output_format: str | None,
    external: bool = False,
) -> list[Job]:
    """Return one job an input.

    Raises click.UsageError where the command line says too little, ConvertError where a file
    cannot be meant.
    """
    if not output:
        raise click.UsageError("-o wants a name")
    folder = output.endswith(("/", "\\")) or (output != STANDARD and Path(output).is_dir())
    if len(inputs) > 1 and not folder:
        raise click.UsageError(f"several inputs need a folder: -o {safe_name(output)}/")
    made = [_job(one, output, folder, source_format, output_format) for one in inputs]
    jobs = [replace(job, external=external) for job in made]
    _check_apart(jobs)
    return jobs


def _job(
    source: str, output: str, folder: bool, source_format: str | None, output_format: str | None
) -> Job:
    if source == STANDARD and source_format is None:
        raise click.UsageError("standard input has no name to tell its kind: give --from")
    kind = source_format or _kind("read", source)
    if folder or output == STANDARD:
        made = output_format or DCF
    else:
        made = output_format or _kind("write", output)
    if folder:
        stem = "stdin" if source == STANDARD else Path(source).stem
        suffix = f".{DCF}" if made == DCF else formats.writer_for(Path(source), made).suffixes[0]
        output = str(Path(output) / f"{stem}{suffix}")
    return Job(source, output, kind, made, folder)


def _kind(verb: str, path: str) -> str:
    """Return the format that the suffix of `path` stands for."""
    if Path(path).suffix.lower() == f".{DCF}":
        return DCF
    if verb == "write":
        return formats.writer_for(Path(path)).format
    if starts_with_magic(path):
        raise ConvertError("this is a .dcf file by another name: use --from dcf", place=path)
    return formats.reader_for(Path(path)).format


def starts_with_magic(path: str) -> bool:
    """Tell whether `path` is a .dcf, whatever it is called."""
    if not Path(path).is_file():  # a pipe can be read only once
        return False
    try:
        with Path(path).open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def takes_external(job: Job) -> bool:
    """Tell whether the foreign format of the output can have its numbers in a second file."""
    return job.writer is not None and "external" in job.writer.options


def _check_apart(jobs: Sequence[Job]) -> None:
    """No output is an input, and no two outputs are one file."""
    inputs = {_resolved(job.source) for job in jobs if job.source != STANDARD}
    made: dict[Path, str] = {}
    for source, output in ((job.source, output) for job in jobs for output in job.outputs):
        place = _resolved(output)
        if place in inputs:
            raise ConvertError("the output would replace an input", place=output)
        if place in made:
            both = f"both {made[place]} and {source} would be written here"
            raise ConvertError(both, place=output)
        made[place] = source


def _resolved(path: str) -> Path:
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: Python 3.12 and older on a loop
        raise ConvertError("a symbolic link that leads nowhere", place=path) from error


def check_formats(source_format: str | None, output_format: str | None) -> None:
    """Raise click.UsageError for a --from or --to that no converter offers."""
    for option, verb, name in (("--from", "read", source_format), ("--to", "write", output_format)):
        names = [DCF, *formats.known(verb)]
        if name is not None and name not in names:
            raise click.UsageError(f"{option} {safe_name(name)}: choose from {', '.join(names)}")


@contextmanager
def output_folder(job: Job) -> Iterator[None]:
    """Make the output's folder where that was asked for; an error takes it away again."""
    folder = Path(job.output).parent
    if not job.in_folder or folder.is_dir():
        yield
        return
    try:
        folder.mkdir()
    except OSError as error:
        raise ConvertError(f"cannot make: {error.strerror}", place=str(folder)) from error
    with undone(folder.rmdir):  # which leaves a folder that is not empty
        yield


@contextmanager
def _source(job: Job, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """Give what is spooled: standard input, or the pipe that the job names."""
    if job.source == STANDARD:
        yield stdin
        return
    with Path(job.source).open("rb") as stream:
        yield stream


@contextmanager
def opened(job: Job, stdin: BinaryIO) -> Iterator[Path]:
    """Give the path of the job's input; standard input and pipes are spooled to a temporary file.

    Raises ConvertError for a missing file or a folder, so that every reader need not.
    """
    if job.source != STANDARD:
        path = Path(job.source)
        if path.is_dir():
            raise ConvertError("is a directory, not a file", place=job.source)
        if not path.exists():
            raise ConvertError("no such file", place=job.source)
        if not path.is_fifo():
            yield path
            return
    with scratch_folder() as folder:
        path = folder / f"stdin.{job.source_format}"
        try:
            with path.open("wb") as stream, _source(job, stdin) as source:
                shutil.copyfileobj(source, stream, 1 << 20)
        except OSError as error:
            reason = f"cannot copy it to a temporary file: {error.strerror}"
            raise ConvertError(reason) from error
        try:
            yield path
        except ConvertError as error:
            name = "standard input" if job.source == STANDARD else job.source
            error.place = error.place.replace(str(path), name)
            raise
