"""Build the optional C extension; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

FOLDERS = ("dcformat/c", "dcformat/_native")


def found(pattern: str) -> list[str]:
    """Return the C files that match, in one order everywhere."""
    return sorted(path.as_posix() for folder in FOLDERS for path in Path(folder).glob(pattern))


setup(
    ext_modules=[
        Extension(
            "dcformat._core",
            sources=found("*.c"),
            include_dirs=list(FOLDERS),
            depends=found("*.h"),
            define_macros=[("Py_LIMITED_API", "0x030A0000"), ("DCF_HOST", "1")],
            extra_compile_args=["-std=c99", "-O3", "-ffp-contract=off", "-fno-trapping-math"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
