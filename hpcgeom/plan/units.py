"""Cutting the stages into units; everything here follows from the plan alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from hpcgeom.plan import paths, points
from hpcgeom.plan.between import BETWEEN_LAYERS, between_units
from hpcgeom.plan.details import arrays_of
from hpcgeom.plan.identity import digest
from hpcgeom.plan.plan import DetailPlan, ModelPlan, Plan, Representation
from hpcgeom.types import Unit

STAGES = ("extract", "search", "merge", "geometry", "collect")
STAGES_OF_JOBS: Mapping[str, tuple[str, ...]] = {
    "extract": ("extract",),
    "search": ("search", "merge"),
    "geometry": ("geometry",),
    "collect": ("collect",),
}
"""What is submitted to a scheduler, and the stages that each job does one after the other."""

UNIT_BYTES = 2 * 2**30
"""What an extract unit aims at, over its layers, sites and poolings."""
MIN_UNIT_ROWS, MAX_UNIT_ROWS = 256, 8192
MIN_TOKEN_UNIT_ROWS = 16
"""Least rows of a unit where every token is a point: one row may be hundreds of points."""
DETAILS = "details"
"""Stands in a unit of extract for the site, where the unit is about what is kept whole."""
MAX_BLOCKS = 8
"""Of a split search."""
NEIGHBOR_SHARD_ROWS = 65_536


def choose_unit_rows(bytes_per_row: int, least: int = MIN_UNIT_ROWS) -> int:
    """Largest power of two in [`least`, 8192] that keeps a unit within `UNIT_BYTES` (at least `least`)."""
    rows = MAX_UNIT_ROWS
    while rows > least and rows * bytes_per_row > UNIT_BYTES:
        rows //= 2
    return rows


def units_of(plan: Plan, stage: str) -> tuple[Unit, ...]:
    """All units of `stage`, in the order of their indices."""
    makers = {
        "extract": extract_units,
        "search": search_units,
        "merge": merge_units,
        "geometry": geometry_units,
        "collect": collect_units,
    }
    return makers[stage](plan)


def extract_units(plan: Plan) -> tuple[Unit, ...]:
    """Models in manifest order; of each, contiguous ranges of rows, then its details."""
    units: list[Unit] = []
    for model in plan.models:
        placed = [(points.blocks(plan, model, item), len(item.layers)) for item in model.representations]
        for number, (start, stop) in enumerate(plan.row_ranges()):
            owns = [
                paths.activation_shard(model.name, blocks[number].group, position, blocks[number].shard)
                for blocks, n_layers in placed
                for position in range(n_layers)
            ]
            key = f"{model.name}/{paths.rows(start, stop)}"
            owns.append(paths.column_sums(model.name, start, stop))
            units.append(
                Unit(
                    "extract",
                    len(units),
                    key,
                    model.extract_digest,
                    tuple(owns),
                    model.name,
                    start=start,
                    stop=stop,
                )
            )
        if model.details is not None:
            units.append(_details_unit(model, model.details, len(units)))
    return tuple(units)


def _details_unit(model: ModelPlan, plan: DetailPlan, index: int) -> Unit:
    """All that is kept whole of chosen samples of a model: few samples, and apart from the points of all."""
    store = paths.activations(model.name)
    arrays = (array for row in plan.rows for array in arrays_of(plan, row))
    owns = tuple(f"{store}/{file}" for array in arrays for file in array.files)
    key = f"{model.name}/{DETAILS}"
    return Unit("extract", index, key, model.details_digest, owns, model.name, site=DETAILS)


NEIGHBOR_ARRAYS = (
    "neighbor_index",
    "neighbor_distance",
    "duplicate_of",
    "distinct_index",
    "distinct_distance",
)


def n_blocks_of(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Into how many blocks a search is cut, so that two of them meet within `Plan.search_work`; 1 for none.

    Blocks are at least an eighth of the points: every pair of them keeps all the neighbors of its points.
    """
    n = points.n_points(plan, model, item)
    if n * n * item.width <= plan.search_work:
        return 1
    enough = (b for b in range(2, MAX_BLOCKS) if 2 * (n / b) ** 2 * item.width <= plan.search_work)
    return next(enough, MAX_BLOCKS)


def search_units(plan: Plan) -> tuple[Unit, ...]:
    """Models, then sites and poolings, then layers: one unit each, or a scan and all pairs of blocks."""
    units: list[Unit] = []
    merges: dict[str, list[Unit]] = defaultdict(list)
    for unit in merge_units(plan):
        merges[unit.key.rpartition("/")[0]].append(unit)
    for model, item, position, layer in representations(plan):
        n_shards = -(-points.n_points(plan, model, item) // NEIGHBOR_SHARD_ROWS)
        owns = tuple(name for shard in range(n_shards) for name in _shard_files(model, item, position, shard))
        whole = _about_layer(plan, "search", len(units), model.search_digest, owns, model, item, layer)
        n_blocks = n_blocks_of(plan, model, item)
        units += [whole] if n_blocks == 1 else _parts(whole, n_blocks, tuple(merges[whole.key]))
    return tuple(units)


def _parts(whole: Unit, n_blocks: int, merges: tuple[Unit, ...]) -> list[Unit]:
    """The scan of a split search, and every pair of blocks; merged, they are done."""
    folder = paths.partial_neighbors(whole.model, whole.site, whole.pooling, whole.layer)
    scan = replace(
        whole,
        key=f"{whole.key}/scan",
        owns=(f"{folder}/scan.npz",),
        n_blocks=n_blocks,
        superseded_by=merges,
    )
    pairs = [(first, second) for first in range(n_blocks) for second in range(first, n_blocks)]
    pairs.sort(key=lambda pair: pair[0] == pair[1])  # half the work: last, so that workers end together
    return [scan] + [
        replace(
            scan,
            index=scan.index + number,
            # Another cut has other pairs: the key says of which one these are.
            key=f"{whole.key}/pair-{first}-{second}-of-{n_blocks}",
            owns=(f"{folder}/pair-{first}-{second}.npz",),
            blocks=(first, second),
            needs=(scan.index,),
        )
        for number, (first, second) in enumerate(pairs, 1)
    ]


def merge_units(plan: Plan) -> tuple[Unit, ...]:
    """Of every split search, one shard of rows each; none where no search is split."""
    units: list[Unit] = []
    for model, item, position, layer in representations(plan):
        n_blocks = n_blocks_of(plan, model, item)
        if n_blocks == 1:
            continue
        n_points = points.n_points(plan, model, item)
        for shard, start in enumerate(range(0, n_points, NEIGHBOR_SHARD_ROWS)):
            stop = min(start + NEIGHBOR_SHARD_ROWS, n_points)
            owns = _shard_files(model, item, position, shard)
            whole = _about_layer(plan, "merge", len(units), model.search_digest, owns, model, item, layer)
            key = f"{whole.key}/{paths.rows(start, stop)}"
            units.append(replace(whole, key=key, start=start, stop=stop, n_blocks=n_blocks))
    return tuple(units)


def _shard_files(model: ModelPlan, item: Representation, position: int, shard: int) -> tuple[str, ...]:
    folder = f"{paths.neighbors(model.name)}/{paths.group(item.site, item.pooling)}"
    return tuple(
        f"{folder}/{name}/c/{position}/{shard}" + ("" if name == "duplicate_of" else "/0")
        for name in NEIGHBOR_ARRAYS
    )


def geometry_units(plan: Plan) -> tuple[Unit, ...]:
    """First every layer alone, then what is measured between the layers of each site and pooling."""
    units: list[Unit] = []
    for model, item, _, layer in representations(plan):
        owns = (paths.profile(model.name, item.site, item.pooling, layer),)
        asked = profile_digest(plan, model)
        units.append(_about_layer(plan, "geometry", len(units), asked, owns, model, item, layer))
    for site, pooling in plan.groups():
        units += between_units(plan, site, pooling, len(units))
    return tuple(units)


def collect_units(plan: Plan) -> tuple[Unit, ...]:
    """The one unit that owns ``results.zarr``."""
    asked = digest(
        "collect",
        inputs=sorted({unit.digest for unit in geometry_units(plan)}),
        models=[[model.name, model.family, model.revision, model.step] for model in plan.models],
        name=plan.name,
        lens=[[model.name, model.details_digest] for model in plan.models if model.lens_layers],
    )
    return (Unit("collect", 0, "results", asked, (paths.RESULTS,), stop=plan.samples.n),)


def representations(plan: Plan) -> list[tuple[ModelPlan, Representation, int, int]]:
    """Every (model, site and pooling, position of the layer in the store, layer) of the run."""
    return [
        (model, item, position, layer)
        for model in plan.models
        for item in model.representations
        for position, layer in enumerate(item.layers)
    ]


def profile_digest(plan: Plan, model: ModelPlan) -> str:
    """Identity of what is measured on single layers of `model`."""
    asked = plan.manifest["geometry"]
    settings = {key: value for key, value in asked.items() if key not in BETWEEN_LAYERS}
    used = {*settings["labels"], *settings["exclude_same"].values()}
    labels = {name: plan.samples.label_digests[name] for name in used}
    return digest("geometry.profile", settings=settings, labels=labels, search=model.search_digest)


def _about_layer(
    plan: Plan,
    stage: str,
    index: int,
    asked: str,
    owns: tuple[str, ...],
    model: ModelPlan,
    item: Representation,
    layer: int,
) -> Unit:
    key = f"{model.name}/{paths.group(item.site, item.pooling)}/layer-{layer:03d}"
    n_points = points.n_points(plan, model, item)
    return Unit(stage, index, key, asked, owns, model.name, item.site, item.pooling, layer, stop=n_points)
