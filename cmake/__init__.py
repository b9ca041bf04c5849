"""Files for build systems: dcformat-config.cmake and dcformat.mk. See docs/firmware.md."""

from pathlib import Path

#: For -Ddcformat_DIR= of CMake, and for `include` of Make.
FOLDER = Path(__file__).resolve().parent
