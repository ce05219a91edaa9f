"""Figures of one number along the depth of models."""

from __future__ import annotations

import numpy as np
import pytest
import reading
import xarray as xr

import hpcgeom as hg
from hpcgeom.report.draw import caption_of
from hpcgeom.report.figures import draw_figure, not_drawn
from hpcgeom.report.layer_curves import CURVES


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    layers = {layer: rng.standard_normal((80, 2 + layer)) for layer in range(3)}
    options = {"spectrum": True, "local_dimension_k": 8, "gride_range_max": 4, "overlap_k": [1]}
    one = hg.measure({"a": layers}, **options)
    two = hg.measure({"a": layers, "b": layers}, **options)
    return {1: with_clusters(one), 2: with_clusters(two)}


def with_clusters(found):
    """As a run writes them where DADApy is: numbers of clusters, and their agreement with two label sets."""
    counts = found.norm_mean.copy(data=np.arange(1, found.norm_mean.size + 1).reshape(found.norm_mean.shape))
    by_label = xr.concat([0.1 * counts, 0.1 - 0.2 / counts], "label")
    by_label = by_label.transpose(*counts.dims, "label").assign_coords(label=["x", "y"])
    return found.assign(n_clusters=counts, adjusted_rand=by_label)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("n_models", [1, 2])
def test_every_layer_stands_at_its_depth_with_its_value(results, name, n_models):
    found, curve = results[n_models], CURVES[name]
    figure = draw_figure(found, name)
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    values = found[curve.variable].squeeze(["site", "pooling"])
    n_expected = values.sizes[curve.dim] if curve.dim and n_models == 1 else n_models
    assert len(lines) == n_expected
    drawn = lines[0]
    if curve.dim:
        chosen = values[curve.dim].values.tolist().index(curve.chosen) if curve.chosen else 0
        values = values.isel({curve.dim: chosen})
        drawn = lines[chosen] if n_models == 1 else lines[0]
    np.testing.assert_array_equal(drawn.get_ydata(), values.sel(model="a"))
    np.testing.assert_array_equal(drawn.get_xdata(), [0, 0.5, 1])
    assert caption_of(figure).startswith(curve.lead[:20])
    assert "N = 80 points" in caption_of(figure)
    assert reading.misplaced_texts(figure) == []


def test_a_layer_without_clusters_is_a_gap_and_none_at_all_is_no_figure(results):
    found = results[1].copy(deep=True)
    found["n_clusters"][..., 1] = 0
    line = draw_figure(found, "clusters").axes[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_ydata(), [1, np.nan, 3])
    found["n_clusters"][...] = 0
    assert not_drawn(found)["clusters"] == "every value of 'n_clusters' is undefined"


def test_what_was_not_asked_for_is_not_drawn():
    found = hg.measure(np.random.default_rng(0).standard_normal((40, 3)), gride_range_max=4, overlap_k=[1])
    assert set(CURVES) <= set(not_drawn(found))
