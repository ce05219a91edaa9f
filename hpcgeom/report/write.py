"""Figures as files: the same results give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.errors import InputError
from hpcgeom.report.draw import caption_of, style
from hpcgeom.report.figures import KINDS, draw_figure, not_drawn

FORMATS = ("png", "svg")


def write_figures(
    results: xr.Dataset, folder: Path, *, names: Sequence[str] | None = None, k: int | None = None
) -> list[Path]:
    """Write figures as `<folder>/<name>.png` (200 dpi) and `.svg`.

    Files carry no date, host or version: equal results give equal bytes with one version of matplotlib.
    Each file is written beside its place and renamed, so that no half figure bears its name.

    Parameters
    ----------
    results
        The Dataset of `results.zarr`.
    folder
        Made if it is missing.
    names
        Which figures; None writes all that the results allow. `figures.not_drawn` says which they do not.
    k
        As in `figures.draw_figure`.

    Returns
    -------
    list of Path
        The files, in the order of `figures.KINDS` or of `names`.

    Raises
    ------
    InputError
        A name is unknown, a named figure is not possible, overlaps were not measured at `k`, or `folder` is a
        file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"cannot write figures to {folder}: expected a folder, found a file; name another one"
        )
    reasons = not_drawn(results)
    chosen = [name for name in KINDS if name not in reasons] if names is None else list(names)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in chosen:
        figure = draw_figure(results, name, k)
        written += [_write(figure, folder / f"{name}.{kind}", kind) for kind in FORMATS]
    return written


def _write(figure: Figure, path: Path, kind: str) -> Path:
    """One file; the caption goes along as its description, for those who cannot see it."""
    described = {"Title": path.stem.replace("_", " "), "Description": caption_of(figure)}
    undated = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with style():
            figure.savefig(partial, format=kind, metadata={**described, **undated})
        figure.set_layout_engine("none")  # laid out once, so that all formats look alike
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
