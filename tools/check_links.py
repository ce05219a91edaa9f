"""Check that every relative link in the Markdown files leads somewhere, anchors included."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
BLOCK = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`[^`\n]*`")


def anchors(page: Path) -> set[str]:
    """Anchors that a page's headings make on GitHub; a heading that comes again gets a number."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    times: dict[str, int] = {}
    for heading in HEADING.findall(text):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).strip().replace(" ", "-")
        found.add(f"{slug}-{times[slug]}" if slug in times else slug)
        times[slug] = times.get(slug, 0) + 1
    return found


def broken_links(root: Path, page: Path) -> list[str]:
    """Links of one page that lead nowhere."""
    text = SPAN.sub("", BLOCK.sub("", page.read_text(encoding="utf-8")))
    found = []
    for link in (inline or reference for inline, reference in LINK.findall(text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            found.append(f"{page.relative_to(root)}: {link} does not exist")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            found.append(f"{page.relative_to(root)}: {link} has no such heading")
    return found


def main() -> int:
    """Check all Markdown files that git knows, or would."""
    root = Path(__file__).resolve().parents[1]
    output = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = [name for name in output.split("\0") if name and (root / name).exists()]
    found = [line for name in listed for line in broken_links(root, root / name)]
    sys.stdout.write("".join(f"{line}\n" for line in found) or f"links of {len(listed)} pages are sound\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
