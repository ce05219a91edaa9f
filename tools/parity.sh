#!/usr/bin/env bash
# Compares hpcgeom.geometry with DADApy in an environment of its own (NumPy 1.26), from the source tree.
#
#   tools/parity.sh [VENV]     VENV is made if absent; default .venv-dadapy in the repository
#
# Python is $PYTHON (python3 if unset). Ends with an error if a test failed, was skipped, or none ran.
set -euo pipefail

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=${1:-"$repository/.venv-dadapy"}
report=$(mktemp --suffix=.xml)
trap 'rm -f -- "$report"' EXIT

# what `hpcgeom measure` and a run of points that exist already need besides (no more than that of the package)
run=(google-crc32c matplotlib psutil pyarrow pydantic pyyaml rich typer xarray zarr)
if ! "$venv/bin/python" -c "import dadapy, google_crc32c, psutil, pyarrow.parquet, pydantic, pytest, typer, xarray, zarr" \
    2>/dev/null; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --constraint "$repository/constraints-dadapy.txt" \
        dadapy numba numpy scipy scikit-learn pytest hypothesis "${run[@]}"
fi

cd -- "$repository"
export OMP_NUM_THREADS=1 PYTHONPATH="$repository"
# tests/geometry runs too: the same functions under NumPy 1.26 (scikit-dimension is in the main environment)
"$venv/bin/python" -m pytest tests/parity tests/geometry -m "not slow" -k "not scikit_dimension" --junitxml="$report" -q

"$venv/bin/python" - "$report" <<'PYTHON'
import sys
import xml.etree.ElementTree as ElementTree

cases = [case for case in ElementTree.parse(sys.argv[1]).iter("testcase") if "parity" in case.get("classname")]
skipped = [case.get("name") for case in cases if case.find("skipped") is not None]
if not cases or skipped:
    sys.exit(f"parity: {len(cases)} tests against DADApy ran and {len(skipped)} of them were skipped: {skipped}")
print(f"parity: {len(cases)} tests against DADApy ran, none was skipped")
PYTHON
