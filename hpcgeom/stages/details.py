"""Keeping details: activations of all tokens, attention maps and logits of chosen samples."""

from __future__ import annotations

from typing import Any

import zarr

from hpcgeom.plan import paths
from hpcgeom.plan.details import arrays_of
from hpcgeom.plan.plan import ModelPlan
from hpcgeom.stages.forward import Forward
from hpcgeom.stages.run import Run
from hpcgeom.store import details


def lay_out_details(root: zarr.Group, model: ModelPlan, sample_ids: tuple[str, ...]) -> None:
    """Lay out the empty arrays of what is kept whole of a model's chosen samples."""
    plan = model.details
    for row in plan.rows if plan else ():
        assert plan is not None
        layers = {f"{item.site}/{row}": item.layers for item in plan.sites}
        details.create(root, list(arrays_of(plan, row)), layers, sample_ids[row])
        for item in plan.sites:
            if item.n_heads:
                root[f"{item.site}/{row}"].attrs["n_heads"] = item.n_heads


def write_details(run: Run, model: ModelPlan, forward: Forward) -> dict[str, Any]:
    """Read the chosen samples one by one, and write what is kept of them."""
    plan = model.details
    assert plan is not None  # there is no such unit otherwise
    store = run.root / paths.activations(model.name)
    for row in plan.rows:
        encoding, found = forward.details(row)
        for array in arrays_of(plan, row):
            site = array.group.partition("/")[0]
            values = encoding.ids if array.name == "input_id" else found[site][array.name]
            details.write(store, array, values.reshape(array.shape))
    return {"n_samples": len(plan.rows)}
