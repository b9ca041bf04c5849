"""How long `import dcformat` takes beyond NumPy, best of ten: `python bench/import_time.py`.

It prints; it does not judge, because the machine may be busy. The aim is less than 0.2 s.
"""

from __future__ import annotations

import subprocess
import sys

CODE = """
import time, numpy
start = time.perf_counter()
import dcformat
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print the least of ten times."""
    times = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout)
        for _ in range(10)
    ]
    print(f"import dcformat, beyond numpy: {min(times):.3f} s, least of {len(times)}")


if __name__ == "__main__":
    main()
