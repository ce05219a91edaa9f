"""Check that every relative link in the Markdown files leads somewhere, anchors included."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"```.*?```", re.DOTALL)


def anchors(text: str) -> set[str]:
    """Anchors that a page's headings make."""
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in HEADING.findall(text))
    return {slug.replace(" ", "-") for slug in slugs}


def broken_links(root: Path, page: Path) -> list[str]:
    """Links of one page that lead nowhere."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    found = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            found.append(f"{page.relative_to(root)}: {link} does not exist")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{page.relative_to(root)}: {link} has no such heading")
    return found


def main() -> int:
    """Check all Markdown files that git knows, or would."""
    root = Path(__file__).resolve().parents[1]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = [line for name in listed if (root / name).exists() for line in broken_links(root, root / name)]
    sys.stdout.write("".join(f"{line}\n" for line in found) or f"links of {len(listed)} pages are sound\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
