"""Small proteins, images and texts with classes in them, for the pages of docs/; nothing in them is real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
SUBJECTS = ("river", "forest", "city", "desert", "island", "valley")
WORDS = (
    "the",
    "a",
    "of",
    "in",
    "on",
    "near",
    "over",
    "under",
    "old",
    "new",
    "small",
    "large",
    "quiet",
    "ends",
)


def write_proteins(path: Path, n_superfamilies: int = 6, n_each: int = 20, seed: int = 0) -> None:
    """FASTA with SCOPe's headers: of every superfamily two families, whose members are changed copies."""
    rng = np.random.default_rng(seed)
    lines = []
    for superfamily in range(1, n_superfamilies + 1):
        root = rng.choice(RESIDUES, rng.integers(40, 60))
        families = [_changed(root, 0.5, rng) for _ in range(2)]
        for number in range(n_each):
            family = number % 2
            name = f"d{superfamily}{number:03d}_"
            lines.append(f">{name} a.1.{superfamily}.{family + 1} (A:) made up")
            lines.append("".join(_changed(families[family], 0.2, rng)))
    path.write_text("\n".join(lines) + "\n")


def write_images(folder: Path, n_classes: int = 4, n_each: int = 24, seed: int = 0) -> None:
    """PNG files in a folder per class; a class has its direction of stripes and its color."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:30, :36] / 36
    for number in range(n_classes):
        (folder / f"class{number}").mkdir(parents=True, exist_ok=True)
        angle, color = np.pi * number / n_classes, rng.uniform(60, 255, 3)
        for image in range(n_each):
            phase, width = rng.uniform(0, 2 * np.pi), rng.uniform(10, 16)
            stripes = 0.5 + 0.5 * np.sin(width * (x * np.cos(angle) + y * np.sin(angle)) + phase)
            noisy = stripes[..., None] * color + rng.normal(0, 30, (30, 36, 3))
            pixels = noisy.clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class{number}" / f"{image:03d}.png")


def write_palette(path: Path) -> None:
    """64 colors between -1 and 1, in the format of OpenAI's file of 512."""
    steps = np.linspace(-1, 1, 4, dtype=np.float32)
    np.save(path, np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3))


def write_texts(path: Path, n: int = 240, seed: int = 0) -> None:
    """A table of sentences, each about one of six subjects; columns id, text and subject."""
    rng = np.random.default_rng(seed)
    lines = ["id\ttext\tsubject"]
    for row in range(n):
        number = row % len(SUBJECTS)
        before, after = (" ".join(rng.choice(WORDS, rng.integers(3, 7))) for _ in range(2))
        lines.append(f"t{row:03d}\t{before} {SUBJECTS[number]} {after}\t{SUBJECTS[number]}")
    path.write_text("\n".join(lines) + "\n")


def write_tokenizer(folder: Path) -> None:
    """A tokenizer with a token for each word of `write_texts`."""
    vocabulary = {word: number for number, word in enumerate(("[UNK]", *WORDS, *SUBJECTS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)


def _changed(sequence: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A copy in which about this share of the residues was drawn again."""
    return np.where(rng.random(len(sequence)) < share, rng.choice(RESIDUES, len(sequence)), sequence)
