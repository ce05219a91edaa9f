"""plan.json: written once, read by every process."""

from __future__ import annotations

import json

import pytest
from plan_examples import draft, plan_of
from pydantic import ValidationError

from hpcgeom.errors import InputError
from hpcgeom.plan.plan import Plan, read_plan


@pytest.fixture
def plan():
    return plan_of(n=5000, drafts=[draft(sites=("resid", "attn_out"))])


@pytest.fixture
def path(tmp_path, plan):
    path = tmp_path / "plan.json"
    path.write_text(plan.model_dump_json(indent=1))
    return path


def test_a_plan_comes_back_as_it_was_written(plan, path):
    assert read_plan(path) == plan
    assert read_plan(path).model_dump_json(indent=1) == path.read_text()


def test_a_plan_cannot_be_changed(plan):
    with pytest.raises(ValidationError, match="frozen"):
        plan.unit_rows = 1


def test_ranges_of_rows_and_groups_follow_from_the_plan(plan):
    assert plan.row_ranges() == ((0, 5000),)
    assert plan.groups() == (("resid", "mean"), ("attn_out", "mean"))
    assert plan.model("a").name == "a"


def test_a_folder_without_a_plan_is_not_a_run(tmp_path):
    with pytest.raises(InputError, match=r"is not a prepared run \(it has no plan.json\): hpcgeom prepare"):
        read_plan(tmp_path / "plan.json")


def test_a_file_in_place_of_a_run_is_not_a_run(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is not a prepared run"):
        read_plan(tmp_path / "run" / "plan.json")


def test_a_plan_of_a_newer_version_is_refused_even_where_it_reads_like_ours(path):
    written = json.loads(path.read_text())
    path.write_text(json.dumps({**written, "schema_version": 4}))
    with pytest.raises(InputError, match=r"schema 4, but this hpcgeom reads up to 3: use the hpcgeom that"):
        read_plan(path)
    path.write_text(json.dumps({"schema_version": 7, "content": "of another kind"}))
    with pytest.raises(InputError, match="schema 7"):
        read_plan(path)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "the file"),
        (b"[1]", "the file"),
        (b"\xff\xfe\x00", "the file"),
        (b'{"name": "x"}', "manifest_digest"),
        (b'{"schema_version": true}', "name"),
    ],
)
def test_a_damaged_plan_is_named_with_the_place_and_the_mend(path, content, where):
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"plan.json is damaged \({where}: .*hpcgeom prepare writes it again"
    ):
        read_plan(path)


def test_a_plan_cut_short_is_damaged(path):
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="is damaged"):
        read_plan(path)


def test_an_unknown_key_is_damage_too(path):
    written = json.loads(path.read_text())
    written["models"][0]["strategies"] = "x"
    path.write_text(json.dumps(written))
    with pytest.raises(InputError, match=r"damaged \(models.0.strategies: Extra inputs"):
        read_plan(path)


def test_json_of_a_plan_has_every_field_by_name(plan):
    assert set(json.loads(plan.model_dump_json())) == set(Plan.model_fields)
