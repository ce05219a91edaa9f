"""The shipped manifests at full size: planned without data, weights or network."""

from __future__ import annotations

import numpy as np
import pytest

from hpcgeom.api.pricing import Price, price
from hpcgeom.cli.render import size

N_SAMPLES = {"esm2": 10256, "igpt": 90000, "llama2": 11855, "gpt2": 10000, "lab": 5000}
ESM2 = {
    "8m": (6, 320),
    "35m": (12, 480),
    "150m": (30, 640),
    "650m": (33, 1280),
    "3b": (36, 2560),
    "15b": (48, 5120),
}
"""Blocks and width, as Lin et al. 2023 publish them."""
SHAPES = {
    "esm2": {f"esm2-{name}": shape for name, shape in ESM2.items()},
    "igpt": {"igpt-s": (24, 512), "igpt-m": (36, 1024), "igpt-l": (48, 1536)},
    "llama2": {"llama2-7b": (32, 4096), "llama2-13b": (40, 5120), "llama2-70b": (80, 8192)},
    "gpt2": {"gpt2-small": (12, 768)},
    "lab": {f"esm2-{name}": ESM2[name] for name in ("35m", "650m", "3b")},
}
PARAMETERS = {
    "esm2-8m": 8e6, "esm2-35m": 35e6, "esm2-150m": 150e6, "esm2-650m": 650e6, "esm2-3b": 3e9,
    "esm2-15b": 15e9,
    "igpt-s": 76e6, "igpt-m": 455e6, "igpt-l": 1362e6,
    "llama2-7b": 7e9, "llama2-13b": 13e9, "llama2-70b": 70e9, "gpt2-small": 124e6,
}  # fmt: skip
"""Rounded, as published."""


def cost_row(name: str, found: Price) -> str:
    """A row of the table in the README."""
    stages = found.stages
    cells = [
        name,
        f"`--samples {N_SAMPLES[name]}`" if name in N_SAMPLES else "its files",
        f"{sum(stage.n_units for stage in stages):,}",
        size(sum(stage.size_bytes for stage in stages)),
        size(max(stage.memory_bytes for stage in stages)),
        f"{sum(stage.flops for stage in stages):.1e}",
    ]
    return f"| {' | '.join(cells)} |"


@pytest.fixture(scope="module", params=N_SAMPLES)
def planned(request, shipped):
    return request.param, price(shipped / f"{request.param}.yaml", N_SAMPLES[request.param])


@pytest.fixture(scope="module")
def of_arrays(shipped, tmp_path_factory):
    """The price of `lab_arrays`, with files of the lab's sizes whose rows take no disk."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab_arrays.yaml").write_text((shipped / "lab_arrays.yaml").read_text())
    for model in ("35M", "650M", "3B"):
        n_blocks, width = ESM2[model.lower()]
        points = folder / "data" / "lab" / f"ESM2-{model}"
        points.mkdir(parents=True)
        for layer in range(n_blocks + 1):
            path = points / f"ESM2-{model}_rep{layer}_5000.npy"
            np.lib.format.open_memmap(path, "w+", np.float32, (5000, width))
    return price(folder / "lab_arrays.yaml")


def test_every_shipped_manifest_has_a_price_here(shipped):
    assert {path.stem for path in shipped.glob("*.yaml")} == {*N_SAMPLES, "lab_arrays", "quickstart"}


def test_models_have_the_sizes_that_were_published(planned):
    name, found = planned
    assert {model.name: (model.n_layers, model.width) for model in found.plan.models} == SHAPES[name]
    for model in found.plan.models:
        assert model.n_parameters == pytest.approx(PARAMETERS[model.name], rel=0.09)


def test_every_layer_of_every_site_is_read(planned, shipped):
    name, found = planned
    per_block = {"ln_1": 1, "hidden_states": 1, "resid": 1}
    for model in found.plan.models:
        for item in model.representations:
            n_more = per_block.get(item.site, 0)
            expected = 1 if item.site.endswith("_embed") else model.n_layers + n_more
            assert len(item.layers) == expected, (name, model.name, item.site)
    assert found.plan.samples.n == N_SAMPLES[name]
    assert any("was not read" in notice for notice in found.notices)


def test_the_price_is_that_of_the_samples_and_of_a_forward_pass(planned):
    """Operations: two a parameter and token, and a little for attention; bytes: four a feature."""
    _, found = planned
    n, models, (extract, *_) = found.plan.samples.n, found.plan.models, found.stages
    assert extract.size_bytes > n * 4 * sum(
        len(i.layers) * i.width for m in models for i in m.representations
    )
    length = {"esm2": 1024, "lab": 1024, "igpt": 1024, "llama2": 256, "gpt2": 256}[found.plan.name]
    one_pass = sum(2 * m.n_parameters * n * length for m in models)
    assert 0.6 * one_pass < extract.flops < 1.3 * one_pass  # tables of tokens take no operations
    largest = max(m.n_parameters * (2 if m.dtype == "bfloat16" else 4) for m in models)
    assert largest < extract.memory_bytes < largest + 10 * 2**30


def test_pieces_of_gpt2_are_all_that_its_family_has(planned):
    from hpcgeom.catalog.families import FAMILIES

    name, found = planned
    sites = {item.site for item in found.plan.models[0].representations}
    if name == "gpt2":
        heads = {f"z.{head}" for head in range(12)}
        assert heads <= sites
        assert (sites - heads) | {"z"} == set(FAMILIES["gpt2"].sites)


def test_points_that_exist_already_are_those_of_the_lab(of_arrays):
    assert [(model.n_layers, model.width) for model in of_arrays.plan.models] == list(SHAPES["lab"].values())
    assert of_arrays.plan.samples.n == 5000


def test_the_costs_in_the_readme_are_those_that_plan_prints(planned, of_arrays, shipped):
    name, found = planned
    text = (shipped / "README.md").read_text()
    for row in (cost_row(name, found), cost_row("lab_arrays", of_arrays)):
        assert row in text, f"put this row into manifests/README.md: {row}"


def test_what_the_readme_says_of_memory_is_what_plan_prints(planned, shipped):
    name, found = planned
    said = {"esm2": "63 GiB in float32", "llama2": "133 GiB in bfloat16"}
    if name in said:
        assert said[name] in (shipped / "README.md").read_text()
        assert said[name].startswith(f"{found.stages[0].memory_bytes / 2**30:.0f} GiB")
