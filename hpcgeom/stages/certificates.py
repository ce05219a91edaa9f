"""What the search proved of a representation, from the records of whichever units found its lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import DamagedError
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.stages.run import Run


def certificates(run: Run, model: ModelPlan, item: Representation, position: int) -> list[Mapping[str, Any]]:
    """The certificates of a layer: that of its search or, where it was split, those of its merged ranges.

    Raises
    ------
    DamagedError
        A record has none.
    """
    asked = (model.name, item.site, item.pooling, item.layers[position])
    found: list[Mapping[str, Any]] = []
    for stage in ("search", "merge"):
        for unit in run.units(stage):
            is_of_layer = (unit.model, unit.site, unit.pooling, unit.layer) == asked
            if not is_of_layer or (stage == "search" and unit.n_blocks > 1):
                continue
            record = run.records(stage).load(unit)
            if record is None or "certificate" not in record.facts:
                raise DamagedError(
                    f"{run.root}: the record of '{unit.key}' of stage '{stage}' holds no certificate: "
                    f"hpcgeom resume {run.root} searches again where it is removed"
                )
            found.append(record.facts["certificate"])
    return found


def account(found: list[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """All certificates of a layer as one, by the names of the results."""
    certified, recomputed = (sum(int(each[name]) for each in found) for name in ("certified", "recomputed"))
    return {
        "n_certified_rows": np.array(certified),
        "n_recomputed_rows": np.array(recomputed),
        "n_proven_rows": np.array(certified + recomputed),
        "largest_relative_error": np.array(max(float(each["largest_relative_error"]) for each in found)),
    }
