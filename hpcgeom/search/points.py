"""The points of one search: transformed, scanned, and without those that equal an earlier one."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.search.bounds import float32_bound
from hpcgeom.search.duplicates import Groups
from hpcgeom.search.kernels import Kernel, choose_kernel, may_be_bfloat16
from hpcgeom.search.moments import Moments, column_moments
from hpcgeom.search.rerank import Base
from hpcgeom.search.rows import RowSource, SelectedRows, StandardRows, check_k, check_metric, points_of_metric
from hpcgeom.search.scan import Scan, scan_rows
from hpcgeom.search.tiles import tile_ranges
from hpcgeom.search.trial import FEWEST_ROWS, MOST_FAILING, try_bfloat16

DEFAULT_TILE_ROWS = 8192


@dataclass(frozen=True)
class Settings:
    """What is searched, and with which means.

    Attributes
    ----------
    k
        Neighbors of each row, self excluded.
    metric
        ``euclidean``, or ``cosine``: the Euclidean distance of the rows divided by their norms, sqrt(2 (1 -
        cos)), which orders as the cosine does and is a metric, as estimates of dimension need.
    standardize
        Whether every feature is centered and divided by its standard deviation over the base rows first; a
        constant feature is only centered.
    n_base
        Rows from here on are queries: they have neighbors among the rows before, and are nobody's. None: all
        rows are base.
    tile_rows
        Most rows of a tile; memory grows with it, the result does not depend on it.
    threads
        Threads of the products and the exact distances; the result does not depend on it.
    kernel
        One of `kernels.KERNELS`; the result does not depend on it.
    """

    k: int
    metric: str = "euclidean"
    standardize: bool = False
    n_base: int | None = None
    tile_rows: int = DEFAULT_TILE_ROWS
    threads: int = 1
    kernel: str = "auto"


class Points:
    """Points that were scanned, ready to be searched; distinct rows are numbered as groups.

    Attributes
    ----------
    source
        (N, D), all rows, as they are compared.
    distinct
        (G, D), the first of every group of equal rows.
    groups
        Who is equal to whom.
    base
        The distinct rows that may be neighbors.
    n_ranks
        Length of the lists over distinct rows.
    """

    def __init__(self, source: RowSource, settings: Settings, scan: Scan) -> None:
        self.source, self.settings, self.scan = source, settings, scan
        self.duplicate_of = scan.duplicate_of
        self.groups = Groups(scan.duplicate_of, n_base_of(settings, source))
        n_groups = len(self.groups.first_row_G)
        self.has_duplicates = n_groups < source.shape[0]
        self.distinct: RowSource = source
        if self.has_duplicates:
            self.distinct = SelectedRows(source, self.groups.first_row_G, settings.tile_rows)
        base_ranges = tile_ranges(0, self.groups.n_base, settings.tile_rows, self.groups.n_base)
        self.base = Base(self.distinct, base_ranges, scan.centering)
        self.n_ranks = min(settings.k, self.groups.n_base - (n_groups == self.groups.n_base))
        self.kernel: Kernel = choose_kernel(settings.kernel, source.shape[1], scan.row_roundoff)

    def with_roundoff(self, row_roundoff: float) -> Points:
        """The same points, to be multiplied in bfloat16 where the kernel may be."""
        found = copy.copy(self)
        found.scan = dataclasses.replace(self.scan, row_roundoff=row_roundoff)
        found.kernel = choose_kernel(self.settings.kernel, self.source.shape[1], row_roundoff)
        return found

    def ranges(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Tiles of the groups start to stop - 1."""
        return tile_ranges(start, stop, self.settings.tile_rows, self.groups.n_base)


def n_base_of(settings: Settings, source: RowSource) -> int:
    """How many rows may be neighbors."""
    return source.shape[0] if settings.n_base is None else settings.n_base


def scan_points(source: RowSource, settings: Settings, mean: npt.ArrayLike | None = None) -> Points:
    """Check, and read all rows once: refuse what cannot be searched, find equal rows, center and scale.

    Parameters
    ----------
    source
        (N, D), at most 2^31 - 1 rows.
    settings
        What is asked for. Where features are standardized, rows are looked at twice more; where products may
        be in bfloat16, once more.
    mean
        (D,) the mean of the rows as they are compared, where it is known; else it is computed.

    Raises
    ------
    InputError
        If the settings, the mean or the dtype cannot be used, a row is not finite, or is zero under
        ``cosine``.
    """
    check_settings(source, settings)
    moments = None
    if settings.standardize:
        moments = column_moments(source, n_base_of(settings, source), settings.tile_rows)
    compared = _compared(source, settings, moments)
    scan = scan_rows(compared, settings.tile_rows, mean, settings.threads)
    points = Points(compared, settings, dataclasses.replace(scan, moments=moments))
    roundoff = _roundoff_of(points)
    if roundoff is None:
        return points
    return points.with_roundoff(roundoff)


def _roundoff_of(points: Points) -> float | None:
    """What rounding to bfloat16 takes from the rows, where it is asked for, or is enough and the fastest."""
    settings, n_groups = points.settings, len(points.groups.first_row_G)
    if points.n_ranks == 0 or not may_be_bfloat16(settings.kernel, points.source.shape[1]):
        return None
    if settings.kernel == "auto" and points.groups.n_base < FEWEST_ROWS:
        return None
    trial = try_bfloat16(
        points.distinct, points.ranges(0, n_groups), points.scan.centering, points.n_ranks,
        points.groups.n_base, settings.threads,
    )  # fmt: skip
    is_taken = settings.kernel == "bfloat16" or trial.n_failing <= MOST_FAILING
    return trial.row_roundoff if is_taken else None


def scanned_points(source: RowSource, settings: Settings, scan: Scan) -> Points:
    """The same from an earlier scan of the same rows."""
    check_settings(source, settings)
    return Points(_compared(source, settings, scan.moments), settings, scan)


def _compared(source: RowSource, settings: Settings, moments: Moments | None) -> RowSource:
    """The points whose Euclidean distances are asked for."""
    standard = source if moments is None else StandardRows(source, *moments)
    return points_of_metric(standard, settings.metric)


def check_settings(source: RowSource, settings: Settings) -> None:
    """Refuse what no points of this shape can be searched by."""
    n_rows, n_features = source.shape
    n_base = n_base_of(settings, source)
    if not 0 < n_base <= n_rows:
        raise InputError(
            f"n_base is {n_base}, expected 1 to {n_rows}, the rows there are: say how many may be neighbors"
        )
    check_k(settings.k, n_base)
    check_metric(settings.metric)
    for name, value in (
        ("tile_rows", settings.tile_rows),
        ("threads", settings.threads),
        ("the number of features", n_features),
    ):
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1: raise it")
    if n_rows >= 2**31:
        raise InputError(f"there are {n_rows} points, and row numbers are int32: search at most {2**31 - 1}")
    float32_bound(n_features)
