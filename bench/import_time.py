"""How long `import dcformat` takes beyond NumPy, best of ten: `python bench/import_time.py`.

The package imports its parts when they are asked for; here all of them are.
"""

from __future__ import annotations

import subprocess
import sys

LIMIT = 0.2
CODE = """
import time, numpy
start = time.perf_counter()
import dcformat
everything = [getattr(dcformat, name) for name in dcformat.__all__]
print(time.perf_counter() - start)
"""


def main() -> int:
    """Print the time; return 1 if it is above LIMIT seconds."""
    times = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout)
        for _ in range(10)
    ]
    print(
        f"import dcformat and all of its names, beyond numpy: {min(times):.3f} s (limit {LIMIT} s)"
    )
    return int(min(times) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
