"""What each command calls, and the text that it prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from hpcgeom.cli import render
from hpcgeom.cli.progress import make_progress
from hpcgeom.errors import InputError

MAX_INDICES = 1_000_000
"""Of one range: more than any stage has units, and few enough to be listed."""


def init(name: str) -> str:
    """Write a manifest to start from; never over one that is there."""
    from hpcgeom.manifest import template

    name = name.removesuffix(".yaml")
    text = template(name)
    path = Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} exists: choose another name, or remove it first") from None
    return f"{path} is written: edit it, then hpcgeom validate -m {path}"


def models(*, as_json: bool) -> str:
    """The catalogue."""
    from hpcgeom.cli import catalogue

    return catalogue.as_json() if as_json else catalogue.as_text()


def schema() -> str:
    """The JSON schema of a manifest."""
    from hpcgeom.manifest import Manifest

    return json.dumps(Manifest.model_json_schema(), indent=1)


def validate(manifest: Path) -> str:
    """Check a manifest alone."""
    from hpcgeom.manifest import load_manifest, manifest_digest

    loaded = load_manifest(manifest)
    return f"{manifest} is valid: {loaded.manifest.name}, digest {manifest_digest(loaded.manifest)[:8]}"


def plan(manifest: Path, n_samples: int | None, length: int | None, *, as_json: bool) -> str:
    """The price of a manifest."""
    from hpcgeom.api.pricing import price

    found = price(manifest, n_samples, length)
    return json.dumps(found.as_dict(), indent=1) if as_json else render.price(found)


def prepare(manifest: Path, run_dir: Path | None) -> str:
    """Prepare a run and say what is next."""
    from hpcgeom.api.running import run_directory_of
    from hpcgeom.manifest import load_manifest
    from hpcgeom.stages.prepare import prepare as prepare_run

    loaded = load_manifest(manifest)
    run = prepare_run(loaded, run_directory_of(loaded, run_dir))
    notices = [f"note: {notice}" for notice in run.plan.samples.notices]
    return "\n".join([*notices, f"{run.root} is prepared: hpcgeom resume {run.root} does the rest"])


def run(
    manifest: Path, run_dir: Path | None, workers: int | None, reuse: Path | None, allow_code_change: bool
) -> str:
    """Do everything, draw the figures and say where things are."""
    from hpcgeom.api.running import run_manifest

    with make_progress() as progress:
        root = run_manifest(manifest, run_dir, workers, reuse, progress, allow_code_change=allow_code_change)
    return _finished(root)


def resume(root: Path, workers: int | None, allow_code_change: bool) -> str:
    """Do what is missing, draw the figures and say where things are."""
    from hpcgeom.api.running import resume as resume_run

    with make_progress() as progress:
        resume_run(root, workers, progress, allow_code_change=allow_code_change)
    return _finished(root)


def task(root: Path, stage: str, indices: str, allow_code_change: bool) -> str:
    """Do some units in this process."""
    from hpcgeom.api.running import run_task

    wanted = parse_indices(indices)
    with make_progress() as progress:
        run_task(root, stage, wanted, progress, allow_code_change=allow_code_change)
    return f"{stage}: units {indices} of {root} are done"


def status(root: Path, *, as_json: bool) -> tuple[str, int]:
    """How far a run is; exit code 3 where units are missing."""
    from hpcgeom.stages.status import status_of

    found = status_of(root)
    code = 3 if any(stage.n_done < stage.n_units for stage in found) else 0
    if as_json:
        return json.dumps([stage.as_dict() for stage in found], indent=1), code
    return render.status(found), code


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
    from hpcgeom.store.compare import differences, n_compared

    for path in (root, other):
        if not (path / paths.PLAN).exists():
            raise InputError(
                f"{path} is not a prepared run (it has no {paths.PLAN}): name the directories of two runs"
            )
    found = differences(root, other)
    if found:
        return "\n".join([f"{root} and {other} differ:", *(f"  {line}" for line in found)]), 3
    return (
        f"{root} and {other} are identical: {n_compared(root)} files of activations, neighbors and results",
        0,
    )


def show(root: Path, *, as_json: bool) -> str:
    """The results as tables."""
    from hpcgeom.api.opening import open_results
    from hpcgeom.report.tables import as_json as results_as_json
    from hpcgeom.report.tables import render as results_as_text

    results = open_results(root)
    return json.dumps(results_as_json(results), indent=1) if as_json else results_as_text(results)


def plot(root: Path) -> str:
    """Draw the figures."""
    from hpcgeom.api.drawing import draw
    from hpcgeom.api.opening import open_results
    from hpcgeom.report.figures import not_drawn

    reasons = [f"not drawn: {name}: {reason}" for name, reason in not_drawn(open_results(root)).items()]
    return "\n".join([render.figures(draw(root)), *reasons])


def doctor(run_dir: Path, *, as_json: bool) -> tuple[str, int]:
    """Check the machine; exit code 4 where something is wrong."""
    from hpcgeom.api.doctor import examine

    findings = examine(run_dir)
    code = 0 if all(finding.is_fine for finding in findings) else 4
    if as_json:
        return json.dumps([asdict(finding) for finding in findings], indent=1), code
    return render.findings(findings), code


def parse_indices(text: str) -> list[int]:
    """Numbers from ``0-15,18``.

    Raises
    ------
    InputError
        The text is something else.
    """
    wanted: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = [first, last] if dash else [first]
        if not all(number.isdecimal() and len(number) < 10 for number in numbers):
            raise InputError(
                f"--indices '{text}': expected numbers and ranges such as 0-15,18; found '{part}'"
            )
        found = range(int(first), int(numbers[-1]) + 1)
        if not 0 < len(found) <= MAX_INDICES:
            raise InputError(
                f"--indices '{text}': expected 1 to {MAX_INDICES} numbers in a range, found '{part}': "
                "correct it"
            )
        wanted += found
    return list(dict.fromkeys(wanted))


def _finished(root: Path) -> str:
    from hpcgeom.api.drawing import draw_if_new
    from hpcgeom.plan import paths

    return "\n".join(
        [
            render.figures(draw_if_new(root)),
            f"results: {root / paths.RESULTS}",
            f"tables:  hpcgeom show {root}",
        ]
    )
