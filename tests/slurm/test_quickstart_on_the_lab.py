"""The quickstart on a real cluster, as its users start it; all of its data in the slow test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab_jobs import submit_and_wait

from hpcgeom.api.running import run_manifest
from hpcgeom.store.compare import differences, n_compared

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
MODES = ("allocation", "jobqueue")
FEW, SHORT = 520, 300
"""Samples, and characters of the longest, where not all are taken."""


def checkout(folder: Path, n_samples: int | None) -> Path:
    """The parts of the project that a user submits from, with as many samples as wanted."""
    shutil.copytree(ROOT / "slurm", folder / "slurm")
    (folder / "manifests" / "data").mkdir(parents=True)
    data = folder / "manifests" / "data" / "docstrings.jsonl"
    tool = ROOT / "tools" / "collect_docstrings.py"
    subprocess.run([sys.executable, str(tool), "--out", str(data)], check=True, capture_output=True)
    text = (ROOT / "manifests" / "quickstart.yaml").read_text()
    if n_samples is not None:
        rows = [line for line in data.read_text().splitlines(True) if len(json.loads(line)["text"]) < SHORT]
        data.write_text("".join(rows[number * len(rows) // n_samples] for number in range(n_samples)))
        text = text.replace("unit_rows: 512", "unit_rows: 256")
    (folder / "manifests" / "quickstart.yaml").write_text(text)
    for mode in MODES:
        profile = (ROOT / "slurm" / "profiles" / "local-lab.yaml").read_text()
        assert "mode: allocation" in profile
        path = folder / "slurm" / "profiles" / f"{mode}.yaml"
        path.write_text(profile.replace("mode: allocation", f"mode: {mode}"))
    return folder


def user_of(lab) -> dict[str, str]:
    """The environment of a shell in which hpcgeom is active and the lab is the cluster."""
    return {**os.environ, **lab.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def hpcgeom(lab, folder: Path, *arguments: str, timeout_s: float) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "hpcgeom.cli.main", *arguments],
        cwd=folder,
        env=user_of(lab),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def submitted(lab, folder: Path, mode: str, run: str, timeout_s: float, *more: str) -> Path:
    profile = f"slurm/profiles/{mode}.yaml"
    words = ("submit", "--manifest", "manifests/quickstart.yaml", "--profile", profile, "--run-dir", run)
    hpcgeom(lab, folder, *words, *more, timeout_s=timeout_s)
    hpcgeom(lab, folder, "status", run, "--watch", timeout_s=timeout_s)
    return folder / run


def try_all(lab, folder: Path, timeout_s: float) -> None:
    reference = run_manifest(folder / "manifests" / "quickstart.yaml", folder / "reference", workers=2)
    (job,) = submit_and_wait(
        lab, "slurm/extract.sh", cwd=folder, environment=user_of(lab), timeout_s=timeout_s
    )
    assert job["JobState"] == "COMPLETED", job
    by_hand = folder / "runs" / "quickstart"
    hpcgeom(lab, folder, "verify", str(reference), timeout_s=timeout_s)
    extracted = {path.relative_to(reference) for path in (reference / "activations").rglob("c/*/*/*")}
    assert extracted
    for path in extracted:
        assert (by_hand / path).read_bytes() == (reference / path).read_bytes(), path
    first = submitted(lab, folder, "allocation", "first", timeout_s)
    # The other mode is another search: what was extracted is taken over.
    second = submitted(lab, folder, "jobqueue", "second", timeout_s, "--reuse", str(by_hand))
    for found in (first, second):
        assert differences(reference, found) == []
        assert n_compared(found) == n_compared(reference) > 100
        assert "identical" in hpcgeom(lab, folder, "compare", str(reference), str(found), timeout_s=timeout_s)
        assert (found / "report" / "figures").is_dir()


def test_the_quickstart_by_script_and_by_submission_is_that_of_run(lab, tmp_path):
    try_all(lab, checkout(tmp_path, FEW), timeout_s=240)


@pytest.mark.slow
def test_all_of_the_quickstart_by_script_and_by_submission_is_that_of_run(lab, tmp_path):
    try_all(lab, checkout(tmp_path, None), timeout_s=1200)
