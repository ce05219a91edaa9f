"""Results as `results.zarr` holds them, with profiles like those of trained protein language models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from hpcgeom.types import Status

ESM2 = {
    "esm2-8m": (6, 320, 7_511_801),
    "esm2-35m": (12, 480, 33_500_000),
    "esm2-150m": (30, 640, 148_000_000),
    "esm2-650m": (33, 1280, 651_000_000),
    "esm2-3b": (36, 2560, 2_840_000_000),
    "esm2-15b": (48, 5120, 15_130_000_000),
}
ESTIMATORS = ("twonn", "twonn_mle", "twonn_mle_censored")
KS = (1, 2, 5, 10, 20, 50)
N2 = (2, 4, 8, 16, 32, 64)
PROFILE_DIMS = ("model", "site", "pooling", "layer")


def hunchback(depth: np.ndarray, peak: float, plateau: float) -> np.ndarray:
    """A peak in the first third, a plateau, a rise at the end."""
    rise = 13.0 + (peak - 13.0) * np.exp(-(((depth - 0.3) / 0.15) ** 2))
    fall = 1.0 / (1.0 + np.exp((depth - 0.5) / 0.04))
    return rise * fall + (plateau + 6.0 * np.clip(depth - 0.85, 0.0, None) / 0.15) * (1.0 - fall)


class Builder:
    """Makes a Dataset variable by variable; padded layers stay NaN."""

    def __init__(self, models: dict, sites: tuple, poolings: tuple, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.depths = [n for n, _, _ in models.values()]
        n_layers = max(self.depths) + 1
        depth = np.full((len(models), n_layers), np.nan)
        for row, n in enumerate(self.depths):
            depth[row, : n + 1] = np.arange(n + 1) / n if n else 0.0
        self.depth = depth
        self.shape = (len(models), len(sites), len(poolings), n_layers)
        coords = {
            "model": list(models),
            "site": list(sites),
            "pooling": list(poolings),
            "layer": np.arange(n_layers),
            "family": ("model", ["esm2"] * len(models)),
            "n_layers": ("model", self.depths),
            "width": ("model", [width for _, width, _ in models.values()]),
            "n_parameters": ("model", [size for _, _, size in models.values()]),
            "revision": ("model", ["0" * 40] * len(models)),
            "step": ("model", [-1] * len(models)),
            "relative_depth": (("model", "layer"), depth),
        }
        attrs = {"title": "synthetic", "n_samples": 2000, "dataset": "astral-2.08", "metric": "euclidean"}
        self.results = xr.Dataset(coords=coords, attrs=attrs)

    def base(self, make: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """(model, site, pooling, layer) from a function of depth and model row."""
        rows = np.stack([make(depth, row) for row, depth in enumerate(self.depth)])
        _, n_sites, n_poolings, _ = self.shape
        lift = 1.0 + 0.08 * np.arange(n_sites)[None, :, None, None] + 0.04 * np.arange(n_poolings)[:, None]
        return rows[:, None, None, :] * lift

    def add(self, name: str, dims: tuple, values: np.ndarray, error: float) -> None:
        """A variable with an error of about `error` of the value."""
        noise = self.rng.uniform(0.8, 1.2, values.shape)
        self.results[name] = (dims, values)
        self.results[f"{name}_error"] = (dims, np.abs(values) * error * noise)

    def along(
        self, name: str, dim: str, coord: tuple, factors: np.ndarray, base: np.ndarray, error: float
    ) -> None:
        """A variable that scales with a factor along one more dimension."""
        self.results = self.results.assign_coords({dim: list(coord)})
        self.add(name, (*PROFILE_DIMS, dim), base[..., None] * factors, error)


def add_dimensions(build: Builder) -> np.ndarray:
    rank = np.argsort(np.argsort(build.results["n_parameters"].values))
    peaks = np.linspace(18.0, 33.0, rank.size)[rank]
    plateaus = np.linspace(10.0, 4.8, rank.size)[rank]
    base = build.base(lambda depth, row: hunchback(depth, peaks[row], plateaus[row]))
    build.along("intrinsic_dimension", "estimator", ESTIMATORS, np.array([1.0, 1.06, 0.97]), base, 0.03)
    results = build.results
    absent = np.isnan(results["intrinsic_dimension"].values)
    dims = (*PROFILE_DIMS, "estimator")
    results["n_points"] = (dims, np.where(absent, 0, 1990))
    flags = {
        "flag_values": [int(s) for s in Status],
        "flag_meanings": " ".join(s.name.lower() for s in Status),
    }
    results["status"] = (dims, np.where(absent, Status.ABSENT, Status.OK).astype(np.int8), flags)
    results["n_zero_distances"] = (PROFILE_DIMS, np.zeros(build.shape, dtype=np.int64))
    results["n_distinct_points"] = (PROFILE_DIMS, np.where(absent[..., 0], 0, 2000))
    return base


def add_overlaps(build: Builder, labels: tuple) -> None:
    growth = np.linspace(0.8, 1.1, len(KS))
    chi = build.base(lambda depth, row: 0.55 + 0.3 * np.sin(np.pi * np.clip(depth, 0.2, 1.0)))
    chi[..., :-1][np.isnan(chi[..., 1:])] = np.nan
    chi[..., -1] = np.nan
    build.along("consecutive_overlap", "k", KS, growth, chi * 0.9, 0.01)
    share = build.base(lambda depth, row: 0.3 + (0.3 + 0.03 * row) * np.sin(np.pi * depth))
    values = (
        np.stack([share * scale for scale in (1.0, 0.6, 0.4)[: len(labels)]], axis=-1)[..., None]
        * growth[::-1]
    )
    build.results = build.results.assign_coords(label=list(labels))
    build.add("label_overlap", (*PROFILE_DIMS, "label", "k"), values, 0.02)
    build.add("label_overlap_balanced", (*PROFILE_DIMS, "label", "k"), values * 0.8, 0.02)
    build.results["label_overlap_chance"] = ("label", [0.0031, 0.04, 0.1][: len(labels)])
    depth = build.depth.ravel()
    model = np.repeat(np.arange(len(build.depths)), build.depth.shape[1])
    far = np.abs(depth[:, None] - depth[None, :]) + 0.1 * np.abs(model[:, None] - model[None, :])
    square = np.exp(-3.0 * far).reshape(*build.depth.shape, *build.depth.shape)
    _, n_sites, n_poolings, _ = build.shape
    everywhere = np.broadcast_to(square, (n_sites, n_poolings, *square.shape))[..., None]
    build.results = build.results.assign_coords(
        other_model=build.results["model"].values, other_layer=build.results["layer"].values
    )
    dims = ("site", "pooling", "model", "layer", "other_model", "other_layer", "k")
    build.add("overlap", dims, everywhere ** (1.0 / growth), 0.01)
    build.add("jaccard", dims, everywhere ** (2.0 / growth), 0.01)
    for name in ("cka_debiased", "information_imbalance_low", "information_imbalance_high"):
        values = everywhere[..., 0] if name == "cka_debiased" else 1.0 - everywhere[..., 0]
        build.results[name] = (dims[:-1], values)


@pytest.fixture(scope="session")
def make_results() -> Callable[..., xr.Dataset]:
    """A function that builds results for models {name: (blocks, width, parameters)}."""

    def make(
        models: dict | None = None,
        sites: tuple = ("ln_1", "resid"),
        poolings: tuple = ("mean",),
        labels: tuple = ("superfamily", "fold"),
    ) -> xr.Dataset:
        build = Builder(models or {"esm2-8m": ESM2["esm2-8m"]}, sites, poolings)
        base = add_dimensions(build)
        build.along("gride", "n2", N2, np.linspace(1.0, 0.75, len(N2)), base, 0.02)
        build.along("gride_distance", "n2", N2, np.linspace(1.0, 3.0, len(N2)), np.ones_like(base), 0.0)
        build.results = build.results.drop_vars("gride_distance_error")
        build.results["gride_distance"] = build.results["gride_distance"].where(
            build.results["gride"].notnull()
        )
        missing = build.results["gride"].isnull()
        build.results["gride_status"] = missing.astype(np.int8)
        build.along(
            "twonn_by_mu_fraction",
            "mu_fraction",
            (0.7, 0.8, 0.9, 1.0),
            np.array([1.05, 1.02, 1, 0.95]),
            base,
            0.03,
        )
        build.along(
            "decimated_dimension",
            "data_fraction",
            (0.125, 0.25, 0.5, 1.0),
            np.array([0.85, 0.9, 0.96, 1]),
            base,
            0.04,
        )
        add_overlaps(build, labels)
        return build.results

    return make


@pytest.fixture(scope="session")
def one_model(make_results) -> xr.Dataset:
    """One model, two sites, seven layers."""
    return make_results()


@pytest.fixture(scope="session")
def six_models(make_results) -> xr.Dataset:
    """Six depths up to 48 blocks, one site; models in the order of the alphabet, not of size."""
    return make_results({name: ESM2[name] for name in sorted(ESM2)}, sites=("ln_1",))


@pytest.fixture(scope="session")
def arrays(make_results) -> xr.Dataset:
    """Points that existed already: one layer, site `points`, pooling `none`."""
    return make_results({"mine": (0, 64, 0)}, sites=("points",), poolings=("none",), labels=("kind",))
