"""The logit lens of samples that were kept whole, by layer, against their stored details."""

from __future__ import annotations

import numpy as np
import pytest

import hpcgeom as hg
from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError
from hpcgeom.models import details as details_of_models
from hpcgeom.plan import sizes
from hpcgeom.stages.run import Run

MANIFEST = """
name: lens
dataset: {kind: tokens, path: rows.npy}
models:
  - {name: toy, family: gpt2, source: openai-community/gpt2, weights: random, config: {n_layer: 2, n_embd: 6,
     n_head: 3, vocab_size: 10, n_positions: 5, bos_token_id: 0, eos_token_id: 0}}
representations:
  layers: [1]
  details: {sites: [logit_lens], samples: [SAMPLES]}
neighbors: {k: 4}
geometry: {estimators: [twonn], overlap_k: [1], data_fractions: [1.0], mu_fractions: [0.9]}
"""


def measured(folder, samples):
    np.save(folder / "rows.npy", np.random.default_rng(0).integers(0, 10, (20, 5)))
    (folder / "lens.yaml").write_text(MANIFEST.replace("SAMPLES", samples))
    root = run_manifest(folder / "lens.yaml", folder / "run", workers=1)
    return root, hg.open_results(root).load().sel(model="toy")


def test_the_lens_of_every_layer_is_the_mean_over_samples_of_their_stored_details(tmp_path):
    root, results = measured(tmp_path, '"3", "8", "11"')
    details = hg.open_details(root, "toy")["logit_lens"]
    assert results.n_lens_samples == 3
    assert results.layer.values.tolist() == [0, 1, 2]  # though activations are kept at layer 1 alone
    for name in ("kl_to_last", "entropy", "cosine_to_last"):
        means = np.stack(
            [details[row][name].values.mean(axis=1, dtype=np.float64) for row in ("3", "8", "11")]
        )
        np.testing.assert_allclose(results[f"lens_{name}"], means.mean(axis=0), rtol=1e-12)
        error = np.std(means, axis=0, ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(results[f"lens_{name}_error"], error, rtol=1e-9, atol=1e-12)
    tops = [details[row]["top_token"].values[:, :, 0] for row in ("3", "8", "11")]
    agreement = np.mean([[(row == top[-1]).mean() for row in top] for top in tops], axis=0)
    np.testing.assert_allclose(results.lens_agreement, agreement, rtol=1e-12)
    assert results.lens_kl_to_last.sel(layer=2) == 0.0
    assert results.lens_agreement.sel(layer=2) == 1.0
    n_left = len(hg.open_results(root).variables)
    assert n_left <= sizes.n_result_variables(Run(root).plan) <= 1.1 * n_left


def test_one_sample_has_no_spread(tmp_path):
    _, results = measured(tmp_path, '"3"')
    assert np.isfinite(results.lens_entropy).all()
    assert np.isnan(results.lens_entropy_error).all()


def test_details_that_cannot_be_kept_are_refused_with_the_sample(tmp_path, monkeypatch):
    def overflow(found):
        found["logit_lens"]["entropy"][0, 2] = np.inf
        refuse(found)

    refuse = details_of_models.refuse_non_finite
    monkeypatch.setattr(details_of_models, "refuse_non_finite", overflow)
    with pytest.raises(
        InputError,
        match=r"model 'toy', details of sample '8': 'entropy' of site 'logit_lens' has .*: compute in",
    ):
        measured(tmp_path, '"8"')


def test_without_a_lens_there_is_none(finished):
    assert not [name for name in hg.open_results(finished.root).data_vars if "lens" in name]


@pytest.mark.parametrize("changed", ["top_token", "entropy"])
def test_damage_of_a_detail_is_named(tmp_path, changed):
    from hpcgeom.errors import DamagedError
    from hpcgeom.stages.lens import lens_profile

    root, _ = measured(tmp_path, '"3"')
    shard = root / "activations" / "toy.zarr" / "logit_lens" / "3" / changed / "c" / "1"
    (file,) = (path for path in shard.rglob("*") if path.is_file())
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DamagedError, match=f"logit_lens/3/{changed}"):
        lens_profile(Run(root), 3)
