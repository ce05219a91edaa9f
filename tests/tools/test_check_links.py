"""The checker of links, on pages with links of every kind."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_links.py"
OTHER = """\
# A title, with `code` & signs
## Again
## Again
### [A link](https://example.org) in a heading
```sh
# no heading
```
"""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("check_links", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def broken(tool, tmp_path):
    """What is broken on a page of this text, beside another page and a picture."""

    def broken(text: str) -> list[str]:
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / "other.md").write_text(OTHER)
        (tmp_path / "docs" / "a figure.svg").write_text("")
        (tmp_path / "page.md").write_text(text)
        return tool.broken_links(tmp_path, tmp_path / "page.md")

    return broken


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/other.md)",
        "[a](docs/other.md#again)",
        "[a](docs/other.md#again-1)",
        "[a](docs/other.md#a-title-with-code--signs)",
        "[a](docs/other.md#a-link-in-a-heading)",
        '![a](docs/a%20figure.svg "with a title")',
        "[a](docs)",
        "[a][b]\n\n[b]: docs/other.md",
        "# Here\n[a](#here)",
        "[a](https://example.org/nowhere#x) [b](mailto:a@example.org)",
        "`[a](nowhere.md)`",
        "```\n[a](nowhere.md)\n```\n",
        "no links at all (really) [here]",
    ],
)
def test_a_link_that_leads_somewhere_is_sound(broken, text):
    assert broken(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](nowhere.md)", "nowhere.md does not exist"),
        ("text [a](docs/other.md) and ![b](docs/b.png)", "docs/b.png does not exist"),
        ("[a][b]\n\n[b]: nowhere.md", "nowhere.md does not exist"),
        ("[a](docs/other.md#nothing)", "docs/other.md#nothing has no such heading"),
        ("[a](docs/other.md#no-heading)", "docs/other.md#no-heading has no such heading"),
        ("[a](docs/other.md#again-2)", "docs/other.md#again-2 has no such heading"),
        ("# Here\n[a](#there)", "#there has no such heading"),
        ("```\ncode\n```\n[a](nowhere.md)\n```\ncode\n```\n", "nowhere.md does not exist"),
    ],
)
def test_a_link_that_leads_nowhere_is_named_with_its_page(broken, text, found):
    assert broken(text) == [f"page.md: {found}"]


def test_the_pages_of_this_repository_are_checked():
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("pages are sound\n")
    assert int(done.stdout.split()[2]) >= 5
