"""Runs every benchmark that needs no files of one's own, and prints their tables. `python benchmarks/run_all.py > results.txt`"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
APART = {"run_all.py", "average_models.py", "frames.py", "realtime.py", "simulated_ct.py", "study.py"}
"""Not run with the rest: this file, and those that need cases, models or a folder to be named."""


def main() -> int:
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name.startswith("_") or script.name in APART:
            continue
        print(f"\n## {script.stem}\n", flush=True)
        if subprocess.run([sys.executable, str(script)], check=False).returncode:
            failed.append(script.name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
