"""Strategies pool batch after batch into the same memory, once what it held has gone."""

from __future__ import annotations

import families_for_tests as families
import numpy as np
import pytest

from hpcgeom.models import Pipeline, Reading, Replicate, TokenBatch
from hpcgeom.models import reused_memory as module
from hpcgeom.models.peers import meet
from hpcgeom.models.stream import Stream
from hpcgeom.this_group import Member

N, SHAPE = 6, (64, 5)


@pytest.fixture
def request_and_batches(tmp_path):
    folder = families.save("gpt2", tmp_path / "gpt2", n_layer=2)
    rng = np.random.default_rng(0)
    ones, zeros = np.ones(SHAPE, np.int64), np.zeros(SHAPE, bool)
    batches = [TokenBatch(rng.integers(2, families.N_IDS, SHAPE), ones, zeros) for _ in range(N)]
    return families.request("gpt2", folder, Reading("resid", ("tokens",))), batches


def passes(strategy, request, batches, tmp_path):
    """Sums of what each batch gives, which is let go at once."""
    if strategy == "pipeline":
        with meet(Member(0, 1, "one", tmp_path / "meeting")) as peers:
            model = Pipeline().open_model(request, peers)
            yield from (each["resid", "tokens"].sum() for each in model.run(batches))
            model.close()
        return
    model = (Stream() if strategy == "stream" else Replicate()).open_model(request, "cpu", 1)
    yield from (each["resid", "tokens"].sum() for each in model.run(batches, tmp_path / "scratch"))


@pytest.mark.parametrize("strategy", ["replicate", "stream", "pipeline"])
def test_memory_is_used_again(strategy, request_and_batches, tmp_path, monkeypatch):
    handed_out, of_system = [], []
    block = module.ReusedMemory._block

    def watched(memory, n_bytes):
        n_free = len(memory._free)
        found = block(memory, n_bytes)
        (handed_out if len(memory._free) < n_free and n_free else of_system).append(n_bytes)
        return found

    monkeypatch.setattr(module, "MIN_BYTES", 2**10)
    monkeypatch.setattr(module.ReusedMemory, "_block", watched)
    sums = list(passes(strategy, *request_and_batches, tmp_path))
    assert len(sums) == N
    assert len(handed_out) >= N - 3
    assert len(of_system) <= 4
    if strategy == "stream":  # also what is read again of the files of all steps, put together
        assert max(handed_out) == 4 * 3 * SHAPE[0] * SHAPE[1] * families.WIDTH
