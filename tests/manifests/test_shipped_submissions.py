"""Every shipped manifest with every shipped profile: scripts, without data, weights, network or scheduler."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpcgeom.cli.main import entry_point
from hpcgeom.manifest.profile import load_profile

PROFILES = Path(__file__).resolve().parents[2] / "slurm" / "profiles"
N_SAMPLES = 1000
WITH_DATA_ELSEWHERE = ("esm2", "gpt2", "igpt", "lab", "llama2")
SHIPPED = (*WITH_DATA_ELSEWHERE, "lab_arrays", "quickstart")
LARGE = "name: large\nnode: {cpus: 128, memory_gb: 500}\n"
HOST = (
    r"a job of stage 'extract' of model '{}' needs {} GiB on a node, but node\.memory_gb of profile '{}' is "
    "{:g}: use larger nodes"
)
GPU = (
    r"the weights of model '{}' are {} GiB, but node\.gpu_memory_gb of profile '{}' is {:g}, and a "
    "model runs on one GPU: use GPUs with more memory"
)
REFUSED = {
    ("esm2", "local-lab"): HOST.format("esm2-3b", r"15\.\d\d", "local-lab", 15),
    ("llama2", "local-lab"): HOST.format("llama2-7b", r"16\.\d\d", "local-lab", 15),
    ("llama2", "gpu-nodes"): GPU.format("llama2-70b", r"128\.\d", "gpu-nodes", 80),
}
"""The first model of a manifest that does not fit, and both numbers."""
N_MODELS = {"esm2": 6, "igpt": 3, "llama2": 3, "gpt2": 1, "lab": 3, "lab_arrays": 3, "quickstart": 1}


@pytest.fixture
def hpcgeom(monkeypatch, capsys, tmp_path):
    """Call the command line in this process, in an empty folder, where no scheduler is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["hpcgeom", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            entry_point()
        shown = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=shown.out, err=shown.err)

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def manifest_of(shipped, tmp_path):
    """The manifest of a name, and what is asked beside it; points that exist already take no disk."""

    def find(name: str) -> tuple[Path, list[object]]:
        if name != "lab_arrays":
            return shipped / f"{name}.yaml", ["--samples", N_SAMPLES]
        path = tmp_path / "lab_arrays.yaml"
        path.write_text((shipped / "lab_arrays.yaml").read_text())
        for model in ("35M", "650M", "3B"):
            folder = tmp_path / "data" / "lab" / f"ESM2-{model}"
            folder.mkdir(parents=True)
            for layer in range(2):
                at = folder / f"ESM2-{model}_rep{layer}_5000.npy"
                np.lib.format.open_memmap(at, "w+", np.float32, (N_SAMPLES, 64))
        return path, []

    return find


def scripts_of(out: str) -> dict[str, str]:
    """The scripts that a rehearsal prints, by the name of the job."""
    _, *parts = re.split(r"^# ---- (\S+)\n", out, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def check_scripts(out: str, name: str, folder: Path) -> dict[str, str]:
    found = scripts_of(out)
    stages = [job.split("-")[3] for job in found]
    assert stages == ["extract"] * N_MODELS[name] + ["search", "geometry", "collect"]
    for job, text in found.items():
        path = folder / "script.sh"
        path.write_text(text)
        assert subprocess.run(["/bin/bash", "-n", path]).returncode == 0, text
        assert f"#SBATCH --job-name={job}\n" in text
        words = shlex.split(text.rstrip().splitlines()[-1])
        assert words[-4:-2] == ["task", words[-3]]
        assert words[-2:] == ["--job", job]
        assert words[0] == ("srun" if "-extract-" in job else "exec")
        assert "export HF_HUB_OFFLINE=1\n" in text
    return found


def test_all_shipped_manifests_and_profiles_are_tested_here(shipped):
    assert {path.stem for path in shipped.glob("*.yaml")} == set(SHIPPED)
    assert {path.stem for path in PROFILES.glob("*.yaml")} == {"local-lab", "gpu-nodes", "template"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_manifest_is_valid_and_has_a_plan(hpcgeom, manifest_of, name):
    manifest, more = manifest_of(name)
    assert hpcgeom("validate", "-m", manifest).code == 0
    assert hpcgeom("plan", "-m", manifest, *more).code == 0


@pytest.mark.parametrize("profile", ["local-lab", "gpu-nodes", "template"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_manifest_becomes_scripts_or_is_refused_with_both_numbers(
    hpcgeom, manifest_of, tmp_path, name, profile
):
    manifest, more = manifest_of(name)
    before = sorted(tmp_path.iterdir())
    shown = hpcgeom("submit", "-m", manifest, "-p", PROFILES / f"{profile}.yaml", "--dry-run", *more)
    if message := REFUSED.get((name, profile)):
        assert (shown.code, shown.out) == (2, "")
        assert re.match(f"hpcgeom: {message}", shown.err), shown.err
        return
    assert (shown.code, shown.err) == (0, "")
    assert sorted(tmp_path.iterdir()) == before
    check_scripts(shown.out, name, tmp_path)


@pytest.mark.parametrize("name", ["esm2", "llama2"])
def test_models_that_were_refused_are_accepted_on_large_nodes(hpcgeom, manifest_of, tmp_path, name):
    manifest, more = manifest_of(name)
    (tmp_path / "large.yaml").write_text(LARGE)
    shown = hpcgeom("submit", "-m", manifest, "-p", "large.yaml", "--dry-run", *more)
    assert (shown.code, shown.err) == (0, "")
    found = check_scripts(shown.out, name, tmp_path)
    largest = next(text for job, text in found.items() if job.endswith(("esm2-15b", "llama2-70b")))
    memory_gb = int(re.search(r"--mem=(\d+)M", largest)[1]) / 1024
    assert 60 < memory_gb < 80 if name == "esm2" else 130 < memory_gb < 160


def test_each_of_the_large_models_is_refused_by_the_lab_with_its_own_number(hpcgeom, shipped, tmp_path):
    """Those that stand behind the first one which does not fit."""
    for name, model, needs in (("esm2", "esm2-15b", r"70\.\d\d"), ("llama2", "llama2-70b", r"1[45]\d\.\d\d")):
        text = (shipped / f"{name}.yaml").read_text()
        kept = [
            line
            for line in text.splitlines()
            if not line.startswith("  - {name:") or f"name: {model}," in line
        ]
        (tmp_path / "one.yaml").write_text("\n".join(kept) + "\n")
        profile = PROFILES / "local-lab.yaml"
        refused = hpcgeom("submit", "-m", "one.yaml", "-p", profile, "--dry-run", "--samples", N_SAMPLES)
        assert refused.code == 2
        assert re.match(f"hpcgeom: {HOST.format(model, needs, 'local-lab', 15)}", refused.err), refused.err


def test_llama_70b_needs_a_gpu_that_holds_it(hpcgeom, shipped, tmp_path):
    text = (PROFILES / "gpu-nodes.yaml").read_text()
    (tmp_path / "p.yaml").write_text(text.replace("gpu_memory_gb: 80", "gpu_memory_gb: 141"))
    arguments = ("-m", shipped / "llama2.yaml", "-p", "p.yaml", "--dry-run", "--samples", N_SAMPLES)
    assert "gpu_memory_gb: 80" in text
    assert hpcgeom("submit", *arguments).code == 0


def test_gpu_nodes_give_gpus_to_the_forward_passes_alone(hpcgeom, shipped, tmp_path):
    profile = PROFILES / "gpu-nodes.yaml"
    shown = hpcgeom("submit", "-m", shipped / "esm2.yaml", "-p", profile, "--dry-run", "--samples", N_SAMPLES)
    loaded = load_profile(profile).profile
    for job, text in check_scripts(shown.out, "esm2", tmp_path).items():
        is_extract = "-extract-" in job
        assert ("#SBATCH --gpus-per-node=1\n" in text) == is_extract
        partition = loaded.slurm_of(job.split("-")[3])["partition"]
        assert f"#SBATCH --partition={partition}\n" in text
        assert partition == ("gpu" if is_extract else "cpu")
        assert "module load CUDA/12.4.0 || exit 1\n" in text
