"""The page of the status names every field of what `hpcgeom status --json` prints, and its example is one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from hpcgeom.api.job_status import SCHEMA, ElementReport, JobReport, RunReport, SpeedReport, StageReport
from hpcgeom.cli.commands import schema
from hpcgeom.launch.slurm.states import JobState, State
from hpcgeom.plan.units import STAGES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text(encoding="utf-8")
SECTIONS = {
    RunReport: "## The object",
    StageReport: "### One of `stages`",
    SpeedReport: "### One of `speeds`",
    JobReport: "### One of `jobs`",
    ElementReport: "### One of `failed`",
}
(EXAMPLE,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading: the other cells by what stands first in backquotes."""
    section = re.split(r"\n#+ ", PAGE.split(f"{heading}\n")[1])[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def spelled(field: dict) -> str:
    """The type of a field of a JSON schema, in the words of the page."""
    if field.get("type") == "array":
        items = field["items"]
        return f"array of {'objects' if '$ref' in items else items['type'] + 's'}"
    if field.get("type") == "object":
        return f"object of {field['additionalProperties']['type']}s"
    return field["type"]


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_field_is_a_row_of_the_page_with_its_type_and_every_row_is_a_field(model: type[BaseModel]):
    fields = model.model_json_schema()["properties"]
    on_page = rows(SECTIONS[model])
    assert list(on_page) == list(fields)
    assert {name: cells[0] for name, cells in on_page.items()} == {
        name: spelled(field) for name, field in fields.items()
    }
    assert all(len(cells) == 2 and cells[1] for cells in on_page.values())


def test_the_schema_that_is_printed_is_that_of_the_page():
    printed = json.loads(schema("status"))
    assert set(printed["properties"]) == set(rows(SECTIONS[RunReport]))
    assert set(printed["$defs"]) == {model.__name__ for model in SECTIONS} - {"RunReport"}


def test_the_version_on_the_page_is_that_of_the_schema():
    assert rows(SECTIONS[RunReport])["schema_version"][1].startswith(f"{SCHEMA};")


def test_the_page_names_the_stages_and_the_states_and_those_that_are_alive():
    assert re.findall(r"`(\w+)`", rows(SECTIONS[RunReport])["stages"][1]) == list(STAGES)
    (sentence,) = re.findall(r"^States are (.*?)\. ", PAGE, re.MULTILINE | re.DOTALL)
    words = re.findall(r"`(\w+)`", sentence)
    assert sorted(words) == sorted(get_args(State))
    alive = re.findall(r"`(\w+)`", sentence.partition(" (these four are alive)")[0])
    assert alive == [state for state in words if JobState("1", state).is_alive]


def test_the_example_is_one_and_nothing_in_it_is_left_out():
    found = RunReport.model_validate_json(EXAMPLE)
    assert found.model_dump(mode="json") == json.loads(EXAMPLE)
    assert [stage.stage for stage in found.stages] == list(STAGES)
    assert any(job.failed for job in found.jobs)
    for stage in found.stages:
        n_missing = stage.n_units - stage.n_done
        assert n_missing == stage.n_running + stage.n_pending + stage.n_failed
        assert bool(stage.missing) is (n_missing > 0)
