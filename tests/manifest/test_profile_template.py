"""The commented profile and those that are shipped: they load, and the template shows every default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.errors import InputError
from hpcgeom.manifest.fields import SLUG, Section
from hpcgeom.manifest.profile import load_profile
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.manifest.profile_template import profile_template
from hpcgeom.manifest.yaml import parse_yaml

SHIPPED = Path(__file__).resolve().parents[2] / "slurm" / "profiles"


def keys_of(section: type[Section]) -> dict[str, Any]:
    """All keys that a profile may hold, sections inside sections included, with their defaults."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type)]
        is_section = issubclass(inner[0], Section) if inner else False
        found[name] = keys_of(inner[0]) if is_section and not get_args(field.annotation) else field.default
    return found


def test_the_template_shows_every_key_with_its_default():
    shown = parse_yaml(profile_template("demo"), "p.yaml").data
    lists = {"modules": (), "setup": ()}
    shown["environment"] |= {name: tuple(shown["environment"][name]) for name in lists}
    expected = keys_of(Profile)
    assert {**shown, "name": expected["name"]} == expected


def test_the_template_is_shipped():
    assert (SHIPPED / "template.yaml").read_text(encoding="utf-8") == profile_template("my-cluster")


@settings(deadline=None)
@given(name=st.from_regex(SLUG, fullmatch=True))
def test_any_name_stays_a_text(name):
    assert parse_yaml(profile_template(name), "p.yaml").data["name"] == name


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 101, "x\n", "x'"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(InputError, match=r"expected a name of 1 to 100 of the characters .*: choose another"):
        profile_template(name)


def test_every_profile_that_is_shipped_is_valid():
    loaded = {path.stem: load_profile(path).profile for path in SHIPPED.glob("*.yaml")}
    assert {"gpu-nodes", "local-lab", "template"} <= loaded.keys()
    assert loaded["gpu-nodes"].slurm_of("extract")["partition"] == "gpu"
    assert (loaded["gpu-nodes"].extract.gpus, loaded["gpu-nodes"].search.gpus) == (1, 0)
    lab = loaded["local-lab"]
    assert {lab.job(stage).walltime_s for stage in ("extract", "search", "geometry", "collect")} == {600}
    assert (lab.n_nodes("search"), lab.processes_per_node("search"), lab.extract.cpus) == (2, 1, 1)


def test_what_is_invented_is_marked():
    lines = (SHIPPED / "gpu-nodes.yaml").read_text(encoding="utf-8").split("\n")
    invented = [
        line for line in lines if re.match(r" *(account|partition|constraint|modules|node|  nodes):", line)
    ]
    assert len(invented) == 8
    assert all("CHANGE" in line for line in invented)
