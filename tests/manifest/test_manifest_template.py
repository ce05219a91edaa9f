"""The manifest of `hpcgeom init`: it loads, shows every key, and shows the defaults."""

from __future__ import annotations

import itertools
import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.errors import InputError
from hpcgeom.manifest import canonical, load_manifest, manifest_digest, template
from hpcgeom.manifest.fields import SLUG
from hpcgeom.manifest.sections import Manifest, Section
from hpcgeom.manifest.yaml import parse_yaml

FAMILIES_SHOWN = ("bert", "bert", "gpt2", "igpt", "module", "arrays")
READS = {"module": ("text", "fasta", "tokens"), "arrays": ("arrays",)}
READS |= {name: family.dataset_kinds for name, family in FAMILIES.items()}


def sections_of(root: Any) -> list[type[Section]]:
    """The section `root` and all that stand in its keys."""
    found: dict[type[Section], None] = {}
    pending = [root]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, Section):
            if annotation not in found:
                found[annotation] = None
                pending += [field.annotation for field in annotation.model_fields.values()]
        else:
            pending += get_args(annotation)
    return list(found)


def blocks(text: str) -> dict[str, list[str]]:
    """All versions of each section: the one in force, and those in comments without their signs."""
    found: dict[str, list[str]] = {}
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("# Or"):
            lines = [line.removeprefix("# ") for line in lines[1:]]
        found.setdefault(lines[0].partition(":")[0], []).append("\n".join(lines))
    return found


def test_the_template_is_a_valid_manifest(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(template("my-run"))
    assert load_manifest(path).manifest.name == "my-run"


@settings(deadline=None)
@given(name=st.from_regex(SLUG, fullmatch=True))
def test_any_name_stays_a_text(name):
    assert parse_yaml(template(name), "m.yaml").data["name"] == name


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 101, "x\n"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(
        InputError, match=r"expected a name of 1 to 100 of the characters .* found .*: choose another"
    ):
        template(name)


def test_the_template_shows_defaults_and_nothing_else(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(template("demo"))
    shown = load_manifest(path).manifest
    short = Manifest.model_validate(
        {
            "name": "demo",
            "dataset": {"kind": "text", "path": shown.dataset.path},
            "models": [{"name": "minilm", "family": "bert", "source": shown.models[0].source}],
        }
    )
    assert canonical(shown) == canonical(short)


@pytest.mark.parametrize("section", sections_of(Manifest), ids=lambda section: section.__name__)
def test_every_key_of_every_section_is_shown(section):
    texts = [text for versions in blocks(template("demo")).values() for text in versions]
    shown = {word for text in texts for line in text.split("\n") for word in line.replace("{", " ").split()}
    assert {f"{name}:" for name in section.model_fields} <= shown


def test_sections_inside_sections_are_looked_at():
    names = {section.__name__ for section in sections_of(Manifest)}
    assert {"Checkpoint", "Details", "ImagesLabel", "FastaLabel", "TextColumns", "ModuleModel"} < names
    assert len(names) == 26


def test_all_versions_in_comments_are_valid_together(tmp_path):
    versions = blocks(template("demo"))
    assert (len(versions["dataset"]), len(versions["models"])) == (5, 6)
    digests = set()
    for dataset, models in itertools.product(versions["dataset"], versions["models"]):
        kind, family = (re.search(r"(?:kind|family): (\w+)", text)[1] for text in (dataset, models))
        is_arrays = kind == "arrays"
        if kind == "tokens":  # encoded already
            models = re.sub(r"\n +(tokenizer|clusters): [^n\n].*", "", models)  # but null
        if kind not in READS[family]:
            continue
        left_out = {"representations", "extract"} if is_arrays else set()
        rest = [versions[name][0] for name in ("representations", "extract", "neighbors", "geometry")]
        kept = [text for text in rest if text.partition(":")[0] not in left_out]
        path = tmp_path / "m.yaml"
        path.write_text("\n".join([versions["name"][0], dataset, models, *kept]))
        digests.add(manifest_digest(load_manifest(path).manifest))
    assert len(digests) == sum(len(READS[family]) for family in FAMILIES_SHOWN)
