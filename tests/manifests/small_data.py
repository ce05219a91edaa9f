"""Small data sets that look like the real ones: headers, file names and columns as they are published."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

Labels = dict[str, list[str]]
"""Label set to the label of every sample, in sample order."""

FAMILIES = {  # of SCOPe: members of one superfamily, automated matches, and a domain of two chains
    "a.1.1.2": "d{pdb}a_ {sccs} (A:) Hemoglobin, alpha-chain {{Human (Homo sapiens) [TaxId: 9606]}}",
    "a.1.1.0": "d{pdb}a1 {sccs} (A:1-145) automated matches {{Synechocystis sp. [TaxId: 1111708]}}",
    "a.39.1.5": "d{pdb}.1 {sccs} (A:3-80,A:92-148) Calmodulin {{Cow (Bos taurus) [TaxId: 9913]}}",
    "b.1.1.1": "d{pdb}h1 {sccs} (H:1-113) Immunoglobulin heavy chain, VH {{Mouse (Mus musculus)}}",
    "b.1.1.2": "g{pdb}.1 {sccs} (A:,B:) Insulin [(1-chain)] {{Pig (Sus scrofa) [TaxId: 9823]}}",
    "g.1.1.1": "d{pdb}_1 {sccs} (-) Insulin",
    "k.42.1.1": "d{pdb}b_ {sccs} (B:) Designed protein a.1.1.1 (A:) {{Synthetic}}",
}
N_DOMAINS = 10
GLOBINS = Path("/usr/share/doc/hmmer/examples/tutorial/globins45.fa")
"""Real globins, of Debian's package hmmer-examples."""
RESIDUES = list("acdefghiklmnpqrstvwy")

N_COLORS, N_IMAGES, N_DRAWN = 16, 12, 11
CLASSES = (
    "n01440764",
    "n01443537",
    "n01484850",
    "n01491361",
    "n01494475",
    "n01496331",
    "n01498041",
    "n01514668",
)
CHOSEN = (0, 2, 3, 5, 6, 7)

WORDS = {
    "1": ["moving", "funny", "a", "delight", "warm", "wise", "the", "film", "is"],
    "0": ["dull", "a", "mess", "tired", "never", "funny", "the", "film", "is"],
}
VOCABULARY = ["<unk>", "<s>", *sorted({word for words in WORDS.values() for word in words}), *"abcdefghij"]


def write_domains(path: Path) -> Labels:
    """Domains of a few families, each with a composition of its own; one is longer than ESM reads."""
    rng = np.random.default_rng(0)
    numbers = itertools.count(100)
    labels: Labels = {"superfamily": [], "family": []}
    lines: list[str] = []
    for sccs, header in FAMILIES.items():
        composition = rng.dirichlet(np.full(len(RESIDUES), 0.5))
        made = ["".join(rng.choice(RESIDUES, rng.integers(20, 60), p=composition)) for _ in range(N_DOMAINS)]
        if sccs == "a.1.1.2" and GLOBINS.exists():
            made = _sequences(GLOBINS)[:N_DOMAINS]
        if sccs.startswith("k"):
            made[0] = made[0] * 60
        for sequence in made:
            lines += [">" + header.format(pdb=f"1{next(numbers)}", sccs=sccs), sequence]
            labels["superfamily"].append(sccs.rpartition(".")[0])
            labels["family"].append(sccs)
    path.write_text("\n".join(lines) + "\n")
    return labels


def _sequences(path: Path) -> list[str]:
    return ["".join(record.split("\n")[1:]) for record in path.read_text().split(">")[1:]]


def write_images(folder: Path, classes: Path) -> Labels:
    """Folders of classes as in ImageNet, and the positions of those that are chosen.

    As there, one file of a class is a PNG in spite of its name, one is gray and one is in CMYK.
    """
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        color = rng.integers(0, 200, 3)
        for number in range(N_IMAGES):
            noise = rng.integers(0, 56, (30, 20 + number, 3))
            image = Image.fromarray((color + noise).astype(np.uint8)).convert(
                {1: "L", 2: "CMYK"}.get(number, "RGB")
            )
            image.save(folder / name / f"{name}_{100 * number + 7}.JPEG", "PNG" if number == 0 else "JPEG")
    classes.parent.mkdir(parents=True)
    np.save(classes, np.array(CHOSEN))
    return {"class": [CLASSES[position] for position in CHOSEN for _ in range(N_DRAWN)]}


def write_palette(folder: Path) -> str:
    """Colors in [-1, 1], as kmeans_centers.npy holds them."""
    np.save(
        folder / "clusters.npy", np.random.default_rng(3).uniform(-1, 1, (N_COLORS, 3)).astype(np.float32)
    )
    return "clusters.npy"


def write_sentences(path: Path) -> Labels:
    """A table with the columns id, text and label, half of it positive."""
    rng = np.random.default_rng(0)
    labels = ["01"[row % 2] for row in range(70)]
    texts = [" ".join([*rng.choice(WORDS[label], rng.integers(2, 12)), "abcdefghij"[row % 10]])
             for row, label in enumerate(labels)]  # fmt: skip
    rows = [f"sst-{row}\t{text}\t{labels[row]}" for row, text in enumerate(texts)]
    path.write_text("\n".join(["id\ttext\tlabel", *rows]) + "\n")
    return {"sentiment": labels}


def write_prompts(path: Path) -> Labels:
    """A prompt a line."""
    rng = np.random.default_rng(1)
    words = VOCABULARY[2:]
    path.write_text("".join(" ".join(rng.choice(words, rng.integers(3, 15))) + "\n" for _ in range(70)))
    return {}


def write_tokenizer(folder: Path, *, with_start: bool) -> str:
    """Words as tokens; with ``<s>`` before a text, as Llama's tokenizer does, or with nothing, as GPT-2's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token="<unk>")
    )
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if with_start:
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", bos_token="<s>").save_pretrained(
        folder / "tokenizer"
    )
    return "tokenizer"
