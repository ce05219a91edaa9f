import details_by_hand as by_hand
import numpy as np
import pytest
import reading
from PIL import Image

from hpcgeom.report.draw import caption_of
from hpcgeom.report.write import MOST_SVG_CELLS, write_details


def labels(texts):
    return [text.get_text() for text in texts]


def test_probabilities_of_few_outputs_are_all_written():
    group = by_hand.outputs("probabilities", 5, 10)
    figure = by_hand.only({"probabilities/3": group})
    (image,) = by_hand.images(figure)
    values = group["probabilities"].values
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_clim() == (0.0, pytest.approx(values.max()))
    assert by_hand.inside(figure) == [f"{value:.2f}".lstrip("0") for value in values.ravel()]
    (panel,) = reading.panels(figure)
    assert labels(panel.get_yticklabels()) == ["0: 7", "1: 6", "2: 5", "3: 5", "4: 9"]
    assert labels(panel.get_xticklabels()) == [str(token) for token in range(10)]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("output: token id", "position: token id")


def test_logits_are_centered_on_0_and_long_samples_are_continued():
    group = by_hand.outputs("logits", 130, 33)
    figures = by_hand.drawn({"logits/3": group})
    assert list(figures) == ["logits-p3-1", "logits-p3-2", "logits-p3-3"]
    shown = [by_hand.images(figure)[0] for figure in figures.values()]
    np.testing.assert_array_equal(
        np.concatenate([image.get_array() for image in shown]), group["logits"].values
    )
    assert {image.get_clim() for image in shown} == {
        (-np.abs(group["logits"].values).max(), np.abs(group["logits"].values).max())
    }
    rows = [
        label for figure in figures.values() for label in labels(reading.panels(figure)[0].get_yticklabels())
    ]
    assert [int(row.split(":")[0]) for row in rows] == list(range(130))


@pytest.mark.parametrize("site", ["probabilities", "logits"])
def test_of_many_outputs_the_ten_largest_are_a_table(site):
    group = by_hand.outputs(site, 30, 5000)
    group[site][4, 77] = group[site][4].max() + 1.0
    group[site][4, 4077] = group[site][4, 77]
    figures = by_hand.drawn({f"{site}/3": group})
    assert len(figures) == 2
    values = group[site].values
    cells = [cell.split("\n") for figure in figures.values() for cell in by_hand.inside(figure)]
    shown = np.concatenate([by_hand.images(figure)[0].get_array() for figure in figures.values()])
    for position, row in enumerate(values):
        order = sorted(range(5000), key=lambda token, row=row: (-row[token], token))[:10]
        own = cells[10 * position : 10 * position + 10]
        assert [int(token) for token, _ in own] == order
        np.testing.assert_array_equal(shown[position], row[order])
        assert [float(number) for _, number in own] == pytest.approx(row[order], abs=0.051)
    assert cells[40][0] == "77"
    assert cells[41][0] == "4077"
    assert "of 5,000: token id above" in caption_of(next(iter(figures.values())))


def test_small_probabilities_keep_two_digits():
    group = by_hand.outputs("probabilities", 1, 5000)
    group["probabilities"][0] = 0.0001
    group["probabilities"][0, 8] = 0.00123
    assert by_hand.inside(by_hand.only({"probabilities/3": group}))[:2] == ["8\n.0012", "0\n.0001"]


def test_classes_are_bars_from_the_largest_down():
    group = by_hand.classes("probabilities", 1000, n=197)
    figure = by_hand.only({"probabilities/3": group})
    (axes,) = figure.axes
    values = group["probabilities"].values
    assert labels(axes.get_yticklabels()) == [str(each) for each in np.argsort(-values)[:10]]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], -np.sort(-values)[:10])
    assert axes.get_ylim() == (9.5, -0.5)
    assert "Classes with the largest probabilities, of 1,000." in caption_of(figure)
    few = by_hand.only({"logits/3": by_hand.classes("logits", 3)})
    assert len(few.axes[0].patches) == 3
    assert "Logit of every class." in caption_of(few)


def test_the_logit_lens_has_three_measures_by_layer_and_position():
    group = by_hand.lens(4, 6, 10)
    figure = by_hand.drawn({"logit_lens/3": group})["logit_lens-p3-1"]
    names = ("entropy", "kl_to_last", "cosine_to_last")
    for image, name in zip(by_hand.images(figure), names, strict=True):
        np.testing.assert_array_equal(image.get_array(), group[name].values)
    clim = {name: image.get_clim() for name, image in zip(names, by_hand.images(figure), strict=True)}
    assert clim["entropy"] == (0.0, pytest.approx(float(group["entropy"].max())))
    assert clim["cosine_to_last"] == (pytest.approx(float(group["cosine_to_last"].min())), 1.0)
    bars = [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"]
    assert bars == ["nat", "nat", "cosine"]
    for panel in reading.panels(figure):
        assert labels(panel.get_yticklabels()) == ["0", "1", "2", "3"]
        assert labels(panel.get_xticklabels()) == [str(token) for token in by_hand.input_ids(6)]
    assert by_hand.inside(figure)[0] == f"{float(group['entropy'][0, 0]):.2f}".replace("0.", ".")


def test_the_most_probable_tokens_of_the_lens_are_a_table_of_layers_and_positions():
    group = by_hand.lens(12, 40, 50257)
    figures = by_hand.drawn({"logit_lens/3": group})
    pages = [figure for name, figure in figures.items() if name.startswith("logit_lens_top-p3-")]
    assert len(pages) == len(figures) - 1 > 1
    shown = [by_hand.images(figure)[0] for figure in pages]
    first = group.isel(top=0)
    np.testing.assert_array_equal(
        np.concatenate([image.get_array() for image in shown], axis=1), first["top_probability"].values
    )
    tokens = [
        np.reshape(by_hand.inside(figure), image.get_array().shape)
        for figure, image in zip(pages, shown, strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(tokens, axis=1), first["top_token"].values.astype(str))
    assert {image.get_clim() for image in shown} == {(0.0, float(first["top_probability"].max()))}
    names = [each for figure in pages for each in labels(reading.panels(figure)[0].get_xticklabels())]
    assert names == [f"{i}: {token}" for i, token in enumerate(by_hand.input_ids(40))]


CASES = {
    "toy": {"attention/3": by_hand.attention(2, 3, 5), "q/3": by_hand.activations(2, 5, 6, n_heads=3)},
    "one token": {"attention/3": by_hand.attention(1, 1, 1), "logits/3": by_hand.outputs("logits", 1, 10)},
    "eight tokens": {
        "attention/3": by_hand.attention(1, 2, 8),
        "v/3": by_hand.activations(1, 8, 10, n_heads=2),
    },
    "protein": {
        "attention/3": by_hand.attention(1, 20, 61),
        "z/3": by_hand.activations(1, 61, 640, n_heads=20),
    },
    "long": {"attention/3": by_hand.attention(1, 2, 1200), "mlp_act/3": by_hand.activations(1, 1200, 2000)},
    "many heads": {"attention/3": by_hand.attention(1, 96, 40)},
    "few outputs": {"logits/3": by_hand.outputs("logits", 3, 10), "logit_lens/3": by_hand.lens(3, 3, 10)},
    "amino acids": {"logits/3": by_hand.outputs("logits", 12, 33), "logit_lens/3": by_hand.lens(3, 33, 33)},
    "a vocabulary": {
        "logits/3": by_hand.outputs("logits", 6, 500),
        "logit_lens/3": by_hand.lens(5, 20, 50257),
    },
    "classes": {"probabilities/3": by_hand.classes("probabilities", 1000)},
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_of_a_detail_meets_another_or_leaves_the_page(case):
    for name, figure in by_hand.drawn(CASES[case]).items():
        assert reading.misplaced_texts(figure) == [], name


def test_figures_are_files_with_captions_and_large_ones_png_alone(tmp_path):
    groups = {"q/3": by_hand.activations(1, 5, 6), "resid/3": by_hand.activations(2, 400, 1000)}
    written = write_details(by_hand.tree(groups), tmp_path / "toy")
    assert [path.name for path in written] == ["q-p3-1.png", "q-p3-1.svg", "resid-p3-1.png"]
    assert sorted(written) == sorted((tmp_path / "toy").iterdir())
    assert MOST_SVG_CELLS == 250_000
    with Image.open(written[2]) as image:
        assert image.size[0] == 1600
        assert "Residual stream (resid) of all tokens" in image.info["Description"]
    again = write_details(by_hand.tree(groups), tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
