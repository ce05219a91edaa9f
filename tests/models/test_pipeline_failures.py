"""Where one process of a pipeline fails, all end, soon, and say which one it was and why."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace

import families_for_tests as families
import pipeline_processes as processes
import pytest
from pipeline_processes import Case

from hpcgeom.errors import ResourceError
from hpcgeom.models import links

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def case(tmp_path_factory, make_batch):
    folder = families.save("gpt2", tmp_path_factory.mktemp("gpt2"))
    batches = [make_batch([9, 4, 6], n_words=families.N_IDS, seed=seed) for seed in range(4)]
    return Case("gpt2", families.request("gpt2", folder), batches)


def fail(case, how, folder):
    """Exit codes and last sentences of three processes."""
    began = time.monotonic()
    but = 1 if how == "stopped" else None
    codes = processes.run_group(processes.fail_somehow, 3, folder, case, how, but=but)
    assert time.monotonic() - began < PATIENCE_S
    files = [folder / f"error-{index}.txt" for index in range(3)]
    return codes, [file.read_text() if file.exists() else "" for file in files]


@pytest.mark.parametrize(("how", "which", "blocks"), [("killed", 1, "1 to 1"), ("first killed", 0, "0 to 0")])
def test_a_killed_process_ends_the_others_with_its_name(case, how, which, blocks, tmp_path):
    codes, sentences = fail(case, how, tmp_path)
    assert codes[which] == -signal.SIGKILL
    for index in {0, 1, 2} - {which}:
        assert codes[index] == 3
        assert sentences[index].startswith(f"process {which} of 3 (blocks {blocks}) on ")
        assert " is gone (" in sentences[index]


@pytest.mark.slow
def test_a_process_that_stands_still_is_given_up(case, tmp_path):
    codes, sentences = fail(case, "stopped", tmp_path)
    assert (codes[0], codes[2]) == (3, 3)
    for index in (0, 2):
        assert sentences[index].startswith("process 1 of 3 (blocks 1 to 1) on ")
        assert "nothing was heard of it for 3 s" in sentences[index]


def test_the_error_of_one_is_that_of_all_also_of_one_that_listens_to_nobody(case, tmp_path):
    codes, sentences = fail(case, "raises", tmp_path)
    assert codes == [2, 2, 2]
    assert sentences == [*["this sample cannot be used: leave it out"] * 2, ""]
    assert "hpcgeom: this sample cannot be used: leave it out" in (tmp_path / "stderr-2.txt").read_text()


def test_processes_with_different_batches_do_not_go_on(case, tmp_path):
    codes, sentences = fail(case, "other batches", tmp_path)
    assert codes == [2, 2, 2]
    assert len(set(sentences)) == 1
    assert "process 0 of 3 (blocks 0 to 0) on " in sentences[0]
    assert "sent batch, shape and type (3, (3, 9, 32), torch.float32), but process 1 of 3" in sentences[0]
    assert "is at (3, (1, 9, 32), torch.float32): they read different samples" in sentences[0]


def test_memory_that_runs_out_between_two_processes_is_told_with_what_to_do():
    told = []
    peers = SimpleNamespace(index=1, name="process {} of 2".format, fail=told.append)
    links._tell(peers, 0, RuntimeError("CUDA error: out of memory"))
    (error,) = told
    assert isinstance(error, ResourceError)
    assert str(error).startswith("process 1 of 2: memory ran out between two processes (")
    assert str(error).endswith("): end what else takes memory there, or use a device with more")


def test_who_leaves_is_not_kept_by_what_it_heard_before(tmp_path):
    began = time.monotonic()
    assert processes.run_group(processes.leave_while_looking, 3, tmp_path) == [0, 0, 0]
    assert time.monotonic() - began < PATIENCE_S
