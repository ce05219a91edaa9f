import details_by_hand as by_hand
import numpy as np
import pytest
import reading
from matplotlib.colors import to_rgba

from hpcgeom.errors import InputError
from hpcgeom.report.cells import decimals_for, shrink, written
from hpcgeom.report.detail_figures import detail_figures, safe_name
from hpcgeom.report.draw import caption_of
from hpcgeom.report.head_grids import PAGE_IN, pages


def labels(texts):
    return [text.get_text() for text in texts]


def test_a_small_attention_map_is_a_grid_of_layers_and_heads_with_numbers():
    group = by_hand.attention(2, 3, 5)
    figure = by_hand.only({"attention/3": group})
    shown = by_hand.images(figure)
    maps = group["attention"].values
    for image, expected in zip(shown, maps.reshape(6, 5, 5), strict=True):
        np.testing.assert_array_equal(image.get_array(), expected)
    assert by_hand.inside(figure) == [f"{share:.2f}".lstrip("0") for share in maps.ravel()]
    assert by_hand.headings(figure) == ["", "layer 1", "layer 2", *[f"head {i}" for i in range(3)] * 2][1:]
    for panel in reading.panels(figure):
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("key", "query")
        assert labels(panel.get_yticklabels()) == ["7", "6", "5", "5", "9"]
        assert labels(panel.get_xticklabels()) == ["7", "6", "5", "5", "9"] * 3
        boxes = [image.get_window_extent() for image in panel.images]
        assert all(box.width == pytest.approx(box.height) for box in boxes)
        assert boxes[0].x1 < boxes[1].x0 < boxes[1].x1 < boxes[2].x0
    assert "Sample p3 (5 tokens); model toy; layers 1–2." in caption_of(figure)


@pytest.mark.parametrize(("largest", "top"), [(0.4, 0.4), (0.95, 1.0)])
def test_all_attention_maps_share_colors_from_0_to_the_largest_share_or_1(largest, top):
    group = by_hand.attention(3, 20, 12)
    group["attention"] = group["attention"] * (0.1 / group["attention"].max())
    group["attention"][2, 7, 3, 4] = largest
    figures = by_hand.drawn({"attention/3": group})
    assert len(figures) > 1
    for figure in figures.values():
        assert {image.get_clim() for image in by_hand.images(figure)} == {(0.0, float(np.float32(top)))}
        assert [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"] == [
            "attention"
        ]
        assert f"Colors go from 0 to {top:g}, " in caption_of(figure)


def test_longer_samples_have_positions_as_ticks_ids_in_the_caption_and_roots_as_colors():
    group = by_hand.attention(1, 20, 31)
    figure = by_hand.only({"attention/3": group})
    assert by_hand.inside(figure) == []
    (panel,) = reading.panels(figure)
    assert labels(panel.get_yticklabels()) == ["0", "10", "20", "30"] * 4
    assert "by the square root of the share. Ticks are positions of tokens, from 0." in caption_of(figure)
    assert ", ".join(map(str, by_hand.input_ids(31))) in caption_of(figure)
    norm = by_hand.images(figure)[0].norm
    assert float(norm(norm.vmax / 4)) == pytest.approx(0.5)


def test_every_head_of_a_large_model_stands_once_on_a_page_of_its_layer():
    group = by_hand.attention(33, 20, 12)
    figures = by_hand.drawn({"attention/3": group})
    assert list(figures) == [f"attention-p3-{i:02d}" for i in range(1, len(figures) + 1)]
    shown = [image.get_array() for figure in figures.values() for image in by_hand.images(figure)]
    np.testing.assert_array_equal(shown, group["attention"].values.reshape(-1, 12, 12))
    for i, figure in enumerate(figures.values()):
        heads = by_hand.headings(figure)
        layers = [each for each in heads if each.startswith("layer")]
        assert len(heads) == 21 * len(layers)
        assert all(each in caption_of(figure) for each in layers[:1] if len(layers) == 1)
        assert f"figure {i + 1} of {len(figures)}." in caption_of(figure)
        assert max(figure.get_size_inches()) < 11.5


@pytest.mark.parametrize(
    ("n_layers", "n_heads", "row_in"), [(33, 20, 1.5), (2, 96, 1.2), (12, 12, 1.1), (1, 1, 4)]
)
def test_pages_hold_every_head_once_and_no_layer_is_cut_that_fits(n_layers, n_heads, row_in):
    columns, rest_in = min(5, n_heads), 1.0
    found = pages(n_layers, n_heads, columns, row_in, rest_in)
    heads = [(part.layer, head) for page in found for part in page for head in range(part.first, part.stop)]
    assert heads == [(layer, head) for layer in range(n_layers) for head in range(n_heads)]
    for page in found:
        rows = [-(-(part.stop - part.first) // columns) for part in page]
        assert sum(rows) * row_in + len(page) * rest_in <= PAGE_IN
    if -(-n_heads // columns) * row_in + rest_in <= PAGE_IN:
        assert all(part.stop - part.first == n_heads for page in found for part in page)
        sizes = [len(page) for page in found]
        assert max(sizes) - min(sizes) <= 1


def test_where_pixels_are_few_each_shows_the_extreme_of_its_cells():
    values = np.random.default_rng(5).standard_normal((30, 47))
    small = shrink(values, 7, 10)
    assert small.shape == (7, 10)
    assert np.abs(small).max() == np.abs(values).max()
    starts = [*[i * 47 // 10 for i in range(10)], 47]
    tops = [*[i * 30 // 7 for i in range(7)], 30]
    for i in range(7):
        for j in range(10):
            cells = values[tops[i] : tops[i + 1], starts[j] : starts[j + 1]].ravel()
            assert small[i, j] == cells[np.abs(cells).argmax()]
    assert shrink(values, 30, 47) is values


def test_a_wide_stream_is_drawn_by_extremes_and_says_so():
    group = by_hand.activations(2, 6, 5000, first=0)
    figure = by_hand.only({"resid/3": group})
    for image, expected in zip(by_hand.images(figure), group["activations"].values, strict=True):
        shown = np.asarray(image.get_array())
        assert shown.shape[0] == 6
        assert 1000 < shown.shape[1] < 2000
        assert np.abs(shown).max() == np.abs(expected).max()
        assert set(shown.ravel()) <= set(expected.ravel())
    assert "Where a pixel stands for several cells, the value farthest from 0 is drawn." in caption_of(figure)
    assert by_hand.headings(figure) == ["layer 0", "layer 1"]
    assert {panel.get_ylabel() for panel in reading.panels(figure)} == {"token id"}


def test_features_of_heads_are_cut_into_panels_with_a_scale_for_each_layer():
    group = by_hand.activations(2, 5, 6, n_heads=3)
    group["activations"][1] *= 100
    figure = by_hand.only({"q/3": group})
    shown = by_hand.images(figure)
    values = group["activations"].values
    for i, image in enumerate(shown):
        layer, head = divmod(i, 3)
        np.testing.assert_array_equal(image.get_array(), values[layer, :, 2 * head : 2 * head + 2])
        limit = np.abs(values[layer]).max()
        assert image.get_clim() == (pytest.approx(-limit), pytest.approx(limit))
    first, second = (reading.panels(figure)[i].texts[0].get_text() for i in range(2))
    assert first == f"{values[0, 0, 0]:.2f}".replace("0.", ".")
    assert second == f"{values[1, 0, 0]:.0f}"
    white = shown[0].cmap(shown[0].norm(0.0))
    assert np.allclose(white, to_rgba("#f7f7f7"), atol=0.01)


def test_heads_are_told_from_attention_maps_and_may_be_fewer_for_keys():
    groups = {
        "attention/3": by_hand.attention(1, 4, 5),
        "k/3": by_hand.activations(1, 5, 4),
        "q/3": by_hand.activations(1, 5, 8),
        "resid/3": by_hand.activations(1, 5, 8),
    }
    n_panels = {name: len(by_hand.images(figure)) for name, figure in by_hand.drawn(groups).items()}
    assert n_panels == {"attention-p3-1": 4, "k-p3-1": 2, "q-p3-1": 4, "resid-p3-1": 1}
    del groups["q/3"]
    assert len(by_hand.images(by_hand.drawn(groups)["k-p3-1"])) == 1
    del groups["attention/3"]
    assert set(by_hand.drawn(groups)) == {"k-p3-1", "resid-p3-1"}


def test_heads_that_do_not_divide_the_features_are_refused():
    with pytest.raises(
        InputError, match=r"sample 'p3', site 'v': expected features of 4 heads, found 6 feat"
    ):
        by_hand.only({"v/3": by_hand.activations(1, 5, 6, n_heads=4)})


def test_a_few_values_far_out_do_not_pale_all_others():
    group = by_hand.activations(2, 20, 100)
    group["activations"][0, 3, 17] = 4000.0
    figure = by_hand.only({"resid/3": group})
    limits = [image.get_clim()[1] for image in by_hand.images(figure)]
    values = np.abs(group["activations"].values)
    assert limits[0] == pytest.approx(np.percentile(values[0], 99.5))
    assert limits[1] == pytest.approx(values[1].max())
    assert "Beyond a scale with arrows lie 0.5 % of the values of its layer." in caption_of(figure)
    assert "arrows" not in caption_of(by_hand.only({"resid/3": group.isel(layer=[1])}))


def test_tokens_whose_ids_are_all_equal_are_counted_instead():
    group = by_hand.attention(1, 2, 5)
    group["input_id"][:] = 0
    (panel,) = reading.panels(by_hand.only({"attention/3": group}))
    assert labels(panel.get_yticklabels()) == ["0", "1", "2", "3", "4"]


def test_texts_of_tokens_are_shown_as_they_are_but_cut_on_one_line():
    texts = {7: "$x$_1", 6: "two\nlines", 5: "incomprehensibility"}
    groups = {"attention/3": by_hand.attention(1, 2, 5)}
    ((_, figure),) = by_hand.drawn(groups, texts).items()
    (panel,) = reading.panels(figure)
    ticks = panel.get_yticklabels()
    assert labels(ticks) == ["$x$_1", "two\\nlines", "incompreh…", "incompreh…", "9"]
    assert not any(tick.get_parse_math() for tick in [*ticks, *panel.get_xticklabels()])
    assert reading.misplaced_texts(figure) == []


@pytest.mark.parametrize(
    ("largest", "decimals"),
    [(0.0, 2), (0.05, 3), (0.4, 2), (1.0, 2), (9.9, 2), (34.0, 1), (100.0, 0), (2e4, 0)],
)
def test_numbers_have_two_or_three_digits(largest, decimals):
    assert decimals_for(largest) == decimals


def test_numbers_are_written_short_and_without_a_minus_before_0():
    values = np.array([[0.125, -0.5, 10.04, -0.001, 1.0]])
    assert written(values, 2).tolist() == [[".12", "-.50", "10.04", ".00", "1.00"]]
    assert written(np.array([[3.14e-6, 0.0]]), decimals_for(3.14e-6)).tolist() == [["3e-06", "0"]]


def test_samples_of_any_name_have_files_of_their_own():
    names = [safe_name(each) for each in ("a/b", "a b", "a_b", "ä", "x" * 200, "x" * 201, "..", "../../c")]
    assert len(set(names)) == len(names)
    assert "a_b" in names
    assert all("/" not in each and len(each) <= 87 for each in names)
    group = by_hand.classes("logits", 3)
    group.attrs["sample"] = "a/02.png"
    (figure,) = detail_figures(by_hand.tree({"logits/3": group}))
    assert figure.name.startswith("logits-a_02.png-")
    assert "Sample a/02.png (5 tokens)" in caption_of(figure.draw())
