"""Labels of the neighbors of one layer: how many are those of the point itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.data.labels import encode
from hpcgeom.data.samples import Samples
from hpcgeom.errors import InputError
from hpcgeom.geometry.exclusion import other_neighbors, other_points
from hpcgeom.geometry.labels import label_overlap_counts, label_overlap_from_counts
from hpcgeom.search import RowSource, neighbors_of_rows
from hpcgeom.store.neighbors import Lists
from hpcgeom.types import Indices, Labels, Values

EXCLUDED = ("label_overlap_excluded", "label_overlap_excluded_error", "label_overlap_excluded_n_points")
"""Variables by label and k."""
Numbers = npt.NDArray[Any]


def label_profile(
    samples: Samples,
    lists: Lists,
    points: RowSource,
    rows: npt.NDArray[np.int64],
    settings: Mapping[str, Any],
    metric: str,
) -> Values:
    """Label overlaps of a layer, plain, balanced and beyond the own family, and top-1 accuracies.

    Parameters
    ----------
    points
        Searched again for points whose list has too few neighbors of other families.
    rows
        (N,): the row of the sample that each point is of, whose label it has.
    settings
        `labels`, `overlap_k` and `exclude_same`, as in a manifest.
    """
    codes = {
        label: encode(samples.labels[label][: samples.n_base])[0][rows]
        for label in dict.fromkeys([*settings["labels"], *settings["exclude_same"].values()])
    }
    is_constant, ks = len(lists.representatives) == 1, settings["overlap_k"]
    of_labels = {label: codes[label] for label in settings["labels"]}
    values = label_overlaps(lists.indices, list(of_labels.values()), ks, is_constant=is_constant)
    if not settings["exclude_same"]:
        return values
    families = {label: codes[family] for label, family in settings["exclude_same"].items()}
    indices = None if is_constant else lists.indices
    return values | excluded_overlaps(indices, of_labels, families, ks, points, metric)


def excluded_overlaps(
    indices: Indices | None,
    codes: Mapping[str, Labels],
    families: Mapping[str, Labels],
    ks: Sequence[int],
    points: RowSource | None,
    metric: str,
) -> Values:
    """Label overlaps beyond the own family, (labels, ks) each, and top-1 accuracies.

    Parameters
    ----------
    indices
        (N, K): lists over all points; None in a constant layer.
    codes, families
        (N,): the classes of each label set, and the families of those where they are left out.
    points
        Searched again for points whose list has too few neighbors of other families; None where only lists
        are known.

    Raises
    ------
    InputError
        Lists end too soon, and there are no points.
    """
    others = {}
    for label, family in families.items():
        if indices is not None:
            others[label] = _searched(indices, family, max(ks), points, metric)
    found = [
        _beyond_families(others.get(label), classes, families.get(label), ks)
        for label, classes in codes.items()
    ]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def label_overlaps(
    indices: Indices, codes: Sequence[Labels], ks: Sequence[int], *, is_constant: bool
) -> Values:
    """Plain and balanced label overlaps, (labels, ks) each, and top-1 accuracies, for codes (N,) of labels.

    Neighbors in a constant layer are row order: no number says anything about it, and all are NaN.
    """
    found = []
    for each in codes:
        counts = label_overlap_counts(indices, each, ks)
        plain, plain_error = label_overlap_from_counts(counts, ks)
        balanced, balanced_error = label_overlap_from_counts(counts, ks, each)
        values = {
            "label_overlap": plain,
            "label_overlap_error": plain_error,
            "label_overlap_balanced": balanced,
            "label_overlap_balanced_error": balanced_error,
            **_top_1("", each[indices[:, 0]] == each),
        }
        if is_constant:
            values = {name: np.full_like(value, np.nan) for name, value in values.items()}
        values["n_unmatched_points"] = np.array(np.count_nonzero(np.bincount(each)[each] == 1))
        found.append(values)
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _searched(
    indices: Indices, families: Labels, k: int, points: RowSource | None, metric: str
) -> npt.NDArray[np.int32]:
    """The k nearest of other families, exactly: lists that end too soon are searched again.

    Points with fewer than k others in the whole data set have -1 after the last.
    """
    found = other_neighbors(indices, families, k)
    for family in np.unique(families[found[:, -1] < 0]):
        others = np.flatnonzero(families != family)
        short = np.flatnonzero((families == family) & (found[:, -1] < 0))
        n_wanted = min(k, len(others))
        if points is None and (found[short, :n_wanted] < 0).any():
            raise InputError(
                f"exclude_same: {len(short)} points of one family have fewer than {n_wanted} neighbors of "
                f"other families in lists of {indices.shape[1]}; expected as many as the largest overlap_k: "
                f"pass the points too, search more neighbors, or lower overlap_k"
            )
        if n_wanted and points is not None:
            found[short, :n_wanted] = neighbors_of_rows(points, short, others, n_wanted, metric)[1]
    return found


def _beyond_families(
    others: npt.NDArray[np.int32] | None, classes: Labels, families: Labels | None, ks: Sequence[int]
) -> dict[str, Numbers]:
    """Numbers of one label; NaN and 0 where the manifest names no family for it, or the layer is constant.

    Points that have fewer than k neighbors of other families enter no number at k.
    """
    nothing = np.full(len(ks), np.nan)
    values: dict[str, Numbers] = dict(
        zip(EXCLUDED, (nothing, nothing.copy(), np.zeros(len(ks), dtype=np.int64)), strict=True)
    )
    values |= _top_1("_excluded", np.empty(0, dtype=bool))
    values |= {
        "label_overlap_excluded_chance": np.array(np.nan),
        "n_unmatched_points_excluded": np.array(0),
    }
    if families is None:
        return values
    known = other_points(classes, families)
    values["label_overlap_excluded_chance"] = np.array(known.chance)
    values["n_unmatched_points_excluded"] = np.array(np.count_nonzero(known.n_same == 0))
    if others is None:
        return values
    counts = label_overlap_counts(others, classes, ks)
    for column, k in enumerate(ks):
        entered = others[:, k - 1] >= 0
        value, error = label_overlap_from_counts(counts[entered, column : column + 1], [k])
        for name, number in zip(EXCLUDED, (value[0], error[0], np.count_nonzero(entered)), strict=True):
            values[name][column] = number
    nearest = others[:, 0]
    return values | _top_1("_excluded", (classes[nearest] == classes)[nearest >= 0])


def _top_1(end: str, is_right: npt.NDArray[np.bool_]) -> dict[str, Numbers]:
    """Accuracy of the nearest neighbor's label, each point left out of the data set in its turn."""
    if not is_right.size:
        return {f"top_1_accuracy{end}": np.array(np.nan), f"top_1_accuracy{end}_error": np.array(np.nan)}
    p = float(is_right.mean())
    error = np.sqrt(p * (1.0 - p) / is_right.size)
    return {f"top_1_accuracy{end}": np.array(p), f"top_1_accuracy{end}_error": np.array(error)}
