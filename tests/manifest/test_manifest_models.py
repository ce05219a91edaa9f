"""One sentence with its line for all that is wrong with models."""

from __future__ import annotations

import pytest
from manifest_examples import ARRAYS, BERT, MODULE, POINTS, TEXT

FAMILIES_IN_WORDS = "bert, esm2, gpt2, igpt, llama, vit, module, arrays"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{}", rf"6: models\[0\].family: expected one of {FAMILIES_IN_WORDS}, found no such key: add it"),
        ("{family: 3}", rf"6: models\[0\].family: expected one of {FAMILIES_IN_WORDS}, found the number 3"),
        ("{family: brt}", r"6: models\[0\].family: .*found the text 'brt': did you mean 'bert'"),
        ("minilm", r"6: models\[0\]: expected a mapping of keys, found the text 'minilm'"),
        ("{family: bert, source: a}", r"6: models\[0\].name: expected the key name \(Name of the model"),
        (
            "{family: bert, name: 3, source: a}",
            r"6: models\[0\].name: expected a text, found the number 3: put it in q",
        ),
        (
            "{family: bert, name: m}",
            r"6: models\[0\]: expected exactly one of the keys source and checkpoints, found none: give",
        ),
        (
            "{family: bert, name: m, source: ~/x}",
            r"6: models\[0\].source: expected a path, found the text '~/x'",
        ),
        (
            "{family: bert, name: m, source: 'package:a'}",
            r"6: models\[0\].source: expected package:<import name>/<folder .*: write it so",
        ),
        (
            "{family: bert, name: m, source: 'package:a/../b'}",
            r"6: models\[0\].source: expected package:<import name>/",
        ),
        (
            "{family: bert, name: m, source: a/b, revision: 123}",
            r"6: models\[0\].revision: expected a text, .*put it in q",
        ),
        (
            "{family: bert, name: m, source: ./b, revision: c}",
            r"6: models\[0\].revision: expected no revision, .*'./b'",
        ),
        (
            "{family: bert, name: m, source: a, dtype: float64}",
            r"6: models\[0\].dtype: expected 'float32', 'bfloat16' or",
        ),
        (
            "{family: bert, name: m, source: a, strategy: fast}",
            r"6: models\[0\].strategy: expected 'auto', 'replicate', 'p",
        ),
        (
            "{family: bert, name: m, source: a, layers: 3}",
            r"6: models\[0\].layers: expected one of name, family, source",
        ),
    ],
)
def test_every_problem_of_a_bert_has_its_line(refused, model, expected):
    refused(f"{TEXT}models:\n  - {model}\n", expected)


@pytest.mark.parametrize("models", ["[]", "{}", ""])
def test_models_are_a_list_of_at_least_one(refused, models):
    refused(f"{TEXT}models: {models}\n", "5: models: expected (at least 1 item, found none|a list, found)")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "package.module:function",
            "package.module",
            r"8: models\[0\].factory: expected package.module:function, found .*: write it so",
        ),
        (
            "    weights: random\n",
            "",
            r"6: models\[0\]: expected exactly one of the keys source and weights, found none: give the path",
        ),
        (
            "weights: random",
            "weights: zeros",
            r"9: models\[0\].weights: expected 'random', found the text 'zeros'",
        ),
        (
            "random",
            "random\n    source: x",
            r"9: models\[0\].weights: .*one of the keys source and weights, found both: remove one",
        ),
        (
            "weights: random",
            "source: w\n    seed: 3",
            r"10: models\[0\].seed: expected no seed, because .*found 3: remove",
        ),
        (
            "weights: random",
            "weights: random\n    seed: 0.5",
            r"10: models\[0\].seed: expected an integer, found .* 0.5",
        ),
        (
            "    tokenizer: org/name\n",
            "",
            r"6: models\[0\]: expected the key tokenizer, because dataset.kind is text and",
        ),
        (
            "random",
            "random\n    blocks: a b",
            r"10: models\[0\].blocks: expected the dotted path of a submodule such .*: write it so",
        ),
        (
            "random",
            "random\n    final_norm: n",
            r"10: models\[0\].final_norm: expected blocks beside final_norm: give",
        ),
        (
            "random",
            "random\n    block_sites: {ln_1: n}",
            r"10: models\[0\].block_sites: expected blocks beside block_s",
        ),
        (
            "random",
            "random\n    factory_arguments: {a-b: 1}",
            r"10: models\[0\].factory_arguments.a-b: .*the name of an",
        ),
        (
            "random",
            "random\n    factory_arguments: {class: 1}",
            r"10: models\[0\].factory_arguments.class: .*the name of",
        ),
        (
            "random",
            "random\n    factory_arguments: {a: .nan}",
            r"10: models\[0\].factory_arguments.a: .*found the number n",
        ),
        (
            "random",
            "random\n    factory_arguments: {a: [1]}",
            r"10: models\[0\].factory_arguments.a: .*found a list",
        ),
        (
            "random",
            "random\n    blocks: b\n    block_sites: {rsid: n}",
            r"11: models\[0\].block_sites.rsid: .*found the text 'rsid': did you mean 'resid'",
        ),
    ],
)
def test_every_problem_of_a_module_has_its_line(refused, old, new, expected):
    sites = "representations: {sites: ['module:encoder.*']}\n"
    refused(TEXT + MODULE.replace(old, new) + sites, expected)


def test_a_module_without_blocks_has_no_places_in_a_block(refused):
    refused(
        TEXT + MODULE,
        r"1: representations.sites\[0\]: expected module:<glob>, because models\[0\] \(mine\) has no",
    )
    refused(
        TEXT + MODULE + "representations:\n  sites: ['module:a.*', ln_1]\n",
        r"12: representations.sites\[1\]: .*found 'ln_1': add models\[0\].blocks or change the site",
    )


@pytest.mark.parametrize("source", ["points.npy", "{layer}/{layer}.npy", "{layer:02d}.npy", "{layer}{x}.npy"])
def test_the_path_of_points_has_the_layer_in_it_once(refused, source):
    models = POINTS.replace("layer{layer}.npy", f"'{source}'")
    refused(
        ARRAYS + models,
        r"8: models\[0\].source: expected a path with \{layer\} in it once, .*: write it so",
    )


def test_points_that_exist_already_are_not_extracted(refused):
    refused(
        ARRAYS + POINTS + "representations: {}\nextract:\n  tokens_per_batch: 1\n",
        "9: representations: expected no such key, because all models are arrays: .*pooling none: rem",
        "11: extract.tokens_per_batch: expected no such key, because all .*remove extract.tokens_per",
    )


def test_samples_and_models_are_both_arrays_or_neither_is(refused):
    refused(
        TEXT + POINTS,
        r"7: models\[0\].family: expected one of bert, gpt2, llama, module, because .*, found arrays:",
    )
    refused(
        ARRAYS + BERT,
        r"7: models\[0\].family: expected arrays, because dataset.kind is arrays, found bert: .*change",
    )
    refused(
        TEXT + BERT + POINTS.removeprefix("models:\n"),
        r"10: models\[1\].family: expected one of bert, gpt2, llama, module, because .*, found arrays:",
    )


def test_two_models_cannot_differ_by_case_alone(refused):
    second = BERT.removeprefix("models:\n").replace("minilm", "MiniLM")
    refused(
        TEXT + BERT + second,
        r"9: models\[1\].name: .*differs from 'minilm' of models\[0\] by more than case, found",
    )
