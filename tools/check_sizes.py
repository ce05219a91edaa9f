"""Check that files hold one idea and functions fit a screen: at most 350 lines and 60 lines."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MAX_FILE_LINES, MAX_FUNCTION_LINES = 350, 60


def too_long(path: Path) -> list[str]:
    """What is too long in one file; docstrings of functions are not counted."""
    text = path.read_text(encoding="utf-8")
    found = []
    n_lines = text.count("\n")
    if n_lines > MAX_FILE_LINES:
        found.append(f"{path}: {n_lines} lines, at most {MAX_FILE_LINES}: split it by idea")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)
            if length > MAX_FUNCTION_LINES and path.name != "kernels.py":
                found.append(
                    f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"
                )
    return found


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return 0
    return (first.end_lineno or 0) - first.lineno + 1


def main() -> int:
    """Check all Python files of the package and its tools."""
    root = Path(__file__).resolve().parents[1]
    paths = sorted([*root.glob("hpcgeom/**/*.py"), *root.glob("tools/**/*.py")])
    found = [line for path in paths for line in too_long(path)]
    sys.stdout.write("".join(f"{line}\n" for line in found) or f"{len(paths)} files are short enough\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
