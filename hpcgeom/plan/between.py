"""Units of what is measured between layers: all layers at one site and pooling, of all models together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpcgeom.plan import paths, points
from hpcgeom.plan.alignment import cut_of
from hpcgeom.plan.identity import digest
from hpcgeom.plan.plan import Plan
from hpcgeom.types import Unit

PAIRS, HALVES, ALIGNMENT = "pairs", "halves", "cka"
"""Kinds of units: counts over a range of points, over the halves of a split of all points, and products."""
PAIR_ROWS = 8192
"""Points of one unit of the overlap of all layer pairs."""
HALF_ROWS = 2048
"""Points whose lists are halved at once."""
BETWEEN_LAYERS = ("cross_model", "error_splits", "jaccard", "cka", "information_imbalance")
"""Settings of `geometry` that change no number of a layer alone."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A unit, as far as it differs from others of the same site and pooling."""

    kind: str
    name: str
    start: int
    stop: int
    number: int = -1
    n_blocks: int = 1
    blocks: tuple[int, int] | None = None


def between_units(plan: Plan, site: str, pooling: str, first: int) -> list[Unit]:
    """Units of geometry about all pairs of layers at one site and pooling; `first` is the index of the first.

    Models with fewer points than others end before the last ranges of points.
    """
    group = paths.group(site, pooling)
    return [
        Unit(
            "geometry",
            first + position,
            f"{part.kind}/{group}/{part.name}",
            _digest(plan, site, pooling, part),
            (paths.between(part.kind, site, pooling, part.name),),
            site=site,
            pooling=pooling,
            start=part.start,
            stop=part.stop,
            kind=part.kind,
            number=part.number,
            n_blocks=part.n_blocks,
            blocks=part.blocks,
        )
        for position, part in enumerate(_parts(plan, site, pooling))
    ]


def _parts(plan: Plan, site: str, pooling: str) -> Iterator[_Part]:
    compared = points.cohorts(plan, site, pooling)
    n_points = max(cohort.n_points for cohort in compared)
    for start in range(0, n_points, PAIR_ROWS):
        rows = (start, min(start + PAIR_ROWS, n_points))
        yield _Part(PAIRS, paths.rows(*rows), *rows)
    for split in range(int(plan.manifest["geometry"]["error_splits"])):
        yield _Part(HALVES, f"split-{split:04d}", 0, n_points, split)
    if plan.manifest["geometry"]["cka"]:
        for number, cohort in enumerate(compared):
            cut = cut_of(cohort)
            for a, b in cut.pairs:
                name = f"cohort-{number}-{cut.route}-{a}-{b}-of-{len(cut.parts)}"
                yield _Part(ALIGNMENT, name, 0, cohort.n_points, number, len(cut.parts), (a, b))


def _digest(plan: Plan, site: str, pooling: str, part: _Part) -> str:
    geometry, here = plan.manifest["geometry"], points.members(plan, site, pooling)
    asked = {"cross_model": geometry["cross_model"], "site": site, "pooling": pooling}
    if part.kind == ALIGNMENT:  # of points, not of their neighbors
        models = [[model.name, model.extract_digest] for model, _ in here]
        return digest("geometry.cka", models=models, n_base=plan.samples.n_base, **asked)
    asked |= {key: geometry[key] for key in ("overlap_k", "jaccard")}
    asked |= {"models": [[model.name, model.search_digest] for model, _ in here]}
    if part.kind == HALVES:
        asked |= {"split": part.number, "seed": geometry["seed"]}
    else:
        asked |= {"information_imbalance": geometry["information_imbalance"]}
    return digest(f"geometry.{part.kind}", **asked)
