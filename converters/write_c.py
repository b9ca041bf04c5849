"""Write C sources for firmware: a header of macros, and the numbers as constant data.

Spec: spec/DCF.md (what is inside the data), C99 and C++11 (what is around it).
Sisters: c_names.py, c_text.py (words and lines), c_facts.py, c_header.py (what is said),
c_decoder.py (what must be known of the decoder).

The same model and options give the same bytes: no date, no path, no name of a machine. A file
that is already as it should be is not touched, so that nothing is built again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dcformat.coded import CodedModel
from dcformat.encode import PRODUCER, Progress, Settings
from dcformat.errors import ConvertError
from dcformat.files import write_if_changed
from dcformat.formats import Made, Writer

from .c_facts import Firmware, firmware_file, firmware_of
from .c_header import (
    Style,
    assert_that,
    header,
    opening,
    own_symbols,
    source_checks,
    symbols_of,
)
from .c_names import Names, check_prefix, prefix_of
from .c_text import byte_rows

FORMS = ("compressed",)
_PLACING = """\
#ifndef DCF_PROGMEM
#define DCF_PROGMEM
#endif
#ifndef DCF_SECTION
#define DCF_SECTION
#endif
#ifndef DCF_ALIGN
#if defined(__ICCARM__) || defined(__ICCRX__) || defined(__ICCRL78__) || defined(__ICCAVR__)
#define DCF_ALIGN(bytes) _Pragma("data_alignment=16")
#elif defined(__cplusplus) && __cplusplus >= 201103L
#define DCF_ALIGN(bytes) alignas(bytes)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define DCF_ALIGN(bytes) _Alignas(bytes)
#elif defined(__GNUC__)
#define DCF_ALIGN(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#define DCF_ALIGN(bytes) __declspec(align(bytes))
#else
#define DCF_ALIGN(bytes)
#endif
#endif
"""
#: How an array is placed; each may be defined on the command line.
PLACING = _PLACING.splitlines()


@dataclass(frozen=True)
class Options:
    """How C is written: `form` is one of FORMS, `prefix` begins every symbol."""

    form: str = "compressed"
    prefix: str = ""


Files = dict[str, bytes]


def write(
    coded: CodedModel,
    path: Path,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Made:
    """Write `coded` as C: `path` and files beside it, whole; unchanged ones are not touched.

    `options` are fields of Options. Raises ConvertError.
    """
    path = Path(path)
    chosen = Options(**options)
    _check_name(path)
    style = _style(chosen, path.stem)
    data = firmware_file(coded, settings or Settings(), progress)
    files, facts = _COMPOSE[_form(chosen)](coded, data, path, style)
    for name, content in files.items():
        write_if_changed(path.with_name(name), content)
    return Made(tuple(path.with_name(name) for name in files), len(data), facts=facts)


def _check_name(path: Path) -> None:
    """Refuse a file name that cannot stand in an #include, or that the header would have."""
    if not path.stem.isprintable() or any(c in path.stem for c in '"\\?*'):
        raise ConvertError('a name with ", \\, ?, * or control characters', place=str(path))
    if path in beside(path):
        raise ConvertError("name the source: model.c; the header is written too", place=str(path))


def _form(options: Options) -> str:
    if options.form not in FORMS:
        raise ConvertError(f"unknown form {options.form!r} of C; known: {', '.join(FORMS)}")
    return options.form


def _style(options: Options, stem: str) -> Style:
    prefix = check_prefix(options.prefix) if options.prefix else prefix_of(stem)
    return Style(prefix, f"Made by {PRODUCER}")


def compose_compressed(
    coded: CodedModel, data: bytes, path: Path, style: Style
) -> tuple[Files, Mapping[str, Any]]:
    """Return model.h, and model.c with a file for firmware as an array of bytes."""
    names = Names(lambda word: symbols_of(style, word), own_symbols(style))
    firmware = firmware_of(coded, data, names.words([tensor.name for tensor in coded.tensors]))
    files = {
        f"{path.stem}.h": _text(header(style, f"{path.stem}.h", firmware)),
        path.name: _text(_source(style, path, firmware)),
    }
    return files, {}


def _source(style: Style, path: Path, firmware: Firmware) -> list[str]:
    data, size = style.symbol("data"), style.macro("DATA_BYTES")
    return [
        *opening(style, path.name, "the numbers themselves.", _PLACING_STORY),
        *source_checks(style, f"{path.stem}.h", zlib.crc32(firmware.data)),
        "",
        *PLACING,
        "",
        f"DCF_ALIGN(16) DCF_SECTION DCF_PROGMEM const uint8_t {data}[{size}] = {{",
        *byte_rows(firmware.data),
        "};",
        "",
        *_asserts(style, firmware),
    ]


_PLACING_STORY = [
    "Where they go: define DCF_ALIGN(bytes), DCF_SECTION or DCF_PROGMEM for the compiler, as",
    "-D'DCF_SECTION=__attribute__((section(\".extflash\")))'. The decoder needs no alignment.",
]


def _asserts(style: Style, firmware: Firmware) -> list[str]:
    """Return checks that the compiler makes."""
    data, size = style.symbol("data"), style.macro("DATA_BYTES")
    lines = [assert_that(style, "data_has_its_size", f"sizeof({data}) == {size}")]
    most = style.macro("SCRATCH_BYTES")
    for facts in firmware.tensors:
        if facts.scratch:
            own = style.macro(facts.word, "SCRATCH_BYTES")
            lines.append(assert_that(style, f"scratch_{facts.index}_fits", f"{own} <= {most}"))
    return lines


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("utf-8")


def beside(path: Path) -> list[Path]:
    """Return the files that may be written beside `path`."""
    return [path.with_name(path.stem + end) for end in (".h",)]


_Compose = Callable[[CodedModel, bytes, Path, Style], tuple[Files, Mapping[str, Any]]]
_COMPOSE: dict[str, _Compose] = {"compressed": compose_compressed}

OPTIONS = ("settings", "progress", *(one.name for one in fields(Options)))
WRITER = Writer("c", (".c",), write, options=OPTIONS, coded=True, beside=beside)
