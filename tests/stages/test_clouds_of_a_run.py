"""Variances, norms and directions of every layer, against dense matrices and all pairs."""

from __future__ import annotations

import tracemalloc

import arrays_run
import numpy as np
import pytest

from hpcgeom.plan import memory
from hpcgeom.search import ArrayRows
from hpcgeom.stages import clouds
from hpcgeom.types import Status

LAYERS = [
    (model, layer, points.astype(np.float64))
    for model, layers in arrays_run.clouds().items()
    for layer, points in layers.items()
]
VARYING = [each for each in LAYERS if np.ptp(each[2]) > 0.0]


def by_hand(points: np.ndarray) -> dict[str, float]:
    """From the whole covariance matrix and the whole matrix of cosines."""
    eigenvalues = np.linalg.eigvalsh(np.cov(points.T))
    norms = np.linalg.norm(points, axis=1)
    units = points / norms[:, None]
    cosines = units @ units.T
    mean = units.mean(axis=0)
    return {
        "participation_ratio": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
        "norm_mean": norms.mean(),
        "norm_std": norms.std(),
        "norm_max": norms.max(),
        "mean_cosine": (units @ mean / np.linalg.norm(mean)).mean(),
        "anisotropy": cosines[~np.eye(len(points), dtype=bool)].mean(),
    }


@pytest.mark.parametrize(("model", "layer", "points"), VARYING)
def test_every_number_of_a_cloud_is_that_of_the_definition(measured, model, layer, points):
    here = measured.results.sel(model=model, layer=layer)
    for name, value in by_hand(points).items():
        assert here[name] == pytest.approx(value, rel=1e-9), name
    eigenvalues = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    found = here.covariance_eigenvalue.values
    np.testing.assert_allclose(found[: len(eigenvalues)], eigenvalues, atol=1e-9 * eigenvalues[0])
    assert np.isnan(found[len(eigenvalues) :]).all()
    share = np.cumsum(eigenvalues) / eigenvalues.sum()
    for fraction in (0.5, 0.99):
        assert here.n_components.sel(variance_fraction=fraction) == 1 + np.flatnonzero(share >= fraction)[0]
    assert (here.spectrum_status, here.direction_status, here.n_zero_norms) == (Status.OK, Status.OK, 0)


@pytest.mark.parametrize(("model", "layer", "points"), VARYING[:2])
def test_error_bars_are_those_of_leaving_a_tenth_of_the_points_out(measured, model, layer, points):
    here = measured.results.sel(model=model, layer=layer)
    rows = np.arange(len(points))
    without = [by_hand(points[rows % 10 != group]) for group in range(10)]
    for name in without[0].keys() - {"norm_max"}:
        values = np.array([each[name] for each in without])
        error = np.sqrt(0.9 * ((values - values.mean()) ** 2).sum())
        assert here[f"{name}_error"] == pytest.approx(error, rel=1e-5), name


def test_a_constant_layer_has_a_direction_and_no_variance(measured):
    here = measured.results.sel(model="deep", layer=1)
    assert here.spectrum_status == Status.CONSTANT
    assert np.isnan(here.participation_ratio)
    assert (here.n_components == 0).all()
    assert here.norm_mean == 2.0
    assert here.anisotropy == pytest.approx(1.0)
    assert here.direction_status == Status.OK


def test_layers_that_are_not_there_have_no_numbers(measured):
    here = measured.results.sel(model="wide", layer=3)
    assert here.spectrum_status == Status.ABSENT
    assert here.direction_status == Status.ABSENT
    assert np.isnan(here.covariance_eigenvalue).all()
    assert np.isnan(here.norm_mean)


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.ones((1, 2)), np.zeros((1, 2))])
def test_few_points_and_points_at_the_origin_have_a_status(points):
    found = clouds.cloud_profile(ArrayRows(points), len(points), {"variance_fractions": [0.9]})
    assert found["spectrum_status"] != Status.OK
    assert np.isnan(found["participation_ratio"])
    assert found["direction_status"] in (Status.CONSTANT, Status.TOO_FEW_POINTS)
    assert np.isnan(found["anisotropy"])
    assert np.isnan(found["norm_mean_error"])


def test_blocks_change_no_digit_that_matters_and_queries_are_left_out(monkeypatch):
    points = np.random.default_rng(0).standard_normal((500, 6)) + 100.0
    settings = {"variance_fractions": [0.5, 0.9]}
    whole = clouds.cloud_profile(ArrayRows(points[:400]), 400, settings)
    monkeypatch.setattr(clouds, "SPECTRUM_BLOCK_BYTES", 8 * 6 * 37)
    blocks = clouds.cloud_profile(ArrayRows(points), 400, settings)
    for name, value in whole.items():
        np.testing.assert_allclose(blocks[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_memory_is_within_that_of_the_plan():
    points = np.random.default_rng(0).standard_normal((3000, 400)).astype(np.float32)
    tracemalloc.start()
    clouds.cloud_profile(ArrayRows(points), len(points), {"variance_fractions": [0.9]})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= memory.spectrum_bytes(400, len(points))
    matrices = 10 * 8 * 400**2
    assert peak > matrices
