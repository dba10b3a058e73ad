"""How long `import LiverLesionSegLib` takes in a fresh interpreter, and that nothing heavy comes with it."""

from __future__ import annotations

import statistics
import subprocess
import sys

CODE = """
import time
start = time.perf_counter()
import LiverLesionSegLib, LiverLesionSegLib.sweep, LiverLesionSegLib.reconstruction, LiverLesionSegLib.segmentation
seconds = time.perf_counter() - start
import sys
print(seconds, [name for name in ("torch", "slicer", "numba", "vtk", "SimpleITK") if name in sys.modules])
"""


def main() -> None:
    seconds, loaded = [], ""
    for _ in range(7):
        first, loaded = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split(" ", 1)
        seconds.append(float(first))
    print(f"import of the library with sweep, reconstruction and segmentation: {statistics.median(seconds):.3f} s (wanted: under 0.5 s)")
    print(f"heavy modules loaded by it: {loaded.strip()}")


if __name__ == "__main__":
    main()
