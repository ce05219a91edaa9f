"""What labels say of given layers, as a run measures it: overlaps, families left out, clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcgeom.api import measured_by_dadapy
from hpcgeom.api.measured_layers import Arrays, Layer, Reading
from hpcgeom.errors import InputError
from hpcgeom.search import ArrayRows
from hpcgeom.stages.clusters import agreement
from hpcgeom.stages.label_profile import excluded_overlaps, label_overlaps
from hpcgeom.types import Labels, Values


def checked_excluded(exclude_same: Mapping[str, str] | None, labels: Any) -> dict[str, str]:
    """The families that are left out, each a label set beside the one that it is left out of.

    Raises
    ------
    InputError
        Names the label set, and those that are given.
    """
    names = list(labels) if isinstance(labels, Mapping) else []
    wanted = dict(exclude_same or {})
    for label, family in wanted.items():
        if label not in names or family not in names or label == family:
            raise InputError(
                f"exclude_same: expected two names of labels ({', '.join(names) or 'none is named'}), found "
                f"'{label}' and '{family}'; pass both as labels, each with its name"
            )
    return wanted


def of_labels(
    layer: Layer, arrays: Arrays, codes: Mapping[str, Labels], settings: Mapping[str, Any], reading: Reading
) -> Values:
    """Numbers of one layer by label; none where there are no labels.

    Parameters
    ----------
    arrays
        Of the layer: its points are searched again where lists hold too few neighbors of other families.
    codes
        (N,) integers from 0, of each label set.
    settings
        Of the geometry, as in a plan: `overlap_k`, `exclude_same`.

    Raises
    ------
    InputError
        Families are left out, lists end too soon for it, and there are no points.
    """
    values: Values = {}
    if not codes:
        return values
    if "cluster" in layer.values:
        values |= agreement(layer.values["cluster"], list(codes.values()))
    if layer.indices is None:
        return values
    ks = settings["overlap_k"]
    count = measured_by_dadapy.label_overlaps if reading.by_dadapy else label_overlaps
    values |= count(layer.indices, list(codes.values()), ks, is_constant=layer.is_constant)
    if settings["exclude_same"]:
        families = {label: codes[family] for label, family in settings["exclude_same"].items()}
        indices = None if layer.is_constant else layer.indices
        rows = ArrayRows(arrays["points"].load()) if "points" in arrays else None
        values |= excluded_overlaps(indices, codes, families, ks, rows, reading.metric)
    return values
