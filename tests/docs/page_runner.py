"""Takes pages of docs/ apart into manifests, commands and Python, and runs them in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"# ([\w./-]+\.yaml)\b")
RUN = ("yaml", "bash", "python")
"""Languages that are run; with a word after them (`bash full size`) a block is only shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """One fenced block of a page.

    Attributes
    ----------
    language
        What stands after the fence.
    text
        The lines in between.
    line
        Number of its first line in the page.
    """

    language: str
    text: str
    line: int

    @property
    def is_run(self) -> bool:
        """Whether the block is run, and not only shown."""
        return self.language in RUN


def parts(page: Path) -> Iterator[Part]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Part(found[1], found[2], text.count("\n", 0, found.start()) + 2)


def commands(part: Part) -> list[str]:
    """The commands of a bash block: a line each, without comments."""
    lines = (line.partition(" #")[0].strip() for line in part.text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def run_page(page: Path, folder: Path) -> None:
    """Run a page in `folder`, which looks like the top of a checkout.

    Manifests are written to the file that their first line names; every command is a shell of its own; Python
    blocks share their names, as in a notebook, and run in this process.

    Raises
    ------
    AssertionError
        A command failed, or a manifest has no name.
    Exception
        What a Python block raises: its traceback has the lines of the page.
    """
    for name in ("docs", "tools"):
        (folder / name).symlink_to(ROOT / name)
    environment = _environment(folder)
    names: dict[str, Any] = {"__name__": f"page_{page.stem}"}
    for part in (each for each in parts(page) if each.is_run):
        if part.language == "yaml":
            found = FILE_NAME.match(part.text)
            assert found, f"{page.name}:{part.line}: the first line of a manifest names its file"
            (folder / found[1]).write_text(part.text, encoding="utf-8")
        elif part.language == "bash":
            for command in commands(part):
                _shell(command, folder, environment, f"{page.name}:{part.line}")
        else:
            code = "\n" * (part.line - 1) + part.text
            exec(compile(code, str(page), "exec"), names)


def _environment(folder: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HPCGEOM_")}
    return {
        **kept,
        "HF_HUB_OFFLINE": "1",
        "HPCGEOM_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def _shell(command: str, folder: Path, environment: Mapping[str, str], where: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (
        f"{where}: {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    )
