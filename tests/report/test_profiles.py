import matplotlib as mpl
import numpy as np
import pytest
import reading
import xarray as xr

from hpcgeom.errors import InputError
from hpcgeom.report.draw import caption_of
from hpcgeom.report.figures import draw_figure
from hpcgeom.report.profiles import consecutive_overlap, intrinsic_dimension, label_overlap
from hpcgeom.report.select import chosen_k
from hpcgeom.types import Status

BY_SIZE = ["esm2-8m", "esm2-35m", "esm2-150m", "esm2-650m", "esm2-3b", "esm2-15b"]


@pytest.fixture
def with_undefined_layers(one_model):
    """Layer 0 is constant at ln_1; layers 3 and 4 have too few distinct points at resid."""
    results = one_model.copy(deep=True)
    for site, layers, status in (("ln_1", [0], Status.CONSTANT), ("resid", [3, 4], Status.DUPLICATES)):
        at = {"site": site, "layer": layers}
        results["intrinsic_dimension"].loc[at] = np.nan
        results["status"].loc[at] = status
    return results


def test_lines_are_the_dimensions_of_the_results(one_model):
    figure = intrinsic_dimension(one_model)
    for panel, site in zip(reading.panels(figure), ("ln_1", "resid"), strict=True):
        drawn = reading.lines(panel)
        assert list(drawn) == ["twonn", "twonn_mle", "twonn_mle_censored"]
        for estimator, line in drawn.items():
            expected = one_model["intrinsic_dimension"].sel(site=site, estimator=estimator).squeeze()
            np.testing.assert_array_equal(line.get_ydata(), expected)
            np.testing.assert_allclose(line.get_xdata(), np.arange(7) / 6)


def test_bands_reach_one_error_up_and_down(one_model):
    low, high = reading.band(reading.panels(intrinsic_dimension(one_model))[0], 1)
    at = {"site": "ln_1", "estimator": "twonn_mle"}
    value = one_model["intrinsic_dimension"].sel(at).squeeze().values
    error = one_model["intrinsic_dimension_error"].sel(at).squeeze().values
    np.testing.assert_allclose(low, value - error)
    np.testing.assert_allclose(high, value + error)


def test_models_are_ordered_by_size_and_keep_their_own_depth(six_models):
    figure = intrinsic_dimension(six_models)
    (panel,) = reading.panels(figure)
    drawn = reading.lines(panel)
    assert list(drawn) == BY_SIZE
    assert reading.legend_labels(figure) == BY_SIZE
    assert [line.get_xdata().size for line in drawn.values()] == [7, 13, 31, 34, 37, 49]
    expected = six_models["intrinsic_dimension"].sel(model="esm2-3b", estimator="twonn").squeeze()[:37]
    np.testing.assert_array_equal(drawn["esm2-3b"].get_ydata(), expected)
    assert len({line.get_color() for line in drawn.values()}) == 6


def test_axes_and_caption_say_what_is_drawn(one_model):
    figure = intrinsic_dimension(one_model)
    left, right = reading.panels(figure)
    assert reading.titles(figure) == ["ln_1, mean", "resid, mean"]
    assert left.get_ylabel() == "intrinsic dimension"
    assert right.get_ylabel() == ""
    assert left.get_xlabel() == right.get_xlabel() == "relative depth (layer / blocks)"
    assert left.get_ylim() == right.get_ylim()
    caption = caption_of(figure)
    for part in (
        "N = 2,000 points (astral-2.08)",
        "euclidean distance",
        "estimators twonn, twonn_mle, twonn_mle_censored",
        "sites ln_1, resid",
        "pooling mean",
        "model esm2-8m.",
    ):
        assert part in caption
    assert "Crosses" not in caption


def test_layers_without_an_estimate_are_crossed_and_explained(with_undefined_layers):
    figure = intrinsic_dimension(with_undefined_layers)
    left, right = reading.panels(figure)
    crosses = [
        sorted({float(line.get_xdata()[0]) for line in panel.lines if line.get_gid() == "undefined"})
        for panel in (left, right)
    ]
    assert crosses == [[0.0], [pytest.approx(3 / 6), pytest.approx(4 / 6)]]
    assert (
        "Crosses: no estimate, constant (layer 0 of ln_1, mean); duplicates (layers 3–4 of resid, mean)."
        in caption_of(figure)
    )


def test_a_site_without_any_estimate_keeps_its_panel(one_model):
    results = one_model.copy(deep=True)
    results["intrinsic_dimension"].loc[{"site": "resid"}] = np.nan
    results["status"].loc[{"site": "resid"}] = Status.TOO_FEW_POINTS
    figure = intrinsic_dimension(results)
    assert reading.titles(figure) == ["ln_1, mean", "resid, mean"]
    assert "too few points (layers 0–6 of resid, mean)" in caption_of(figure)
    assert reading.misplaced_texts(figure) == []


def test_layers_that_were_not_kept_leave_no_gap(one_model):
    results = one_model.copy(deep=True)
    dropped = {"layer": [1, 3, 5]}
    for name in ("intrinsic_dimension", "gride", "consecutive_overlap", "label_overlap"):
        results[name].loc[dropped] = np.nan
    results["status"].loc[dropped] = Status.ABSENT
    figure = intrinsic_dimension(results)
    drawn = reading.lines(reading.panels(figure)[0])["twonn"]
    np.testing.assert_allclose(drawn.get_xdata(), [0, 2 / 6, 4 / 6, 1])
    assert np.isfinite(drawn.get_ydata()).all()
    assert "Crosses" not in caption_of(figure)


@pytest.mark.parametrize("variable", ["consecutive_overlap", "label_overlap"])
def test_one_model_has_a_line_for_each_k(one_model, variable):
    figure = draw_figure(one_model, variable)
    drawn = reading.lines(reading.panels(figure)[1])
    at = {"site": "resid"} | ({"label": "superfamily"} if variable == "label_overlap" else {})
    for k in (1, 2, 5, 10, 20, 50):
        expected = one_model[variable].sel({**at, "k": k})
        np.testing.assert_array_equal(drawn[f"k = {k}"].get_ydata(), expected.squeeze())
    assert "k = 1, 2, 5, 10, 20, 50" in caption_of(figure)


def test_the_caption_says_of_which_kind_the_bands_are(one_model):
    short = r"bands are the standard deviation over points / √N, shorter than a standard error"
    for draw in (consecutive_overlap, label_overlap):
        assert short in caption_of(draw(one_model)).replace("\n", " ")
    by_halves = 1.5 * one_model["consecutive_overlap_error"]
    figure = consecutive_overlap(one_model.assign(consecutive_overlap_half_sample_error=by_halves))
    assert "bands are one standard error." in caption_of(figure).replace("\n", " ")


def test_several_models_are_compared_at_the_k_nearest_to_ten(six_models):
    figure = consecutive_overlap(six_models)
    drawn = reading.lines(reading.panels(figure)[0])
    assert list(drawn) == BY_SIZE
    expected = six_models["consecutive_overlap"].sel(model="esm2-35m", k=10).squeeze()[:13]
    np.testing.assert_array_equal(drawn["esm2-35m"].get_ydata(), expected)
    assert "k = 10;" in caption_of(figure)
    without_ten = six_models.sel(k=[1, 5, 20])
    assert "k = 5;" in caption_of(consecutive_overlap(without_ten))


def test_a_chosen_k_is_the_one_drawn(one_model):
    figure = label_overlap(one_model, k=20)
    drawn = reading.lines(reading.panels(figure)[0])
    expected = one_model["label_overlap"].sel(site="ln_1", label="superfamily", k=20).squeeze()
    np.testing.assert_array_equal(drawn["k = 20"].get_ydata(), expected)
    assert not {"k = 10", "k = 1"} & set(drawn)


def test_a_k_that_was_not_measured_is_refused(one_model):
    with pytest.raises(InputError, match=r"not measured at k = 7: choose one of 1, 2, 5, 10, 20, 50"):
        consecutive_overlap(one_model, k=7)


def test_results_without_overlaps_have_no_k():
    with pytest.raises(InputError, match="expected a dimension 'k', found none: measure overlaps first"):
        chosen_k(xr.Dataset())


def test_label_panels_show_chance(one_model):
    figure = label_overlap(one_model)
    assert reading.titles(figure) == [
        "superfamily: ln_1, mean",
        "superfamily: resid, mean",
        "fold: ln_1, mean",
        "fold: resid, mean",
    ]
    for panel, chance in zip(reading.panels(figure), (0.0031, 0.0031, 0.04, 0.04), strict=True):
        line = reading.lines(panel)["chance"]
        assert set(line.get_ydata()) == {chance}
        assert line.get_linestyle() == "--"
        assert [text.get_text() for text in panel.texts] == [f"chance {chance:g}"]
        assert panel.get_ylim() == (0.0, 1.0)


def test_single_layers_stand_at_the_name_of_their_model(arrays):
    figure = intrinsic_dimension(arrays)
    (panel,) = reading.panels(figure)
    assert [text.get_text() for text in panel.get_xticklabels()] == ["mine"]
    drawn = reading.lines(panel)
    for estimator in ("twonn", "twonn_mle", "twonn_mle_censored"):
        expected = arrays["intrinsic_dimension"].sel(estimator=estimator).item()
        assert drawn[estimator].get_ydata().tolist() == [expected]
        assert drawn[estimator].get_marker() == "o"
    assert len({float(drawn[name].get_xdata()[0]) for name in drawn if name.startswith("twonn")}) == 3
    assert "site points; model mine." in caption_of(figure)
    assert "pooling" not in caption_of(figure)


def test_the_settings_of_the_caller_survive(one_model):
    with mpl.rc_context({"font.size": 23.0, "svg.hashsalt": "mine"}):
        before = dict(mpl.rcParams)
        intrinsic_dimension(one_model)
        assert dict(mpl.rcParams) == before
