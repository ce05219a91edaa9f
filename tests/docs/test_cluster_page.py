"""What the pages about clusters tell people to type exists: commands, options, scripts, keys of a profile."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer
from page_runner import FENCE

from hpcgeom.cli.main import app
from hpcgeom.errors import HpcgeomError
from hpcgeom.manifest.profile import load_profile
from hpcgeom.manifest.profile_parts import DaskMode
from hpcgeom.manifest.profile_sections import Profile

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
SCRIPTS = (ROOT / "slurm" / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands


def section_of(text: str, heading: str) -> str:
    return re.split(r"\n#+ ", text.split(f"{heading}\n")[1])[0]


README = section_of((ROOT / "README.md").read_text(encoding="utf-8"), "## SLURM")
STATUS = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")


def typed(text: str) -> list[list[str]]:
    """The words of every hpcgeom command, in blocks and in backquotes."""
    blocks = [block for language, block in FENCE.findall(text) if language in ("", "sh")]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`]+)`", FENCE.sub("", text))
    words = [shlex.split(line.replace("$job", "1"), comments=True) for line in lines if "hpcgeom " in line]
    return [line[line.index("hpcgeom") + 1 :] for line in words if "hpcgeom" in line]


@pytest.mark.parametrize(
    "text", [PAGE, README, SCRIPTS, STATUS], ids=["cluster", "readme", "scripts", "status"]
)
def test_every_command_and_option_exists(text):
    found = typed(text)
    assert found
    for name, *arguments in found:
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("-")} <= options, (name, arguments)


def test_the_commands_about_jobs_are_all_on_the_page():
    shown = {words[0] for words in typed(PAGE)}
    assert shown >= {"doctor", "submit", "status", "logs", "cancel", "resume", "prepare", "task", "run"}


def test_the_profile_of_the_page_is_one(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "my-cluster.yaml"
    path.write_text(block)
    profile = load_profile(path).profile
    assert (profile.name, profile.slurm_of("extract")["partition"]) == ("my-cluster", "gpu")
    others = [profile.slurm_of(stage)["partition"] for stage in ("search", "geometry", "collect")]
    assert others == ["cpu"] * 3
    path.write_text(block.replace("workers: 8", "workers: 7"))
    with pytest.raises(HpcgeomError, match=r"workers"):
        load_profile(path)


def test_every_key_of_a_profile_on_the_page_exists():
    keys = set(re.findall(r"`(slurm|environment|extract|dask)\.(\w+)`", PAGE))
    assert ("slurm", "max_requeues") in keys
    known_of_manifests = {("extract", "unit_rows")}
    for section, key in keys - known_of_manifests:
        assert key in type(getattr(Profile(name="p"), section)).model_fields, (section, key)


def test_the_page_has_every_mode_of_dask_in_its_tables():
    modes = section_of(PAGE, "## Dask modes")
    assert re.findall(r"^\| `(\w+)` \|", modes, re.MULTILINE) == ["allocation", "jobqueue", "local"]
    assert set(get_args(DaskMode)) == {"allocation", "jobqueue", "local"}


def test_scripts_that_are_named_exist_and_all_are_named():
    scripts = {path.name for path in (ROOT / "slurm").glob("*.sh")}
    for text in (PAGE, README, SCRIPTS):
        assert set(re.findall(r"\b(\w+\.sh)\b", text)) <= scripts | {"conda.sh"}
    assert scripts <= set(re.findall(r"\b(\w+\.sh)\b", SCRIPTS))
    profiles = {path.name for path in (ROOT / "slurm" / "profiles").glob("*.yaml")}
    assert profiles <= set(re.findall(r"profiles/([\w-]+\.yaml)", SCRIPTS))
