"""One model at several steps of its training: what it becomes, and what is wrong with it."""

from __future__ import annotations

import pytest
from manifest_examples import BERT, IMAGES, TEXT, catalog, training

from hpcgeom.manifest import canonical, manifest_digest

TWO = ("step: 0, source: checkpoints/0", "step: 2000, source: org/name, revision: step2000")


def test_every_checkpoint_becomes_a_model_with_its_step(load):
    manifest = load(TEXT + training(*TWO) + "    dtype: bfloat16\n    tokenizer: org/name\n")
    first, second = manifest.all_models
    assert (first.name, second.name) == ("training.step0", "training.step2000")
    assert (first.source, first.revision, first.step) == ("checkpoints/0", None, 0)
    assert (second.source, second.revision, second.step) == ("org/name", "step2000", 2000)
    for model in (first, second):
        assert (model.family, model.dtype, model.tokenizer) == ("gpt2", "bfloat16", "org/name")
        assert model.checkpoints == ()


def test_a_model_with_one_set_of_weights_stays_as_it_is(load):
    manifest = load(TEXT + catalog("gpt2", "step: 5"))
    assert manifest.all_models == manifest.models
    assert manifest.models[0].expanded() == (manifest.models[0],)


def test_models_stand_in_the_order_of_the_results(load):
    after = training(*TWO).removeprefix("models:\n")
    manifest = load(TEXT + BERT + after + catalog("llama").removeprefix("models:\n"))
    names = [model.name for model in manifest.all_models]
    assert names == ["minilm", "training.step0", "training.step2000", "llama"]


def test_a_model_of_one_checkpoint_is_not_the_model_itself(load):
    alone = load(TEXT + training("step: 5, source: org/name"))
    itself = load(TEXT + catalog("gpt2", "step: 5").replace("name: gpt2", "name: training"))
    assert alone.all_models[0].name == "training.step5"
    assert manifest_digest(alone) != manifest_digest(itself)


def test_what_is_expanded_is_a_valid_model_by_itself(load):
    for model in load(TEXT + training(*TWO)).all_models:
        assert type(model).model_validate(model.model_dump()) == model


@pytest.mark.parametrize(
    ("checkpoints", "expected"),
    [
        (
            ("step: 2, source: a", "step: 1, source: b"),
            r"8: models\[0\].checkpoints: expected .* strictly ascending step, found \[2, 1\]: sort",
        ),
        (
            ("step: 1, source: a", "step: 1, source: b"),
            r"8: models\[0\].checkpoints: expected .* strictly ascending step, found \[1, 1\]: sort",
        ),
        (
            ("step: 1, source: a", "step: 2, source: a"),
            (
                r"10: models\[0\].checkpoints\[1\]: expected weights of step 2, found 'a', which is that of "
                "step 1 too: correct source or revision"
            ),
        ),
        (
            (
                "step: 1, source: a/b, revision: c",
                "step: 2, source: a/b",
                "step: 4, source: a/b, revision: c",
            ),
            (
                r"11: models\[0\].checkpoints\[2\]: expected weights of step 4, found 'a/b' at revision 'c', "
                "which is that of step 1 too: correct source or revision"
            ),
        ),
        (
            ("step: 1, source: a, revision: c",),
            r"9: models\[0\].checkpoints\[0\].revision: expected no revision, because source is 'a' and ",
        ),
        (
            ("step: 1, source: ~/a",),
            r"9: models\[0\].checkpoints\[0\].source: expected a path, found the text '~/a': write",
        ),
        (
            ("source: a",),
            r"9: models\[0\].checkpoints\[0\].step: expected the key step \(Training step; .*\), found none",
        ),
        (
            ("step: 1",),
            r"9: models\[0\].checkpoints\[0\].source: expected the key source \(A local .*\), found none",
        ),
        (
            ("step: -1, source: a",),
            r"9: models\[0\].checkpoints\[0\].step: expected a number of at least 0, found the number -1",
        ),
        (
            ("step: '1', source: a",),
            r"9: models\[0\].checkpoints\[0\].step: expected an integer, found the text '1'",
        ),
        (
            ("step: 1, sorce: a, source: b",),
            r"9: models\[0\].checkpoints\[0\].sorce: expected one of step, source, revision, .*: did you",
        ),
    ],
)
def test_every_problem_of_checkpoints_has_its_line(refused, checkpoints, expected):
    refused(TEXT + training(*checkpoints), expected)


def test_checkpoints_are_a_list_of_mappings(refused):
    for value, found in (
        ("3", "a list, found the number 3"),
        ("[3]", "a mapping of keys, found the number 3"),
    ):
        models = f"models:\n  - {{name: a, family: gpt2, checkpoints: {value}}}\n"
        refused(TEXT + models, rf"6: models\[0\].checkpoints(\[0\])?: expected {found}")


def test_an_empty_list_of_checkpoints_is_none(refused):
    refused(
        TEXT + "models:\n  - {name: a, family: gpt2, checkpoints: []}\n",
        r"6: models\[0\]: expected exactly one of the keys source and checkpoints, found none: give one of",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "step: 3",
            "step: expected no step beside checkpoints, each of which has its own, found 3: remove step",
        ),
        (
            "step: 0",
            "step: expected no step beside checkpoints, each of which has its own, found 0: remove step",
        ),
        (
            "revision: main",
            "revision: expected no revision beside checkpoints, each of .* own, found main: remove revision",
        ),
        (
            "weights: random",
            (
                "weights: expected no weights beside checkpoints, which are files, found random: remove "
                "weights, and name the untrained model as another model"
            ),
        ),
    ],
)
def test_what_checkpoints_have_themselves_is_not_said_again(refused, line, expected):
    refused(TEXT + training(*TWO) + f"    {line}\n", rf"11: models\[0\].{expected}")


def test_a_checkpoint_has_a_name_of_its_own(refused):
    other = BERT.removeprefix("models:\n").replace("minilm", "Training.step2000", 1)
    refused(
        TEXT + training(*TWO) + other,
        r"10: models\[0\].checkpoints\[1\]: expected a name that no other model has, found "
        r"'training.step2000', which models\[1\] has too: rename one",
    )


@pytest.mark.parametrize("letters", [90, 91])
def test_names_leave_room_for_steps(load, refused, letters):
    name = "x" * letters
    models = training("step: 0, source: a", "step: 12345, source: b").replace("training", name)
    if letters == 90:
        assert len(load(TEXT + models).all_models[1].name) == 100
    else:
        refused(
            TEXT + models,
            rf"6: models\[0\].name: expected a name that leaves room for the steps of its checkpoints, found "
            f"'{name}.step12345' of 101 characters, more than 100: shorten it",
        )


def test_checkpoints_have_the_sites_of_their_family(refused):
    models = training(*TWO, family="vit")
    refused(
        IMAGES + models + "representations: {sites: [pos_embed]}\n",
        r"11: representations.sites\[0\]: .* models\[0\] 'training' of family 'vit' has no site 'pos_embed'",
    )


def test_the_settings_keep_checkpoints_as_they_were_written(load):
    settings = canonical(load(TEXT + training(*TWO)))
    assert [model["name"] for model in settings["models"]] == ["training"]
    assert settings["models"][0]["checkpoints"] == [
        {"step": 0, "source": "checkpoints/0", "revision": None},
        {"step": 2000, "source": "org/name", "revision": "step2000"},
    ]
