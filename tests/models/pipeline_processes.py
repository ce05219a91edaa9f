"""Groups of processes for the tests of `pipeline`: what each of them runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpcgeom import trace
from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.models import ModelRequest, Pieces, Splits, TokenBatch
from hpcgeom.models import links as links_module
from hpcgeom.models import peers as peers_module
from hpcgeom.models import rounds as rounds_module
from hpcgeom.models.peers import Peers, meet
from hpcgeom.models.pipeline import Pipeline
from hpcgeom.models.sinks import Pooled
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


def run_group(
    body: Callable[..., Any], n_processes: int, folder: Path, *arguments: Any, but: int | None = None
) -> list[Any]:
    """Call `body` with a `Member` and `arguments` in each of some processes, and wait for all `but` one.

    Returns exit codes, by number.
    """
    members = [Member(index, n_processes, "test", folder / "meeting") for index in range(n_processes)]
    processes = [_SERVER.Process(target=body, args=(member, *arguments), daemon=True) for member in members]
    for process in processes:
        process.start()
    for index, process in enumerate(processes):
        if index != but:
            process.join(PATIENCE_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def save_all(member: Member, cases: Sequence[Case]) -> None:
    """Run every case, and write what this process reads of each."""
    with meet(member) as peers:
        for number, case in enumerate(cases):
            folder = member.folder.parent / str(number)
            folder.mkdir(exist_ok=True)
            _save(peers, case, folder)


def _save(peers: Peers, case: Case, folder: Path) -> None:
    model = Pipeline().open_model(case.request, peers, threads=case.threads)
    for number, pooled in enumerate(model.run(case.batches)):
        _save_pooled(folder / f"{number}-{peers.index}.npz", pooled)
    layers = {site: np.array(model.layers_of(site)) for site in model.readings}
    np.savez(folder / f"layers-{peers.index}.npz", **layers)
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


def fail_somehow(member: Member, case: Case, how: str) -> None:
    """Run a case over and over with one process that misbehaves, and write down how each process ends."""
    peers_module.SILENT_S, peers_module.END_S = 3.0, 1.0
    os.dup2(os.open(member.folder.parent / f"stderr-{member.index}.txt", os.O_WRONLY | os.O_CREAT), 2)
    try:
        with meet(member) as peers:
            _misbehave(peers, case, how)
    except HpcgeomError as error:
        (member.folder.parent / f"error-{member.index}.txt").write_text(str(error))
        os._exit(error.exit_code)


def _misbehave(peers: Peers, case: Case, how: str) -> None:
    model = Pipeline().open_model(case.request, peers)
    batches = list(case.batches) * 1000
    if how == "other batches" and peers.index == 1:
        batches[3] = batches[3].rows(1)
    for number, _ in enumerate(model.run(batches)):
        if number == 3 and peers.index == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            elif how == "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif how == "raises":
                raise InputError("this sample cannot be used: leave it out")
        if number == 3 and peers.index == 0 and how == "first killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "raises" and number == 3 and peers.index == 2:
            time.sleep(1000)  # as a process that looks after nothing


def run_short(member: Member, case: Case, most_tokens: Sequence[int], arriving: int) -> None:
    """Run a case where process i has memory for batches of so many tokens, and save what each one finds.

    In the last process there is no memory for the hidden states of one batch, number `arriving`, at first.
    """
    folder, kept = member.folder.parent, []
    try:
        with meet(member) as peers:
            if peers.is_last:
                links_module._memory = _Full(arriving)
            model = Pipeline().open_model(case.request, peers)
            first = model.layout.blocks_of(model.skeleton.model)[model.part.blocks.start]
            first.register_forward_pre_hook(partial(_refuse, most_tokens[peers.index]))
            splits = Splits(keep=lambda *cut: kept.append(cut))
            for number, pooled in enumerate(Pieces(model.run, "m", "cpu").run(case.batches, splits)):
                _save_pooled(folder / f"{number}-{peers.index}.npz", pooled)
            model.close()
    except HpcgeomError as error:
        (folder / f"error-{member.index}.txt").write_text(str(error))
        os._exit(error.exit_code)
    (folder / f"splits-{member.index}.json").write_text(json.dumps(kept))


def _save_pooled(path: Path, pooled: Pooled) -> None:
    np.savez(path, **{"|".join(key): rows for key, rows in pooled.items()})


class _Full:
    """Gives memory for hidden states, but not the first time for one of the batches."""

    def __init__(self, number: int) -> None:
        self.n_left, self.real = number + 1, links_module._memory

    def __call__(self, *about: Any) -> torch.Tensor:
        self.n_left -= 1
        if self.n_left == 0:
            raise torch.OutOfMemoryError("CUDA out of memory while receiving")
        return self.real(*about)


def _refuse(most_tokens: int, block: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
    time.sleep(0.002)  # as a block that takes a while: several batches are under way
    if arguments[0].shape[0] * arguments[0].shape[1] > most_tokens:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")


def run_at_a_pace(member: Member, case: Case, seconds: Sequence[float]) -> None:
    """Run a case with a trace; each block of process i takes so many seconds more."""
    trace.start(member.folder.parent / f"trace-{member.index}")
    with meet(member) as peers:
        model = Pipeline().open_model(case.request, peers)
        for block in model.layout.blocks_of(model.skeleton.model):
            block.register_forward_pre_hook(lambda *_: time.sleep(seconds[peers.index]))
        assert len(list(model.run(case.batches))) == len(case.batches)
        model.close()
    trace.stop()


def leave_while_looking(member: Member) -> None:
    """Leave at a moment at which the thread that looks after the others has just heard of them."""
    with meet(member) as peers:
        look, has_looked = peers._look, threading.Event()

        def look_slowly(keys: list[str], word: str) -> list[str]:
            words = look(keys, word)
            has_looked.set()
            time.sleep(0.2)
            return words

        peers._look = look_slowly
        has_looked.wait()


def save_details(member: Member, cases: Sequence[Case]) -> None:
    """Read the details of every case, and pool its batch after that; the first process has all."""
    with meet(member) as peers:
        for number, case in enumerate(cases):
            model = Pipeline().open_model(case.request, peers)
            found = model.details(case.batches[0])
            assert len(list(model.run(case.batches))) == 1
            model.close()
            assert bool(found) == peers.is_first
            if found:
                named = {
                    f"{site}|{name}": value for site, each in found.items() for name, value in each.items()
                }
                np.savez(member.folder.parent / f"{number}.npz", **named)


def count_held_back(member: Member, case: Case, seconds: Sequence[float]) -> None:
    """Run a case at a pace, as `run_at_a_pace`; write how many results this process held at most."""
    most = 0

    class Watched(deque):
        def append(self, item: Any) -> None:
            nonlocal most
            super().append(item)
            most = max(most, len(self))

    rounds_module.deque = Watched
    with meet(member) as peers:
        model = Pipeline().open_model(case.request, peers)
        for block in model.layout.blocks_of(model.skeleton.model):
            block.register_forward_pre_hook(lambda *_: time.sleep(seconds[peers.index]))
        n_found = sum(1 for _ in model.run(case.batches))
        model.close()
    found = {"most": most, "n_batches": n_found}
    (member.folder.parent / f"held-{member.index}.json").write_text(json.dumps(found))
