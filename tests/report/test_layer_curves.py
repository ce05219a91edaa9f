"""Figures of one number along the depth of models."""

from __future__ import annotations

import numpy as np
import pytest
import reading

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
    return {1: one, 2: two}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("n_models", [1, 2])
def test_every_layer_stands_at_its_depth_with_its_value(results, name, n_models):
    found, curve = results[n_models], CURVES[name]
    figure = draw_figure(found, name)
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    n_expected = 3 if curve.dim and n_models == 1 else n_models
    assert len(lines) == n_expected
    values = found[curve.variable].squeeze(["site", "pooling"])
    if curve.dim:
        values = values.sel(quantile=0.5)
    drawn = lines[1] if curve.dim and n_models == 1 else lines[0]
    np.testing.assert_array_equal(drawn.get_ydata(), values.sel(model="a"))
    np.testing.assert_array_equal(drawn.get_xdata(), [0, 0.5, 1])
    assert caption_of(figure).startswith(curve.lead[:20])
    assert "N = 80 points" in caption_of(figure)
    assert reading.misplaced_texts(figure) == []


def test_what_was_not_asked_for_is_not_drawn():
    found = hg.measure(np.random.default_rng(0).standard_normal((40, 3)), gride_range_max=4, overlap_k=[1])
    assert set(CURVES) <= set(not_drawn(found))
