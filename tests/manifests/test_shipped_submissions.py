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
def test_a_shipped_manifest_becomes_scripts(hpcgeom, manifest_of, tmp_path, name, profile):
    manifest, more = manifest_of(name)
    before = sorted(tmp_path.iterdir())
    shown = hpcgeom("submit", "-m", manifest, "-p", PROFILES / f"{profile}.yaml", "--dry-run", *more)
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


STRATEGY = r"^{} +{} +\* "
"""The line of the strategy that is chosen."""


@pytest.mark.parametrize(
    ("name", "profile", "model", "strategy"),
    [
        ("esm2", "local-lab", "esm2-650m", "replicate"),
        ("esm2", "local-lab", "esm2-3b", "stream"),
        ("esm2", "local-lab", "esm2-15b", "stream"),
        ("llama2", "local-lab", "llama2-7b", "stream"),
        ("llama2", "local-lab", "llama2-70b", "stream"),
        ("llama2", "gpu-nodes", "llama2-13b", "replicate"),
        ("llama2", "gpu-nodes", "llama2-70b", "stream"),
    ],
)
def test_models_larger_than_a_node_or_a_gpu_are_streamed(hpcgeom, shipped, name, profile, model, strategy):
    profile = PROFILES / f"{profile}.yaml"
    manifest = shipped / f"{name}.yaml"
    shown = hpcgeom("submit", "-m", manifest, "-p", profile, "--dry-run", "--samples", N_SAMPLES)
    assert (shown.code, shown.err) == (0, "")
    assert re.search(STRATEGY.format(model, strategy), shown.out, re.MULTILINE), shown.out


def test_a_model_that_fits_with_no_strategy_is_refused_with_both_numbers(hpcgeom, shipped, tmp_path):
    (tmp_path / "small.yaml").write_text("name: small\nnode: {cpus: 4, memory_gb: 2}\n")
    arguments = ("-m", shipped / "esm2.yaml", "-p", "small.yaml", "--samples", N_SAMPLES)
    shown = hpcgeom("submit", *arguments, "--dry-run")
    assert shown.code == 2
    assert re.match(
        r"hpcgeom: model 'esm2-650m' cannot be run on the nodes of profile 'small' \(replicate: needs .* "
        r"of memory where there are 1\.7 GiB; .*dispatch: needs .*\): use a smaller dtype",
        shown.err,
    ), shown.err
    planned = hpcgeom("plan", *arguments)
    assert planned.code == 4
    assert "refused: model 'esm2-650m' cannot be run" in planned.out


def test_gpus_that_hold_a_model_take_it_whole(hpcgeom, shipped, tmp_path):
    text = (PROFILES / "gpu-nodes.yaml").read_text()
    (tmp_path / "p.yaml").write_text(text.replace("gpu_memory_gb: 80", "gpu_memory_gb: 141"))
    arguments = ("-m", shipped / "llama2.yaml", "-p", "p.yaml", "--dry-run", "--samples", N_SAMPLES)
    assert "gpu_memory_gb: 80" in text
    shown = hpcgeom("submit", *arguments)
    assert shown.code == 0
    assert re.search(STRATEGY.format("llama2-70b", "replicate"), shown.out, re.MULTILINE), shown.out


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
