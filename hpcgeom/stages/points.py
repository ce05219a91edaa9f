"""Which sample every point of a representation is of, and which token of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.plan.points import are_tokens, n_base_points
from hpcgeom.stages.inputs import read_sequences
from hpcgeom.stages.run import Run
from hpcgeom.store.axes import PointAxis


def sample_of_points(run: Run, model: ModelPlan, item: Representation) -> npt.NDArray[np.int64]:
    """Row of the sample of each point: (points,)."""
    if not are_tokens(item):
        return np.arange(run.plan.samples.n, dtype=np.int64)
    return read_sequences(run, model.name)[0].sample_of_points()


def point_axis(run: Run, model: ModelPlan, item: Representation, sample_ids: Sequence[str]) -> PointAxis:
    """The points of a representation, as its stores name them."""
    ids = np.array(sample_ids, dtype=object)[sample_of_points(run, model, item)]
    n_base = n_base_points(run.plan, model, item) if run.plan.samples.n_queries else None
    if not are_tokens(item):
        return PointAxis(ids, n_base=n_base)
    return PointAxis(ids, read_sequences(run, model.name)[0].position_of_points(), n_base)
