"""Between layers of very few points, of equal points, and in many parts."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
import xarray as xr
from threadpoolctl import threadpool_limits

from hpcgeom.api.running import run_manifest
from hpcgeom.geometry import cka_matrix
from hpcgeom.plan import alignment
from hpcgeom.plan.points import cohorts
from hpcgeom.stages.alignment import products
from hpcgeom.stages.run import Run

GEOMETRY = (
    "{estimators: [twonn], data_fractions: [1.0], mu_fractions: [0.9], labels: [], overlap_k: all,"
    " jaccard: true, cka: true, information_imbalance: true, error_splits: 2}"
)


def measured(folder, layers, k):
    folder.mkdir()
    for layer, points in enumerate(layers):
        np.save(folder / f"wide{layer}.npy", points)
    manifest = arrays_run.write_manifest(
        folder,
        dataset="{kind: arrays}",
        models="[{name: wide, family: arrays, source: 'wide{layer}.npy'}]",
        neighbors=f"{{k: {k}}}",
        geometry=GEOMETRY,
    )
    root = run_manifest(manifest, folder / "run", workers=1)
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        return found.load().squeeze()


def test_three_points_have_all_that_three_points_can_have(tmp_path):
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((3, 4)) for _ in range(2)]
    found = measured(tmp_path / "run", layers, 2)
    np.testing.assert_array_equal(found.overlap.sel(k=2), 1.0)
    np.testing.assert_array_equal(found.jaccard.sel(k=2), 1.0)
    np.testing.assert_array_equal(found.information_imbalance_low, found.information_imbalance_high)
    assert (found.n_unknown_ranks == 0).all()
    assert np.isnan(found.overlap_half_sample_error).all()
    assert np.isfinite(found.cka).all()
    words = found.cka_status.attrs["flag_meanings"].split()
    assert {words[code] for code in found.cka_debiased_status.values} == {"too_few_points"}
    assert np.isnan(found.cka_debiased).all()


def test_equal_points_are_neighbors_and_points_of_the_alignment(tmp_path):
    rng = np.random.default_rng(1)
    points = rng.standard_normal((40, 5))
    points[20:] = points[:20]
    other = rng.standard_normal((40, 5))
    found = measured(tmp_path / "run", [points, other, np.zeros((40, 5))], 39)
    assert found.overlap.sel(layer=0, other_layer=0, k=1) == 1.0
    assert found.information_imbalance_low.sel(layer=0, other_layer=0) == pytest.approx(2 / 40)
    expected = cka_matrix(lambda layer, a, b: (points, other)[layer][a:b], 2, 40)
    assert found.cka.sel(layer=0, other_layer=1) == pytest.approx(expected.value[0, 1], rel=1e-10)
    for name in ("overlap", "jaccard", "cka", "cka_debiased", "information_imbalance_high"):
        assert np.isnan(found[name].sel(layer=2)).all(), name
        assert np.isnan(found[name].sel(other_layer=2)).all(), name


@pytest.mark.parametrize(("n", "width", "route"), [(40, 200, "gram"), (300, 4, "features")])
def test_alignment_in_many_parts_is_that_of_one(tmp_path, monkeypatch, n, width, route):
    rng = np.random.default_rng(2)
    layers = [1e3 + rng.standard_normal((n, width)) @ rng.standard_normal((width, width)) for _ in range(4)]
    layers = [points.astype(np.float32) for points in layers]
    expected = cka_matrix(lambda layer, a, b: layers[layer][a:b], 4, n)
    monkeypatch.setattr(alignment, "UNIT_WORK", 15**2 * 808 if route == "gram" else n * (2 * width) ** 2)
    found = measured(tmp_path / "run", layers, 30)
    files = sorted(path.name for path in (tmp_path / "run" / "run" / "geometry" / "cka").rglob("*.npz"))
    assert len(files) == (6 if route == "gram" else 3)
    assert all(route in name for name in files)
    np.testing.assert_allclose(found.cka, expected.value, rtol=1e-9)
    np.testing.assert_allclose(found.cka_debiased, expected.debiased, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("width", [64, 700])
def test_alignment_does_not_depend_on_the_threads_of_blas(tmp_path, width):
    rng = np.random.default_rng(3)
    measured(tmp_path / "run", [rng.standard_normal((600, width)).astype(np.float32) for _ in range(2)], 2)
    run = Run(tmp_path / "run" / "run")
    (unit,) = (unit for unit in run.units("geometry") if unit.kind == "cka")
    (cohort,) = cohorts(run.plan, unit.site, unit.pooling)
    assert alignment.cut_of(cohort).route == ("features" if width == 64 else "gram")
    with threadpool_limits(1, "blas"):
        one = products(run, unit, cohort)
    with threadpool_limits(2, "blas"):
        other = products(run, unit, cohort)
    for name in ("products", "diagonal_products", "diagonal_sums"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
