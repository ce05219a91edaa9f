import numpy as np
import pytest
import reading

from hpcgeom.errors import InputError
from hpcgeom.report.draw import caption_of
from hpcgeom.report.figures import KINDS, draw_figure, not_drawn
from hpcgeom.report.layer_curves import CURVES
from hpcgeom.report.pair_figures import overlap
from hpcgeom.report.scans import dimension_by_fraction, gride, gride_by_layer, handful
from hpcgeom.report.select import SitePooling, scan
from hpcgeom.types import Status


def test_gride_lines_are_layers_against_the_rank(one_model):
    figure = gride(one_model)
    for panel, site in zip(reading.panels(figure), ("ln_1", "resid"), strict=True):
        drawn = reading.lines(panel)
        assert list(drawn) == [f"layer {layer}" for layer in range(7)]
        for layer in range(7):
            expected = one_model["gride"].sel(site=site, layer=layer).squeeze()
            np.testing.assert_array_equal(drawn[f"layer {layer}"].get_ydata(), expected)
            assert drawn[f"layer {layer}"].get_xdata().tolist() == [2, 4, 8, 16, 32, 64]
        assert panel.get_xscale() == "log"
        assert [text.get_text() for text in panel.get_xticklabels()] == ["2", "4", "8", "16", "32", "64"]
    assert figure.axes[-1].get_ylabel() == "relative depth"
    assert "Lines: layers 0–6." in caption_of(figure)


def test_deep_models_show_a_handful_of_layers_and_all_in_a_heat_map(six_models):
    lines = gride(six_models)
    assert reading.titles(lines)[-1] == "esm2-15b"
    drawn = reading.lines(reading.panels(lines)[-1])
    assert list(drawn) == [f"layer {n}" for n in (0, 8, 16, 24, 32, 40, 48)]
    heat = gride_by_layer(six_models)
    (image,) = reading.panels(heat)[-1].images
    np.testing.assert_array_equal(image.get_array(), six_models["gride"].sel(model="esm2-15b").squeeze())


@pytest.mark.parametrize("n", [0, 1, 2, 6, 7, 8, 49, 81])
def test_a_handful_is_spread_from_end_to_end(n):
    chosen = handful(n)
    assert len(chosen) == min(n, 7)
    assert chosen[:1] == [0][:n]
    assert chosen[-1:] == [n - 1][:n]
    assert len(set(np.diff(chosen))) <= 2


def test_gride_has_the_longer_of_both_errors_and_says_which(one_model):
    place = SitePooling("resid", "mean")
    plain = scan(one_model, "gride", "n2", "esm2-8m", place)
    assert "are the standard error of independent ratios, which is too short" in said(gride(one_model))
    halves = 3.0 * one_model["gride_error"].where(one_model["n2"] <= 16)
    both = one_model.assign(gride_resampling_error=halves)
    found = scan(both, "gride", "n2", "esm2-8m", place)
    np.testing.assert_allclose(found.error, plain.error * np.where(plain.x <= 16, 3.0, 1.0))
    assert "are one standard error, beyond n₂ = 16 that of independent ratios" in said(gride(both))
    whole = one_model.assign(gride_resampling_error=one_model["gride_error"])
    assert "Bands are one standard error. " in said(gride(whole))


def said(figure):
    return caption_of(figure).replace("\n", " ")


def test_points_that_gride_could_not_give_are_explained(one_model):
    results = one_model.copy(deep=True)
    results["gride"].loc[{"layer": 2, "n2": 64}] = np.nan
    results["gride_status"].loc[{"layer": 2, "n2": 64}] = Status.TOO_FEW_NEIGHBORS
    assert "Left out where GRIDE is undefined: too few neighbors." in caption_of(gride(results))
    assert "Left out" not in caption_of(gride(one_model))


def test_shares_of_points_and_of_ratios_are_blocks_of_one_figure(one_model):
    figure = dimension_by_fraction(one_model)
    axes = reading.panels(figure)
    assert [each.get_xlabel() for each in axes] == ["share of points kept"] * 2 + ["share of ratios kept"] * 2
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["1/8", "1/4", "1/2", "1"]
    for panel, variable in ((axes[1], "decimated_dimension"), (axes[3], "twonn_by_mu_fraction")):
        expected = one_model[variable].sel(site="resid", layer=5).squeeze()
        np.testing.assert_array_equal(reading.lines(panel)["layer 5"].get_ydata(), expected)
    alone = dimension_by_fraction(one_model.drop_vars("decimated_dimension"))
    assert len(reading.panels(alone)) == 2


def test_maps_hold_the_overlaps_of_the_lower_triangle_of_models(six_models):
    by_size = ["esm2-8m", "esm2-35m", "esm2-150m", "esm2-650m", "esm2-3b", "esm2-15b"]
    depth = dict(zip(by_size, (6, 12, 30, 33, 36, 48), strict=True))
    figure = overlap(six_models, k=20)
    pairs = [(a, b) for i, a in enumerate(by_size) for b in by_size[: i + 1]]
    for panel, (a, b) in zip(reading.panels(figure), pairs, strict=False):
        expected = six_models["overlap"].sel(model=a, other_model=b, k=20).squeeze()
        (image,) = panel.images
        np.testing.assert_array_equal(image.get_array(), expected[: depth[a] + 1, : depth[b] + 1])
        assert image.get_clim() == (0.0, 1.0)
    assert figure.axes[-1].get_ylabel() == "overlap, k = 20"
    assert "k = 20;" in caption_of(figure)


def test_cells_of_maps_are_square(six_models):
    figure = overlap(six_models)
    for panel in figure.axes[:-1]:
        rows, columns = panel.images[0].get_array().shape
        box = panel.get_window_extent()
        assert box.width / columns == pytest.approx(box.height / rows, rel=1e-6)


def two_models(results):
    pair = ["esm2-8m", "esm2-35m"]
    return results.sel(model=pair, other_model=pair).copy(deep=True)


def test_a_pair_measured_one_way_is_mirrored(six_models):
    results = two_models(six_models)
    results["overlap"].loc[{"model": "esm2-35m", "other_model": "esm2-8m"}] = np.nan
    expected = results["overlap"].sel(model="esm2-8m", other_model="esm2-35m", k=10).squeeze()
    image = overlap(results).axes[1].images[0]
    np.testing.assert_array_equal(image.get_array(), expected.values[:7, :13].T)


def test_alignment_and_imbalance_have_maps_of_their_own(six_models):
    results = two_models(six_models)
    shares = results["overlap"].sel(k=10, drop=True)
    results = results.assign(
        cka_debiased=shares - 0.1,
        information_imbalance_low=shares.where(shares.layer < shares.other_layer, shares / 2),
        information_imbalance_high=shares + 0.25,
        jaccard=results["overlap"] / 2,
    )
    assert {"cka", "information_imbalance", "jaccard"}.isdisjoint(not_drawn(results))
    figure = draw_figure(results, "cka")
    assert len(figure.axes) == 3 + 1  # the lower triangle of two models, and the colors
    np.testing.assert_array_equal(
        figure.axes[1].images[0].get_array(),
        results["cka_debiased"].sel(model="esm2-35m", other_model="esm2-8m").squeeze()[:13, :7],
    )
    assert "k =" not in caption_of(figure)
    figure = draw_figure(results, "information_imbalance")
    assert len(figure.axes) == 4 + 1  # it has a direction
    middle = (results["information_imbalance_low"] + results["information_imbalance_high"]) / 2
    np.testing.assert_array_equal(
        figure.axes[1].images[0].get_array(),
        middle.sel(model="esm2-8m", other_model="esm2-35m").squeeze()[:7, :13],
    )
    assert "which are at most 0.75 apart" in caption_of(figure)
    figure = draw_figure(results, "jaccard", k=20)
    assert figure.axes[-1].get_ylabel() == "Jaccard index, k = 20"


def test_models_that_were_not_compared_have_maps_of_their_own(six_models):
    results = two_models(six_models)
    for a, b in (("esm2-8m", "esm2-35m"), ("esm2-35m", "esm2-8m")):
        results["overlap"].loc[{"model": a, "other_model": b}] = np.nan
    figure = overlap(results)
    assert [panel.images[0].get_array().shape for panel in figure.axes[:-1]] == [(7, 7), (13, 13)]
    assert {"esm2-8m: ln_1, mean", "esm2-35m: ln_1, mean"} <= {text.get_text() for text in figure.texts}


def test_small_maps_carry_their_numbers_and_layers(one_model):
    figure = overlap(one_model)
    panel = figure.axes[0]
    values = one_model["overlap"].sel(site="ln_1", k=10).squeeze().values
    written = [text.get_text() for text in panel.texts]
    assert written == [f"{value:.2f}".replace("0.", ".", 1) for value in values.ravel()]
    assert [text.get_text() for text in panel.get_xticklabels()] == [str(layer) for layer in range(7)]


def test_a_constant_layer_is_a_gray_row_and_a_dropped_layer_is_none(one_model):
    results = one_model.copy(deep=True)
    for layer in (0, 3):
        results["overlap"].loc[{"layer": layer}] = np.nan
        results["overlap"].loc[{"other_layer": layer}] = np.nan
    results["status"].loc[{"layer": 0}] = Status.CONSTANT
    for name in ("intrinsic_dimension", "gride", "consecutive_overlap", "label_overlap"):
        results[name].loc[{"layer": [0, 3]}] = np.nan
    results["status"].loc[{"layer": 3}] = Status.ABSENT
    panel = overlap(results).axes[0]
    shown = np.asarray(panel.images[0].get_array())
    assert shown.shape == (6, 6)
    assert np.isnan(shown[0]).all()
    assert np.isfinite(shown[1:, 1:]).all()
    assert [text.get_text() for text in panel.get_yticklabels()] == ["0", "1", "2", "4", "5", "6"]


def test_figures_of_what_was_not_asked_for_are_named_with_the_reason(one_model):
    unwanted = [name for name in one_model if str(name).startswith(("gride", "label_overlap"))]
    results = one_model.drop_vars(unwanted)
    reasons = not_drawn(results)
    assert set(reasons) == {"gride", "gride_by_layer", "label_overlap", *CURVES}
    assert reasons["gride"] == "the results hold no 'gride', as the manifest did not ask for it"
    with pytest.raises(
        InputError, match=r"'gride' cannot be drawn: .*'gride'.*allow intrinsic_dim.*: choose"
    ):
        draw_figure(results, "gride")


def test_what_would_say_nothing_is_not_drawn(arrays, one_model, six_models):
    reasons = not_drawn(arrays)
    assert "one layer only" in reasons["overlap"]
    assert reasons["consecutive_overlap"] == "every value of 'consecutive_overlap' is undefined"
    assert "at most 7 layers" in not_drawn(one_model)["gride_by_layer"]
    assert set(not_drawn(six_models)) == set(CURVES)  # which have tests of their own


def test_an_unknown_figure_is_refused(one_model):
    with pytest.raises(InputError, match=r"no figure 'scatter': choose one of intrinsic_dimension, gride"):
        draw_figure(one_model, "scatter")


ONE_LAYER = ("intrinsic_dimension", "gride", "dimension_by_fraction", "label_overlap")
DRAWN = [
    *(("six_models", name) for name in KINDS if name not in CURVES),
    *(("one_model", name) for name in KINDS if name not in (*CURVES, "gride_by_layer")),
    *(("arrays", name) for name in ONE_LAYER),
]


@pytest.mark.parametrize(("case", "name"), DRAWN)
def test_no_text_meets_another_or_leaves_the_page(case, name, request):
    figure = draw_figure(request.getfixturevalue(case), name)
    assert reading.misplaced_texts(figure) == []
