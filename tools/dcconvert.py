"""dcconvert: foreign models to .dcf and back.

Spec: spec/DCF.md.    Sisters: tools/_plan.py, tools/_convert.py, tools/_summary.py

With --json, one object on standard output (on standard error where that carries the file):

    {"command": "dcconvert", "version": "0.1.0",
     "status": "ok" | "error",
     "lossy": true,                       whether the settings may change weights; null: none used
     "settings": "int8: lossy, ...",      the line that says so
     "files": [{"input": "x.onnx", "output": "x.dcf", "status": "ok" | "error",
                "error": "reason",        only with status error; then nothing below is there
                "tensors": 24,            tensors in the output
                "layers": 12,             nodes with weights; null where the input does not tell
                "stored_bytes": 12345,    size of the output, external data included; of C what
                                          the numbers take in flash
                "weight_bytes": 49380,    the tensors, as the source's types pack them
                "source_bytes": 50001,    size of the input, external data included
                "weight_ratio": 4.0,      weight_bytes / stored_bytes
                "source_ratio": 4.05,     source_bytes / stored_bytes
                "largest_error": 0.01,    null where nothing was compressed, or not finite
                "largest_error_tensor": "conv1.weight",
                "row_access_bytes": 168,  what --row-access costs; null without it
                "sections": {"records": 480, ..., "frame": 100},       stored bytes of a .dcf
                "left_alone": {"bias": 12, ...},                       tensors by reason
                "tensor_lines": [{"name": "conv1.weight", "op": "Conv", "role": "weight",
                                  "elements": 288, "done": "int8 per channel", "reason": "",
                                  "largest_error": 0.01}],
                "notes": ["..."],         what stays in the graph, what else is not told
                "assumed": {"weight of 2 axes: dense, OI": 3},     tensors by what was assumed of
                                          them; empty where a graph says what they are for
                "measured": {"metric": "top1", "before": 0.93, "after": 0.928, ...}}]}   of a
                                          search (spec/registry.md, EVIDENCE); else null
                "curves": {"parts": [...], "layers": {...}, "front": [...],
                           "ratios": [...], "pruned": {...}},          with --plot
                "shrunk": {"filters": 22, "channels": 0, "layers": 3, "bytes": 771916,
                           "staying": {"it goes into Softmax": 3}},       null without --shrink
                "operators": 38, "transposes": 1, "assumptions": ["..."],   of a TFLite of ONNX, and
                "real_operators": {"Exp": 1},    those not in integers, with --integer
                "arena": {"before": 24272, "after": 24800, "reason": "",     with --arena; null
                          "runtime": "tflite-micro 0.dev1"}                  and a reason where
                                                                             that refuses it

Exit codes: 0 done; 1 an error; 2 usage; 130 interrupted; 141 output not read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dcformat.cmake import FOLDER
from dcformat.compress import Recipe, preset_recipe, read_recipe, with_settings
from dcformat.compress.settings import PRESETS, QUANTIZERS, TARGETS
from dcformat.converters.c_dense import LAYOUTS
from dcformat.converters.read_deep_compression import FORMAT as DEEP_COMPRESSION
from dcformat.converters.tflite_out_weights import KINDS
from dcformat.converters.write_c import FORMS
from dcformat.errors import ConvertError
from dcformat.tools import _terminal as terminal
from dcformat.tools._convert import Outcome, Wishes, convert, is_special
from dcformat.tools._depfile import write_depfile
from dcformat.tools._plan import DCF, STANDARD, Job, check_formats, plan, takes_external
from dcformat.tools._search_options import (
    SEARCH_OPTIONS,
    check_search,
    data_of,
    fixed_goal_of,
    goal_of,
)
from dcformat.tools._summary import KEEP, as_json, describe_recipe, is_lossy, show
from dcformat.tools._terminal import Talk

C_OPTIONS = ("c_form", "prefix", "layout", "pack_int4", "activations", "selftest", "with_decoder")
TFLITE_OPTIONS = ("batch", "shape", "weights")
_LOSSY_OPTIONS = ("preset", "bits", "prune", "quantizer", "shrink", "recipe")
_DCF_OPTIONS = ("target", "no_names", "no_graph")
_CODED_OPTIONS = ("prefer", "row_access")
_C, _TFLM, _TFLITE = "c", "tflm", "tflite"


def _show_cmake_dir(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(FOLDER)
        ctx.exit()


@click.command(
    "dcconvert", cls=terminal.Command, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--output", required=True, help="File to write, FOLDER/, or - for stdout.")
@click.option("--from", "source_format", metavar="FORMAT", help="What the inputs are, by name.")
@click.option("--to", "output_format", metavar="FORMAT", help="What the output is, by name.")
@click.option("--prototxt", metavar="FILE", help="The layers of a .net of Deep Compression.")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="What becomes of weights (default int8)."
)
@click.option("--bits", type=click.IntRange(1, 8), help="deep: bits of an index into a codebook.")
@click.option(
    "--prune", type=click.FloatRange(0, 1, max_open=True), help="Share of a weight made zero."
)
@click.option(
    "--quantizer", type=click.Choice(QUANTIZERS["codebook"]), help="deep: how levels are chosen."
)
@click.option("--shrink", is_flag=True, help="Take filters of zeros out of the graph.")
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="host adds zstd (default if lossless), smallest the context coder.",
)
@click.option(
    "--prefer", type=click.Choice(["size", "speed"]), default="size", help="Smallest, or fast."
)
@click.option(
    "--row-access", is_flag=True, help="Make every row decodable alone; says at what cost."
)
@click.option("--recipe", metavar="FILE.toml", help="Settings for all layers and for single ones.")
@click.option(
    "--fixed-point",
    type=click.Choice(["16", "8", "4"]),
    help="Integers of so many bits.",
)
@click.option(
    "--refine/--no-refine", default=None, help="--fixed-point: also try what clips (default)."
)
@click.option("--fit", metavar="SIZE", help="Search for the best that fits: 200KiB.")
@click.option("--fit-for", type=click.Choice(["dcf", "c"]), help="--fit: the .dcf, or C's flash.")
@click.option("--max-drop", metavar="LOSS", help="Search for the smallest: 0.5% of --metric lost.")
@click.option("--quality", metavar="DB", type=float, help="The same, by the outputs' noise, in dB.")
@click.option("--calib", metavar="FILE.npz", help="Inputs for a search, its recipe, or --integer.")
@click.option("--eval", "evaluation", metavar="FILE.npz", help="Inputs and labels for --metric.")
@click.option("--metric", help="top1 (default), mse, cosine, or FILE.py:FUNCTION.")
@click.option("--save-recipe", metavar="FILE.toml", help="Keep what the search chose.")
@click.option("--search-state", metavar="FILE.json", help="Keep what it measured, to go on there.")
@click.option("--plot", metavar="FILE.png", help="Draw layers' curves and sizes; needs matplotlib.")
@click.option("--no-names", is_flag=True, help="Leave the names of tensors out; keep hashes.")
@click.option("--no-graph", is_flag=True, help="Leave the graph out.")
@click.option("--external", is_flag=True, help="Put numbers beside the .onnx, in OUTPUT.data.")
@click.option("--arena", is_flag=True, help="TFLite Micro: memory to run it, before and after.")
@click.option("--batch", type=click.IntRange(1), help="TFLite of ONNX: size of an open batch (1).")
@click.option("--shape", metavar="INPUT=N,...", multiple=True, help="TFLite of ONNX: of an input.")
@click.option("--weights", type=click.Choice(KINDS), help="TFLite of ONNX: weights stored so.")
@click.option("--integer", is_flag=True, help="TFLite of ONNX: all in int8; --calib has inputs.")
@click.option("--c-form", type=click.Choice(FORMS), help="C: how the numbers are written.")
@click.option("--prefix", help="C: what symbols begin with (default: the output's name).")
@click.option("--layout", type=click.Choice(LAYOUTS), help="C, dense: order of a convolution.")
@click.option("--pack-int4", is_flag=True, help="C, dense: two numbers of 4 bits in a byte.")
@click.option("--activations", metavar="FILE.json", help="C: scales, for multipliers and shifts.")
@click.option("--selftest", is_flag=True, help="C: also a function that checks every tensor.")
@click.option("--with-decoder", is_flag=True, help="C: also dcf.h and dcf.c, the decoder.")
@click.option("--depfile", metavar="FILE", help="Write what the output is made from, for a build.")
@click.option("--depfile-target", metavar="NAME", help="What the depfile calls the output.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, help="Threads; same bytes.")
@click.option("--json", is_flag=True, help="Print JSON, as pydoc dcformat.tools.dcconvert.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", count=True, help="Print a line for each tensor; -vv: tracebacks.")
@click.option(
    "--cmake-dir",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_cmake_dir,
    help="Print where find_package(dcformat) looks, and exit.",
)
@click.version_option(package_name="dcformat", prog_name="dcconvert")
@click.pass_context
def main(ctx: click.Context, /, inputs: tuple[str, ...], **options: Any) -> int:
    """Convert a trained network: .onnx, .tflite, PyTorch (.pt, .pth, .bin, .pt2) or .safetensors
    to .dcf, and back, to .npz, or to .c for firmware.

    The kinds follow from the suffixes. The preset int8, which is taken unless you say otherwise,
    is lossy; lossless keeps every bit. A .dcf that is written again is never quantized again.
    """
    check_formats(options["source_format"], options["output_format"])
    if options["prototxt"] is not None and options["source_format"] is None:
        options["source_format"] = DEEP_COMPRESSION
    kinds = options["source_format"], options["output_format"]
    jobs = plan(inputs, options["output"], *kinds, options["external"])
    _check_options(ctx, jobs)
    talk = Talk(
        "dcconvert",
        options["verbose"],
        options["quiet"],
        options["json"],
        to_stderr=options["output"] == STANDARD,
    )
    recipe = _recipe(options)
    check_search(ctx, jobs)
    return _run(talk, jobs, _wishes(recipe, options), _Depfile.of(options))


def _writing(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the output's writer that were given."""
    given = [name for name in (*C_OPTIONS, *TFLITE_OPTIONS, "arena") if options[name]]
    return {"form" if name == "c_form" else name: options[name] for name in given}


@dataclass(frozen=True)
class _Depfile:
    """Where to write what an output is made from, under which name, and what else it is."""

    path: str
    target: str | None
    settings: tuple[str, ...]

    @staticmethod
    def of(options: dict[str, Any]) -> _Depfile | None:
        if options["depfile"] is None:
            return None
        given = tuple(options[name] for name in ("recipe", "activations") if options[name])
        return _Depfile(options["depfile"], options["depfile_target"], given)

    def write(self, outcome: Outcome) -> None:
        job = outcome.job
        sources: list[str | Path] = [job.source, *outcome.files, *self.settings]
        write_depfile(self.path, self.target or job.output, sources)


def _run(talk: Talk, jobs: list[Job], wishes: Wishes, depfile: _Depfile | None) -> int:
    lossy, line = _first_line(jobs, wishes)
    talk.say(line)
    with terminal.progress(talk) as tick:
        results = [_attempt(talk, job, wishes, tick, depfile) for job in jobs]
    status = "ok" if all(isinstance(result, Outcome) for result in results) else "error"
    files = []
    for result in results:
        if isinstance(result, Outcome):
            show(talk, result)
            files.append(as_json(result))
        else:
            files.append(result)
    head = {"command": "dcconvert", "version": terminal.version(), "status": status}
    talk.answer({**head, "lossy": lossy, "settings": line, "files": files})
    return terminal.DONE if status == "ok" else terminal.FAILED


def _attempt(
    talk: Talk, job: Job, wishes: Wishes, tick: terminal.Tick, depfile: _Depfile | None
) -> Outcome | dict[str, str]:
    """Return the outcome of a job, or its error as JSON; the other jobs are still done."""
    file = "standard input" if job.source == STANDARD else job.source
    try:
        outcome = convert(job, wishes, tick)
        if depfile:
            depfile.write(outcome)
        return outcome
    except BrokenPipeError:
        raise
    except Exception as error:  # shown on one line, whatever it is
        talk.fault(error, file)
        reason = terminal.describe(error, file)
        return {"input": job.source, "output": job.output, "status": "error", "error": reason}


def _first_line(jobs: list[Job], wishes: Wishes) -> tuple[bool | None, str]:
    """Say whether the weights may change, before anything is done."""
    if any(job.source_format != DCF and job.chooses for job in jobs):
        if wishes.goal is not None:
            return True, f"a search: lossy, {wishes.goal.described}; {KEEP}"
        if wishes.fixed is not None:
            return True, f"{wishes.fixed.described}: lossy; {KEEP}"
        return is_lossy(wishes.recipe), describe_recipe(wishes.recipe)
    if wishes.integer:
        return True, "lossy: all becomes int8, by ranges seen on the calibration data"
    kind = wishes.writing.get("weights") or "float32"
    if kind != "float32":
        return True, f"lossy: weights become {kind}, but for those that are integers already"
    return None, "no weight is changed"


def _recipe(options: dict[str, Any]) -> Recipe:
    """Return the recipe of file and options; options win."""
    names = ("preset", "bits", "prune", "quantizer", "target")
    stated = {name: options[name] for name in names if options[name] is not None}
    stated |= {"shrink": True} if options["shrink"] else {}
    if options["recipe"] is not None:
        return with_settings(read_recipe(options["recipe"]), **stated)
    try:
        return preset_recipe(**{"preset": "int8", **stated})
    except ConvertError as error:  # options that contradict each other
        raise click.UsageError(str(error)) from error


def _wishes(recipe: Recipe, options: dict[str, Any]) -> Wishes:
    return Wishes(
        recipe,
        goal=goal_of(options),
        fixed=fixed_goal_of(options),
        data=data_of(options),
        target=options["target"],
        prefer=options["prefer"],
        row_access=options["row_access"],
        names=not options["no_names"],
        graph=not options["no_graph"],
        jobs=options["jobs"],
        writing=_writing(options),
        integer=options["integer"],
        reading={"prototxt": options["prototxt"]} if options["prototxt"] else {},
    )


def _check_options(ctx: click.Context, jobs: list[Job]) -> None:
    """Refuse options that nothing of this run would heed, and binary data on a terminal."""
    given = [n for n in ctx.params if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    if not any(job.output_format == DCF for job in jobs):
        _refuse(given, _DCF_OPTIONS, "is for writing .dcf")
    if not any(job.chooses for job in jobs):
        coded = (*_LOSSY_OPTIONS, *_CODED_OPTIONS, *_searching(ctx))
        _refuse(given, coded, "is for writing .dcf or C")
    if any(job.source_format != DEEP_COMPRESSION for job in jobs):
        _refuse(given, ("prototxt",), "is for reading a .net of Deep Compression")
    _check_c(given, jobs)
    if not all(job.output_format == _TFLITE for job in jobs):
        _refuse(given, (*TFLITE_OPTIONS, "integer"), "is for writing .tflite")
    if ctx.params["integer"]:
        _check_integer(given)
    if not all(job.output_format == _TFLM for job in jobs):
        _refuse(given, ("arena",), "is for writing .tflm")
    _check_depfile(given, jobs, ctx.params["depfile"])
    if all(job.source_format == DCF for job in jobs):
        why = "changes weights, and those of a .dcf are never quantized again"
        _refuse(given, (*_LOSSY_OPTIONS, *_searching(ctx)), why)
    if any(job.external for job in jobs):
        _check_external(jobs)
    if sys.stdout.isatty() and any(job.output == STANDARD for job in jobs):
        raise click.UsageError("standard output is a terminal: send it to a file or a pipe")


def _searching(ctx: click.Context) -> tuple[str, ...]:
    """Return the options of a search; calibration data are also for integers."""
    return tuple(n for n in SEARCH_OPTIONS if n != "calib" or not ctx.params["integer"])


def _check_integer(given: list[str]) -> None:
    """Refuse --integer without inputs to see ranges on, and with other weights."""
    if "calib" not in given:
        raise click.UsageError("--integer wants inputs to see ranges on: --calib FILE.npz")
    _refuse(given, ("weights",), "is for a file in float32, not for --integer")


def _check_c(given: list[str], jobs: list[Job]) -> None:
    """Refuse options of C where none is written, and C where there is no place for its files."""
    made = [job for job in jobs if job.output_format == _C]
    if not made:
        _refuse(given, C_OPTIONS, "is for writing C")
    if len(made) > 1:
        _refuse(given, ("prefix",), "is for one model: the symbols of two must differ")
        _refuse(given, ("with_decoder",), "is for one model: two may need different decoders")
    if any(job.output == STANDARD or is_special(job.output) for job in made):
        raise click.UsageError("C is several files: -o wants the name of a file")


def _check_depfile(given: list[str], jobs: list[Job], path: str | None) -> None:
    """Refuse a depfile of several outputs, and one in the place of another file."""
    if path is None:
        _refuse(given, ("depfile_target",), "is for --depfile")
        return
    job = jobs[0]
    if len(jobs) > 1 or STANDARD in (job.source, job.output, path):
        raise click.UsageError("--depfile is for one input and one output, all of them files")
    if Path(path).resolve() in {Path(one).resolve() for one in (job.source, *job.outputs)}:
        raise click.UsageError("--depfile would replace the input or the output")


def _check_external(jobs: list[Job]) -> None:
    """Refuse --external where the output's format has no such option, or no place beside it."""
    for job in jobs:
        if job.output_format == DCF or not takes_external(job):
            raise click.UsageError("--external is for writing .onnx")
        if job.output == STANDARD or is_special(job.output):
            raise click.UsageError("--external makes two files: -o wants the name of a file")


def _refuse(given: list[str], options: tuple[str, ...], why: str) -> None:
    for name in options:
        if name in given:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")


if __name__ == "__main__":
    main()
