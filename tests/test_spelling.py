"""American spelling everywhere; `cancelled` stays, as SLURM calls the state of a job."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEMS = """
    analys(e[sd]?|ing)$ artef behaviou catalogu (re)?cent(re|ring) colour defence favour flavour grey honour
    judgement labell(ed|ing) licence metre$ modell neighbour programme$ signall travell whilst
"""
VERBS = """
    categor character emphas equal factor final general initial linear local maxim memor minim normal optim
    organ parallel param parametr penal prior quant random recogn regular serial special stabil standard
    summar synchron token util vector visual
"""
BRITISH = re.compile(
    rf"(un|re|de)?({'|'.join(STEMS.split())})|({'|'.join(VERBS.split())})is(e[sdr]?$|ing$|ation)"
)
WORD = re.compile(r"[A-Z]?[a-z]+")


def test_words_are_american():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0")[:-1] or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")]
    found = []
    for path in (ROOT / name for name in names):
        if (
            path.suffix in (".py", ".md", ".toml", ".yaml", ".sh")
            and path != Path(__file__)
            and path.exists()
        ):
            words = {word.lower() for word in WORD.findall(f"{path.name} {path.read_text(encoding='utf-8')}")}
            found += [f"{path.relative_to(ROOT)}: {word}" for word in words if BRITISH.match(word)]
    assert found == []
