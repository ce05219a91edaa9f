"""Options of the command that measures arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ARRAY = "[NAME=]PATTERN"

PointsOption = Annotated[
    list[str] | None,
    typer.Option("--points", metavar=ARRAY, help="(N, D) a layer, as .npy or Zarr; {layer} is its number."),
]
DistancesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--distances", metavar=ARRAY, help="(N, K): distances to the neighbors, in place of points."
    ),
]
IndicesOption = Annotated[
    list[str] | None,
    typer.Option("--indices", metavar=ARRAY, help="(N, K): row numbers of the neighbors."),
]
MusOption = Annotated[
    list[str] | None,
    typer.Option("--mus", metavar=ARRAY, help="(N,): ratios r2 / r1, in place of distances."),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", metavar="[NAME=]PATH", help="One for each point: .npy, .txt, or a table."),
]
LayersOption = Annotated[
    str | None,
    typer.Option("--layers", metavar="L", help="Such as 0-12, 1-49:2 (every second) or 3,7 [default: all]."),
]
SelfColumnOption = Annotated[
    str,
    typer.Option("--self-column", metavar="S", help="Points are in their own lists: auto, drop, none."),
]
SquaredOption = Annotated[bool, typer.Option("--squared", help="Distances are squared: take their roots.")]
EstimatorsOption = Annotated[
    str | None,
    typer.Option("--estimators", metavar="E", help="Such as twonn,gride [default: a manifest's]."),
]
MuFractionOption = Annotated[
    float, typer.Option("--mu-fraction", metavar="F", help="Share of the smallest ratios that is fitted.")
]
MuFractionsOption = Annotated[
    str | None, typer.Option("--mu-fractions", metavar="F", help="Shares to fit again, such as 0.5,0.9.")
]
GrideRangeMaxOption = Annotated[
    int, typer.Option("--gride-range-max", metavar="N", help="Largest neighbor rank of GRIDE.")
]
LevinaBickelOption = Annotated[
    str | None,
    typer.Option(
        "--levina-bickel-k", metavar="K", help="Neighbors of levina_bickel [default: a manifest's]."
    ),
]
LocalDimensionOption = Annotated[
    int | None,
    typer.Option("--local-dimension-k", metavar="K", help="Neighbors of the dimension around every point."),
]
ClustersOption = Annotated[
    float | None,
    typer.Option("--clusters", metavar="Z", help="Clusters, by DADApy: peaks Z errors high, 1.65 is usual."),
]
ExcludeSameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude-same",
        metavar="LABEL=FAMILY",
        help="Overlaps of LABEL again, neighbors of the own FAMILY left out.",
    ),
]
SpectrumOption = Annotated[
    bool, typer.Option("--spectrum", help="Measure variances, norms and directions of points, too.")
]
OverlapKOption = Annotated[
    str | None,
    typer.Option("-k", "--overlap-k", metavar="K", help="Neighbors of overlaps, such as 10,30."),
]
JaccardOption = Annotated[bool, typer.Option("--jaccard", help="Jaccard indices beside overlaps.")]
ErrorSplitsOption = Annotated[
    int, typer.Option("--error-splits", metavar="N", help="Random halves behind errors of overlaps.")
]
ImbalanceOption = Annotated[
    bool, typer.Option("--information-imbalance", help="Bounds of it between layers, from the lists.")
]
CkaOption = Annotated[bool, typer.Option("--cka", help="Alignment of layers (linear CKA), from points.")]
NeighborsOption = Annotated[
    int | None,
    typer.Option("--neighbors", metavar="N", help="Neighbors searched of points [default: 64]."),
]
MetricOption = Annotated[
    str, typer.Option("--metric", metavar="M", help="Distance of points: euclidean or cosine.")
]
BackendOption = Annotated[
    str, typer.Option("--backend", metavar="B", help="Who measures: native, or dadapy where it is installed.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write results.zarr and figures here.")
]
