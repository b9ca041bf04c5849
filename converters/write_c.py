"""Write C sources for firmware: a header of macros, and the numbers as constant data.

Spec: spec/DCF.md (what is inside the data), C99 and C++11 (what is around it).
Sisters: c_compressed.py, c_dense.py (the forms), c_facts.py (what is known of the tensors),
c_decoder.py (what must be known of the decoder), docs/firmware.md (how to use it).

The same model and options give the same bytes: no date, no path, no name of a machine. A file
that is already as it should be is not touched, so that nothing is built again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dcformat.api import check_apart
from dcformat.coded import CodedModel
from dcformat.encode import PRODUCER, Progress, Settings
from dcformat.errors import ConvertError
from dcformat.files import write_if_changed
from dcformat.formats import Made, Writer

from .c_activations import read_activations
from .c_compressed import compose_array, compose_blob
from .c_cost import costs
from .c_decoder import decoder_files, features
from .c_dense import LAYOUTS, arrays_of, checked_of, compose_dense, flash_of
from .c_facts import Firmware, firmware_file, firmware_of
from .c_layers import Layer, layers_of
from .c_names import Names, check_prefix, prefix_of
from .c_selftest import dense_selftest_file, selftest_file
from .c_style import Style, own_symbols, symbols_of

FORMS = ("compressed", "dense", "blob")
Files = dict[str, bytes]
_MUCH = 1 << 20


@dataclass(frozen=True)
class Options:
    """How C is written.

    `form` is one of FORMS, `prefix` begins every symbol (by default made of the file's name).
    `activations` names a JSON file of scales (c_activations.py), from which multipliers follow.
    `layout` and `pack_int4` are for the dense form. `selftest` adds a source with a function that
    compares the CRC of every tensor, `with_decoder` dcf.h and dcf.c with what the model needs.
    """

    form: str = "compressed"
    prefix: str = ""
    activations: str | Path | None = None
    layout: str = LAYOUTS[0]
    pack_int4: bool = False
    selftest: bool = False
    with_decoder: bool = False


def write(
    coded: CodedModel,
    path: Path,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Made:
    """Write `coded` as C: `path` and files beside it, each whole; unchanged ones are not touched.

    `options` are fields of Options. Raises DcfError; then nothing is written.
    """
    path = Path(path)
    chosen = _checked(Options(**options), path)
    prefix = check_prefix(chosen.prefix) if chosen.prefix else prefix_of(path.stem)
    style = Style(prefix, f"Made by {PRODUCER}")
    firmware, layers = _known(coded, style, chosen, settings or Settings(), progress)
    files, stored = _composed(coded, firmware, layers, path, style, chosen)
    needed = None if chosen.form == "dense" else features(firmware.opened)
    rows, facts = costs(firmware, layers, stored, needed)
    if chosen.form == "compressed" and stored > _MUCH:
        rows += (("note", "compilers are slow on arrays above 1 MB: see --c-form blob"),)
    if chosen.with_decoder:
        files |= decoder_files(firmware.opened)
    places = {path.with_name(name): content for name, content in files.items()}
    check_apart(coded.files, places)
    for place, content in places.items():
        write_if_changed(place, content)
    return Made(tuple(places), stored, rows, facts)


def _checked(options: Options, path: Path) -> Options:
    """Refuse options that nothing heeds, and a file name that cannot stand in an #include."""
    if options.form not in FORMS:
        raise ConvertError(f"unknown form {options.form!r} of C; known: {', '.join(FORMS)}")
    if options.form != "dense" and (options.layout != LAYOUTS[0] or options.pack_int4):
        raise ConvertError("layout and 4-bit packing are for the dense form of C")
    if options.form == "dense" and options.with_decoder:
        raise ConvertError("the dense form of C needs no decoder")
    if not path.stem.isprintable() or any(c in path.stem for c in '"\\?*'):
        raise ConvertError('a name with ", \\, ?, * or control characters', place=str(path))
    if path in beside(path):
        raise ConvertError("name the source: model.c; others are written too", place=str(path))
    return options


def _known(
    coded: CodedModel,
    style: Style,
    options: Options,
    settings: Settings,
    progress: Progress | None,
) -> tuple[Firmware, list[Layer]]:
    """Return everything that is said of the model, whichever form it takes."""
    names = Names(lambda word: symbols_of(style, word), own_symbols(style))
    words = names.words([tensor.name for tensor in coded.tensors])
    given = read_activations(Path(options.activations)) if options.activations else []
    by_name = dict(zip((t.name for t in coded.tensors), words, strict=True))
    layers = layers_of(coded, by_name, given)
    data = firmware_file(coded, settings, progress)
    return firmware_of(coded, data, words), layers


def _composed(
    coded: CodedModel,
    firmware: Firmware,
    layers: list[Layer],
    path: Path,
    style: Style,
    options: Options,
) -> tuple[Files, int]:
    """Return the files of a form, and what they take in flash."""
    size = len(firmware.data) + sum(layer.stored for layer in layers)
    if options.form != "dense":
        compose = compose_array if options.form == "compressed" else compose_blob
        files = compose(firmware, layers, path, style, options.selftest)
        return files | (selftest_file(style, path) if options.selftest else {}), size
    from .onnx_depthwise import depthwise_weights  # noqa: PLC0415 - onnx is slow to import

    depthwise = depthwise_weights(coded.graph, len(coded.tensors))
    arrays = arrays_of(firmware, options.layout, options.pack_int4, depthwise)
    files = compose_dense(firmware, arrays, layers, path, style, options.selftest)
    if options.selftest:
        files |= dense_selftest_file(style, path, checked_of(style, arrays, layers))
    return files, flash_of(arrays, layers)


def beside(path: Path) -> list[Path]:
    """Return the files that may be written beside `path`."""
    return [path.with_name(path.stem + end) for end in (".h", ".S", ".bin", "_selftest.c")]


OPTIONS = ("settings", "progress", *(one.name for one in fields(Options)))
WRITER = Writer("c", (".c",), write, options=OPTIONS, coded=True, beside=beside)
