"""dcaudit: where every byte of a .dcf went, what changed, and whether it fits.

Spec: spec/DCF.md; spec/audit.schema.json for --json.
Sisters: dcformat/audit.py (the report), tools/_audit_json.py (the document that all outputs are of)

Exit codes: 0 done; 1 a budget exceeded, damage in the file, or an error; 2 usage;
130 interrupted; 141 output not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dcformat import api, formats
from dcformat import ids as registry
from dcformat.audit import audit
from dcformat.audit_budget import FILE, Limit, check_budget, read_budget
from dcformat.audit_diff import compare, side_of
from dcformat.audit_report import OK, Report
from dcformat.byte_sizes import size_of
from dcformat.compress.settings import PRESETS
from dcformat.converters.onnx_compute import parse_shapes
from dcformat.errors import ConvertError
from dcformat.files import atomic_output
from dcformat.scaled import real
from dcformat.tools import _audit_csv, _audit_json
from dcformat.tools import _terminal as terminal
from dcformat.tools._activations import EPSILON, activations
from dcformat.tools._audit_baseline import read_baseline
from dcformat.tools._audit_changes import exceeded
from dcformat.tools._audit_costs import compute_of, runnable
from dcformat.tools._audit_foreign import Subject, subject_of
from dcformat.tools._audit_html import render
from dcformat.tools._audit_json import Document
from dcformat.tools._audit_markdown import markdown
from dcformat.tools._audit_terminal import show
from dcformat.tools._plan import DCF, STANDARD
from dcformat.tools._terminal import Talk, count_of, safe_name

_OUTPUTS: Mapping[str, Callable[[Document], str]] = {
    "markdown": markdown,
    "csv": _audit_csv.table,
    "html": render,
}
_LIMITS = (
    "MAX_RANK", "MAX_SECTIONS", "MAX_TENSORS", "MAX_TABLES", "MAX_ELEMENTS", "MAX_NAME_BYTES",
    "MAX_META_BYTES", "MAX_GRAPH_BYTES", "MAX_CODE_BITS", "MAX_SYMBOLS", "MAX_CLASSES",
    "MAX_ALIGN_LOG2", "MAX_ZSTD_WINDOW_LOG2", "MAX_RATIO", "RATIO_SLACK", "TAIL_BYTES",
)  # fmt: skip


class _FileError(Exception):
    """An error that a file made, with the file's name; the error itself is its cause."""


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Say of an error inside which file it is about."""
    try:
        yield
    except (BrokenPipeError, click.UsageError, _FileError):
        raise
    except Exception as error:
        raise _FileError(name) from error


def _print_limits(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the format's limits, as `spec/registry.md` has them, and end."""
    if wanted:
        for name in _LIMITS:
            click.echo(f"{name:<22}{getattr(registry, name):>16,}")
        ctx.exit()


@click.command(
    "dcaudit", cls=terminal.Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("file", metavar="FILE")
@click.option("--against", metavar="SOURCE", help="The model it was made from: show errors.")
@click.option("--baseline", metavar="OLD", help="A .dcf, or its --json: show what changed.")
@click.option("--budget", metavar="SIZE|FILE.toml", help="Fail above 200KiB, or as a file says.")
@click.option("--split-shared", is_flag=True, help="Divide shared tables among their tensors.")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="What to make of other formats.")
@click.option("--from", "kind", metavar="FORMAT", help="What FILE is, by name.")
@click.option("--shape", "shapes", metavar="INPUT=N,...", multiple=True, help="Of an input.")
@click.option("--calib", metavar="DATA.npz", help="Run it on samples, and look at activations.")
@click.option(
    "--epsilon",
    type=click.FloatRange(0),
    default=EPSILON,
    show_default=True,
    help="What --calib calls near 0.",
)
@click.option("--json", is_flag=True, help="Print JSON, as spec/audit.schema.json has it.")
@click.option("--markdown", metavar="OUT", help="Write Markdown, for a pull request; - prints it.")
@click.option("--html", metavar="OUT", help="Write one page to look around in; - prints it.")
@click.option("--csv", metavar="OUT", help="Write a table for a spreadsheet; - prints it.")
@click.option(
    "--limits",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_limits,
    help="Print the format's limits.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only what is wrong, on standard error.")
@click.option("-v", "--verbose", count=True, help="Print every tensor; -vv: tracebacks.")
@click.version_option(package_name="dcformat", prog_name="dcaudit")
def main(file: str, **options: Any) -> int:
    """Say where every byte of a .dcf went: by purpose, and tensor by tensor.

    The rows sum to the size of the file. A damaged tensor is named, and the rest still audited.
    Of an .onnx or another model the audit is of what dcconvert would make of it.
    """
    limits = _check_options(options)
    to_stderr = STANDARD in [options[name] for name in _OUTPUTS]
    talk = Talk("dcaudit", options["verbose"], options["quiet"], options["json"], to_stderr)
    try:
        with _about(file):
            doc = _document(talk, file, options, limits)
            _write_outputs(doc, options)
    except _FileError as failed:
        error = failed.__cause__ or failed
        talk.fault(error, str(failed))
        talk.answer(_audit_json.failure(terminal.describe(error, str(failed))))
        return terminal.FAILED
    show(talk, doc)
    talk.answer(doc)
    if options["quiet"] or options["json"]:
        _warn(talk, file, doc)
    return terminal.DONE if doc["status"] == "ok" else terminal.FAILED


def _check_options(options: Mapping[str, Any]) -> tuple[Limit, ...]:
    """Return the limits of --budget; refuse options that contradict each other."""
    printed = [name for name in _OUTPUTS if options[name] == STANDARD]
    if len(printed) + options["json"] > 1:
        raise click.UsageError("only one of --json and outputs named - can be printed")
    names = [DCF, *formats.known("read")]
    if options["kind"] is not None and options["kind"] not in names:
        raise click.UsageError(
            f"--from {safe_name(options['kind'])}: choose from {', '.join(names)}"
        )
    return _limits(options["budget"])


def _limits(budget: str | None) -> tuple[Limit, ...]:
    if budget is None:
        return ()
    size = size_of(budget)
    if size is not None:
        return (Limit(FILE, most=size),)
    if not budget.lower().endswith(".toml"):
        raise click.UsageError(
            f"--budget {safe_name(budget)}: neither a size like 200KiB nor a .toml"
        )
    return read_budget(budget)


def _document(
    talk: Talk, name: str, options: Mapping[str, Any], limits: tuple[Limit, ...]
) -> Document:
    preset = options["preset"] or "int8"
    with (
        terminal.progress(talk) as tick,
        subject_of(name, options["kind"], preset, tick) as subject,
    ):
        if subject.model is None and options["preset"] is not None:
            raise click.UsageError("--preset is for models that are no .dcf yet")
        return _audited(talk, subject, options, limits, tick)


def _audited(
    talk: Talk,
    subject: Subject,
    options: Mapping[str, Any],
    limits: tuple[Limit, ...],
    tick: terminal.Tick,
) -> Document:
    file, split = subject.file, options["split_shared"]
    source, baseline = subject.model, options["baseline"]
    if options["against"] is not None:
        with _about(options["against"]):
            source = real(api.read(options["against"]))
    report = audit(file, subject.uses, source, split_shared=split, progress=tick)
    if options["against"] is not None:
        _check_compared(talk, report, options["against"])
    doc = _audit_json.document(report, subject.name, file, split_shared=split)
    doc |= {"source": subject.source, "estimate": subject.estimate}
    doc["compute"], reason = compute_of(file, report, parse_shapes(options["shapes"]))
    if options["calib"] is not None:
        calib = Path(options["calib"])
        with runnable(file) as model, _about(options["calib"]):
            doc["activations"] = activations(model, calib, options["epsilon"])
    if reason and not options["quiet"]:
        talk.warn(safe_name(f"{subject.name}: compute: {reason}"))
    diff = None
    if baseline is not None:
        with _about(baseline):
            diff = compare(read_baseline(baseline, split), side_of(report, subject.name))
            doc = _audit_json.with_diff(doc, diff)
    if limits:
        doc = _audit_json.with_budget(doc, check_budget(limits, report, diff))
    return doc


def _check_compared(talk: Talk, report: Report, against: str) -> None:
    """Say how many tensors have none of their name, type and shape in a source; not all may."""
    rows = [row for row in report.tensors if row.tied_to is None and row.status == OK]
    alone = [row.name for row in rows if row.errors is None]
    if alone and len(alone) == len(rows):
        with _about(against):
            raise ConvertError("no tensor in it has name, type and shape of one of the file")
    if alone and not talk.quiet:
        few = f"{count_of(len(alone), 'tensor')} of the file, such as {alone[0]}"
        talk.warn(safe_name(f"{against}: nothing to compare with {few}"))


def _write_outputs(doc: Document, options: Mapping[str, Any]) -> None:
    for name, made in _OUTPUTS.items():
        if options[name] is not None:
            with _about(options[name]), atomic_output(options[name]) as stream:
                stream.write(made(doc).encode(errors="backslashreplace"))


def _warn(talk: Talk, name: str, doc: Document) -> None:
    """Print what is wrong, where the results are not printed for people."""
    for problem in doc["problems"]:
        talk.warn(safe_name(f"{name}: {problem['place']}: {problem['reason']}"))
    for line in exceeded(doc):
        talk.warn(f"{safe_name(name)}: over budget: {line}")


if __name__ == "__main__":
    main()
