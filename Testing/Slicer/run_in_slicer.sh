#!/usr/bin/env bash
# Runs the module's tests in an installed Slicer: Testing/Slicer/run_in_slicer.sh [PATH/TO/Slicer]
set -euo pipefail
slicer="${1:-Slicer}"
root="$(cd "$(dirname "$0")/../.." && pwd)"
if ! command -v "$slicer" >/dev/null; then
  echo "$slicer: there is no such program; give the path of the Slicer executable." >&2
  exit 2
fi
exec "$slicer" --no-splash --testing --disable-cli-modules --additional-module-paths "$root/LiverLesionSeg" \
  --python-script "$root/Testing/Slicer/test_module_in_slicer.py"
