"""The page of the profile names every key that a profile may hold, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from test_profile_hostile import FIELDS

from hpcgeom.manifest.profile_checks import MENDS
from hpcgeom.manifest.profile_parts import (
    DaskMode,
    DaskSection,
    EnvironmentSection,
    ExtractJobs,
    JobSection,
    NodeSection,
    RatedJobs,
    SlurmSection,
)
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.manifest.setup_text import COMMANDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "profile.md").read_text(encoding="utf-8")
ROWS = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in PAGE.split("\n") if line.startswith("| ")]
DEFAULTS = {key: row[1] for row in ROWS for key in re.findall(r"`([\w.]+)`", row[0])}
CODE = {word for span in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"[\w.-]+", span)}
OWN = set(ExtractJobs.model_fields) - set(RatedJobs.model_fields)
SECTIONS = {
    "slurm.": set(SlurmSection.model_fields),
    ".": set(RatedJobs.model_fields),
    "extract.": OWN,
    "dask.": set(DaskSection.model_fields),
    "environment.": set(EnvironmentSection.model_fields),
    "node.": set(NodeSection.model_fields),
}


def test_every_key_is_a_row_of_the_page_and_every_row_is_a_key():
    expected = {f"{section}{key}" for section, keys in SECTIONS.items() for key in keys} | {"name", "logs"}
    assert set(DEFAULTS) == expected
    assert set(Profile.model_fields) <= CODE


@pytest.mark.parametrize(
    ("start", "section"),
    [("slurm.", SlurmSection), (".", RatedJobs), ("extract.", ExtractJobs), ("dask.", DaskSection)],
)
def test_defaults_are_those_of_the_page(start, section):
    for key, field in section.model_fields.items():
        if isinstance(field.default, int | str) and f"{start}{key}" in DEFAULTS:
            assert DEFAULTS[f"{start}{key}"].strip('`"') == str(field.default)
        elif f"{start}{key}" in DEFAULTS:
            assert field.default is None
            assert not DEFAULTS[f"{start}{key}"].isdigit()


def test_words_that_a_profile_may_hold_are_on_the_page():
    assert {*get_args(DaskMode), *COMMANDS} <= CODE


def test_options_that_hpcgeom_sets_are_refused_as_the_page_says():
    (sentence,) = re.findall(r"hpcgeom itself sets (.*?)\.", PAGE, re.DOTALL)
    named = [word.replace("-", "_") for word in re.findall(r"`([a-z-]+)`", sentence)]
    assert len(named) == 11
    assert {MENDS[word] for word in named} == {"hpcgeom sets this itself: remove it"}


def test_hostile_text_is_tried_in_every_field_that_holds_text():
    texts = {
        f"{section}.{key}"
        for section, model in (
            ("slurm", SlurmSection),
            ("environment", EnvironmentSection),
            ("search", JobSection),
        )
        for key, field in model.model_fields.items()
        if "str" in str(field.annotation)
    }
    assert texts <= set(FIELDS)
