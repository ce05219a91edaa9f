"""The shipped manifests end to end, with tiny untrained models on a little made-up data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import xarray as xr
from reduced import K, Reduced, reduce

import hpcgeom as hg
from hpcgeom.api.running import run_manifest

NAMES = ("esm2", "gpt2", "igpt", "lab", "lab_arrays", "llama2")
OK = 0


class Done(NamedTuple):
    """A reduced manifest, where it was run, and what came out."""

    reduced: Reduced
    root: Path
    results: xr.Dataset
    activations: dict[str, xr.DataTree]


@pytest.fixture(scope="module", params=NAMES)
def done(request, shipped, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    reduced = reduce((shipped / f"{request.param}.yaml").read_text(), folder)
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # thousands of small files, and no power cut to survive
        root = run_manifest(reduced.path, folder / "run", workers=1)
    torch.set_num_threads(before)
    activations = {name: hg.open_activations(root, name) for name in reduced.n_blocks}
    return Done(reduced, root, hg.open_results(root).load(), activations)


def layers_of(site: str, n_blocks: int) -> range:
    """As the paper counts: 0 is before the first block."""
    if site in ("token_embed", "pos_embed"):
        return range(1)
    return (
        range(n_blocks + 1)
        if site in ("resid", "hidden_states", "ln_1", "points")
        else range(1, n_blocks + 1)
    )


def points_of(done: Done, model: str, site: str, pooling: str, layer: int) -> np.ndarray:
    stored = done.activations[model][f"{site}/{pooling}"]["activations"]
    return stored.sel(layer=layer).values.astype(np.float64)


def nearest(points: np.ndarray, k: int) -> np.ndarray:
    """Brute force; the point itself is left out."""
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def last_place(done: Done, model: str) -> tuple[str, str, int]:
    """The last layer of the last site that is asked for."""
    asked = done.reduced.asked.get("representations", {"sites": ["points"], "pooling": ["none"]})
    return asked["sites"][-1], asked["pooling"][-1], done.reduced.n_blocks[model]


def test_every_model_site_pooling_layer_and_label_is_in_the_results(done):
    asked, results = done.reduced.asked, done.results
    read = asked.get("representations", {"sites": ["points"], "pooling": ["none"]})
    assert list(results.model.values) == [model["name"] for model in asked["models"]]
    assert (list(results.site.values), list(results.pooling.values)) == (read["sites"], read["pooling"])
    assert list(results.k.values) == asked["geometry"]["overlap_k"]
    assert list(results.get("label", xr.DataArray([])).values) == asked["geometry"].get("labels", [])
    absent = results.status.attrs["flag_meanings"].split().index("absent")
    for model, n_blocks in done.reduced.n_blocks.items():
        for site in read["sites"]:
            found = (results.status.sel(model=model, site=site) != absent).any(["estimator", "pooling"])
            assert list(found.layer.values[found]) == list(layers_of(site, n_blocks)), (model, site)


def test_what_is_no_number_has_a_status_that_says_why(done):
    results = done.results
    for name, status in (("intrinsic_dimension", "status"), ("gride", "gride_status")):
        np.testing.assert_array_equal(np.isfinite(results[name]), results[status] == OK)
    is_there = results.n_distinct_points > 0
    varies = results.n_distinct_points > 1
    assert (results.status == OK).sum() > 0.8 * is_there.sum() * results.sizes["estimator"]
    if "label_overlap" in results:
        np.testing.assert_array_equal(np.isfinite(results.label_overlap).all(["label", "k"]), varies)
        assert np.isfinite(results.label_overlap_chance).all()
    other = varies.rename(model="other_model", layer="other_layer")
    compared = (varies & other).transpose(*[dim for dim in results.overlap.dims if dim != "k"])
    np.testing.assert_array_equal(np.isfinite(results.overlap).all("k"), compared)


def test_a_layer_has_all_neighbors_in_common_with_itself(done):
    overlap = done.results.overlap
    for model in overlap.model.values:
        itself = np.diagonal(overlap.sel(model=model, other_model=model).values, axis1=2, axis2=3)
        assert np.isfinite(itself).any()
        np.testing.assert_array_equal(itself[np.isfinite(itself)], 1.0)


def test_overlaps_of_labels_are_those_of_the_labels_that_the_data_were_made_with(done):
    for name, labels in done.reduced.labels.items():
        values = np.array(labels)
        for model in done.reduced.n_blocks:
            site, pooling, layer = last_place(done, model)
            neighbors = nearest(points_of(done, model, site, pooling, layer), K)
            found = done.results.label_overlap.sel(
                model=model, site=site, pooling=pooling, layer=layer, label=name, k=K
            )
            assert found.item() == pytest.approx((values[neighbors] == values[:, None]).mean(), abs=1e-12)
        sizes = np.unique(values, return_counts=True)[1]
        chance = (sizes * (sizes - 1)).sum() / (len(values) * (len(values) - 1))
        assert done.results.label_overlap_chance.sel(label=name).item() == pytest.approx(chance, abs=1e-12)
        assert len(values) == done.results.attrs["n_samples"]


def test_overlaps_between_models_are_those_of_their_neighbors(done):
    models = list(done.reduced.n_blocks)
    one, other = models[0], models[-1]
    (site, pooling, layer), (*_, other_layer) = last_place(done, one), last_place(done, other)
    pair = [nearest(points_of(done, *where), K) for where in (
        (one, site, pooling, layer), (other, site, pooling, layer - 1 if one == other else other_layer)
    )]  # fmt: skip
    shared = np.mean([len(set(a) & set(b)) / K for a, b in zip(*pair, strict=True)])
    found = done.results.overlap.sel(site=site, pooling=pooling, model=one, layer=layer, k=K).sel(
        other_model=other, other_layer=layer - 1 if one == other else other_layer
    )
    assert found.item() == pytest.approx(shared, abs=1e-12)
    assert 0 < shared < 1


def test_samples_that_are_to_be_kept_whole_are(done):
    details = done.reduced.asked.get("representations", {}).get("details")
    if details is None:
        assert done.reduced.asked["name"] != "gpt2"
        return
    tree = done.activations["gpt2-small"]
    for row in range(len(details["samples"])):  # the first lines of the file
        n_tokens = tree[f"logits/{row}"].sizes["position"]
        assert tree[f"attention/{row}"]["attention"].shape == (2, 12, n_tokens, n_tokens)
        np.testing.assert_allclose(tree[f"attention/{row}"]["attention"].sum("key"), 1, atol=1e-5)
        np.testing.assert_allclose(tree[f"probabilities/{row}"]["probabilities"].sum("token"), 1, atol=1e-5)
        for site in ("q", "k", "v", "z"):
            assert tree[f"{site}/{row}"]["activations"].shape == (2, n_tokens, 48)
        assert tree[f"logit_lens/{row}"]["top_token"].shape == (3, n_tokens, 10)
