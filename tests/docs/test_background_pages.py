"""Every page that does what one of the background documents does is run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
from page_runner import ROOT, commands, parts, run_page

from hpcgeom.manifest import load_manifest

PAGES = ("paper", "lab", "lecture", "gpt2", "small_transformer", "homology")
EXAMPLES = ROOT / "docs" / "examples"


SLOW_PAGES = ("paper", "lab", "lecture", "gpt2", "small_transformer", "homology")


@pytest.fixture(params=PAGES)
def page(request) -> Path:
    return ROOT / "docs" / f"{request.param}.md"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder to run in; Python blocks import the examples as the commands do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HPCGEOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(EXAMPLES)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(before)
    for module in EXAMPLES.glob("*.py"):
        sys.modules.pop(module.stem, None)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW_PAGES)) for name in PAGES]
)
def test_a_page_does_what_it_says(name, checkout):
    run_page(ROOT / "docs" / f"{name}.md", checkout)


def test_every_block_of_a_page_is_run_or_says_that_it_was_not(page):
    found = list(parts(page))
    assert len(found) * 2 == page.read_text().count("```")
    assert {part.language for part in found if part.is_run} >= {"python", "yaml"}
    shown = [part for part in found if not part.is_run]
    assert all(part.language == "bash full size" for part in shown)


def test_files_that_a_page_names_exist_and_manifests_are_valid(page):
    text = page.read_text()
    for name in set(re.findall(r"\b(?:manifests|tools|tests|docs)/[\w./]+\.(?:yaml|py|md)", text)):
        assert (ROOT / name).is_file(), name
    for name in set(re.findall(r"manifests/[\w.]+\.yaml", text)):
        assert load_manifest(ROOT / name).manifest.name == Path(name).stem


def test_tools_in_blocks_that_are_only_shown_have_these_options():
    lines = [line for name in PAGES for part in parts(ROOT / "docs" / f"{name}.md") for line in commands(part)
             if not part.is_run and line.startswith("python tools/")]  # fmt: skip
    assert lines
    for line in lines:
        tool, *arguments = line.split()[1:]
        done = subprocess.run(
            [sys.executable, str(ROOT / tool), "--help"], capture_output=True, text=True, check=True
        )
        for option in (argument for argument in arguments if argument.startswith("--")):
            assert re.search(rf"{option}\b", done.stdout), (tool, option)


def write_page(folder: Path, *blocks: tuple[str, str]) -> Path:
    path = folder / "made.md"
    path.write_text("# A page\n\n" + "\n".join(f"```{kind}\n{text}\n```\n" for kind, text in blocks))
    return path


def test_blocks_share_files_and_names(checkout):
    made = write_page(
        checkout,
        ("yaml", "# given.yaml\nname: x"),
        ("bash", "# a comment\ncp given.yaml copy.yaml  # another"),
        ("python", "from pathlib import Path\nlines = Path('copy.yaml').read_text()"),
        ("python", "assert lines.splitlines() == ['# given.yaml', 'name: x']\nPath('done').touch()"),
        ("bash full size", "touch never"),
    )
    run_page(made, checkout)
    assert (checkout / "done").exists()
    assert not (checkout / "never").exists()


def test_a_command_that_fails_is_named_with_its_line_and_what_it_said(checkout):
    made = write_page(checkout, ("bash", "true\nls no_such_file"), ("bash", "touch never"))
    with pytest.raises(AssertionError, match=r"made.md:4: ls no_such_file: exit code 2\n.*no_such_file"):
        run_page(made, checkout)
    assert not (checkout / "never").exists()


def test_a_statement_that_is_false_is_found_at_its_line(checkout):
    made = write_page(checkout, ("python", "number = 1\nassert number == 2"))
    with pytest.raises(AssertionError) as caught:
        run_page(made, checkout)
    assert (traceback.extract_tb(caught.tb)[-1].filename, traceback.extract_tb(caught.tb)[-1].lineno) == (
        str(made),
        5,
    )


def test_a_manifest_without_a_name_is_refused(checkout):
    with pytest.raises(AssertionError, match=r"made.md:4: the first line of a manifest names its file"):
        run_page(write_page(checkout, ("yaml", "name: x")), checkout)
