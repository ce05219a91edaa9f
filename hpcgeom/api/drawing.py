"""Drawing a run's figures, once for each outcome."""

from __future__ import annotations

import json
from pathlib import Path

from hpcgeom.plan import paths
from hpcgeom.plan.identity import digest
from hpcgeom.stages.run import Run
from hpcgeom.store.files import full_disk_is_a_resource_error, write_json
from hpcgeom.version import __version__

DRAWN = "report/figures.json"


def draw(root: Path) -> list[Path]:
    """Draw all figures of a run's results.

    Raises
    ------
    InputError
        The run has no results yet.
    """
    from hpcgeom.api.opening import open_results
    from hpcgeom.report.write import write_figures

    with full_disk_is_a_resource_error(root / paths.FIGURES):
        written = sorted(write_figures(open_results(root), root / paths.FIGURES))
    write_json(root / DRAWN, {"of": _outcome(root), "files": [path.name for path in written]})
    return written


def draw_if_new(root: Path) -> list[Path]:
    """The figures of a run's results, drawn only where these are not there yet."""
    try:
        known = json.loads((root / DRAWN).read_text(encoding="utf-8"))
        drawn = [root / paths.FIGURES / name for name in known["files"]]
        if known["of"] == _outcome(root) and all(path.exists() for path in drawn):
            return drawn
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return draw(root)


def _outcome(root: Path) -> str:
    """Identity of the results: the bytes that their record promises."""
    run = Run(root)
    record = run.records("collect").load(run.units("collect")[0])
    files = [[entry.path, entry.sha256] for entry in record.files] if record else []
    return digest("figures", files=files, version=__version__)
