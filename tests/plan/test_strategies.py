"""Which strategy a model is run with, and what each takes, worked out from the plan alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_examples import TEXT, changed, draft, plan_of

from hpcgeom.api.pricing import price
from hpcgeom.api.strategies import DRIVER_GB, GPU_SHARE, HEADROOM, NANNY_GB, devices_of, parse_devices
from hpcgeom.catalog.models import known_facts
from hpcgeom.errors import InputError
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.plan.footprints import BYTES_OF_PROCESS, GPU_BYTES, STRATEGIES, Devices
from hpcgeom.plan.needs import Needs, needs_of
from hpcgeom.plan.strategies import choose

GIB = 2**30
MANIFESTS = Path(__file__).parents[2] / "manifests"
LARGE = Needs(
    n_blocks=10,
    weights=21 * GIB,
    block=2 * GIB,
    drawn=0,
    working=GIB // 2,
    hidden=GIB // 64,
    unit_hidden=GIB,
    read=0,
    pooled=GIB,
)
"""Ten blocks of 2 GiB and 1 GiB around them."""


def gpus(n, gb, host_gb=None):
    return Devices(n, gb * GIB, None if host_gb is None else host_gb * GIB)


@pytest.mark.parametrize(
    ("devices", "strategy", "writes_beside"),
    [
        (gpus(1, 24, 64), "replicate", True),
        (Devices(1, None, 64 * GIB), "replicate", False),
        (Devices(2, None, 64 * GIB), "pipeline", True),
    ],
)
def test_units_are_written_beside_where_there_is_memory_for_the_points_of_two(
    devices, strategy, writes_beside
):
    larger = choose("m", replace(LARGE, pooled=2 * GIB), strategy, devices).footprint
    chosen = choose("m", LARGE, strategy, devices)
    share = 5 if strategy == "pipeline" else 10  # of ten blocks
    of_points = (larger.host_bytes - chosen.footprint.host_bytes) / (GIB * share / 10)
    assert of_points == pytest.approx(2 if writes_beside else 1, rel=0.2)
    assert (chosen.means().n_units > 1) == writes_beside


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (gpus(1, 24), "replicate"),
        (gpus(8, 24), "replicate"),
        (gpus(1, 16), "stream"),
        (gpus(2, 16), "pipeline"),
        (gpus(4, 8), "stream"),  # three blocks, and what is around them, are 7 GiB
        (gpus(4, 10), "pipeline"),
        (gpus(11, 5), "pipeline"),  # of ten processes, a block each
        (Devices(1, None, 32 * GIB), "replicate"),
        (Devices(2, None, 32 * GIB), "pipeline"),
        (Devices(1, None, 16 * GIB), "stream"),
        (Devices(1, None, None), "replicate"),
    ],
)
def test_auto_takes_the_fastest_that_fits(devices, expected):
    assert choose("m", LARGE, "auto", devices).strategy == expected


def test_what_is_not_a_chain_or_has_no_files_is_left_to_others():
    module = replace(LARGE, n_blocks=0, block=0)
    assert choose("m", module, "auto", gpus(2, 24)).strategy == "replicate"
    assert choose("m", module, "auto", gpus(2, 16, 64)).strategy == ""  # nobody knows where it can be cut
    drawn = replace(LARGE, drawn=42 * GIB)
    assert choose("m", drawn, "auto", gpus(1, 16, 64)).strategy == "dispatch"
    assert choose("m", drawn, "auto", gpus(1, 16, 32)).strategy == ""
    assert "random weights are drawn" in choose("m", drawn, "stream", gpus(1, 16, 64)).why


@pytest.mark.parametrize(
    ("wish", "devices", "message"),
    [
        (
            "replicate",
            gpus(2, 16),
            r"'m' cannot be run on .* \(needs 22\.5 GiB of a GPU that has 16\.0 GiB\): use strategy: auto",
        ),
        ("pipeline", gpus(1, 80), r"with strategy pipeline \(there is one device\)"),
        ("pipeline", Devices(), r"with strategy pipeline \(there is one process\)"),
        (
            "replicate",
            Devices(2, None, 32 * GIB),
            r"\(needs 46\.\d GiB of memory \(2 processes of 23\.\d GiB\) where there are 32\.0 GiB\)",
        ),
        (
            "auto",
            gpus(1, 4, 3),
            r"\(replicate: needs 22\.5 GiB .*; pipeline: there is one .*; dispatch: needs .*\): use a sm",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_both_numbers(wish, devices, message):
    choice = choose("m", LARGE, wish, devices)
    assert choice.strategy == ""
    for call in (choice.means, lambda: choice.footprint):
        with pytest.raises(InputError, match=message):
            call()
    assert json.loads(json.dumps(choice.as_dict()))["strategy"] == ""


SIZES = st.builds(
    lambda n_blocks, block, around, working, hidden, pooled, read, drawn: Needs(
        n_blocks=n_blocks,
        weights=n_blocks * block + around,
        block=block,
        drawn=drawn * 2 * (n_blocks * block + around),
        working=working,
        hidden=hidden,
        unit_hidden=8 * hidden,
        read=read,
        pooled=pooled,
    ),
    st.integers(1, 100),
    *[st.integers(0, 2**35)] * 2,
    *[st.integers(0, 2**33)] * 4,
    st.integers(0, 1),
)
PLACES = st.builds(
    Devices,
    st.integers(1, 16),
    st.none() | st.integers(2**30, 2**38),
    st.none() | st.integers(2**30, 2**41),
)


@pytest.mark.parametrize("gpu_bytes", [None, 24 * GIB])
def test_a_pipeline_reckons_with_results_that_are_held_back(gpu_bytes):
    def host_bytes(n, read):
        return choose("m", replace(LARGE, read=read), "pipeline", Devices(n, gpu_bytes)).footprint.host_bytes

    for n, n_blocks in ((2, 5), (5, 2)):
        of_a_batch = 11 * GIB * (n_blocks + 1) // 11  # a GiB a layer
        n_held = 6 * (n - 1) + (0 if gpu_bytes else 1)  # that of the batch at hand is on the GPU
        assert host_bytes(n, 11 * GIB) - host_bytes(n, 0) == n_held * of_a_batch


@given(SIZES, PLACES, st.sampled_from(("auto", *STRATEGIES)))
@settings(max_examples=300)
def test_more_memory_never_takes_a_strategy_away_and_budgets_stay_within_what_there_is(needs, devices, wish):
    choice = choose("m", needs, wish, devices)
    assert choice.strategy in ("", *STRATEGIES) if wish == "auto" else choice.strategy in ("", wish)
    more = replace(
        devices,
        gpu_bytes=devices.gpu_bytes and 2 * devices.gpu_bytes,
        host_bytes=devices.host_bytes and 2 * devices.host_bytes,
    )
    better = choose("m", needs, wish, more)
    for found, then in zip(choice.footprints, better.footprints, strict=True):
        assert found.problem or not then.problem
        assert found.host_bytes >= BYTES_OF_PROCESS
        assert (found.gpu_bytes is None) == (devices.gpu_bytes is None)
    if not choice.strategy:
        return
    found, means = choice.footprint, choice.means()
    assert means.strategy == choice.strategy
    if means.host_bytes is not None:
        assert devices.host_bytes is not None
        part = found.weights_bytes if means.strategy == "dispatch" and not devices.has_gpus else 0
        held = found.n_processes * (found.host_bytes - part + means.host_bytes)
        assert held + (means.n_units - 1) * needs.pooled * found.n_processes <= devices.host_bytes
        assert means.host_bytes >= 0
    if means.gpu_bytes is not None:
        assert found.gpu_bytes - found.weights_bytes + means.gpu_bytes <= devices.gpu_bytes
        assert means.gpu_bytes >= 0


def test_a_stream_carries_as_many_units_as_there_is_memory_for():
    one, many = (choose("m", LARGE, "stream", Devices(1, None, gb * GIB)).means() for gb in (9, 30))
    assert (one.n_units, many.n_units) == (1, 11)  # each unit more has hidden states and points of a GiB each
    assert many.host_bytes >= 11 * LARGE.unit_hidden
    assert choose("m", LARGE, "stream", Devices()).means().host_bytes is None


@pytest.mark.parametrize("source", ["facebook/esm2_t48_15B_UR50D", "meta-llama/Llama-2-70b-hf", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_needs_are_those_of_the_sizes_of_the_model(source, dtype):
    facts, size = known_facts(source), 4 if dtype == "float32" else 2
    plan = plan_of(
        changed(TEXT, "extract.tokens_per_batch", 2048),
        drafts=[
            draft(
                n_parameters=facts.n_parameters,
                n_block_parameters=facts.n_block_parameters,
                n_layers=facts.n_layers,
                values_per_token=facts.values_per_token(256),
                dtype=dtype,
            )
        ],
    )
    needs = needs_of(plan, plan.models[0])
    assert needs.weights == size * facts.n_parameters
    assert needs.n_blocks * needs.block + needs.around == needs.weights
    assert 0 < needs.around < needs.weights
    assert needs.working == 2048 * facts.values_per_token(256) * size
    for n in (1, 2, 4):
        found = {each.strategy: each for each in choose("m", needs, "auto", gpus(n, 1000)).footprints}
        assert found["replicate"].gpu_bytes == GPU_BYTES + needs.weights + needs.working + needs.read
        assert found["stream"].weights_bytes == needs.around + 2 * needs.block
        if n > 1:
            assert n * found["pipeline"].weights_bytes >= needs.weights
            assert found["pipeline"].weights_bytes < needs.around + (needs.n_blocks / n + 1) * needs.block


def test_a_head_counts_where_something_is_read_that_it_gives(tmp_path):
    bare, with_head = (tmp_path / f"{name}.yaml" for name in ("bare", "head"))
    text = "name: m\ndataset: {kind: text, path: t.tsv}\nmodels: [{name: m, family: llama, source: %s}]\n"
    bare.write_text(text % "meta-llama/Llama-2-7b-hf")
    details = "representations: {details: {samples: [a], sites: [logits]}}\n"
    with_head.write_text(bare.read_text() + details)
    weights = [needs_of(p, p.models[0]).weights for p in (price(f, 100).plan for f in (bare, with_head))]
    assert weights[1] - weights[0] == 4 * 32000 * 4096


def test_devices_are_read_from_text_and_from_a_profile():
    assert parse_devices("4x40") == Devices(4, int(GPU_SHARE * 40 * GIB), None, "4 GPUs of 40 GiB")
    for wrong in ("", "4", "x40", "0x40", "4x", "4x40GB", "-1x40", "4 x 40"):
        with pytest.raises(InputError, match=r"--devices '.*': expected GPUs x GiB of each, such as 4x40"):
            parse_devices(wrong)
    node = {"cpus": 8, "memory_gb": 100, "gpus": 4, "gpu_memory_gb": 80}
    section = {"gpus": 4, "processes": 2, "memory_gb": 30, "nodes": 2}
    found = devices_of(Profile.model_validate({"name": "p", "node": node, "extract": section}))
    where = "the nodes of profile 'p'"
    gpu_bytes = int(GPU_SHARE * 80 * GIB)
    assert found == Devices(8, gpu_bytes, 120 * GIB, where, n_whole=2, n_hosts=2)
    cpus = devices_of(Profile.model_validate({"name": "p", "node": node, "extract": {"processes": 2}}))
    assert (cpus.n, cpus.gpu_bytes) == (2, None)
    others_gb = DRIVER_GB + 2 * NANNY_GB  # who gives out the units, and watches each of the processes
    assert cpus.host_bytes == int((100 - others_gb) / HEADROOM * GIB)
    nothing = devices_of(Profile(name="p"))
    assert (nothing.n, nothing.gpu_bytes, nothing.host_bytes) == (1, None, None)


IGPT_XL = """\
name: igpt-xl
dataset: {kind: images, path: images}
models:
  - {name: igpt-xl, family: igpt, source: igpt-xl, weights: random, config: {n_head: 48}, dtype: bfloat16}
representations: {sites: [ln_1], pooling: [mean_all]}
"""


@pytest.fixture
def manifest_of(tmp_path):
    """A manifest with the model of a name; weights of iGPT-XL were never released."""

    def find(name):
        if name != "igpt-xl":
            return MANIFESTS / f"{name}.yaml"
        (tmp_path / "m.yaml").write_text(IGPT_XL)
        return tmp_path / "m.yaml"

    return find


@pytest.mark.parametrize(
    ("name", "model", "strategy"),
    [
        ("llama2", "llama2-70b", "pipeline"),
        ("igpt-xl", "igpt-xl", "replicate"),
        ("esm2", "esm2-15b", "replicate"),
    ],
)
def test_large_models_are_planned_in_seconds_without_torch(manifest_of, name, model, strategy):
    code = (
        "import json, sys, time; from pathlib import Path; from hpcgeom.api.pricing import price\n"
        "from hpcgeom.api.strategies import parse_devices\n"
        "from hpcgeom.plan.units import STAGES, units_of\n"
        "found = price(Path(sys.argv[1]), 20000, devices=parse_devices('2x80'))\n"
        "units = [unit for unit in units_of(found.plan, 'extract') if unit.model == sys.argv[2]]\n"
        "heavy = {'torch', 'transformers', 'dask', 'distributed', 'xarray', 'zarr', 'faiss', 'numba'}\n"
        "print(json.dumps([sorted(heavy & set(sys.modules)), found.choices[sys.argv[2]].strategy,\n"
        "                  len(units), len({o for u in units for o in u.owns}), time.process_time()]))"
    )
    command = [sys.executable, "-c", code, str(manifest_of(name)), model]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    modules, chosen, n_units, n_files, seconds = json.loads(shown)
    assert modules == []
    assert chosen == strategy
    plan = price(manifest_of(name), 20000).plan
    assert n_units == -(-20000 // plan.unit_rows)
    n_layers = sum(len(item.layers) for item in plan.model(model).representations)
    assert n_files == n_units * (n_layers + 1)  # a shard of every layer, and sums of columns
    assert seconds < 5.0


def test_a_price_says_what_every_strategy_takes_and_what_is_refused():
    small = price(MANIFESTS / "llama2.yaml", 1000, devices=parse_devices("1x2"))
    assert "llama2-70b' cannot be run on 1 GPU of 2 GiB (replicate: needs" in small.refusals[-1]
    large = price(MANIFESTS / "llama2.yaml", 1000, devices=parse_devices("1x24"))
    assert not large.refusals
    shown = json.loads(json.dumps(large.as_dict()))["strategies"]["llama2-70b"]
    assert (shown["strategy"], shown["asked_for"]) == ("stream", "auto")
    assert [each["strategy"] for each in shown["footprints"]] == list(STRATEGIES)
    assert large.stages[0].memory_bytes == max(c.footprint.host_bytes for c in large.choices.values())
