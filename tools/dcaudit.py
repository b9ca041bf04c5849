"""dcaudit: where every byte of a .dcf went.

Spec: spec/DCF.md; spec/audit.schema.json for --json.
Sisters: dcformat/audit.py (the report), tools/_audit_json.py (the document that all outputs are of)

Exit codes: 0 done; 1 damage in the file, or an error; 2 usage; 130 interrupted;
141 output not read.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from dcformat import api
from dcformat.audit import audit
from dcformat.errors import DcfError
from dcformat.file import File, load
from dcformat.ids import GraphFormat
from dcformat.model import Use
from dcformat.tools import _terminal as terminal
from dcformat.tools._audit_json import Document, document, failure
from dcformat.tools._audit_terminal import show
from dcformat.tools._terminal import Talk


@click.command(
    "dcaudit", cls=terminal.Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("file", metavar="FILE")
@click.option("--against", metavar="SOURCE", help="The model it was made from: show errors.")
@click.option("--split-shared", is_flag=True, help="Divide shared tables among their tensors.")
@click.option("--json", is_flag=True, help="Print JSON, as spec/audit.schema.json has it.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", count=True, help="Print every tensor; -vv: tracebacks.")
@click.version_option(package_name="dcformat", prog_name="dcaudit")
def main(
    file: str, *, against: str | None, split_shared: bool, json: bool, quiet: bool, verbose: int
) -> int:
    """Say where every byte of a .dcf went: by purpose, and tensor by tensor.

    The rows sum to the size of the file. A damaged tensor is named, and the rest still audited.
    """
    talk = Talk("dcaudit", verbose, quiet, json)
    try:
        doc = _document(talk, file, against, split_shared)
    except BrokenPipeError:
        raise
    except Exception as error:  # shown on one line, whatever it is
        talk.fault(error, file)
        talk.answer(failure(terminal.describe(error, file)))
        return terminal.FAILED
    show(talk, doc)
    talk.answer(doc)
    for problem in doc["problems"] if quiet or json else ():
        talk.warn(terminal.safe_name(f"{file}: {problem['place']}: {problem['reason']}"))
    return terminal.DONE if doc["status"] == "ok" else terminal.FAILED


def _document(talk: Talk, name: str, against: str | None, split: bool) -> Document:
    file = load(name)
    source = api.read(against) if against is not None else None
    with terminal.progress(talk) as tick:
        report = audit(file, _uses(file), source, split_shared=split, progress=tick)
    return document(report, name, file)


def _uses(file: File) -> Mapping[int, Use]:
    """Return what the graph uses records for; nothing where it cannot be read."""
    from dcformat.converters.onnx_skeleton import uses_of_graph  # noqa: PLC0415 - onnx is slow

    try:
        graph = file.graph
        if graph is None or graph.format != GraphFormat.ONNX:
            return {}
        return uses_of_graph(graph.data, len(file.opened.records))
    except DcfError:  # damage of the section is among the problems
        return {}


if __name__ == "__main__":
    main()
