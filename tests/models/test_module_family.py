"""Modules of users, against forwards run by hand."""

from __future__ import annotations

from dataclasses import replace

import modules_for_tests as mine
import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model

from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, NonFiniteActivation, Reading, Replicate, TokenBatch, is_out_of_memory
from hpcgeom.models.blocks import first_block_arguments
from hpcgeom.models.layout import BlockLayout

PLACES = {"ln_1": "ln_1", "attn_out": "attn.proj", "resid_mid": "ln_2", "mlp_out": "mlp"}


def module(*readings, kind="PreNorm", sizes=None, **more) -> ModelRequest:
    settings = {"weights": "random", "seed": 5, "factory": "modules_for_tests:make", **more}
    kwargs = {"kind": kind, **(sizes or {})}
    return ModelRequest("mine", "module", settings.pop("folder", None), settings.pop("dtype", "float32"),
                        readings, factory_kwargs=kwargs, **settings)  # fmt: skip


def with_blocks(*readings, **more) -> ModelRequest:
    return module(*readings, **{"blocks": "blocks", "block_sites": PLACES, "final_norm": "ln_f", **more})


def seeded(kind="PreNorm", seed=5, **sizes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mine.make(kind, **sizes).eval()


def pre_norm_by_hand(model, batch: TokenBatch) -> dict[str, list[np.ndarray]]:
    mask = torch.from_numpy(batch.attention_mask) == 1
    with torch.inference_mode():
        h = model.embed(torch.from_numpy(batch.input_ids))
        found = {
            "resid": [h],
            "hidden_states": [h],
            "ln_1": [],
            "attn_out": [],
            "resid_mid": [],
            "mlp_out": [],
        }
        for block in model.blocks:
            normed = block.ln_1(h)
            attended = block.attn(normed, mask)
            second = block.ln_2(h + attended)
            out = block.mlp(second)
            h = h + attended + out
            for site, value in (
                ("ln_1", normed),
                ("attn_out", attended),
                ("resid_mid", second),
                ("mlp_out", out),
            ):
                found[site].append(value)
            found["resid"].append(h)
            found["hidden_states"].append(h)
        found["hidden_states"][-1] = model.ln_f(h)
        found["ln_1"].append(model.ln_f(h))
    return {site: [value.numpy() for value in values] for site, values in found.items()}


@pytest.mark.parametrize(
    "how", [{}, {"as_tuple": True}, {"by_keyword": True}], ids=["plain", "tuple", "keyword"]
)
def test_places_in_blocks_equal_a_forward_run_by_hand(padded_batch, pool_in_float64, how):
    readings = [Reading(site, ("first", "max", "mean")) for site in ("resid", "hidden_states", *PLACES)]
    found = Replicate().open_model(with_blocks(*readings, sizes=how)).extract(padded_batch)
    expected = pre_norm_by_hand(seeded(**how), padded_batch)
    for (site, pooling), values in found.items():
        assert len(values) == len(expected[site]) == (4 if site in ("resid", "hidden_states", "ln_1") else 3)
        for value, hidden in zip(values, expected[site], strict=True):
            by_hand = pool_in_float64(hidden, padded_batch, pooling)
            tolerance = 0 if pooling != "mean" else 1e-6 * np.abs(by_hand).max()
            np.testing.assert_allclose(value, by_hand, rtol=0, atol=tolerance)


def test_the_first_norm_of_a_layer_needs_its_block_but_no_later_one(make_batch):
    batch = make_batch([5, 6])
    everything = (
        Replicate().open_model(with_blocks(Reading("ln_1", ("first",)))).extract(batch)["ln_1", "first"]
    )
    model = Replicate().open_model(with_blocks(Reading("ln_1", ("first",), (0, 1)), final_norm=None))
    np.testing.assert_array_equal(model.extract(batch)["ln_1", "first"], everything[:2])


@pytest.mark.parametrize("site", ["ln_1", "hidden_states"])
def test_the_last_layer_of_a_norm_needs_the_final_norm(site):
    with pytest.raises(
        InputError, match=rf"site '{site}': layer 3 is the norm after the last block.*`final_norm`"
    ):
        Replicate().open_model(with_blocks(Reading(site, ("mean",)), final_norm=None))


def test_a_site_without_a_path_is_refused():
    request = with_blocks(Reading("mlp_out", ("mean",)), block_sites={"ln_1": "ln_1"})
    with pytest.raises(
        InputError, match=r"no site 'mlp_out' \(not mapped\): its sites are resid, .*: choose one of them"
    ):
        Replicate().open_model(request)


def test_a_module_without_blocks_has_no_places_in_blocks():
    with pytest.raises(
        InputError, match=r"'mine' has no blocks, so it has no site 'resid': give .* `blocks`"
    ):
        Replicate().open_model(module(Reading("resid", ("mean",))))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Skips", r"not a plain chain: the model does more between them"),
        ("Backwards", r"ran the blocks of 'blocks' as \[2, 1, 0\]; expected \[0, 1, 2\]"),
        ("Unused", r"ran the blocks of 'blocks' as \[\]; expected"),
    ],
)
def test_blocks_that_are_no_chain_are_refused(make_batch, kind, message):
    model = Replicate().open_model(with_blocks(Reading("resid", ("mean",)), kind=kind))
    with pytest.raises(InputError, match=message):
        model.extract(make_batch([5, 6]))


def test_a_first_block_that_is_not_run_or_gets_no_hidden_states_is_refused(make_batch):
    inputs = {"input_ids": torch.from_numpy(make_batch([5]).input_ids), "attention_mask": torch.ones(1, 5)}
    with pytest.raises(
        InputError, match=r"does not run 'blocks\.0': `blocks` names another list: correct it"
    ):
        first_block_arguments(seeded("Unused"), BlockLayout("blocks", {}, None), inputs)
    with pytest.raises(
        InputError, match=r"'towers\.0' gets no hidden states .*: leave `blocks` out and read"
    ):
        first_block_arguments(mine.Unfed(), BlockLayout("towers", {}, None), inputs)


def test_a_model_that_catches_exceptions_is_replayed_all_the_same(make_batch):
    batch = make_batch([5, 6])
    found, expected = (
        Replicate().open_model(with_blocks(Reading("resid", ("max",)), kind=kind)).extract(batch)
        for kind in ("Rewraps", "PreNorm")
    )
    np.testing.assert_array_equal(found["resid", "max"], expected["resid", "max"])


def test_globs_are_layers_in_module_order_with_their_names(padded_batch, pool_in_float64):
    request = module(Reading("module:blocks.*.ln_[12]", ("max",)), Reading("module:embed", ("max",)))
    model = Replicate().open_model(request)
    shapes = model.describe()
    names = tuple(f"blocks.{block}.ln_{norm}" for block in range(3) for norm in (1, 2))
    assert shapes.sites["module:blocks.*.ln_[12]"].modules == names
    assert shapes.sites["module:blocks.*.ln_[12]"].layers == (0, 1, 2, 3, 4, 5)
    assert (shapes.n_layers, shapes.width) == (None, None)
    by_hand = pre_norm_by_hand(seeded(), padded_batch)
    found = model.extract(padded_batch)["module:blocks.*.ln_[12]", "max"]
    expected = [h for pair in zip(by_hand["ln_1"][:3], by_hand["resid_mid"], strict=True) for h in pair]
    for value, hidden in zip(found, expected, strict=True):
        np.testing.assert_array_equal(value, pool_in_float64(hidden, padded_batch, "max"))


def test_layers_of_a_glob_can_be_chosen(make_batch):
    batch = make_batch([4, 4])
    request = module(Reading("module:blocks.*.ln_1", ("max",)))
    chosen = replace(request, readings=(Reading("module:blocks.*.ln_1", ("max",), (0, 2)),))
    model = Replicate().open_model(chosen)
    assert model.describe().sites["module:blocks.*.ln_1"].modules == ("blocks.0.ln_1", "blocks.2.ln_1")
    everything = Replicate().open_model(request).extract(batch)["module:blocks.*.ln_1", "max"]
    np.testing.assert_array_equal(model.extract(batch)["module:blocks.*.ln_1", "max"], everything[[0, 2]])


def test_one_vector_per_sequence_passes_unpooled(make_batch):
    batch = make_batch([5, 5, 5])
    request = module(Reading("module:towers.?", ("mean",)), kind="Bag")
    found = Replicate().open_model(request).extract(batch)["module:towers.?", "mean"]
    bag = seeded("Bag")
    with torch.inference_mode():
        x = bag.again(bag.again(bag.up(bag.embed(torch.from_numpy(batch.input_ids))))).mean(1)
        first = bag.towers[0](x)
        expected = torch.stack([first, bag.towers[1](first.tanh())])
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("again", r"module 'again' ran more than once in one forward pass"),
        ("never", r"not read at layer 0: module 'never' did not run as a module"),
        ("*", r"different width: module 'embed' gives 8 features and module 'up' gives 12"),
        ("towr.*", r"no submodule that matches 'towr.\*': near names are 'towers.*: correct the glob"),
    ],
)
def test_a_glob_that_cannot_be_read_is_refused(make_batch, glob, message):
    with pytest.raises(InputError, match=message):
        Replicate().open_model(module(Reading(f"module:{glob}", ("mean",)), kind="Bag")).extract(
            make_batch([4])
        )


def test_swapped_axes_are_found_by_describe():
    model = Replicate().open_model(module(Reading("module:linear", ("mean",)), kind="TimeFirst"))
    with pytest.raises(
        InputError, match=r"shape \(5, 2, 8\); expected \(B, T, D\) or \(B, D\) with B = 2 and T = 5"
    ):
        model.describe()


def test_describe_runs_the_first_rows_of_a_given_batch(make_batch):
    model = Replicate().open_model(module(Reading("module:linear", ("mean",)), kind="Fussy"))
    with pytest.raises(
        InputError, match=r"forward failed on a batch of 2 x 5 tokens: RuntimeError: cannot take 5"
    ):
        model.describe()
    with pytest.raises(
        InputError,
        match=r"forward failed on a batch of 2 x 9 tokens: RuntimeError: cannot take 9 tokens: add -v to see",
    ):
        model.describe(make_batch([9, 4, 3]))


def test_running_out_of_memory_is_not_the_users_mistake(make_batch, monkeypatch):
    model = Replicate().open_model(module(Reading("module:embed", ("mean",))))

    def forward(input_ids, attention_mask):
        torch.empty(1 << 60)

    monkeypatch.setattr(model.skeleton.model, "forward", forward)
    with pytest.raises(RuntimeError, match=r"can't allocate memory|not enough memory") as caught:
        model.extract(make_batch([4]))
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_row_that_is_not_finite_is_named(make_batch):
    model = Replicate().open_model(module(Reading("module:blocks.*.mlp", ("mean",))))
    model.skeleton.model.embed.weight[29] = torch.inf
    batch = make_batch([5, 5, 5])
    batch.input_ids[:] = 3
    batch.input_ids[1, 3] = 29
    with pytest.raises(NonFiniteActivation, match=r"row 1 .*site 'module:blocks.\*.mlp', layer 0") as caught:
        model.extract(batch)
    assert caught.value.row == 1


def test_weights_come_from_a_file_or_its_folder_and_not_from_the_factory(tmp_path, make_batch):
    trained, batch = seeded(seed=77), make_batch([6, 4])
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    expected = pre_norm_by_hand(trained, batch)["resid"]
    for source in (tmp_path, tmp_path / "weights.safetensors"):
        request = with_blocks(Reading("resid", ("first",)), weights=None, folder=source)
        found = Replicate().open_model(request).extract(batch)["resid", "first"]
        np.testing.assert_array_equal(found, np.stack(expected)[:, :, 0])


def test_tied_weights_need_one_key(tmp_path, make_batch):
    trained = seeded(seed=77, tied=True)
    save_model(trained, str(tmp_path / "model.safetensors"))
    request = module(Reading("module:head", ("first",)), weights=None, folder=tmp_path, sizes={"tied": True})
    batch = make_batch([6, 6])
    found = Replicate().open_model(request).extract(batch)["module:head", "first"][0]
    with torch.inference_mode():
        ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
        np.testing.assert_array_equal(found, trained(ids, mask)[:, 0].numpy())


def test_lower_precision_is_that_of_torch(make_batch):
    batch = make_batch([6, 4])
    request = with_blocks(Reading("resid", ("first",)), dtype="bfloat16")
    found = Replicate().open_model(request).extract(batch)["resid", "first"]
    model, mask = seeded().to(torch.bfloat16), torch.from_numpy(batch.attention_mask) == 1
    with torch.inference_mode():
        h = model.embed(torch.from_numpy(batch.input_ids))
        for block in model.blocks:
            h = block(h, mask=mask)
    np.testing.assert_array_equal(found[-1], h[:, 0].float().numpy())


def test_dropout_of_a_users_module_is_off(make_batch):
    request = with_blocks(Reading("resid", ("mean",)), sizes={"dropout": 0.5})
    batch = make_batch([6, 4])
    found = Replicate().open_model(request).extract(batch)["resid", "mean"]
    expected = (
        Replicate().open_model(with_blocks(Reading("resid", ("mean",)))).extract(batch)["resid", "mean"]
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("both", [False, True])
def test_weights_are_never_silently_random(tmp_path, both):
    more = {"weights": "random", "folder": tmp_path} if both else {"weights": None}
    with pytest.raises(InputError, match=rf"random`; found {'both' if both else 'neither'}: give one"):
        Replicate().open_model(module(Reading("module:embed", ("mean",)), **more))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (None, r"expected 'package.module:function': write it so"),
        ("modules_for_tests", r"expected 'package.module:function': write it so"),
        ("no_such_package.models:make", r"cannot import 'no_such_package.models'.*PYTHONPATH"),
        ("modules_for_tests:missing", r"'modules_for_tests' has no such name: name one"),
        ("modules_for_tests:NOT_CALLABLE", r"'modules_for_tests' has a int there: name one"),
        ("modules_for_tests:make_number", r"failed with the arguments.*TypeError"),
        ("builtins:dict", r"returned a dict; expected a torch.nn.Module: return one"),
    ],
)
def test_a_factory_that_makes_no_module_is_refused(factory, message):
    with pytest.raises(InputError, match=message):
        Replicate().open_model(module(Reading("module:embed", ("mean",)), factory=factory))


def test_a_package_that_fails_at_import_is_refused(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        InputError, match=r"importing 'broken_package' failed: ZeroDivisionError: .*: mend it, until"
    ):
        Replicate().open_model(module(Reading("module:embed", ("mean",)), factory="broken_package:make"))


def test_a_forward_without_ids_is_refused():
    with pytest.raises(InputError, match=r"Pixels takes \(pixel_values\); expected .* input_ids .*: add it"):
        Replicate().open_model(module(Reading("module:*", ("mean",)), kind="Pixels"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"blocks": "block"}, r"blocks: PreNorm has no submodule 'block': near names are 'blocks.*: correct"),
        (
            {"blocks": "blocks.0.attn"},
            r"expected a ModuleList or Sequential with blocks in it; found Attention of 2: name another",
        ),
        ({"sizes": {"n_blocks": 0}}, r"found ModuleList of 0"),
        ({"block_sites": {"ln_1": "norm1"}}, r"block_sites.ln_1, block 0: Block has no submodule 'norm1'"),
        (
            {"block_sites": {"resid": "ln_1"}},
            r"block_sites: 'resid' cannot be mapped: expected ln_1, q, .*: correct or remove it",
        ),
        ({"final_norm": "norm"}, r"final_norm: PreNorm has no submodule 'norm'"),
        ({"block_sites": {"ln_1": "ln_1:3/3"}}, r"found 'ln_1:3/3': correct it"),
        ({"details": ("q",)}, r"has no 'q': its sites are resid, .*: choose one of them"),
        ({"blocks": None}, r"has block_sites, final_norm, embeddings, attention or head, but no `blocks`"),
    ],
)
def test_a_path_that_does_not_exist_is_refused(more, message):
    with pytest.raises(InputError, match=message):
        Replicate().open_model(with_blocks(Reading("resid", ("mean",)), **more))
