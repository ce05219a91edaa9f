"""How long a process of a pipeline waits for the others, as its trace says, is what it should be."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import families_for_tests as families
import pipeline_processes as processes
import pytest
from pipeline_processes import Case

N_BATCHES = 30
FAST_S, SLOW_S = 0.02, 0.06


@pytest.fixture(scope="module")
def idle_share():
    """The function of the tool that measures it."""
    path = Path(__file__).parents[2] / "tools/bench/pipeline.py"
    spec = importlib.util.spec_from_file_location("bench_pipeline", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.idle_share


@pytest.mark.parametrize("slow", [0, 1])
def test_beside_a_process_that_takes_three_times_as_long_two_thirds_of_the_time_are_idle(
    idle_share, slow, tmp_path, make_batch
):
    source = families.save("gpt2", tmp_path / "gpt2", n_layer=2)
    batches = [make_batch([5, 4], n_words=families.N_IDS, seed=seed) for seed in range(N_BATCHES)]
    seconds = [SLOW_S if index == slow else FAST_S for index in (0, 1)]
    case = Case("gpt2", families.request("gpt2", source), batches)
    assert processes.run_group(processes.run_at_a_pace, 2, tmp_path, case, seconds) == [0, 0]
    idle = [idle_share(tmp_path / f"trace-{index}", N_BATCHES) for index in (0, 1)]
    assert idle[slow] < 0.1
    # two thirds, less a few batches of thirty that the first can be ahead, and what the machine takes
    assert 0.5 < idle[1 - slow] < 0.69
