"""What the packages of this environment weigh on disk: `python bench/install_size.py`.

Run it with the Python of an environment that holds dcformat and nothing else. Without pip and
setuptools, which an environment may bring along; compiled `.pyc` files count.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

LIMIT_MB = 150
TOOLS = {"pip", "setuptools"}


def size_of(distribution: Distribution) -> int:
    """Return the bytes of a distribution's files."""
    paths = [Path(str(file.locate())) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> int:
    """Print a line a package; return 1 if they weigh more than LIMIT_MB together."""
    sizes = {d.name: size_of(d) for d in distributions() if d.name not in TOOLS}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        print(f"{name:20}{sizes[name] / 1e6:8.1f} MB")
    total = sum(sizes.values()) / 1e6
    print(f"{'together':20}{total:8.1f} MB (limit {LIMIT_MB} MB)")
    return int(total > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
