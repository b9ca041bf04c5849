"""dcverify: is this .dcf file whole, canonical, and what its source says?

Spec: spec/DCF.md ("Full check", "Canonical form").
Sister: dcformat/verify.py, which makes the checks

With --json, one object on standard output:

    {"command": "dcverify", "version": "0.1.0",
     "status": "ok" | "failed" | "error",     a check says no | a check could not be made
     "files": [{"file": "x.dcf", "status": as above,
                "error": "reason",            only with status error
                "largest_error": 0.01,        against the source; null without, or if not finite
                "checks": [{"name": "structure", "status": "ok" | "failed" | "skipped",
                            "detail": "...", "notes": ["..."]}]}]}

Exit codes: 0 no check says no; 1 one does, or an error; 2 usage; 130 interrupted;
141 output not read.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from dcformat.checks import FAILED as NO
from dcformat.checks import OK, Check, Report
from dcformat.tools import _terminal as terminal
from dcformat.tools._terminal import Talk, safe_name
from dcformat.verify import verify
from dcformat.verify_run import need_runtime

_MARKS = {OK: ("ok  ", "green"), NO: ("FAIL", "bold red")}
_WORST = ("ok", "failed", "error")


@click.command(
    "dcverify", cls=terminal.Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--against", metavar="SOURCE", help="The model the file was made from: compare with it."
)
@click.option(
    "--run",
    is_flag=True,
    help="Compare outputs on random inputs too (.onnx: onnxruntime; .tflite: LiteRT).",
)
@click.option(
    "--runs", type=click.IntRange(1, 1000), default=3, show_default=True, help="Inputs for --run."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed for --run."
)
@click.option(
    "--json",
    is_flag=True,
    help="Print one JSON object; `pydoc dcformat.tools.dcverify` has the schema.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only what failed, on standard error.")
@click.option(
    "-v", "--verbose", count=True, help="Print what a check saw of each tensor; -vv: tracebacks."
)
@click.version_option(package_name="dcformat", prog_name="dcverify")
def main(
    files: tuple[str, ...],
    *,
    against: str | None,
    run: bool,
    runs: int,
    seed: int,
    json: bool,
    quiet: bool,
    verbose: int,
) -> int:
    """Check .dcf files: structure, limits, padding, checksums, canonical form, both decoders.

    Prints one line a check; ends with 1 if one says no.
    """
    if run and against is None:
        raise click.UsageError("--run compares with the source: give --against SOURCE too")
    if run and against is not None:
        need_runtime(against)
    talk = Talk("dcverify", verbose, quiet, json)
    options = {"against": against, "run": run, "runs": runs, "seed": seed}
    results = []
    with terminal.progress(talk) as tick:
        for number, file in enumerate(files):
            tick(file, number, len(files))
            results.append(_verify(talk, file, options))
    status = _WORST[max(_WORST.index(result["status"]) for result in results)]
    talk.answer(
        {
            "command": "dcverify",
            "version": terminal.version(),
            "status": status,
            "files": results,
        }
    )
    return terminal.DONE if status == "ok" else terminal.FAILED


def _verify(talk: Talk, file: str, options: dict[str, Any]) -> dict[str, Any]:
    """Check one file, print it, and return its part of the JSON."""
    result: dict[str, Any] = {"file": file, "status": "error", "largest_error": None, "checks": []}
    try:
        report = verify(file, **options)
    except Exception as error:  # the other files are still checked; the error is shown
        talk.fault(error, file)
        return {**result, "error": terminal.describe(error, file)}
    _print(talk, file, report)
    largest = report.largest_error
    return {
        **result,
        "status": "ok" if report.ok else "failed",
        "largest_error": largest if largest is not None and math.isfinite(largest) else None,
        "checks": [asdict(check) for check in report.checks],
    }


def _print(talk: Talk, file: str, report: Report) -> None:
    talk.say(f"{safe_name(file)}: {'ok' if report.ok else 'FAILED'}")
    for check in report.checks:
        talk.say(_line(check))
        if talk.verbose:
            for note in check.notes:
                talk.say(f"          {safe_name(note)}")
        if talk.quiet and check.status == NO:
            talk.warn(f"{safe_name(file)}: {check.name}: {safe_name(check.detail)}")


def _line(check: Check) -> Text:
    mark, style = _MARKS.get(check.status, ("skip", "yellow"))
    return Text.assemble("  ", (mark, style), f"  {check.name:<12}  {safe_name(check.detail)}")


if __name__ == "__main__":
    main()
