"""Published curves beside a run's own, read back from the figures."""

import numpy as np
import pytest
import reading

from hpcgeom.data.reference_curves import Curve, ReferenceCurves
from hpcgeom.errors import InputError
from hpcgeom.report.draw import caption_of
from hpcgeom.report.reference_figures import draw_with_references, write_with_references
from hpcgeom.report.reference_lines import REFERENCE_GID


def curve(name, variable="label_overlap", error=(np.nan,) * 3, **of):
    return Curve(name, variable, (0.0, 0.5, 1.0), (0.2, 0.7, 0.4), error, **of)


def references(*curves):
    return ReferenceCurves("Somebody et al., figure 2.", curves)


def published(panel):
    return reading.lines(panel, REFERENCE_GID)


def test_curves_are_dashed_named_and_where_they_were_given(one_model):
    given = Curve("theirs", "intrinsic_dimension", (0.0, 0.25, 1.0), (5.0, np.nan, 9.0), (np.nan,) * 3)
    other = curve("another", "consecutive_overlap")
    figure = draw_with_references(one_model, "intrinsic_dimension", references(given, other))
    for panel in reading.panels(figure):
        assert list(published(panel)) == ["theirs"]
        line = published(panel)["theirs"]
        np.testing.assert_array_equal(line.get_xdata(), given.depth)
        np.testing.assert_array_equal(line.get_ydata(), given.value)
        assert line.is_dashed()
        assert list(reading.lines(panel)) == ["twonn", "twonn_mle", "twonn_mle_censored"]
    assert reading.legend_labels(figure)[-1] == "theirs"
    assert "Dashed: Somebody et al., figure 2." in caption_of(figure)
    assert reading.misplaced_texts(figure) == []


def test_a_curve_has_the_color_of_the_line_of_its_k(one_model):
    given = references(curve("at ten", k=10), curve("at any"))
    figure = draw_with_references(one_model, "label_overlap", given)
    panel = reading.panels(figure)[0]
    own, theirs = reading.lines(panel), published(panel)
    assert theirs["at ten"].get_color() == own["k = 10"].get_color()
    assert theirs["at any"].get_color() not in {line.get_color() for line in own.values()}
    assert theirs["at any"]._dash_pattern != theirs["at ten"]._dash_pattern


def test_a_curve_has_the_color_of_its_model_where_there_are_several(six_models):
    given = references(curve("big", "intrinsic_dimension", model="esm2-3b"))
    (panel,) = reading.panels(draw_with_references(six_models, "intrinsic_dimension", given))
    assert published(panel)["big"].get_color() == reading.lines(panel)["esm2-3b"].get_color()


def test_several_models_are_drawn_at_the_k_of_the_curves(six_models):
    given = references(curve("theirs", "consecutive_overlap", k=50))
    figure = draw_with_references(six_models, "consecutive_overlap", given)
    assert "k = 50" in caption_of(figure)
    expected = six_models["consecutive_overlap"].sel(model="esm2-8m", k=50).squeeze()[:7]
    drawn = reading.lines(reading.panels(figure)[0])["esm2-8m"].get_ydata()
    np.testing.assert_array_equal(drawn, expected)


def test_a_curve_stands_in_the_panels_that_it_is_of(one_model):
    given = references(curve("here", site="resid", pooling="mean"), curve("label", label="superfamily"))
    figure = draw_with_references(one_model, "label_overlap", given)
    drawn = dict(zip(reading.titles(figure), map(published, reading.panels(figure)), strict=True))
    for title, lines in drawn.items():
        assert ("here" in lines) == ("resid" in title)
        assert ("label" in lines) == title.startswith("superfamily")
    assert reading.legend_labels(figure)[-2:] == ["here", "label"]


def test_errors_are_bands(one_model):
    panel = reading.panels(
        draw_with_references(
            one_model, "consecutive_overlap", references(curve("a", "consecutive_overlap", (0.1, 0.2, 0.1)))
        )
    )[0]
    low, high = reading.band(panel, len(reading.lines(panel)))
    np.testing.assert_allclose(low, [0.1, 0.5, 0.3])
    np.testing.assert_allclose(high, [0.3, 0.9, 0.5])


def test_what_is_not_drawn_is_told(six_models, one_model, tmp_path):
    given = references(
        curve("drawn", "intrinsic_dimension"),
        curve("k", "consecutive_overlap", k=3),
        curve("other k", "consecutive_overlap", k=50),
        curve("model", "intrinsic_dimension", model="esm2-1m"),
        curve("site", "intrinsic_dimension", site="z"),
        curve("label", label="kingdom"),
    )
    written, told = write_with_references(six_models, given, tmp_path / "figures")
    assert [path.name for path in written] == ["intrinsic_dimension.png", "intrinsic_dimension.svg"]
    assert sorted(tmp_path.joinpath("figures").iterdir()) == sorted(written)
    for line, part in zip(
        told,
        (
            "curve 'k': it is at k = 3, and the figure at k = 10",
            "curve 'other k': it is at k = 50, and the figure at k = 10",
            "curve 'model': its model 'esm2-1m' is none of esm2-",
            "curve 'site': there is no panel of its site and pooling, but ",
            "curve 'label': ",
        ),
        strict=True,
    ):
        assert line.startswith(part)


def test_no_curve_to_draw_is_an_error(one_model, tmp_path):
    with pytest.raises(InputError, match=r"no reference curve can be drawn .*curve 'a': it is at k = 7"):
        write_with_references(one_model, references(curve("a", k=7)), tmp_path / "figures")
    flat = one_model.isel(layer=[0])
    with pytest.raises(InputError, match="no model has two layers, and the figure shows no depth"):
        write_with_references(flat, references(curve("a", "intrinsic_dimension")), tmp_path / "figures")
    bare = one_model.drop_vars("label_overlap")
    with pytest.raises(InputError, match="curve 'a': the results hold no 'label_overlap'"):
        write_with_references(bare, references(curve("a")), tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
