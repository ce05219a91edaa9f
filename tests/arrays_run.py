"""Small runs of points that exist already: what is in them, and what tests look at and break."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpcgeom.api.running import run_manifest
from hpcgeom.store.records import read_record

N = 300
"""Samples; with units of 256 rows the second unit is not full."""
LAYERS = {"wide": (0, 1, 2), "deep": (1, 2, 3)}
"""The models of `write_clouds`: one starts at layer 1, so that both are padded in the results."""
MANIFEST = {
    "name": "clouds",
    "dataset": "{kind: arrays, ids: ids.txt, labels: {parity: {file: parity.tsv}, third: {file: third.tsv}}}",
    "models": "[{name: wide, family: arrays, source: 'wide{layer}.npy'},"
    " {name: deep, family: arrays, source: 'deep{layer}.npy'}]",
    "extract": "{unit_rows: 256}",
    "neighbors": "{k: 32}",
    "geometry": "{estimators: [twonn, twonn_mle, twonn_mle_censored, gride], gride_range_max: 16,"
    " overlap_k: [1, 5, 32]}",
}


def clouds(n: int = N) -> dict[str, dict[int, np.ndarray]]:
    """Points by model and layer: far from the origin, with equal points in one layer, and one all equal."""
    rng = np.random.default_rng(11)
    plane = rng.standard_normal((n, 2)) @ rng.standard_normal((2, 7)) + 50.0
    bent = np.tanh(plane - 50.0) + 0.05 * rng.standard_normal((n, 7))
    repeated = rng.standard_normal((n, 7))
    repeated[[20, 120, 250]] = repeated[4]
    repeated[201] = repeated[200]
    wide = {0: plane, 1: bent, 2: repeated}
    deep = {1: np.ones((n, 4)), 2: bent[:, :4], 3: rng.standard_normal((n, 4))}
    return {
        name: {layer: points.astype(np.float32) for layer, points in layers.items()}
        for name, layers in {"wide": wide, "deep": deep}.items()
    }


def labels(n: int = N) -> dict[str, list[str]]:
    """Two sets of labels: one of equal classes in order, one of unequal classes at random."""
    third = np.random.default_rng(12).choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1])
    return {"parity": ["even" if row % 2 == 0 else "odd" for row in range(n)], "third": third.tolist()}


def ids(n: int = N) -> list[str]:
    """Ids of several lengths."""
    return [f"s{row}" for row in range(n)]


def write_clouds(folder: Path, n: int = N) -> None:
    """Write the arrays, ids and labels that `MANIFEST` names."""
    folder.mkdir(parents=True, exist_ok=True)
    for model, layers in clouds(n).items():
        for layer, points in layers.items():
            np.save(folder / f"{model}{layer}.npy", points)
    (folder / "ids.txt").write_text("\n".join(ids(n)) + "\n")
    for name, values in labels(n).items():
        lines = [f"{sample}\t{value}" for sample, value in zip(ids(n), values, strict=True)]
        (folder / f"{name}.tsv").write_text("\n".join(["id\tlabel", *lines]) + "\n")


def write_manifest(folder: Path, name: str = "clouds", **changes: str) -> Path:
    """Write `MANIFEST` with some sections exchanged."""
    path = folder / f"{name}.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in {**MANIFEST, **changes}.items()))
    return path


class Heard:
    """A listener that remembers which units were done."""

    def __init__(self) -> None:
        self.units: list[tuple[str, str]] = []
        self.sentences: list[str] = []

    def say(self, message: str) -> None:
        self.sentences.append(message)

    def begin(self, stage: str, n_done: int, n_units: int) -> None:
        pass

    def advance(self, stage: str, key: str) -> None:
        self.units.append((stage, key))

    def end(self, stage: str) -> None:
        pass

    @property
    def stages(self) -> set[str]:
        return {stage for stage, _ in self.units}


def run_again(manifest: Path, root: Path, **options) -> list[tuple[str, str]]:
    """Run a manifest in this process and say which units were done."""
    heard = Heard()
    run_manifest(manifest, root, workers=1, progress=heard, **options)
    return heard.units


def copy_run(root: Path, target: Path) -> Path:
    """A copy of a run, with the times of its files."""
    return Path(shutil.copytree(root, target))


def records(root: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of all records of units."""
    return {
        path.relative_to(root / "records").as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted((root / "records").rglob("*.json"))
        if path.name != "done.json"
    }


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Names whose value differs or is on one side only."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def keys_of(root: Path, names: set[str]) -> set[tuple[str, str]]:
    """Stage and key of some records, by the names that `records` gives them."""
    found = [read_record(root / "records" / name) for name in names]
    return {(record.stage, record.key) for record in found if record is not None}


def flip_bit(path: Path, where: float = 0.5, bit: int = 3) -> None:
    """Turn over one bit, `where` of the way through the file."""
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(bytes(content))


def truncate(path: Path, size: int) -> None:
    """Cut a file to `size` bytes; from its end where `size` is negative."""
    content = path.read_bytes()
    path.write_bytes(content[:size])


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "with a flipped bit": flip_bit,
    "cut to nothing": lambda path: truncate(path, 0),
    "cut by four bytes": lambda path: truncate(path, -4),
}
