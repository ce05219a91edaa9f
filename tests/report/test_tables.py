import json
import re

import numpy as np
import pytest

from hpcgeom.errors import InputError
from hpcgeom.report.tables import as_json, profile_tables, render
from hpcgeom.types import Status


@pytest.fixture
def undefined(one_model):
    results = one_model.copy(deep=True)
    at = {"site": "resid", "layer": [3, 4]}
    results["intrinsic_dimension"].loc[at] = np.nan
    results["intrinsic_dimension_error"].loc[at] = np.nan
    results["status"].loc[at] = Status.DUPLICATES
    results["n_distinct_points"].loc[at] = 1
    one = {"site": "ln_1", "layer": 2, "estimator": "twonn"}
    results["intrinsic_dimension"].loc[one] = np.nan
    results["status"].loc[one] = Status.NO_SOLUTION
    return results


def column(table, *head):
    (found,) = [each.cells for each in table.columns if each.head == head]
    return found


def test_rows_hold_the_numbers_of_the_results(one_model):
    first, second = profile_tables(one_model)
    assert second.title == "esm2-8m: site resid, pooling mean; N = 2,000, k = 10"
    at = {"site": "resid"}
    censored = one_model.sel(site="resid", estimator="twonn_mle_censored").squeeze()
    value, error = censored["intrinsic_dimension"].values, censored["intrinsic_dimension_error"].values
    expected = [f"{v:.2f} ± {e:.2f}" for v, e in zip(value, error, strict=True)]
    assert column(second, "twonn_mle_", "censored") == expected
    assert column(second, "layer") == list("0123456")
    assert column(second, "rel.", "depth") == ["0.00", "0.17", "0.33", "0.50", "0.67", "0.83", "1.00"]
    following = one_model["consecutive_overlap"].sel(**at, k=10).squeeze().values[:-1]
    assert column(second, "overlap", "with next") == [f"{v:.3f}" for v in following] + ["-"]
    share = one_model["label_overlap"].sel(**at, k=10, label="fold").squeeze().values
    assert column(second, "overlap", "fold") == [f"{v:.3f}" for v in share]
    assert [each.head for each in first.columns] == [each.head for each in second.columns]


def test_text_is_aligned_and_fits_a_hundred_columns(one_model):
    lines = render(one_model).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "esm2-8m: site ln_1, pooling mean; N = 2,000, k = 10"
    rows = lines[3:10]
    ends = [[match.end() for match in re.finditer(r"\S+( ± \S+)?", row)] for row in rows]
    assert len(ends[0]) == 8
    assert all(end == ends[0] for end in ends)


def test_a_narrow_page_cuts_between_columns_and_loses_nothing(one_model):
    wide, narrow = render(one_model, width=100), render(one_model, width=60)
    assert max(map(len, narrow.splitlines())) <= 60
    assert set(wide.split()) == set(narrow.split())
    assert narrow.count("layer") > wide.count("layer")


def test_what_is_undefined_says_why(undefined):
    ln_1, resid = profile_tables(undefined)
    assert column(resid, "twonn")[3:5] == ["-", "-"]
    assert column(resid, "status") == ["", "", "", "duplicates", "duplicates", "", ""]
    assert column(resid, "distinct", "points") == ["2,000"] * 3 + ["1", "1"] + ["2,000"] * 2
    assert column(ln_1, "status")[2] == "twonn: no solution"


def test_models_have_the_rows_that_they_have_layers(six_models):
    tables = profile_tables(six_models)
    assert [len(table.columns[0].cells) for table in tables] == [7, 13, 31, 34, 37, 49]


def test_k_is_nearest_to_ten_or_the_one_asked_for(one_model):
    assert "k = 5" in render(one_model.sel(k=[1, 5, 20]))
    assert "k = 50" in render(one_model, k=50)
    with pytest.raises(InputError, match=r"at k = 3: choose one of 1, 2, 5, 10, 20, 50, or add 3 to geo"):
        render(one_model, k=3)


def test_gride_alone_has_a_column_for_each_scale(one_model):
    names = [name for name in one_model if str(name).startswith(("gride", "n_zero", "n_distinct"))]
    (table, _) = profile_tables(one_model[names].drop_vars(["k", "estimator"], errors="ignore"))
    at_eight = one_model.sel(site="ln_1", n2=8).squeeze()
    pairs = zip(at_eight["gride"].values, at_eight["gride_error"].values, strict=True)
    assert column(table, "gride", "n2 = 8") == [f"{value:.2f} ± {error:.2f}" for value, error in pairs]
    assert "k =" not in table.title


def test_results_without_profiles_say_so(one_model):
    assert render(one_model[["overlap"]]) == "The results hold no profile.\n"


def test_json_is_strict_and_holds_every_number(undefined):
    found = json.loads(json.dumps(as_json(undefined), allow_nan=False))
    assert found["attributes"]["n_samples"] == 2000
    (model,) = found["models"]
    assert (model["name"], model["family"], model["n_layers"], model["width"]) == ("esm2-8m", "esm2", 6, 320)
    assert found["label_overlap_chance"] == {"superfamily": 0.0031, "fold": 0.04}
    assert len(found["representations"]) == 14
    by_place = {(each["site"], each["layer"]): each for each in found["representations"]}
    each = by_place["ln_1", 4]
    assert each["relative_depth"] == pytest.approx(4 / 6)
    expected = undefined.sel(site="ln_1", layer=4).squeeze()
    assert each["intrinsic_dimension"]["twonn_mle"] == {
        "value": expected["intrinsic_dimension"].sel(estimator="twonn_mle").item(),
        "error": expected["intrinsic_dimension_error"].sel(estimator="twonn_mle").item(),
        "n_points": 1990,
        "status": "ok",
    }
    assert each["gride"]["16"]["distance"] == expected["gride_distance"].sel(n2=16).item()
    assert each["gride"]["16"]["status"] == "ok"
    assert each["consecutive_overlap"]["5"]["value"] == expected["consecutive_overlap"].sel(k=5).item()
    share = expected["label_overlap"].sel(label="fold", k=50).item()
    assert each["label_overlap"]["fold"]["50"]["value"] == share
    missing = by_place["resid", 3]["intrinsic_dimension"]["twonn"]
    assert missing == {"value": None, "error": None, "n_points": 1990, "status": "duplicates"}


def test_json_leaves_out_layers_that_a_model_has_not(six_models):
    found = as_json(six_models)
    assert len(found["representations"]) == 7 + 13 + 31 + 34 + 37 + 49
    assert found["representations"][0]["model"] == "esm2-150m"
