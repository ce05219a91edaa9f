"""`hpcgeom measure` of labels with families left out, and of the dimension around every point."""

from __future__ import annotations

import numpy as np
import pytest

import hpcgeom as hg
from hpcgeom.api.measuring import measure
from hpcgeom.errors import InputError

N = 120
CLASSES, FAMILIES = np.arange(N) // 30, np.arange(N) // 10  # three families of each class
NAMED = {"superfamily": CLASSES, "family": FAMILIES}
EXCLUDE = {"superfamily": "family"}


@pytest.fixture(scope="module")
def points():
    """Families lie close together, so that short lists hold nobody else."""
    rng = np.random.default_rng(0)
    classes, families = 4.0 * rng.standard_normal((4, 3)), 2.0 * rng.standard_normal((12, 3))
    return classes[CLASSES] + families[FAMILIES] + 0.2 * rng.standard_normal((N, 3))


def by_loops(points, k):
    """Mean share of the own class among the k nearest of other families."""
    matrix = np.linalg.norm(points[:, None] - points, axis=2)
    shares = []
    for row in range(N):
        others = [each for each in np.argsort(matrix[row]) if FAMILIES[each] != FAMILIES[row]]
        shares.append(np.mean(CLASSES[others[:k]] == CLASSES[row]))
    return np.mean(shares)


def lists(points, k):
    return hg.nearest_neighbors(points, k)


def test_short_lists_of_points_are_searched_again(points):
    found = measure(
        points, n_neighbors=5, gride_range_max=4, labels=NAMED, overlap_k=[1, 5], exclude_same=EXCLUDE
    )
    for k in (1, 5):
        at = found.label_overlap_excluded.squeeze().sel(label="superfamily", k=k)
        assert at.item() == pytest.approx(by_loops(points, k), abs=1e-12)
    assert np.isnan(found.label_overlap_excluded.sel(label="family")).all()
    assert found.attrs["exclude_same"] == "superfamily: family"
    distances, indices = lists(points, 5)
    beside = measure(points, distances=distances, indices=indices, gride_range_max=4, labels=NAMED,
                     overlap_k=[1, 5], exclude_same=EXCLUDE)  # fmt: skip
    np.testing.assert_array_equal(beside.label_overlap_excluded, found.label_overlap_excluded)


def test_lists_alone_have_to_be_long_enough(points):
    indices = lists(points, N - 1)[1]
    found = measure(indices=indices, labels=NAMED, overlap_k=[5], exclude_same=EXCLUDE).squeeze()
    at = found.label_overlap_excluded.sel(label="superfamily")
    assert at.item() == pytest.approx(by_loops(points, 5), abs=1e-12)
    with pytest.raises(
        InputError, match=r"10 points of one family have fewer than 5 neighbors of other .* of 9;"
    ):
        measure(indices=indices[:, :9], labels=NAMED, overlap_k=[5], exclude_same=EXCLUDE)


@pytest.mark.parametrize(
    ("labels", "pair"),
    [
        (NAMED, {"superfamily": "fold"}),
        (NAMED, {"family": "family"}),
        (CLASSES, {"label": "label"}),
        (None, EXCLUDE),
    ],
)
def test_families_are_label_sets_that_were_given(points, labels, pair):
    with pytest.raises(InputError, match=r"exclude_same: expected two names of labels \((superf|none)"):
        measure(points, labels=labels, exclude_same=pair)


def test_the_command_has_both_options(hpcgeom, points, tmp_path):
    np.save(tmp_path / "points.npy", points)
    for name, codes in NAMED.items():
        np.save(tmp_path / f"{name}.npy", codes)
    done = hpcgeom("measure", "--points", "points.npy", "--labels", "superfamily=superfamily.npy", "--labels",
                   "family=family.npy", "--exclude-same", "superfamily=family", "--local-dimension-k", "8",
                   "-k", "5", "--out", "measured")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found = hg.open_results("measured").load().squeeze()
    expected = by_loops(points, 5)
    assert found.label_overlap_excluded.sel(label="superfamily").item() == pytest.approx(expected, abs=1e-12)
    local = hg.local_dimension(lists(points, 64)[0], 8)
    np.testing.assert_array_equal(found.local_dimension, local.value)
    assert (tmp_path / "measured" / "report" / "figures" / "local_dimension.png").exists()


@pytest.mark.parametrize("pair", ["superfamily", "=family", "a=b --exclude-same a=c"])
def test_a_pair_that_is_none_is_refused(hpcgeom, pair):
    refused = hpcgeom("measure", "--points", "p.npy", "--exclude-same", *pair.split())
    assert refused.code == 2
    assert "expected one pair of names for each label, such as superfamily=family; correct it" in refused.err


def test_clusters_without_dadapy_are_refused(hpcgeom, points, tmp_path):
    np.save(tmp_path / "p.npy", points)
    refused = hpcgeom("measure", "--points", "p.npy", "--clusters", "1.65")
    assert refused.code == 2
    assert "clusters: DADApy cannot be imported here" in refused.err
