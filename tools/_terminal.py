"""What the commands share: exit codes, the error boundary, safe names and sizes.

Spec: spec/SECURITY.md ("Untrusted": names, wherever they are shown).
Sisters: tools/dcconvert.py, tools/dcverify.py
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, TextIO

import click
from click.shell_completion import CompletionItem

from dcformat.errors import DcfError
from dcformat.files import undone
from dcformat.tools._interrupt import ending_signals

if TYPE_CHECKING:  # rich takes longer to start than a small model to convert
    from rich.console import Console
    from rich.text import Text

DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
CLOSED = 141  #: as of a program that SIGPIPE ended

_PATIENCE = 1.0


def safe_name(text: str) -> str:
    """Return `text` as one printable line: whatever could steer a terminal becomes an escape.

    Control characters, escape codes, line and paragraph separators, text-direction marks and
    lone surrogates are written as \\xNN, \\uNNNN or \\UNNNNNNNN; everything else stays.
    """
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def human_size(count: int) -> str:
    """Return `count` bytes to the byte, and rounded where that helps: "12,345 B (12.1 KiB)"."""
    if count < 1024:
        return f"{count:,} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024 or unit == "GiB":
            break
    return f"{count:,} B ({size:,.1f} {unit})"


def version() -> str:
    """Return the version of the installed package."""
    return metadata.version("dcformat")


def count_of(count: int, noun: str) -> str:
    """Return "1 layer" or "2 layers"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe(error: BaseException, file: str = "") -> str:
    """Return "FILE: place: reason" for `error`, safe to print on one line."""
    if isinstance(error, DcfError):
        place, reason = error.place, error.message
    elif isinstance(error, OSError):
        place, reason = _os_place(error), error.strerror or str(error)
    elif isinstance(error, MemoryError):
        place, reason = "", "out of memory"
    else:
        place = ""
        reason = f"internal error: {type(error).__name__}: {error}; please report it"
    if file and (place == file or place.startswith(f"{file} / ")):
        place = place[len(file) :].removeprefix(" / ")
    return safe_name(": ".join(part for part in (file, place, reason) if part))


def _os_place(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else ""


@dataclass(frozen=True)
class Talk:
    """Where a command speaks: `say` for results, `warn` for errors; -q, -v and --json decide.

    `verbose` counts -v, `quiet` is -q; with `json` the results are one object at the end.
    `to_stderr` keeps standard output clean for data.
    """

    program: str
    verbose: int = 0
    quiet: bool = False
    json: bool = False
    to_stderr: bool = False

    def say(self, line: str | Text) -> None:
        """Print one line of results, unless --quiet or --json."""
        if not (self.quiet or self.json):
            console(sys.stderr if self.to_stderr else sys.stdout).print(line, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print one line on standard error, whatever the settings."""
        _complain(f"{self.program}: {line}")

    def fault(self, error: BaseException, file: str = "") -> None:
        """Print `error` on one line; with -vv or DCFORMAT_TRACEBACK=1 its traceback before it."""
        if self.verbose > 1 or os.environ.get("DCFORMAT_TRACEBACK", "0") not in ("", "0"):
            for line in "".join(traceback.format_exception(error)).splitlines():
                _complain(safe_name(line))
        self.warn(describe(error, file))

    def answer(self, value: Mapping[str, Any]) -> None:
        """Print `value` as JSON, if --json was given; on standard error where that is data's."""
        if self.json:
            out = sys.stderr if self.to_stderr else sys.stdout
            print(json.dumps(value, indent=2, allow_nan=False), file=out)


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):  # where nobody listens the exit code still tells
        print(line, file=sys.stderr, flush=True)


def console(stream: TextIO) -> Console:
    """Return a console on `stream` that takes no markup, emoji codes or highlights from text."""
    from rich.console import Console  # noqa: PLC0415

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            """Leave it to the error boundary; rich would end the process without a word."""
            raise BrokenPipeError

    return Quiet(file=stream, markup=False, emoji=False, highlight=False)


class _Text(click.types.StringParamType):
    """What is typed: mostly a file's name, so that is what a shell is told to complete."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


#: Made between two searches for cycles: models of thousands of tensors have few, and many objects.
OBJECTS = 100_000


class Command(click.Command):
    """A click command that returns its exit code and never shows a traceback by itself."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        for param in self.params:
            if param.type is click.STRING:
                param.type = _Text()

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run the command and leave the process with one of this module's exit codes."""
        extra |= {"standalone_mode": False, "prog_name": self.name}
        gc.freeze()
        gc.set_threshold(OBJECTS)
        try:
            status = super().main(args, **extra)
        except click.UsageError as error:
            error.show()
            status = USAGE
        except click.Abort:
            status = INTERRUPTED
        atexit.register(gc.freeze)  # else all that was imported is searched for cycles once more
        sys.exit(_leave(status if isinstance(status, int) else DONE))

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command inside the error boundary; returns the exit code."""
        talk = Talk(str(ctx.info_name), int(ctx.params.get("verbose") or 0))
        _forgive_encodings()
        try:
            with ending_signals(talk.program):
                status = super().invoke(ctx)
                sys.stdout.flush()
        except (click.ClickException, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            talk.warn("interrupted")
            return INTERRUPTED
        except BrokenPipeError:  # whoever closed it knows
            return CLOSED
        except Exception as error:  # the boundary: every error becomes one line
            talk.fault(error)
            return FAILED
        return status


class Group(Command, click.Group):
    """The same for a command with commands below it; without one it shows its help."""


def _leave(status: int) -> int:
    """Flush what was printed; where that fails, say so once and let go of the stream."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or FAILED
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def _forgive_encodings() -> None:
    """Let a terminal that cannot show a character show its escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


Tick = Callable[[str, int, int], None]


@contextlib.contextmanager
def progress(talk: Talk) -> Iterator[Tick]:
    """Give a function `tick(what, done, total)` that draws a bar on a terminal's stderr.

    The bar appears after a second and is gone at the end; elsewhere, and with -q, ticks are free.
    """
    if talk.quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
    )

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console(sys.stderr), transient=True)
    task = bar.add_task("reading", total=None)
    timer = threading.Timer(_PATIENCE, bar.start)
    timer.daemon = True
    timer.start()

    def stop() -> None:
        timer.cancel()
        timer.join()
        bar.stop()

    with undone(stop):  # else an interrupted terminal would keep its cursor hidden
        yield lambda what, done, total: bar.update(
            task, description=safe_name(what)[:60], completed=done, total=total
        )
