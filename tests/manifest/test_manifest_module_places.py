"""Modules of the user's: the places that they name, and one sentence with its line for those that lack."""

from __future__ import annotations

import pytest
from manifest_examples import MODULE, TEXT, TOKENS, asked

BLOCKS = TEXT + MODULE + "    blocks: encoder.layers\n"


def test_every_place_of_a_module_is_read(load):
    text = (
        "    block_sites: {q: 'attn.qkv:0/3', v: 'attn.qkv:2/3', z: 'attn.proj:input', attn_out: attn.proj}\n"
        "    embeddings: {token_embed: embed, pos_embed: encoder.positions}\n"
        "    attention: attn.softmax:input\n    head: to_logits\n"
        "    final_norm: norm\n    n_heads: 4\n    step: 1000\n"
    )
    asking = asked(sites="[q, v.3, z, attn_out, token_embed, pos_embed, resid, hidden_states]")
    model = load(BLOCKS + text + asking).models[0]
    assert model.block_sites["q"] == "attn.qkv:0/3"
    assert model.embeddings == {"token_embed": "embed", "pos_embed": "encoder.positions"}
    assert (model.attention, model.head) == ("attn.softmax:input", "to_logits")
    assert (model.n_heads, model.step) == (4, 1000)


def test_a_module_needs_no_tokenizer_for_tokens(load):
    assert (
        load(TOKENS + MODULE.replace("    tokenizer: org/name\n", "    blocks: b\n")).models[0].blocks == "b"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "block_sites: {q: 'a:3/3'}",
            "block_sites.q: expected part i of n with i from 0 to n - 1, such as a:0/3, .*: correct it",
        ),
        ("block_sites: {q: 'a.b:0/0'}", "block_sites.q: expected part i of n .* such as a.b:0/3, found"),
        (
            "block_sites: {q: 'a:output'}",
            "block_sites.q: expected a path in a block such as attn.proj, attn.pr",
        ),
        (
            "block_sites: {q: 'a:-1/3'}",
            "block_sites.q: expected a path in a block .*, or attn.qkv:0/3, found .*: write it so",
        ),
        (
            "block_sites: {q: ':input'}",
            "block_sites.q: expected a path in a block .*, found the text ':input'",
        ),
        ("block_sites: {q: a..b}", "block_sites.q: expected a path in a block .*, found the text 'a..b'"),
        (
            "block_sites: {resid: norm}",
            (
                "block_sites.resid: expected no path, because resid follows from the list of blocks .*, "
                "found 'norm': remove resid"
            ),
        ),
        (
            "block_sites: {hidden_states: norm}",
            r"block_sites.hidden_states: expected no path, because .* blocks \(and final_norm\), found",
        ),
        (
            "block_sites: {pos_embed: positions}",
            (
                "block_sites.pos_embed: expected a site inside a block, found pos_embed, which is part of "
                "the embedding: move it to embeddings"
            ),
        ),
        ("embeddings: {resid: e}", "embeddings.resid: expected 'token_embed' or 'pos_embed', found the text"),
        ("embeddings: {token_embed: 'e:input'}", "embeddings.token_embed: expected the dotted path of a sub"),
        (
            "attention: 'a:1/1'",
            "attention: expected part i of n with i from 0 to n - 1, such as a:0/3, found",
        ),
        ("head: a b", "head: expected the dotted path of a submodule such as encoder.layer, found the text"),
        ("n_heads: 0", "n_heads: expected a number of at least 1, found the number 0"),
        ("n_kv_heads: 0", "n_kv_heads: expected a number of at least 1, found the number 0"),
        ("step: -1", "step: expected a number of at least 0, found the number -1"),
        ("checkpoints: []", "checkpoints: expected one of name, family, factory, .*, found 'checkpoints'"),
    ],
)
def test_every_problem_of_a_place_has_its_line(refused, line, expected):
    refused(f"{BLOCKS}    {line}\n", rf"12: models\[0\].{expected}")


def test_heads_of_keys_divide_those_of_queries(refused):
    refused(
        f"{BLOCKS}    n_heads: 4\n    n_kv_heads: 3\n",
        r"13: models\[0\].n_kv_heads: expected a divisor of n_heads = 4, .* found 3: correct one",
    )


@pytest.mark.parametrize(
    "line",
    [
        "block_sites: {ln_1: norm}",
        "final_norm: norm",
        "embeddings: {token_embed: e}",
        "attention: a",
        "n_heads: 2",
        "n_kv_heads: 2",
        "head: h",
    ],
)
def test_places_need_blocks(refused, line):
    key = line.partition(":")[0]
    refused(
        f"{TEXT}{MODULE}    {line}\n" + asked(sites="['module:*']"),
        rf"11: models\[0\].{key}: expected blocks beside {key}: give the path of the list of blocks",
    )


@pytest.mark.parametrize(
    ("site", "key"),
    [
        ("token_embed", "embeddings.token_embed"),
        ("ln_1", "block_sites.ln_1"),
        ("mlp_out", "block_sites.mlp_out"),
        ("z", "block_sites.z"),
        ("z.3", "block_sites.z"),
        ("hidden_states", "final_norm"),
    ],
)
def test_a_site_of_which_the_path_is_not_given_is_refused(refused, load, site, key):
    base = site.partition(".")[0]
    refused(
        BLOCKS + asked(sites=f"[resid, {site}]"),
        rf"12: representations.sites\[1\]: expected {key} in models\[0\] \(mine\), which '{base}' is read "
        "from, found none: give its path",
    )
    if site != "z.3":
        refused(
            BLOCKS + asked(details=f"{{sites: [{site}], samples: [a]}}"),
            rf"12: representations.details.sites\[0\]: expected {key} in models\[0\] \(mine\), which '",
        )
    load(BLOCKS + asked(sites="[hidden_states]", layers="[0, 1]"))


@pytest.mark.parametrize("asking", [asked(sites="[z.3]"), asked(sites="[z]", heads="separate")])
def test_heads_of_a_module_need_their_number(refused, load, asking):
    z = BLOCKS + "    block_sites: {z: 'attn.proj:input'}\n"
    refused(
        z + asking,
        r"13: representations.sites\[0\]: expected n_heads in models\[0\] \(mine\) to tell the heads of "
        "'z(.3)?' apart, found none: add it",
    )
    load(z + "    n_heads: 4\n" + asking)
    load(z + asked(sites="[z]"))


@pytest.mark.parametrize(
    ("site", "key"),
    [("attention", "attention"), ("logits", "head"), ("probabilities", "head"), ("logit_lens", "head")],
)
def test_details_of_a_module_need_their_places(refused, load, site, key):
    asking = asked(details=f"{{sites: [{site}], samples: [a]}}")
    refused(
        BLOCKS + asking,
        rf"12: representations.details.sites\[0\]: expected {key} in models\[0\] \(mine\), which '{site}' is "
        "read from, found none: give its path",
    )
    load(f"{BLOCKS}    {key}: place\n{asking}")


def test_details_of_a_module_need_blocks(refused):
    refused(
        TEXT + MODULE + asked(sites="['module:*']", details="{sites: [attention, resid], samples: [a]}"),
        r"11: representations.details.sites\[0\]: expected blocks in models\[0\] \(mine\), which 'attention'",
        r"11: representations.details.sites\[1\]: expected blocks in models\[0\] \(mine\), which 'resid'",
    )
