"""What each command calls, and the text that it prints."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcgeom.cli import render
from hpcgeom.cli.progress import make_progress
from hpcgeom.errors import InputError

if TYPE_CHECKING:
    from hpcgeom.plan.footprints import Devices
    from hpcgeom.plan.hours import Rates


def init(name: str, *, is_profile: bool = False) -> str:
    """Write a manifest or a profile to start from; never over a file that is there."""
    from hpcgeom.manifest import template
    from hpcgeom.manifest.profile_template import profile_template

    name = name.removesuffix(".yaml")
    text = profile_template(name) if is_profile else template(name)
    path = Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} exists: choose another name, or remove it first") from None
    if is_profile:
        return f"{path} is written: edit it, then hpcgeom doctor --profile {path}"
    return f"{path} is written: edit it, then hpcgeom validate -m {path}"


def models(*, as_json: bool) -> str:
    """The catalog."""
    from hpcgeom.cli import known_models

    return known_models.as_json() if as_json else known_models.as_text()


def schema(of: str) -> str:
    """The JSON schema of a manifest, a profile, or the status of a run."""
    from pydantic import BaseModel

    from hpcgeom.api.job_status import RunReport
    from hpcgeom.manifest import Manifest
    from hpcgeom.manifest.profile_sections import Profile

    known: dict[str, type[BaseModel]] = {"manifest": Manifest, "profile": Profile, "status": RunReport}
    if of not in known:
        raise InputError(f"there is no schema '{of}': expected one of {', '.join(known)}: choose one of them")
    return json.dumps(known[of].model_json_schema(), indent=1)


def validate(manifest: Path) -> str:
    """Check a manifest alone."""
    from hpcgeom.manifest import load_manifest, manifest_digest

    loaded = load_manifest(manifest)
    return f"{manifest} is valid: {loaded.manifest.name}, digest {manifest_digest(loaded.manifest)[:8]}"


@dataclass(frozen=True, slots=True)
class Where:
    """On what a manifest would be run; see the options of the commands."""

    profile: Path | None = None
    devices: str | None = None
    like: Path | None = None

    def there(self) -> Devices:
        """What models would run on: the cluster of a profile, what is thought of, or this machine."""
        from hpcgeom.api.strategies import devices_of, parse_devices, resources_for
        from hpcgeom.manifest.profile import load_profile

        if self.profile is not None and self.devices is not None:
            raise InputError(
                "--profile says what devices there are, and --devices too: leave one of them out"
            )
        if self.profile is not None:
            return devices_of(load_profile(self.profile).profile)
        if self.devices is not None:
            return parse_devices(self.devices)
        return resources_for(None, None, None).devices()

    def rates(self, manifest: Path) -> Rates:
        """How fast processes are, as far as it is known."""
        from hpcgeom.api.rates import rates_for
        from hpcgeom.manifest import load_manifest, manifest_digest
        from hpcgeom.manifest.profile import load_profile
        from hpcgeom.plan import paths
        from hpcgeom.stages.run import Run

        loaded = load_manifest(manifest)
        root = self.like or paths.run_directory(loaded.manifest.name, manifest_digest(loaded.manifest))
        is_there = self.like is not None or (root / paths.PLAN).exists()
        profile = None if self.profile is None else load_profile(self.profile).profile
        return rates_for(profile, Run(root) if is_there else None)


def plan(
    manifest: Path,
    n_samples: int | None,
    length: int | None,
    where: Where,
    *,
    as_json: bool,
) -> tuple[str, int]:
    """The price of a manifest; exit code 4 where a model cannot be run on the devices."""
    from hpcgeom.api.pricing import price

    found = price(manifest, n_samples, length, where.there(), where.rates(manifest))
    text = json.dumps(found.as_dict(), indent=1) if as_json else render.price(found)
    return text, 4 if found.refusals else 0


def prepare(manifest: Path, run_dir: Path | None) -> str:
    """Prepare a run and say what is next."""
    from hpcgeom.api.running import WAIT_FOR_PREPARE_S, run_directory_of
    from hpcgeom.manifest import load_manifest
    from hpcgeom.stages.prepare import prepare as prepare_run

    loaded = load_manifest(manifest)
    run = prepare_run(loaded, run_directory_of(loaded, run_dir), WAIT_FOR_PREPARE_S)
    notices = [f"note: {notice}" for notice in run.plan.samples.notices]
    return "\n".join([*notices, f"{run.root} is prepared: hpcgeom resume {run.root} does the rest"])


@dataclass(frozen=True, slots=True)
class How:
    """Where units are done, and how models are run; see the options of the commands."""

    workers: int | None = None
    dask: str | None = None
    strategy: str | None = None
    host_memory_gb: float | None = None
    allow_code_change: bool = False

    def options(self) -> dict[str, Any]:
        """Keywords of the functions of the API."""
        return {
            "workers": self.workers,
            "elsewhere": self.elsewhere(),
            "strategy": self.strategy,
            "host_memory_gb": self.host_memory_gb,
            "allow_code_change": self.allow_code_change,
        }

    def elsewhere(self) -> dict[str, Any] | None:
        """What makes workers on other machines; None where units are done here."""
        if self.dask is None:
            return None
        if self.workers is not None:
            raise InputError(
                "--workers N are processes here, and --dask MODE are workers of a job: leave one of them out"
            )
        from hpcgeom.api.launchers import workers_of_allocation

        return workers_of_allocation(self.dask)


def run(
    manifest: Path, run_dir: Path | None, reuse: Path | None, how: How, *, profile_trace: bool = False
) -> str:
    """Do everything, draw the figures and say where things are."""
    from hpcgeom.api.running import run_manifest

    options = how.options()
    with make_progress() as progress:
        root = run_manifest(
            manifest, run_dir, reuse=reuse, progress=progress, profile_trace=profile_trace, **options
        )
    return finished(root)


def resume(root: Path, how: How) -> str:
    """Do what is missing, draw the figures and say where things are."""
    from hpcgeom.api.running import resume as resume_run

    options = how.options()
    with make_progress() as progress:
        resume_run(root, progress=progress, **options)
    return finished(root)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which units a task is to do; see the options of the command."""

    stage: str | None
    indices: str | None
    share: str | None


def task(root: Path, wanted: Wanted, how: How, job: str | None) -> str:
    """Do some units."""
    from hpcgeom.api.job import run_job, run_task
    from hpcgeom.api.strategies import Resources
    from hpcgeom.plan.packing import unpack

    if job is not None:
        rest = replace(how, allow_code_change=False)
        if any(value is not None for value in astuple(wanted)) or rest != How():
            raise InputError("--job NAME says all that is to be done: leave the other options out")
        with make_progress() as progress:
            stage = run_job(root, job, progress, allow_code_change=how.allow_code_change)
        return finished(root) if stage == "collect" else f"{stage}: the units of {job} are done"
    if wanted.stage is None:
        raise InputError(
            "a task needs --stage S (or --job NAME): expected extract, search, merge, geometry or collect: "
            "name one of these"
        )
    indices = None if wanted.indices is None else unpack(wanted.indices)
    elsewhere = how.elsewhere()
    with make_progress() as progress:
        run_task(
            root,
            wanted.stage,
            indices,
            progress,
            part=wanted.share,
            resources=Resources(how.workers or 1, how.host_memory_gb, how.strategy),
            workers=elsewhere,
            allow_code_change=how.allow_code_change,
        )
    if "collect" in wanted.stage.split(","):
        return finished(root)
    return f"{wanted.stage}: units {wanted.indices or wanted.share or 'all'} of {root} are done"


def verify(root: Path, *, as_json: bool) -> tuple[str, int]:
    """Check every byte; exit code 3 where something is damaged or missing."""
    from hpcgeom.plan import paths
    from hpcgeom.stages.verify import verify as verify_run

    if not any((root / name).exists() for name in (paths.MANIFEST, paths.PLAN, "records")):
        raise InputError(
            f"{root} is not a run of hpcgeom (it has neither {paths.MANIFEST} nor records): "
            "name the directory of a run"
        )
    verdict = verify_run(root)
    code = 0 if verdict.is_sound else 3
    if as_json:
        return json.dumps({**asdict(verdict), "devices": sorted(verdict.devices)}, indent=1), code
    return render.verdict(root, verdict), code


def compare(root: Path, other: Path) -> tuple[str, int]:
    """Compare the stores of two runs; exit code 3 where they differ."""
    from hpcgeom.plan import paths
    from hpcgeom.stages import splits
    from hpcgeom.stages.run import Run
    from hpcgeom.store.compare import differences, n_compared

    for path in (root, other):
        if not (path / paths.PLAN).exists():
            raise InputError(
                f"{path} is not a prepared run (it has no {paths.PLAN}): name the directories of two runs"
            )
    found = differences(root, other)
    notes = [
        f"note: {run}: {name}: batches were halved after running out of memory"
        for run in (root, other)
        for name in splits.units_with(Run(run))
    ]
    if found:
        return "\n".join([f"{root} and {other} differ:", *(f"  {line}" for line in found), *notes]), 3
    files = f"{n_compared(root)} files of activations, neighbors and results"
    return "\n".join([f"{root} and {other} are identical: {files}", *notes]), 0


def show(root: Path, *, as_json: bool) -> str:
    """The results as tables."""
    from hpcgeom.api.opening import open_results
    from hpcgeom.report.tables import as_json as results_as_json
    from hpcgeom.report.tables import render as results_as_text

    results = open_results(root)
    return json.dumps(results_as_json(results), indent=1) if as_json else results_as_text(results)


def plot(root: Path, reference: Path | None = None) -> str:
    """Draw the figures, or those with published curves beside the run's own."""
    from hpcgeom.api.drawing import draw, draw_with_reference
    from hpcgeom.api.opening import open_results
    from hpcgeom.report.figures import not_drawn

    if reference is not None:
        drawn, left_out = draw_with_reference(root, reference)
        return "\n".join([render.figures(drawn), *(f"not drawn: {reason}" for reason in left_out)])
    reasons = [f"not drawn: {name}: {reason}" for name, reason in not_drawn(open_results(root)).items()]
    return "\n".join([render.figures(draw(root)), *reasons])


def doctor(run_dir: Path, profile: Path | None, manifest: Path | None, *, as_json: bool) -> tuple[str, int]:
    """Check the machine, or the cluster of a profile; exit code 4 where something is wrong."""
    from hpcgeom.api.doctor import examine, examine_models

    findings = examine(run_dir)
    if profile is not None:
        from hpcgeom.api.cluster_doctor import examine_cluster

        findings += examine_cluster(profile, run_dir)
    if manifest is not None:
        findings += examine_models(manifest, run_dir, profile)
    code = 0 if all(finding.is_fine for finding in findings) else 4
    if as_json:
        return json.dumps([asdict(finding) for finding in findings], indent=1), code
    return render.findings(findings), code


def finished(root: Path) -> str:
    from hpcgeom.api.drawing import draw_if_new
    from hpcgeom.plan import paths

    return "\n".join(
        [
            render.figures(draw_if_new(root)),
            f"results: {root / paths.RESULTS}",
            f"tables:  hpcgeom show {root}",
        ]
    )
