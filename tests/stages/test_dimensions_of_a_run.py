"""Dimensions that are asked for by name: those of the pure functions on the stored lists."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
import xarray as xr
from layers_run import same
from scipy import stats

from hpcgeom import geometry
from hpcgeom.plan import measures, paths, sizes
from hpcgeom.stages.run import Run
from hpcgeom.store import npz
from hpcgeom.types import Status


def test_the_posterior_is_that_of_the_pure_function_and_of_scipy(measured):
    for place, lists in measured.lists:
        here = measured.results.sel(place)
        found = geometry.twonn_bayes(lists.distinct_distances, indices=lists.distinct_indices)
        one = here.sel(estimator="twonn_bayes")
        same(one.intrinsic_dimension, found.value)
        same(one.intrinsic_dimension_error, found.error)
        same([here.twonn_bayes_shape, here.twonn_bayes_rate], [found.shape, found.rate])
        if found.status == Status.OK:
            posterior = stats.gamma(found.shape, scale=1.0 / found.rate)
            np.testing.assert_allclose(
                here.twonn_bayes_quantile, posterior.ppf([0.16, 0.5, 0.84]), rtol=1e-10
            )
            same(here.twonn_bayes_quantile.sel(quantile=[0.16, 0.84]), [found.quantile_16, found.quantile_84])
        else:
            assert np.isnan(here.twonn_bayes_quantile).all()


def test_levina_bickel_is_measured_at_its_own_numbers_of_neighbors(measured):
    assert measured.results.levina_bickel_k.values.tolist() == [3, 12]
    for place, lists in measured.lists:
        here = measured.results.sel(place)
        found = geometry.levina_bickel(lists.distinct_distances, [3, 12], lists.distinct_indices)
        same(here.levina_bickel, found.value)
        same(here.levina_bickel_error, found.error)
        assert np.isfinite(found.error).all() == (here.n_distinct_points > 1)


def test_gride_has_errors_of_halves_as_far_as_halves_of_the_lists_reach(measured):
    for place, lists in measured.lists:
        here = measured.results.sel(place)
        distances, indices = lists.distinct_distances, lists.distinct_indices
        by_hand = geometry.half_sample_errors(
            lambda half: geometry.gride(half, 16).value, distances, indices, 16
        )
        same(here.gride_resampling_error.sel(n2=[2, 4, 8, 16]), by_hand)
        assert np.isnan(here.gride_resampling_error.sel(n2=32))
        known = np.isfinite(by_hand)
        assert known.all() == (here.n_distinct_points > 1)


def test_the_plateau_is_beside_the_curve_with_the_longer_of_both_errors(measured):
    statuses = []
    for place, _ in measured.lists:
        here = measured.results.sel(place)
        statuses.append(int(here.plateau_status))
        assert here.plateau_status.attrs["flag_meanings"].startswith("ok absent constant")
        errors = np.fmax(here.gride_error.values, here.gride_resampling_error.values)
        found = geometry.plateau(here.gride.values, errors, tolerance=0.1)
        same([here.plateau_dimension, here.plateau_dimension_error], [found.value, found.error])
        flat = here.n2.values[found.start : found.stop]
        ends = [flat[0], flat[-1]] if flat.size else [0, 0]
        assert [int(here.plateau_n2_min), int(here.plateau_n2_max)] == ends
    assert {Status.OK, Status.CONSTANT} <= set(statuses)


def test_every_point_has_its_own_dimension_and_copies_that_of_the_first(measured):
    assert measured.results["sample"].values.tolist() == arrays_run.ids()
    for place, lists in measured.lists:
        here = measured.results.sel(place)
        found = geometry.local_dimension(lists.distinct_distances, 8)
        distinct = lists.representatives
        same(here.local_dimension[distinct], found.value[distinct])
        copies = np.flatnonzero(lists.duplicate_of != np.arange(arrays_run.N))
        same(here.local_dimension[copies], found.value[lists.duplicate_of[copies]])
        assert here.local_dimension_n_points == (len(distinct) if len(distinct) > 1 else 0)
        if len(distinct) > 1:
            r = lists.distinct_distances[distinct, :8]
            by_hand = 7 / np.log(r[:, -1:] / r[:, :-1]).sum(axis=1)
            np.testing.assert_allclose(here.local_dimension[distinct], by_hand, rtol=1e-9)
            expected = np.percentile(by_hand, [16, 50, 84])
            np.testing.assert_allclose(here.local_dimension_quantile, expected, rtol=1e-9)
        else:
            assert here.local_dimension_status == Status.CONSTANT


def test_a_partial_result_holds_as_many_numbers_as_its_price_says(measured):
    run = Run(measured.root)
    length = measures.axes(run.plan)
    for unit in run.units("geometry"):
        if unit.model:
            found = npz.load(measured.root / unit.owns[0])
            assert len(found) == len(measures.arrays(run.plan))
            widest = measures.axes(run.plan)["component"]
            shorter = widest - run.plan.model(unit.model).width
            assert sum(each.size for each in found.values()) == measures.numbers(run.plan) - shorter
    n_left = len(measured.results.variables)
    assert n_left <= sizes.n_result_variables(run.plan) <= 1.1 * n_left
    for dim, n in length.items():
        assert measured.results.sizes.get(dim, 0) == n, dim
    assert paths.profile("wide", "points", "none", 0) == run.units("geometry")[0].owns[0]


TINY = "{kind: arrays}"


def tiny_run(folder, points, k, **asked):
    """The results of one layer of few points, without a warning."""
    np.save(folder / "one0.npy", points)
    text = ", ".join(f"{key}: {value}" for key, value in asked.items())
    manifest = arrays_run.write_manifest(
        folder,
        "tiny",
        dataset=TINY,
        models="[{name: one, family: arrays, source: 'one{layer}.npy'}]",
        neighbors=f"{{k: {k}}}",
        geometry=f"{{{text}}}",
    )
    root = arrays_run.run_manifest(manifest, folder / "run-tiny", workers=1)
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        return found.load().squeeze(["site", "pooling", "model", "layer"])


ALL = "[twonn, twonn_mle, twonn_mle_censored, twonn_bayes, gride, levina_bickel]"


@pytest.mark.parametrize("n", [3, 9])
def test_few_points_have_no_dimension_by_any_estimator(tmp_path, n):
    points = np.random.default_rng(0).standard_normal((n, 4))
    asked = {"estimators": ALL, "gride_range_max": 2, "levina_bickel_k": "[2]", "overlap_k": "[1]"}
    found = tiny_run(tmp_path, points, 2, **asked)
    assert (found.status == Status.TOO_FEW_POINTS).all()
    for name in ("gride_status", "levina_bickel_status", "plateau_status"):
        assert (found[name] == Status.TOO_FEW_POINTS).all(), name
    for name in (
        "intrinsic_dimension",
        "gride",
        "levina_bickel",
        "plateau_dimension",
        "twonn_bayes_quantile",
    ):
        assert np.isnan(found[name]).all(), name


def test_ten_points_have_numbers_but_no_errors_of_halves(tmp_path):
    points = np.random.default_rng(0).standard_normal((10, 4))
    asked = {"estimators": ALL, "gride_range_max": 8, "levina_bickel_k": "[4]", "overlap_k": "[1]"}
    found = tiny_run(tmp_path, points, 9, **asked)
    assert (found.status == Status.OK).all()
    assert np.isfinite(found.levina_bickel).all()
    assert np.isnan(found.gride_resampling_error).all()
    assert np.isfinite(found.gride_error).all()


def test_points_on_a_ring_have_ties_everywhere_and_made_up_numbers_nowhere(tmp_path):
    angle = 2 * np.pi * np.arange(64) / 64
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    asked = {"estimators": ALL, "gride_range_max": 16, "levina_bickel_k": "[2, 8]", "overlap_k": "[1]"}
    found = tiny_run(tmp_path, points, 40, **asked)
    far = found.gride.sel(n2=[4, 8, 16])
    np.testing.assert_allclose(far, 1.0, atol=0.25)  # a curve: its length grows with the rank
    assert found.plateau_status in (Status.OK, Status.NO_SOLUTION)
    assert np.isfinite(found.plateau_dimension) == (found.plateau_status == Status.OK)


def test_copies_of_points_change_no_dimension(tmp_path):
    points = np.random.default_rng(1).standard_normal((300, 3))
    asked = {"estimators": ALL, "gride_range_max": 16, "data_fractions": "[1.0]", "overlap_k": "[1]"}
    alone = tiny_run(tmp_path, points, 40, **asked)
    for n_copies in (3, 15, 60):
        folder = tmp_path / str(n_copies)
        folder.mkdir()
        found = tiny_run(folder, np.concatenate([points, points[:n_copies]]), 40, **asked)
        assert found.n_zero_distances == 2 * n_copies
        assert found.n_all_points - found.n_distinct_points == n_copies
        for name in ("intrinsic_dimension", "gride", "levina_bickel", "plateau_dimension"):
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-12, err_msg=name)
