"""Build the optional C extension; everything else is in pyproject.toml."""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "dcformat._core",
            sources=sorted(glob("dcformat/c/*.c") + glob("dcformat/_native/*.c")),
            include_dirs=["dcformat/c", "dcformat/_native"],
            depends=sorted(glob("dcformat/c/*.h") + glob("dcformat/_native/*.h")),
            define_macros=[("Py_LIMITED_API", "0x030A0000"), ("DCF_HOST", "1")],
            extra_compile_args=["-std=c99", "-O3", "-ffp-contract=off"],
            py_limited_api=True,
            optional=True,
        )
    ]
)
