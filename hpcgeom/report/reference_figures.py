"""The figures along depth with published curves beside a run's own."""

from __future__ import annotations

from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.data.reference_curves import Curve, ReferenceCurves
from hpcgeom.errors import InputError
from hpcgeom.report.figures import not_drawn
from hpcgeom.report.profiles import consecutive_overlap, intrinsic_dimension, label_overlap
from hpcgeom.report.reference_lines import common_k, not_comparable
from hpcgeom.report.select import chosen_k, models_by_size, site_poolings, small
from hpcgeom.report.write import FORMATS, make_folder, write_figure


def draw_with_references(results: xr.Dataset, name: str, references: ReferenceCurves) -> Figure:
    """One of the figures `data.reference_curves.VARIABLES`, with the curves of that variable.

    Where there are several models and all curves are at one k that was measured, overlaps are drawn at that.
    """
    loaded = small(results)
    if name == "intrinsic_dimension":
        return intrinsic_dimension(loaded, references=references)
    draw = consecutive_overlap if name == "consecutive_overlap" else label_overlap
    return draw(loaded, _drawn_k(results, name, references), references)


def write_with_references(
    results: xr.Dataset, references: ReferenceCurves, folder: Path
) -> tuple[list[Path], list[str]]:
    """Write each figure that has curves as ``<folder>/<name>.png`` and ``.svg``.

    Returns
    -------
    files, reasons
        What was written, and why a curve is in none of them.

    Raises
    ------
    InputError
        No curve can be drawn, or `folder` is a file.
    """
    reasons = [(curve, _reason(curve, results, references)) for curve in references.curves]
    figures = dict.fromkeys(curve.variable for curve, reason in reasons if not reason)
    told = [f"curve '{curve.name}': {reason}" for curve, reason in reasons if reason]
    if not figures:
        raise InputError(
            f"no reference curve can be drawn beside these results ({'; '.join(told[:3])}); "
            f"correct the file of curves, or measure what they show"
        )
    make_folder(folder)
    written = []
    for name in figures:
        figure = draw_with_references(results, name, references)
        written += [write_figure(figure, folder / f"{name}.{kind}", kind) for kind in FORMATS]
    return written, told


def _reason(curve: Curve, results: xr.Dataset, references: ReferenceCurves) -> str:
    variable = curve.variable
    missing = not_drawn(results).get(variable)
    if missing:
        return missing
    models, ks = models_by_size(results, variable), list[int]()
    if int(results["relative_depth"].sel(model=models).notnull().sum("layer").max()) <= 1:
        return "no model has two layers, and the figure shows no depth"
    if variable != "intrinsic_dimension":
        k = _drawn_k(results, variable, references)
        measured = sorted(int(each) for each in results["k"].values)
        ks = measured if len(models) == 1 else [chosen_k(results, k)]
    return not_comparable(curve, results, site_poolings(results, variable), ks)


def _drawn_k(results: xr.Dataset, name: str, references: ReferenceCurves) -> int | None:
    """The k of overlaps of several models; None for all of one model, or the usual one."""
    return None if len(models_by_size(results, name)) == 1 else common_k(references, name, results)
