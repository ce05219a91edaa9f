"""A killed pass of `stream` goes on from what it saved, with the same bits; nothing else is ever taken up."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import families_for_tests as tiny
import numpy as np
import pytest
import streams_for_tests
from streams_for_tests import PLENTY, batches_of, check_equal, replicated, some, streamed

from hpcgeom import faults
from hpcgeom.errors import DamagedError, ResourceError
from hpcgeom.models import Reading
from hpcgeom.models.scratch import forget

SITES = some("token_embed", "resid", "mlp_out", "hidden_states")
N_STEPS = 5  # the embedding, three blocks, and what is behind them


class Killed(BaseException):
    """Nobody catches it."""


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return tiny.save("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def expected(gpt2):
    return replicated(tiny.request("gpt2", gpt2, *SITES), batches_of("gpt2"))


@pytest.fixture(autouse=True)
def saves_always(monkeypatch):
    """Saving may cost what it likes, so that it is done behind every block."""
    monkeypatch.setattr("hpcgeom.models.scratch.COST_SHARE", np.inf)


@pytest.fixture
def kill_at(monkeypatch):
    """Let the pass die when a moment has come for the n-th time."""

    def arm(moment: str, n: int) -> None:
        seen: list[str] = []

        def hook(reached: str, **_: object) -> None:
            seen.append(reached)
            if seen.count(moment) == n and reached == moment:
                raise Killed

        monkeypatch.setattr(faults, "reached", hook)

    return arm


def run(gpt2, scratch, memory_bytes=PLENTY, **more):
    model = streamed(tiny.request("gpt2", gpt2, *SITES, **more), memory_bytes)
    return list(model.run(batches_of("gpt2"), scratch)), model.weights.n_bytes_read


@pytest.mark.parametrize("memory_bytes", [PLENTY, 3000, 0])
@pytest.mark.parametrize("moment", ["stream-block", "stream-saved"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_killed_pass_goes_on_where_it_was_saved(gpt2, expected, tmp_path, kill_at, moment, n, memory_bytes):
    kill_at(moment, n)
    with pytest.raises(Killed):
        run(gpt2, tmp_path, memory_bytes)
    kill_at("never", 1)
    found, n_bytes = run(gpt2, tmp_path, memory_bytes)
    check_equal(found, expected)
    _, n_all = run(gpt2, None)
    n_blocks_left = 3 - n + (moment == "stream-block")
    assert n_bytes == n_all // 3 * n_blocks_left


def test_a_pass_may_be_killed_again_and_again(gpt2, expected, tmp_path, kill_at):
    for _ in range(N_STEPS - 2):
        kill_at("stream-saved", 1)
        with pytest.raises(Killed):
            run(gpt2, tmp_path, 3000)
    kill_at("never", 1)
    found, n_bytes = run(gpt2, tmp_path, 3000)
    check_equal(found, expected)
    assert n_bytes == 0


def test_a_pass_that_is_over_is_not_lost_until_it_is_forgotten(gpt2, expected, tmp_path):
    scratch = tmp_path / "scratch"
    run(gpt2, scratch, 3000)
    assert not list(scratch.glob("hidden-*"))
    found, n_bytes = run(gpt2, scratch)
    check_equal(found, expected)
    assert n_bytes == 0
    forget(scratch)
    assert not scratch.exists()
    forget(scratch)
    assert run(gpt2, scratch)[1] > 0


def test_forgetting_leaves_what_is_not_scratch(gpt2, tmp_path):
    run(gpt2, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "change",
    [{"dtype": "bfloat16"}, {"readings": (*SITES, Reading("ln_2", ("max",)))}, "batches", "weights"],
    ids=str,
)
def test_scratch_of_something_else_is_removed_and_never_used(gpt2, tmp_path, kill_at, change):
    scratch, folder = tmp_path / "scratch", tmp_path / "gpt2"
    tiny.rewritten(gpt2, folder)
    kill_at("stream-saved", 2)
    with pytest.raises(Killed):
        run(folder, scratch)
    kill_at("never", 1)
    stale = {path.name for path in scratch.glob("*.bin")}
    request, batches = tiny.request("gpt2", folder, *SITES), batches_of("gpt2")
    if change == "batches":
        batches = batches[::-1]
    elif change == "weights":
        (folder / "model.safetensors").unlink()
        tiny.save("gpt2", folder, seed=4)
    else:
        request = replace(request, **change)
    seen = []

    def look(moment, **_):
        if moment == "stream-block" and not seen:
            seen.append({path.name for path in scratch.glob("*.bin")})

    model = streamed(request)
    faults_before, faults.reached = faults.reached, look
    try:
        check_equal(list(model.run(batches, scratch)), replicated(request, batches))
    finally:
        faults.reached = faults_before
    assert "hidden-002.bin" in stale
    assert "hidden-002.bin" not in seen[0]
    assert model.weights.n_bytes_read > 0


@pytest.mark.parametrize("files", ["hidden-002.bin", "pooled-001.bin", "record.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_scratch_is_not_used(gpt2, expected, tmp_path, kill_at, files, damage):
    kill_at("stream-saved", 2)
    with pytest.raises(Killed):
        run(gpt2, tmp_path, 3000)
    kill_at("never", 1)
    path = tmp_path / files
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content if damage == "flip" else content[:-7])
    if damage == "remove":
        path.unlink()
    found, n_bytes = run(gpt2, tmp_path, 3000)
    check_equal(found, expected)
    assert n_bytes == run(gpt2, None)[1]


def test_hidden_states_that_change_on_disk_are_an_error(gpt2, expected, tmp_path, monkeypatch):
    def spoil(moment, **about):
        if about.get("block") == 1:
            path = tmp_path / "hidden-002.bin"
            path.write_bytes(bytes(path.stat().st_size))

    monkeypatch.setattr(faults, "reached", spoil)
    with pytest.raises(DamagedError, match=r"hidden-002\.bin does not hold.*run the same command again"):
        run(gpt2, tmp_path, 0)
    monkeypatch.undo()
    check_equal(run(gpt2, tmp_path, 0)[0], expected)


@pytest.mark.parametrize("memory_bytes", [PLENTY, 0])
def test_a_full_disk_says_so(gpt2, expected, tmp_path, monkeypatch, memory_bytes):
    real, n_calls = os.pwritev, []

    def full(*arguments):
        n_calls.append(1)
        if len(n_calls) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(ResourceError, match=r"no space is left to write .*\.bin.*run the same command again"):
        run(gpt2, tmp_path, memory_bytes)
    monkeypatch.setattr(os, "pwritev", real)
    check_equal(run(gpt2, tmp_path, memory_bytes)[0], expected)


def test_saving_takes_a_small_share_of_the_time(gpt2, tmp_path, monkeypatch):
    """With a clock that says that a block takes one second and saving half a second."""
    now = [0.0]
    monkeypatch.setattr("hpcgeom.models.scratch.COST_SHARE", 0.1)
    monkeypatch.setattr("hpcgeom.models.scratch.GUESSED_BYTES_PER_S", np.inf)
    monkeypatch.setattr("hpcgeom.models.scratch.time.monotonic", lambda: now[0])
    saved: list[int] = []

    def tick(moment, **about):
        now[0] += 1.0 if moment == "stream-block" else 0.5
        if moment == "stream-saved":
            saved.append(about["n_steps"])

    monkeypatch.setattr(faults, "reached", tick)
    folder = tiny.save("gpt2", tmp_path / "deep", n_layer=16)
    model = streamed(tiny.request("gpt2", folder, Reading("resid", ("mean",))))
    list(model.run(batches_of("gpt2"), tmp_path / "scratch"))
    # at once, since nothing is known; then behind 5 blocks each; and at the end
    assert saved == [2, 7, 12, 17, 18]


SCRIPT = """
import sys
from pathlib import Path
import families_for_tests as tiny
import numpy as np
import hpcgeom.models.scratch as scratch
from test_stream_scratch import SITES, batches_of, streamed
scratch.COST_SHARE = np.inf
folder, target, out = map(Path, sys.argv[1:])
model = streamed(tiny.request("gpt2", folder, *SITES), 3000)
found = list(model.run(batches_of("gpt2"), target))
np.savez(out, **{f"{i} {site} {p}": v for i, each in enumerate(found) for (site, p), v in each.items()})
"""


def die(moment: str, **about: int) -> None:
    """The hook of the processes that are killed."""
    if os.environ["DIE_AT"] == f"{moment} {next(iter(about.values()))}":
        os.kill(os.getpid(), signal.SIGKILL)


def start(gpt2, scratch, out, die_at):
    here = str(Path(streams_for_tests.__file__).parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
        faults.VARIABLE: "test_stream_scratch:die",
        "DIE_AT": die_at,
    }
    command = [sys.executable, "-c", SCRIPT, str(gpt2), str(scratch), str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_processes_killed_at_many_moments_end_with_the_same_bits(gpt2, expected, tmp_path):
    scratch, out = tmp_path / "scratch", tmp_path / "out.npz"
    moments = ["stream-block 0", "stream-saved 2", "stream-block 1", "stream-block 2", "stream-saved 5"]
    for moment in moments:
        killed = start(gpt2, scratch, out, moment)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not out.exists()
    n_steps = json.loads((scratch / "record.json").read_text())["n_steps"]
    assert n_steps == N_STEPS
    done = start(gpt2, scratch, out, "never")
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        for number, each in enumerate(expected):
            for (site, pooling), values in each.items():
                np.testing.assert_array_equal(found[f"{number} {site} {pooling}"], values)
