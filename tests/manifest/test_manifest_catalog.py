"""Models of the catalog: one sentence with its line for all that is wrong with them."""

from __future__ import annotations

import pytest
from manifest_examples import BERT, FASTA, IMAGES, TEXT, TOKENS, asked, catalog

from hpcgeom.catalog.families import FAMILIES

DATASETS = {"text": TEXT, "fasta": FASTA, "images": IMAGES, "tokens": TOKENS}
READS = [(name, kind) for name, family in FAMILIES.items() for kind in family.dataset_kinds]


def reading(family: str) -> str:
    """Samples that a family reads."""
    return DATASETS[FAMILIES[family].dataset_kinds[0]]


@pytest.mark.parametrize(("family", "kind"), READS)
def test_every_family_reads_what_the_catalog_says(load, family, kind):
    manifest = load(DATASETS[kind] + catalog(family))
    assert (manifest.dataset.kind, manifest.models[0].family) == (kind, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_site_and_detail_of_the_catalog_is_accepted(load, family):
    known = FAMILIES[family]
    sites = [site for site in known.sites if (family, site) != ("igpt", "pos_embed")]
    details = f"{{sites: [{', '.join(known.detail_sites)}], samples: [a]}}"
    text = asked(sites=f"[{', '.join(sites)}]", details=details)
    manifest = load(reading(family) + catalog(family) + text)
    assert manifest.representations.sites == tuple(sites)
    assert manifest.representations.details.sites == known.detail_sites


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_any_family_gets_the_documented_defaults(load, family):
    model = load(reading(family) + catalog(family)).models[0]
    assert (model.revision, model.step, model.checkpoints, model.tokenizer) == (None, None, (), None)
    assert (model.weights, model.seed, model.config) == (None, 0, {})
    assert (model.image_pipeline, model.clusters) == ("paper", None)
    assert (model.dtype, model.strategy) == ("float32", "auto")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_key_is_named_with_the_nearest_one_in_any_family(refused, family):
    refused(
        reading(family) + catalog(family, "chekpoints: []"),
        r"9: models\[0\].chekpoints: expected one of name, family, source, .*: did you mean 'checkpoints'\?",
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("step: -1", r"9: models\[0\].step: expected a number of at least 0, found the number -1"),
        ("step: 1e3", r"9: models\[0\].step: expected an integer, found the number 1000.0"),
        ("weights: zeros", r"9: models\[0\].weights: expected 'random', found the text 'zeros'"),
        ("seed: 3", r"9: models\[0\].seed: expected no seed, because only weights: .*, found 3: remove seed"),
        ("seed: -3", r"9: models\[0\].seed: expected a number of at least 0, found the number -3"),
        (
            "config: {num_hidden_layers: 2, vocab_size: 3}",
            (
                r"9: models\[0\].config: expected no config, because weights that are read have sizes of "
                "their own, found num_hidden_layers, vocab_size: remove config, or add weights: random"
            ),
        ),
        ("config: [2]", r"9: models\[0\].config: expected a mapping of keys, found a list"),
        ("config: {a: [2]}", r"9: models\[0\].config.a: expected a finite number, a text, .* found a list"),
        ("config: {'': 2}", r"9: models\[0\].config.: expected some text, found the text ''"),
        (
            "tokenizer: ~/t",
            r"9: models\[0\].tokenizer: expected a path, found the text '~/t': write the path",
        ),
        ("tokenizer: 'package:t'", r"9: models\[0\].tokenizer: expected package:<import name>/<folder"),
        (
            "image_pipeline: huggingface",
            (
                r"9: models\[0\].image_pipeline: expected no image_pipeline, because only family igpt has "
                "colors, found 'huggingface' in family gpt2: remove image_pipeline"
            ),
        ),
        (
            "clusters: c.npy",
            (
                r"9: models\[0\].clusters: expected no clusters, because only family igpt has "
                "colors, found 'c.npy' in family gpt2: remove clusters"
            ),
        ),
    ],
)
def test_every_problem_of_a_key_has_its_line(refused, more, expected):
    refused(TEXT + catalog("gpt2", more), expected)


@pytest.mark.parametrize("source", ["folder", "./a/b", "package:a/b", "model.pt"])
def test_a_revision_needs_a_hub_id(refused, source):
    models = catalog("bert", "revision: main").replace("org/name", source)
    refused(
        TEXT + models,
        rf"9: models\[0\].revision: expected no revision, because source is '{source}' and only a hub id",
    )


def test_weights_come_from_one_place(refused):
    steps = "checkpoints: [{step: 1, source: a}]"
    refused(
        TEXT + catalog("bert", steps),
        r"6: models\[0\]: expected exactly one of the keys source and checkpoints, found both: remove one",
    )
    refused(
        TEXT + catalog("bert").replace("    source: org/name\n", "    source:\n"),
        r"6: models\[0\]: expected exactly one of the keys source and checkpoints, found none: give one of",
    )


def test_random_weights_have_a_seed_and_other_sizes(load):
    more = ("weights: random", "seed: 7", "config: {n_head: 4, act: gelu, scale: 0.5, tied: true, x: null}")
    model = load(TEXT + catalog("gpt2", *more)).models[0]
    assert (model.weights, model.seed) == ("random", 7)
    assert model.config == {"n_head": 4, "act": "gelu", "scale": 0.5, "tied": True, "x": None}


@pytest.mark.parametrize("family", ["igpt", "vit"])
def test_families_of_images_have_no_tokenizer(refused, family):
    refused(
        IMAGES + catalog(family, "tokenizer: org/name"),
        rf"9: models\[0\].tokenizer: expected no tokenizer, because family {family} reads images, found "
        "'org/name': remove tokenizer",
    )


@pytest.mark.parametrize(
    ("family", "kind", "readers", "kinds"),
    [
        ("bert", "fasta", "esm2, module", "text, tokens"),
        ("gpt2", "images", "igpt, vit", "text, tokens"),
        ("esm2", "text", "bert, gpt2, llama, module", "fasta, tokens"),
        ("igpt", "text", "bert, gpt2, llama, module", "images, tokens"),
        ("vit", "tokens", "bert, esm2, gpt2, igpt, llama, module", "images"),
    ],
)
def test_a_family_that_does_not_read_the_samples_is_refused_with_those_that_do(
    refused, family, kind, readers, kinds
):
    refused(
        DATASETS[kind] + catalog(family),
        rf"7: models\[0\].family: expected a family that reads {kind} \({readers}\), found {family}, which "
        f"reads {kinds}: change dataset.kind or the family",
    )


def test_a_module_reads_no_images(refused):
    module = "models:\n  - {name: m, family: module, factory: 'm:f', weights: random, blocks: b}\n"
    refused(
        IMAGES + module,
        r"6: models\[0\].family: expected a family that reads images \(igpt, vit\), found module, which "
        "reads text, fasta, tokens: change dataset.kind or the family",
    )


@pytest.mark.parametrize(
    ("family", "site"),
    [
        (name, site)
        for name, family in FAMILIES.items()
        for site in family.absent_sites
        if site != "logit_lens"
    ],
)
def test_a_site_that_a_family_lacks_is_refused_with_the_reason_and_the_others(refused, family, site):
    first = FAMILIES[family].sites[0]
    refused(
        reading(family) + catalog(family) + f"representations:\n  sites:\n  - resid\n  - {site}\n",
        rf"12: representations.sites\[1\]: expected what every model has, but models\[0\] '{family}' "
        rf"of family '{family}' has no site '{site}' \(its .*\): choose from {first}, ",
    )


def test_a_detail_that_a_family_lacks_is_refused_with_the_reason_and_the_others(refused):
    refused(
        IMAGES
        + catalog("vit")
        + "representations:\n  details: {sites: [logits, logit_lens], samples: [a]}\n",
        r"10: representations.details.sites\[1\]: expected what every model has, but models\[0\] 'vit' of "
        r"family 'vit' has no site 'logit_lens' \(its head .*\): choose from attention, .*, token_embed, r",
    )


def test_globs_are_for_modules(refused):
    refused(
        TEXT + catalog("gpt2") + asked(sites="['module:h.*', z.1]"),
        r"9: representations.sites\[0\]: expected a place in a block, because module globs are read by "
        r"family 'module' and models\[0\] 'gpt2' is of family 'gpt2', found 'module:h.\*': choose "
        "from token_embed, .*, or run the model as family 'module'",
    )


def test_a_family_is_named_once_however_many_models_it_has(refused):
    second = BERT.removeprefix("models:\n").replace("minilm", "other")
    third = catalog("llama").removeprefix("models:\n")
    refused(
        TEXT + BERT + second + third + asked(sites="[ln_2, pos_embed]"),
        r"15: representations.sites\[0\]: .* but models\[0\] 'minilm' of family 'bert' has no site 'ln_2'",
        r"15: representations.sites\[1\]: .* models\[2\] 'llama' of family 'llama' has no site 'pos_embed'",
    )
