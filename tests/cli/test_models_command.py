"""`hpcgeom models`: families with what they lack and why, and the models that are known."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.catalog.models import KNOWN
from hpcgeom.catalog.sites import POOLINGS, SITES


@pytest.fixture
def shown(hpcgeom):
    done = hpcgeom("models")
    assert (done.code, done.err) == (0, "")
    return done.out


@pytest.fixture
def parsed(hpcgeom):
    return json.loads(hpcgeom("models", "--json").out)


def entry(shown: str, family: str) -> str:
    """The lines of one family as one line."""
    found = re.search(rf"^{family} .*(\n  .*)*", shown, re.MULTILINE)
    return " ".join(found[0].split())


def row(shown: str, model: str) -> list[str]:
    """The cells of one model."""
    (line,) = (line for line in shown.splitlines() if line.startswith(f"{model} "))
    return re.split(r" {2,}", line)


def test_families_are_listed_with_sites_data_sets_and_what_they_lack_and_why(shown):
    assert entry(shown, "bert") == (
        "bert config.json with model_type bert; trained to predict masked tokens (Devlin et al. 2019) "
        "data sets: text, tokens "
        "sites: token_embed, pos_embed, resid, hidden_states, q, k, v, z, attn_out, resid_mid, mlp_pre, "
        "mlp_act, mlp_out "
        "kept whole: attention, logits, probabilities, logit_lens "
        "no ln_1: its blocks are post-norm: there is no norm before the attention "
        "no ln_2: its blocks are post-norm: there is no norm before the MLP"
    )
    for name, family in FAMILIES.items():
        assert all(f"no {site}: {why}" in entry(shown, name) for site, why in family.absent_sites.items())
    assert "config.json with model_type llama or mistral" in entry(shown, "llama")
    assert "sites: points" in entry(shown, "arrays")
    assert "module:<glob>" in entry(shown, "module")
    assert "poolings: mean, mean_all, last, first, max, std, tokens or token:<i>" in shown


def test_known_models_are_listed_with_their_sizes_memory_and_access(shown):
    small = ["esm2", "6", "320", "20", "7.41 M", "28.3 MiB", "14.1 MiB", "open"]
    assert row(shown, "facebook/esm2_t6_8M_UR50D")[1:] == small
    large = ["llama", "80", "8192", "64 (8)", "68.7 B", "256.0 GiB", "128.0 GiB", "login"]
    assert row(shown, "meta-llama/Llama-2-70b-hf")[1:] == large
    assert row(shown, "meta-llama/Meta-Llama-3-8B")[5] == "7.50 B"
    assert row(shown, "facebook/esm2_t30_150M_UR50D")[5] == "148 M"
    assert row(shown, "igpt-xl")[4:6] == ["-", "6.81 B"]
    assert row(shown, "igpt-xl")[-1] == "none"
    assert row(shown, "mistralai/Mistral-7B-v0.1")[-1] == "login?"
    assert len([name for name in KNOWN if row(shown, name)]) == len(KNOWN)
    assert "igpt-xl: its number of heads was never published: give n_head" in shown


def test_the_list_fits_a_terminal(shown):
    assert max(map(len, shown.splitlines())) <= 110


def test_json_holds_every_family_site_pooling_and_model(parsed):
    assert set(parsed) == {"families", "poolings", "models"}
    assert list(parsed["families"]) == ["arrays", *FAMILIES, "module"]
    for name, family in FAMILIES.items():
        found = parsed["families"][name]
        assert tuple(found["sites"]) == family.sites
        assert tuple(found["detail_sites"]) == family.detail_sites
        assert found["absent_sites"] == family.absent_sites
        assert tuple(found["dataset_kinds"]) == family.dataset_kinds
        assert found["is_causal"] is family.is_causal
    assert parsed["families"]["arrays"]["sites"] == ["points"]
    assert parsed["families"]["module"]["sites"] == [*SITES, "module:<glob>"]
    assert parsed["poolings"] == [*POOLINGS, "token:<i>"]
    assert list(parsed["models"]) == list(KNOWN)


def test_json_holds_exact_sizes_and_the_configuration_of_a_model(parsed):
    found = parsed["models"]["openai-community/gpt2"]
    assert (found["family"], found["published"], found["is_gated"]) == ("gpt2", "124M", False)
    assert found["facts"]["n_parameters"] == 124_439_808
    assert found["weight_bytes"] == {"float32": 4 * 124_439_808, "bfloat16": 2 * 124_439_808}
    assert found["config"] == KNOWN["openai-community/gpt2"].config


def test_json_does_not_make_up_what_was_never_published(parsed):
    found = parsed["models"]["igpt-xl"]
    assert (found["unpublished"], found["has_weights"]) == (["n_head"], False)
    assert [found["facts"][key] for key in ("n_heads", "n_kv_heads", "head_dim")] == [None] * 3
    assert "n_head" not in found["config"]
    assert (found["facts"]["n_layers"], found["facts"]["width"]) == (60, 3072)


def test_nothing_heavy_is_imported_for_it():
    code = (
        "import atexit, sys; from hpcgeom.cli.main import entry_point\n"
        "heavy = {'torch', 'transformers', 'numpy', 'xarray', 'zarr', 'dask', 'numba'}\n"
        "atexit.register(lambda: print('imported:', *sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "sys.argv = ['hpcgeom', 'models', '--json']; entry_point()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "imported:\n")
    assert json.loads(done.stdout)["models"]
