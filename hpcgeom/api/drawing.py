"""Drawing a run's figures, once for each outcome."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from hpcgeom.plan import paths
from hpcgeom.plan.identity import digest
from hpcgeom.plan.units import DETAILS
from hpcgeom.stages.run import Run
from hpcgeom.store.files import full_disk_is_a_resource_error, write_json
from hpcgeom.types import Unit
from hpcgeom.version import __version__

DRAWN = "report/figures.json"
DETAIL_FIGURES = f"{paths.FIGURES}/details"
"""Holds a folder for each model of which details were kept."""
WITH_REFERENCE = f"{paths.FIGURES}/with_reference"
"""Holds the figures with published curves beside those of the run."""


def draw(root: Path) -> list[Path]:
    """Draw all figures of a run: those of its results, then those of the details of each model.

    Raises
    ------
    InputError
        The run has no results yet.
    IncompleteError
        Details have still to be read.
    """
    from hpcgeom.api.opening import open_results
    from hpcgeom.report.write import write_figures

    run, folder = Run(root), root / paths.FIGURES
    with full_disk_is_a_resource_error(folder):
        written = [*sorted(write_figures(open_results(root), folder)), *_draw_details(run)]
    names = [os.path.relpath(path, folder) for path in written]
    _remove_stale(root, names)
    write_json(root / DRAWN, {"of": _outcome(run), "files": names})
    return written


def draw_with_reference(root: Path, path: Path) -> tuple[list[Path], list[str]]:
    """Draw the figures along depth again, with published curves of a file beside those of the run.

    Returns
    -------
    files, reasons
        What was drawn, and why a curve of the file is in none of the figures.

    Raises
    ------
    InputError
        The run has no results yet, the file is not as it should be, or none of its curves can be drawn.
    """
    from hpcgeom.api.opening import open_results
    from hpcgeom.data.reference_curves import read_reference_curves
    from hpcgeom.report.reference_figures import write_with_references

    results, folder = open_results(root), root / WITH_REFERENCE
    references = read_reference_curves(path)
    with full_disk_is_a_resource_error(folder):
        return write_with_references(results, references, folder)


def draw_if_new(root: Path) -> list[Path]:
    """The figures of a run, drawn only where those of its results and details are not there yet."""
    outcome, names = _drawn(root)
    paths_drawn = [root / paths.FIGURES / name for name in names]
    if outcome and outcome == _outcome(Run(root)) and all(path.exists() for path in paths_drawn):
        return paths_drawn
    return draw(root)


def _drawn(root: Path) -> tuple[str, list[str]]:
    """What was drawn last: identity of the results, and names relative to the figures; empty for nothing."""
    try:
        known = json.loads((root / DRAWN).read_text(encoding="utf-8"))
        return str(known["of"]), [str(name) for name in known["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def _remove_stale(root: Path, names: Sequence[str]) -> None:
    """Remove figures of details that were drawn last and are no more: their pages may be numbered anew."""
    for name in set(_drawn(root)[1]) - set(names):
        path = Path(os.path.normpath(root / paths.FIGURES / name))
        if path.is_relative_to(root / DETAIL_FIGURES):
            path.unlink(missing_ok=True)


def _draw_details(run: Run) -> list[Path]:
    from hpcgeom.api.opening import open_details
    from hpcgeom.report.write import write_details

    units = _detail_units(run)
    run.records("extract").require(units)
    written = []
    for unit in units:
        folder = run.root / DETAIL_FIGURES / unit.model
        written += write_details(open_details(run.root, unit.model), folder)
    return written


def _detail_units(run: Run) -> list[Unit]:
    return [unit for unit in run.units("extract") if unit.site == DETAILS]


def _outcome(run: Run) -> str:
    """Identity of what is drawn: the bytes that the records of results and details promise."""
    units = [*run.units("collect")[:1], *_detail_units(run)]
    records = [run.records(unit.stage).load(unit) for unit in units]
    files = [[entry.path, entry.checksum] for record in records if record for entry in record.files]
    return digest("figures", files=files, version=__version__)
