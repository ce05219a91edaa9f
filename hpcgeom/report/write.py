"""Figures as files: the same results give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.errors import InputError
from hpcgeom.report.detail_figures import detail_figures
from hpcgeom.report.draw import caption_of, style
from hpcgeom.report.figures import KINDS, draw_figure, not_drawn

FORMATS = ("png", "svg")
MOST_SVG_CELLS = 250_000
"""Of maps in an SVG of details, about 1 MB: figures of more cells are written as PNG alone."""


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
    make_folder(folder)
    reasons = not_drawn(results)
    chosen = [name for name in KINDS if name not in reasons] if names is None else list(names)
    written = []
    for name in chosen:
        figure = draw_figure(results, name, k)
        written += [write_figure(figure, folder / f"{name}.{kind}", kind) for kind in FORMATS]
    return written


def write_details(
    details: xr.DataTree, folder: Path, *, texts: Mapping[int, str] | None = None
) -> list[Path]:
    """Write all figures of the details of one model as `<folder>/<site>-<sample>-<n>.png` and `.svg`.

    As `write_figures`; those whose maps have more than 250,000 cells are written as PNG alone.

    Parameters
    ----------
    details
        What `hpcgeom.open_details` gives.
    folder
        Made if it is missing.
    texts
        As in `detail_figures.detail_figures`.

    Returns
    -------
    list of Path
        The files, in the order in which they are drawn.

    Raises
    ------
    InputError
        `folder` is a file.
    """
    make_folder(folder)
    written = []
    for each in detail_figures(details, texts):
        figure = each.draw()
        kinds = FORMATS if _n_cells(figure) <= MOST_SVG_CELLS else FORMATS[:1]
        written += [write_figure(figure, folder / f"{each.name}.{kind}", kind) for kind in kinds]
    return written


def _n_cells(figure: Figure) -> int:
    """Cells of all images of a figure."""
    images = (image for axes in figure.axes for image in axes.images)
    return sum(int(np.prod(image.get_size())) for image in images)


def make_folder(folder: Path) -> None:
    """Make a folder for figures.

    Raises
    ------
    InputError
        It is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"cannot write figures to {folder}: expected a folder, found a file; name another one"
        )
    folder.mkdir(parents=True, exist_ok=True)


def write_figure(figure: Figure, path: Path, kind: str) -> Path:
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
