"""What is read of models: heads, poolings, windows and details, each problem with its line."""

from __future__ import annotations

import pytest
from manifest_examples import ARRAYS, BERT, FASTA, POINTS, TEXT, TOKENS, asked, catalog

SITES = "one of token_embed, .*, mlp_out, one head such as z.3 .*, or module:<glob>, found the text"


def test_all_that_can_be_read_is_accepted(load):
    details = "{sites: [logit_lens, attention], samples: [b, a], layers: [1, 3]}"
    asking = asked(
        sites="[z.0, z.11, k, pos_embed]",
        pooling="[std, tokens, 'token:0', 'token:-1', mean]",
        details=details,
    )
    found = load(TEXT + BERT + asking).representations
    assert found.sites == ("z.0", "z.11", "k", "pos_embed")
    assert found.pooling == ("std", "tokens", "token:0", "token:-1", "mean")
    assert found.heads == "together"
    assert (found.details.sites, found.details.samples) == (("logit_lens", "attention"), ("b", "a"))
    assert found.details.layers == (1, 3)


def test_nothing_is_kept_whole_unless_it_is_asked_for(load):
    assert load(TEXT + BERT).representations.details is None
    details = load(TEXT + BERT + asked(details="{sites: [logits], samples: [a]}")).representations.details
    assert details.layers == "all"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"sites": "[attention]"},
            rf"sites\[0\]: expected {SITES} 'attention': it is kept whole, for chosen ",
        ),
        (
            {"sites": "[logit_lens]"},
            rf"sites\[0\]: expected {SITES} 'logit_lens': .*representations.details.si",
        ),
        ({"sites": "[z.a]"}, rf"sites\[0\]: expected {SITES} 'z.a'"),
        ({"sites": "[mlp_out.3]"}, rf"sites\[0\]: expected {SITES} 'mlp_out.3': did you mean 'mlp_out'\?"),
        ({"sites": "[z.-1]"}, rf"sites\[0\]: expected {SITES} 'z.-1'"),
        (
            {"sites": "[z.03]"},
            r"sites\[0\]: expected the number of a head without leading zeros, found .*: write z.3$",
        ),
        ({"sites": "[z.3, z.3]"}, "sites: expected every item once, found z.3 more than once"),
        (
            {"heads": "seperate"},
            "heads: expected 'together' or 'separate', found .*: did you mean 'separate'",
        ),
        (
            {"sites": "[z, q, z.3]", "heads": "separate"},
            (
                r"sites\[2\]: expected every head once, found 'z.3' beside 'z', of which every head is a "
                "site because heads is separate: remove 'z.3'"
            ),
        ),
        (
            {"pooling": "[men]"},
            r"pooling\[0\]: expected one of mean, mean_all, .* or token:<i>, found .*: did you mean 'mean'\?",
        ),
        (
            {"pooling": "['token:']"},
            r"pooling\[0\]: expected one of .*, found the text 'token:': did you mean",
        ),
        (
            {"pooling": "['token:1.5']"},
            r"pooling\[0\]: expected one of .*, found .*'token:1.5': did you",
        ),
        (
            {"pooling": "['token:01']"},
            r"pooling\[0\]: expected a position without leading zeros, found .*: write token:1$",
        ),
        (
            {"pooling": "['token:-0']"},
            r"pooling\[0\]: expected a position without leading zeros, found .*: write token:0$",
        ),
        ({"pooling": "[std, std]"}, "pooling: expected every item once, found std more than once"),
    ],
)
def test_every_problem_of_sites_and_poolings_has_its_line(refused, keys, expected):
    refused(TEXT + BERT + asked(**keys), f"9: representations.{expected}")


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ("3", ": expected a mapping of keys, found the number 3"),
        ("{samples: [a]}", r".sites: expected the key sites \(attention, .*\), found none: add it"),
        ("{sites: [logits]}", r".samples: expected the key samples \(Ids of .*\), found none: add it"),
        ("{sites: [], samples: [a]}", ".sites: expected at least 1 item, found none: add one$"),
        ("{sites: [logits], samples: []}", ".samples: expected at least 1 item, found none"),
        ("{sites: [logits, logits], samples: [a]}", ".sites: expected every item once, found logits more"),
        ("{sites: [logits], samples: [a, a]}", ".samples: expected every item once, found a more than once"),
        ("{sites: [logits], samples: [1]}", r".samples\[0\]: expected a text, found .* 1: put it in quotes"),
        (
            "{sites: [logit], samples: [a]}",
            r".sites\[0\]: expected 'attention', 'logits', .*, found the text 'logit': did you mean 'logits'",
        ),
        ("{sites: [z.1], samples: [a]}", r".sites\[0\]: expected 'attention', .*, found the text 'z.1'"),
        (
            "{sites: [attention], samples: [a], layer: 1}",
            ".layer: expected one of sites, samples, layers, found 'layer': did you mean 'layers'",
        ),
        (
            "{sites: [attention], samples: [a], layers: last}",
            ".layers: expected all or a list of layer numbers, found the text 'last': correct it$",
        ),
        (
            "{sites: [attention], samples: [a], layers: [2, 1]}",
            r".layers: expected strictly ascending numbers, found \[2, 1\]",
        ),
        (
            "{sites: [resid, attention], samples: [a], layers: [0]}",
            (
                r".layers: expected a layer of 'attention', which has layers from 1, found \[0\]: add "
                "one, or take attention out of sites"
            ),
        ),
        (
            "{sites: [token_embed], samples: [a], layers: [1, 2]}",
            r".layers: expected a layer of 'token_embed', which has layer 0 only, found \[1, 2\]: add one",
        ),
        (
            "{sites: [logits, logit_lens], samples: [a], layers: [1]}",
            (
                ".layers: expected no layers, because only attention and places in a block are kept at "
                "chosen layers, found sites logits, logit_lens: remove layers, or add one of these to sites"
            ),
        ),
    ],
)
def test_every_problem_of_details_has_its_line(refused, details, expected):
    refused(TEXT + BERT + asked(details=details), f"9: representations.details{expected}")


@pytest.mark.parametrize(("dataset", "models"), [(TEXT, BERT), (FASTA, catalog("esm2"))])
def test_the_spread_of_windows_is_refused(refused, load, dataset, models):
    refused(
        f"{dataset}  too_long: window\n{models}" + asked(pooling="[mean, std]"),
        r"10: representations.pooling\[1\]: expected another pooling, because dataset.too_long is window and "
        "the spread of windows cannot be put together, found 'std': cut with truncate, or read another",
    )
    others = asked(pooling="[mean, mean_all, first, last, max, tokens, 'token:1', 'token:-2']")
    assert load(f"{dataset}  too_long: window\n{models}{others}").dataset.too_long == "window"
    load(f"{dataset}  too_long: truncate\n{models}" + asked(pooling="[std]"))


@pytest.mark.parametrize(("pooling", "needed"), [("token:8", 9), ("token:-9", 9), ("token:511", 512)])
def test_a_token_that_no_text_has_is_refused(refused, pooling, needed):
    refused(
        f"{TEXT}  max_length: 8\n{BERT}" + asked(pooling=f"[mean, '{pooling}']"),
        r"10: representations.pooling\[1\]: expected a token of samples of at most dataset.max_length = 8, "
        f"found '{pooling}', which needs {needed}: raise dataset.max_length, or read another token",
    )


def test_the_outermost_tokens_that_a_text_may_have_are_accepted(load):
    load(f"{TEXT}  max_length: 8\n{BERT}" + asked(pooling="['token:7', 'token:-8']"))
    load(f"{FASTA}  max_length: 8\n{catalog('esm2')}" + asked(pooling="['token:9', 'token:-10']"))
    load(TOKENS + BERT + asked(pooling="['token:99999']"))


def test_tokens_may_have_labels_and_details(load):
    labels = "  labels: {topic: {column: topic}}\n"
    asking = asked(pooling="[tokens]", details="{sites: [attention, mlp_act], samples: [a]}")
    manifest = load(TEXT + labels + BERT + asking + "geometry: {labels: [topic]}\n")
    assert (manifest.labels, manifest.representations.pooling) == (("topic",), ("tokens",))


def test_points_that_exist_already_have_no_details(refused):
    refused(
        ARRAYS + POINTS + asked(details="{sites: [logits], samples: ['0']}"),
        "9: representations: expected no such key, because all models are arrays: .*: remove representations",
    )
