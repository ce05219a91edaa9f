"""Groups of processes for the tests of `pipeline`: what each of them runs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcgeom.models import ModelRequest, TokenBatch
from hpcgeom.models.peers import Peers, meet
from hpcgeom.models.pipeline import Pipeline
from hpcgeom.this_group import Member

# Its import of torch and transformers is done once, and all processes are forked from there.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pipeline_processes", "hpcgeom.models.families.bert"])
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Case:
    """A model and the batches that it is run on."""

    name: str
    request: ModelRequest
    batches: Sequence[TokenBatch]
    threads: int = 1


def run_group(body: Callable[..., Any], n_processes: int, folder: Path, *arguments: Any) -> list[Any]:
    """Call `body` with a `Member` and `arguments` in each of some processes; exit codes, by number."""
    members = [Member(index, n_processes, "test", folder) for index in range(n_processes)]
    processes = [_SERVER.Process(target=body, args=(member, *arguments), daemon=True) for member in members]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def save_all(member: Member, cases: Sequence[Case]) -> None:
    """Run every case, and write what this process reads of each."""
    for number, case in enumerate(cases):
        here = member.next_meeting(number)
        with meet(here) as peers:
            _save(peers, case, here.folder)


def _save(peers: Peers, case: Case, folder: Path) -> None:
    model = Pipeline().open_model(case.request, peers, threads=case.threads)
    for number, pooled in enumerate(model.run(case.batches)):
        np.savez(folder / f"{number}-{peers.index}.npz", **{"|".join(key): rows for key, rows in pooled.items()})
    sites = {site: model.layers_of(site) for site in model.readings}
    np.savez(folder / f"layers-{peers.index}.npz", **{site: np.array(layers) for site, layers in sites.items()})
    shapes = model.describe()
    (folder / f"shapes-{peers.index}.txt").write_text(repr(shapes))
    (folder / f"blocks-{peers.index}.txt").write_text(repr(model.part.blocks))
    model.close()


def together(folder: Path, number: int, n_processes: int) -> dict[tuple[str, str], np.ndarray]:
    """What all processes gave for one batch, layers in order."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for index in range(n_processes):
        with np.load(folder / f"{number}-{index}.npz") as part:
            for key in part.files:
                site, _, pooling = key.partition("|")
                found.setdefault((site, pooling), []).append(part[key])
    return {key: np.concatenate(parts) for key, parts in found.items()}


def end_now(code: int) -> None:
    """End this process without a word."""
    os._exit(code)
