"""What every generated file shares: its symbols, its opening, its checks, how it is placed.

Sisters: c_names.py (words), c_text.py (lines)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: What each tensor's word is followed by; names are chosen so that no two symbols are equal.
MACROS = (
    "ELEMENTS", "ROWS", "COLUMNS", "BITS", "FRACTION", "SCALE", "ZERO_POINT",
    "STORED_BYTES", "DECODED_BYTES", "ROW_BYTES", "SCRATCH_BYTES",
    "INPUT_FRACTION", "WEIGHT_FRACTION", "BIAS_FRACTION", "OUTPUT_FRACTION",
    "RIGHT_SHIFT", "BIAS_LEFT_SHIFT", "ROUNDING", "MULTIPLIER", "SHIFT",
    "CHANNELS", "INPUT_ZERO_POINT", "OUTPUT_ZERO_POINT",
)  # fmt: skip
OBJECTS = ("fraction", "scale", "zero_point", "multiplier", "shift", "bias")
TOTALS = (
    "TENSORS", "DATA_BYTES", "DATA_CRC", "FLASH_BYTES", "SCRATCH_BYTES", "ROW_BYTES",
    "TENSOR_BYTES", "H", "SELFTEST_H", "SELFTEST_BYTES", "BIN", "BIN_SECTION", "BIN_ALIGN_LOG2",
)  # fmt: skip
OWN_OBJECTS = ("data", "tensor", "selftest")
MODEL_WORD = "t"  #: between prefix and word of an entry of the enumeration
_SPLIT = 96

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
#: How arrays are placed; each macro may be defined on the command line.
PLACING = _PLACING.splitlines()
PLACING_STORY = (
    "Where it goes: define DCF_ALIGN(bytes), DCF_SECTION or DCF_PROGMEM for the compiler, as",
    "-D'DCF_SECTION=__attribute__((section(\".extflash\")))'.",
)
CPP_BEGIN = ("#ifdef __cplusplus", 'extern "C" {', "#endif")
CPP_END = ("#ifdef __cplusplus", "}", "#endif")


@dataclass(frozen=True)
class Style:
    """The prefix of symbols, and the line that says who made the file."""

    prefix: str
    maker: str

    def macro(self, *words: str) -> str:
        return "_".join((self.prefix, *words)).upper()

    def symbol(self, *words: str) -> str:
        return "_".join((self.prefix, *words))

    def entry(self, word: str) -> str:
        """Return the name of a tensor's entry in the enumeration."""
        return self.macro(MODEL_WORD, word)


def symbols_of(style: Style, word: str) -> Iterator[str]:
    """Yield every symbol that may be made of a tensor's word."""
    yield style.entry(word)
    yield style.symbol(word)
    yield from (style.macro(word, ending) for ending in MACROS)
    yield from (style.symbol(word, ending) for ending in OBJECTS)


def own_symbols(style: Style) -> set[str]:
    """Return the symbols that belong to the model as a whole."""
    return {style.macro(one) for one in TOTALS} | {style.symbol(one) for one in OWN_OBJECTS}


def opening(style: Style, file_name: str, title: str, lines: Sequence[str]) -> list[str]:
    """Return the comment at the top of a file."""
    story = [" *", *(f" * {line}" for line in lines)] if lines else []
    return [f"/* {file_name}: {title}", f" * {style.maker}; do not edit.", *story, " */"]


def same_run(style: Style, header_name: str, crc: int) -> list[str]:
    """Return the lines by which a source takes in its header, and refuses that of another run."""
    return [
        f'#include "{header_name}"',
        "",
        f"#if {style.macro('DATA_CRC')} != 0x{crc:08x}U",
        f'#error "{header_name} was made in another run: take all files of one run"',
        "#endif",
    ]


def assert_that(style: Style, what: str, condition: str) -> str:
    """Return a check that compilers of C99 and C++ make: an array of negative size if false.

    No tensor has such a name: words have no capitals.
    """
    line = f"typedef char {style.symbol('Check', what)}[({condition}) ? 1 : -1];"
    return line if len(line) <= _SPLIT else line.replace("[(", "\n    [(", 1)


def placed(kind: str, name: str, count: str, align: int) -> str:
    """Return the beginning of the definition of an array."""
    return f"DCF_ALIGN({align}) DCF_SECTION DCF_PROGMEM const {kind} {name}[{count}] = {{"


def text_of(lines: Sequence[str]) -> bytes:
    """Return a file of these lines."""
    return ("\n".join(lines) + "\n").encode("utf-8")
