"""Files of published curves: what is read, and what is said of bad ones."""

import json
import math
from pathlib import Path

import pytest

from hpcgeom.data.reference_curves import read_reference_curves
from hpcgeom.errors import InputError

CURVE = {
    "name": "35M",
    "variable": "intrinsic_dimension",
    "relative_depth": [0, 0.5, 1],
    "value": [13.4, None, 10.9],
}


def written(tmp_path, found):
    path = tmp_path / "curves.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


def with_curve(**changes):
    curve = {**CURVE, **changes}
    return {"source": "made up", "curves": [{key: curve[key] for key in curve if curve[key] is not None}]}


def test_curves_against_relative_depth_and_against_layers_are_read(tmp_path):
    by_layer = {
        "name": "k = 10",
        "variable": "label_overlap",
        "layer": [0, 3, 12],
        "n_layers": 12,
        "value": [0.1, 0.7, 0.6],
        "error": [0.01, None, 0],
        "k": 10,
        "label": "superfamily",
        "model": "esm2-35m",
        "site": "ln_1",
        "pooling": "mean",
    }
    found = read_reference_curves(written(tmp_path, {"source": " a paper ", "curves": [CURVE, by_layer]}))
    assert found.source == "a paper"
    first, second = found.curves
    assert (first.depth, first.value[::2]) == ((0.0, 0.5, 1.0), (13.4, 10.9))
    assert math.isnan(first.value[1])
    assert all(math.isnan(each) for each in first.error)
    assert (first.k, first.label, first.model, first.site, first.pooling) == (None,) * 5
    assert second.depth == (0.0, 0.25, 1.0)
    assert (second.error[0], second.error[2]) == (0.01, 0.0)
    assert (second.k, second.label, second.model) == (10, "superfamily", "esm2-35m")
    assert (second.site, second.pooling) == ("ln_1", "mean")


def test_curves_that_were_read_from_figures_can_be_written_so(tmp_path):
    """By figure, panel and color, as `x` and `y`: a relative depth, and a color for each k."""
    from_figures = {
        "overlap.pdf|0|(0.82, 0.41, 0.12)": {"x": [-0.0, 0.5, 1.0], "y": [0.3377, 0.8068, 0.6436]},
        "overlap.pdf|1|(0.82, 0.41, 0.12)": {"x": [0.0, 0.0303], "y": [0.1128, 0.162]},
        "dimension.pdf|0|(0.0, 0.5, 0.5)": {"x": [0.0417, 0.0833], "y": [21.7324, 20.4809]},
    }
    variables = {"overlap.pdf|0": "consecutive_overlap", "overlap.pdf|1": "label_overlap"}
    ks = {"(0.82, 0.41, 0.12)": 5}
    curves = []
    for key, read in from_figures.items():
        panel, color = key.rsplit("|", 1)
        curve = {
            "name": panel,
            "variable": variables.get(panel, "intrinsic_dimension"),
            "relative_depth": read["x"],
            "value": read["y"],
        }
        curves.append(curve | ({"k": ks[color]} if color in ks else {}))
    found = read_reference_curves(written(tmp_path, {"source": "figures", "curves": curves}))
    assert [list(each.value) for each in found.curves] == [each["y"] for each in from_figures.values()]
    assert [each.k for each in found.curves] == [5, 5, None]


def test_the_example_of_the_page_is_such_a_file(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    (example,) = (block.split("```")[0] for block in page.split("```json\n")[1:])
    found = read_reference_curves(written(tmp_path, example))
    assert [each.variable for each in found.curves] == ["intrinsic_dimension", "label_overlap"]
    assert found.curves[0].depth == (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("{", r"curves\.json: not JSON .*expected an object of curves"),
        ([1], "expected an object with 'source' and 'curves', found list"),
        ({"curves": [CURVE]}, "expected an object with 'source' and 'curves', found 'curves'"),
        ({"source": "", "curves": [CURVE]}, "'source' is ''; expected text"),
        ({"source": "a", "curves": []}, r"'curves' is \[\]; expected a list of curves"),
        ({"source": "a", "curves": [3]}, r"curve 1: 3 found; expected an object with 'name', 'variable'"),
        (with_curve(name=3), r"curve 1 \('3'\): 'name' is 3; expected text"),
        (
            with_curve(variable="overlap"),
            "'overlap' is not drawn along depth; expected one of .*: choose one",
        ),
        (with_curve(values=[1]), r"there is no key 'values' \(nearest: 'value'\)"),
        (with_curve(value=None), "no 'value'; expected one: add it"),
        (with_curve(k=0), "'k' is 0; expected a whole number from 1"),
        (with_curve(k=True), "'k' is true; expected a whole number from 1"),
        (
            with_curve(value=[1, 2, "3"]),
            r"'value' is \[1, 2, \"3\"\]; expected a list of numbers, null where",
        ),
        (with_curve(value=[1, 2, math.inf]), r"'value' is \[1, 2, Infinity\]"),
        (with_curve(error=[1, 2, -3]), r"'error' is \[1, 2, -3\]; expected a list of numbers from 0"),
        (with_curve(relative_depth=[0, 1, 2]), "expected a list of numbers from 0 to 1: divide layers by"),
        (with_curve(relative_depth=[0, 1]), "2 of 'relative_depth', 3 of 'value'; expected as many of each"),
        (with_curve(relative_depth=None), "expected either 'relative_depth' or 'layer' with 'n_layers'"),
        (with_curve(layer=[0, 1, 2]), "expected either 'relative_depth' or 'layer' with 'n_layers'"),
        (with_curve(n_layers=2), "'layer' and 'n_layers' .* go together"),
        (with_curve(relative_depth=None, layer=[0, 1, 2]), "'layer' and 'n_layers' .* go together"),
        (with_curve(relative_depth=None, layer=[0, 1.5, 2], n_layers=2), "expected a list of whole numbers"),
        (with_curve(relative_depth=None, layer=[0, 1, 7], n_layers=6), "layer 7 is beyond n_layers 6"),
        (with_curve(relative_depth=[], value=[]), "0 of 'relative_depth', 0 of 'value'; expected as many"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path, found, message):
    with pytest.raises(InputError, match=message):
        read_reference_curves(written(tmp_path, found))


def test_all_problems_are_told_together(tmp_path):
    curves = [{**CURVE, "k": 0}, CURVE, {"name": "b"}]
    with pytest.raises(InputError) as caught:
        read_reference_curves(written(tmp_path, {"source": "a", "curves": curves}))
    for part in ("curve 1 ('35M'): 'k' is 0", "curve 3 ('b'): no 'variable'", "curve 3 ('b'): no 'value'"):
        assert part in str(caught.value)
    assert "curve 2" not in str(caught.value)


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; expected a JSON file of curves"):
        read_reference_curves(tmp_path)
    with pytest.raises(InputError, match=r"missing\.json"):
        read_reference_curves(tmp_path / "missing.json")
