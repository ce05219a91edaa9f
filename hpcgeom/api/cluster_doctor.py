"""Can the cluster of a profile run hpcgeom, and if not, why: a small check for each thing that is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from hpcgeom.api import cluster_checks, probing
from hpcgeom.api.cluster_checks import Facts
from hpcgeom.api.cluster_requests import STAGES, Place, check_request, places_of
from hpcgeom.api.doctor import Finding, Wrong, carry_out, existing
from hpcgeom.api.probe_answers import checks_of_answer, node_name
from hpcgeom.api.probing import FOLDER, Probe
from hpcgeom.errors import HpcgeomError
from hpcgeom.launch.slurm import commands
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.manifest.profile import LoadedProfile, load_profile
from hpcgeom.manifest.profile_sections import Profile

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "srun")

Checks = dict[str, Callable[[], str]]


def examine_cluster(profile: Path, run_dir: Path) -> list[Finding]:
    """Check a profile, the scheduler, and by small jobs the nodes on which runs below `run_dir` will be.

    What is submitted is waited for `probing.WAIT_S` seconds at most, and then cancelled; nothing stays. Where
    an earlier check finds something wrong, those that need it are left out.
    """
    try:
        loaded = load_profile(profile)
    except HpcgeomError as error:
        return [Finding("profile", False, str(error))]
    findings = [Finding("profile", True, f"{loaded.profile.name} ({loaded.path})")]
    findings += _carried_out(
        {
            "shared folder": partial(check_folder, run_dir, "the run directory", "name another --run-dir"),
            "log folder": partial(_check_logs, loaded, run_dir),
            "scheduler commands": _check_commands,
        }
    )
    if not findings[-1].is_fine:
        return findings
    try:
        facts = Facts.asked()
    except SchedulerError as error:
        return [*findings, Finding("controller", False, str(error))]
    version = facts.settings.get("SLURM_VERSION", "?")
    says = f"cluster {facts.settings.get('ClusterName', '?')} answers, SLURM {version}"
    findings.append(Finding("controller", True, says))
    findings += examine_scheduler(loaded.profile, facts)
    return [*findings, *_examine_nodes(loaded.profile, run_dir, findings)]


def _carried_out(checks: Checks) -> list[Finding]:
    return [carry_out(name, check) for name, check in checks.items()]


def _check_logs(loaded: LoadedProfile, run_dir: Path) -> str:
    folder = loaded.logs or run_dir / "logs"
    return check_folder(folder, "the folder of the logs", "correct logs of the profile")


def check_folder(folder: Path, what: str, mend: str) -> str:
    """Whether a folder is there or can be made, and files can be made in it."""
    there = existing(folder)
    if not there.is_dir():
        raise Wrong(f"{folder}: expected {what}, found a file at {there}: remove it, or {mend}")
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=FOLDER):
            pass
    except OSError as error:
        raise Wrong(
            f"{folder}: expected that {what} can be written, found that {there} cannot "
            f"({error.strerror}): {mend}"
        ) from None
    return f"{folder.absolute()} {'can be written' if there == folder.absolute() else 'can be made'}"


def _check_commands() -> str:
    missing = [name for name in COMMANDS if not commands.has(name)]
    if missing:
        raise Wrong(
            f"expected {', '.join(COMMANDS)} on the PATH, found no {', '.join(missing)}: run this on a login "
            "node, or load the module that has them"
        )
    return f"{', '.join(COMMANDS)} are there"


def examine_scheduler(profile: Profile, facts: Facts) -> list[Finding]:
    """Check what the profile asks for against what the scheduler says."""
    checks: Checks = {
        "accounting": partial(cluster_checks.check_accounting, facts),
        "array size": partial(cluster_checks.check_array_size, profile),
    }
    for account, qos in cluster_checks.accounts_of(profile):
        name = " ".join(filter(None, ("account", account, qos)))
        checks[name] = partial(cluster_checks.check_account, facts, account, qos)
    findings = _carried_out(checks)
    is_there: dict[str | None, bool] = {}
    for partition, keys in cluster_checks.partition_keys(profile).items():
        check = partial(cluster_checks.check_partition, facts, partition, " and ".join(keys))
        findings.append(carry_out(f"partition {partition or '(default)'}", check))
        is_there[partition] = findings[-1].is_fine
    for stage in STAGES:
        if is_there[profile.slurm_of(stage)["partition"]]:
            findings += _examine_stage(profile, facts, stage)
    return findings


def _examine_stage(profile: Profile, facts: Facts, stage: str) -> Iterator[Finding]:
    """Check a stage; the scheduler's own word comes last, where ours finds nothing wrong."""
    found = [
        carry_out(f"{stage} walltime", partial(cluster_checks.check_walltime, facts, profile, stage)),
        carry_out(f"{stage} nodes", partial(cluster_checks.check_nodes, facts, profile, stage)),
    ]
    yield from found
    if profile.node_of(stage).model_dump(exclude_none=True):
        yield carry_out(
            f"{stage} node facts", partial(cluster_checks.check_node_facts, facts, profile, stage)
        )
    if all(finding.is_fine for finding in found):
        yield carry_out(f"{stage} request", partial(_check_request, profile, stage))


def _check_request(profile: Profile, stage: str) -> str:
    with tempfile.TemporaryDirectory(prefix="hpcgeom-doctor-") as name:
        return check_request(profile, stage, Path(name))


def _examine_nodes(profile: Profile, run_dir: Path, before: list[Finding]) -> list[Finding]:
    """Have a small job look at a node of each place of the profile whose partition and folders are fine."""
    wrong = {finding.check for finding in before if not finding.is_fine}
    findings: list[Finding] = []
    places: dict[Place, list[str]] = {}
    for place, stages in places_of(profile).items():
        needed = {"shared folder", "log folder", f"partition {place.placement.partition or '(default)'}"}
        if reasons := sorted(wrong & needed):
            says = f"not tried, because of what is wrong with {' and '.join(reasons)}: mend that first"
            findings.append(Finding(f"job on {place.label}", False, says))
        else:
            places[place] = stages
    if not places:
        return findings
    try:
        probes, left = probing.probe(profile, run_dir, list(places))
    except OSError as error:
        return [*findings, Finding("jobs", False, f"the folder of small jobs cannot be made: {error}")]
    for item in probes:
        findings += _examine_answer(profile, item, places[item.place])
    findings += [Finding(f"rest {path.name}", False, f"{path} cannot be removed: remove it") for path in left]
    return findings


def _examine_answer(profile: Profile, item: Probe, stages: list[str]) -> Iterator[Finding]:
    label = item.place.label
    if item.answer is None:
        yield Finding(f"job on {label}", False, item.trouble)
        return
    yield Finding(f"job on {label}", True, f"job {item.job_id} ran on {node_name(item.answer)}")
    for name, check in checks_of_answer(profile, item, stages).items():
        yield carry_out(f"{name} on {label}", check)
