"""python -m dcformat: a .dcf as text that people can read, compare and edit, and back.

Spec: spec/TEXT.md    Sisters: dcformat/text, which does it; tools/_terminal.py

Exit codes: 0 done; 1 an error; 2 usage; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from dcformat.errors import ConvertError, DcfError
from dcformat.files import atomic_output
from dcformat.text import build_file, dump_file
from dcformat.text.lines import MAX_LINE
from dcformat.tools import _terminal as terminal
from dcformat.tools._terminal import Talk, human_size, safe_name

NAME = "python -m dcformat"
STANDARD = "-"
MAX_FILE = 1 << 30  #: bytes of a file that is dumped: its text is in memory as a whole
_HELP = {"help_option_names": ["-h", "--help"]}

_quiet = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


@click.group(NAME, cls=terminal.Group, context_settings=_HELP, invoke_without_command=True)
@click.version_option(package_name="dcformat", prog_name="dcformat")
@click.pass_context
def main(ctx: click.Context) -> int:
    """Show a .dcf as text, and make a .dcf of such a text, byte for byte.

    \b
      python -m dcformat dump model.dcf -o model.txt
      python -m dcformat build model.txt -o model.dcf

    Any file has a text, whole or damaged; spec/TEXT.md tells what its lines mean. To convert and
    verify models there are dcconvert and dcverify.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return terminal.DONE


@main.command(context_settings=_HELP)
@click.argument("file")
@click.option("-o", "--output", default=STANDARD, help="Text to write; standard output without.")
@click.option("--all", "full", is_flag=True, help="Also print fields that are as the rules imply.")
@_quiet
def dump(file: str, output: str, *, full: bool, quiet: bool) -> int:
    """Write FILE (- for standard input) as text.

    \b
      python -m dcformat dump model.dcf | less
      python -m dcformat dump broken.dcf -o broken.txt
      diff <(python -m dcformat dump a.dcf) <(python -m dcformat dump b.dcf)
    """
    data = _read(file)
    with atomic_output(output) as stream:
        for line in dump_file(data, full):
            stream.write(line.encode())
        size = stream.tell()
    _tell(quiet, output, size)
    return terminal.DONE


@main.command(context_settings=_HELP, short_help="Write the bytes that a text stands for.")
@click.argument("file")
@click.option("-o", "--output", required=True, help="File to write, or - for standard output.")
@_quiet
def build(file: str, output: str, *, quiet: bool) -> int:
    """Write the bytes that the text FILE (- for standard input) stands for.

    \b
      python -m dcformat build model.txt -o model.dcf
      sed 's/alphabet 4/alphabet 0/' model.txt | python -m dcformat build - -o broken.dcf
    """
    if output == STANDARD and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal: send it to a file or a pipe")
    data = _build(file)
    with atomic_output(output) as stream:
        stream.write(data)
    _tell(quiet, output, len(data))
    return terminal.DONE


def _tell(quiet: bool, output: str, size: int) -> None:
    if output != STANDARD:
        Talk(NAME, quiet=quiet).say(f"{safe_name(output)}: {human_size(size)}")


def _read(file: str) -> bytes:
    """Return the bytes of a file, whatever its header says of their number."""
    pieces = []
    left = MAX_FILE + 1
    with _opened(file) as stream:
        while left > 0 and (piece := stream.read(min(left, 1 << 24))):
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise ConvertError(f"more than {human_size(MAX_FILE)}", place=_label(file))
    return b"".join(pieces)


def _build(file: str) -> bytes:
    with _opened(file) as stream:
        try:
            return build_file(_lines(stream))
        except DcfError as error:
            raise error.at(_label(file)) from None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines, no more of each than what is refused."""
    return iter(partial(stream.readline, MAX_LINE + 1), b"")


def _label(file: str) -> str:
    return "standard input" if file == STANDARD else file


def _opened(file: str) -> BinaryIO:
    return sys.stdin.buffer if file == STANDARD else Path(file).open("rb")


if __name__ == "__main__":
    main()
