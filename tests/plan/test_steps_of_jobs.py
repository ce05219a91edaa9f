"""What the tasks of one step of a job do: alone, or models together, as the first of them chooses for all."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from plan_examples import draft, plan_of

from hpcgeom import this_group
from hpcgeom.api import groups, strategies
from hpcgeom.api.steps import devices_of_step, devices_of_task, models_together, take_gpus_of_task
from hpcgeom.api.strategies import Resources
from hpcgeom.errors import ResourceError
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.strategies import choose
from hpcgeom.plan.units import units_of
from hpcgeom.stages.task import Task
from hpcgeom.this_group import Member
from hpcgeom.types import Means

GIB = 2**30
BLOCKS = 6
SIZES = {"n_parameters": 6 * 10**9, "n_block_parameters": 10**9, "values_per_token": 64}
"""24 GB of weights in six blocks: 8 GB for each of three processes."""


class Said(list):
    """Hears what is said."""

    def say(self, line):
        self.append(line)


def step(monkeypatch, n_tasks, n_nodes=1, **more):
    known = {"STEP_NUM_TASKS": n_tasks, "STEP_NUM_NODES": n_nodes, **more}
    for name in ("STEP_NUM_TASKS", "STEP_NUM_NODES", "GPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for name, value in known.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """What each of `n` tasks of one node hears, in the order of the tasks, and what was said."""

    def chosen(gb, wish="auto", n=3, *, is_done=False):
        step(monkeypatch, n)
        plan = plan_of(drafts=[draft("large", layers=BLOCKS + 1, **SIZES)])
        units, said = units_of(plan, "extract"), Said()
        records = SimpleNamespace(missing=lambda units: [] if is_done else list(units))
        run = SimpleNamespace(plan=plan, records=lambda _: records)

        def task(index):
            member = Member(index, n, "g", tmp_path / "groups" / "g")
            return models_together(run, units, {"large": wish}, Resources(1, gb), member, said)

        with ThreadPoolExecutor(n) as pool:
            return [set(names) for names in pool.map(task, reversed(range(n)))], said

    return chosen


def test_tasks_run_a_model_together_that_does_not_fit_into_each(chosen):
    heard, said = chosen(gb=48)
    assert heard == [{"large"}] * 3
    (line,) = said
    assert re.fullmatch(
        r"model 'large': pipeline over the 3 tasks of this step \(replicate: needs 69\.\d GiB of memory "
        r"\(3 processes of 23\.\d GiB\) where there are 48\.0 GiB\)",
        line,
    )


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"gb": 100}, "a whole model fits into each"),
        ({"gb": 12}, "only blocks one after the other fit"),
        ({"gb": 75, "n": BLOCKS + 1}, "there are more tasks than blocks"),
        ({"gb": 48, "is_done": True}, "nothing is missing"),
        ({"gb": 48, "is_done": True, "wish": "pipeline"}, "nothing is missing"),
    ],
)
def test_tasks_do_units_of_their_own_where(chosen, tmp_path, settings, why):
    heard, said = chosen(**settings)
    assert heard == [set()] * settings.get("n", 3), why
    assert said == []
    assert not (tmp_path / "groups").exists()


def test_what_the_manifest_says_is_not_chosen_again(chosen, tmp_path):
    assert chosen(gb=1, wish="pipeline") == ([{"large"}] * 3, [])
    assert chosen(gb=48, wish="stream") == ([set()] * 3, [])


def test_a_first_task_that_says_nothing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(this_group, "MEET_S", 0.1)
    member = Member(1, 2, "g", tmp_path / "groups" / "g")
    with pytest.raises(
        ResourceError, match=r"process 0 of 2 did not come within 0 s: .*/g/decision\.json: look at its log"
    ):
        this_group.decide(member, list)


@pytest.mark.parametrize(
    ("tasks", "nodes", "seen", "on_node", "expected"),
    [
        (1, 1, [40], 1, (1, 40)),
        (2, 1, [40], 2, (2, 40)),  # one GPU of its own for each task
        (2, 1, [40, 40], 2, (2, 40)),  # each task sees those of all
        (4, 1, [40], 1, (4, 10)),  # one for all
        (4, 2, [40], 1, (4, 20)),
    ],
)
def test_tasks_share_the_gpus_of_their_node(monkeypatch, tasks, nodes, seen, on_node, expected):
    step(monkeypatch, tasks, nodes, GPUS_ON_NODE=on_node)
    monkeypatch.setattr(strategies, "visible", lambda: ["0"])
    monkeypatch.setattr(strategies, "_gpu_bytes", lambda: [gb * GIB for gb in seen])
    found = devices_of_step(Resources(1, 64))
    assert (found.n, found.gpu_bytes // GIB) == expected
    assert (found.n_hosts, found.host_bytes) == (nodes, 64 * GIB)
    alone = devices_of_task(Resources(1, 64))
    assert alone.processes_of("pipeline") == 1
    assert alone.processes_of("replicate") == tasks // nodes
    assert alone.processes_of("dispatch") == tasks // nodes  # each over its own share, of the host too
    assert alone.gpu_bytes == found.gpu_bytes


@pytest.mark.parametrize(
    ("seen", "on_node", "left"),
    [
        ("0,1,2,3", 4, "1,3"),  # those of the node, which both tasks see
        ("0,1", 4, "0,1"),  # its own alone: SLURM numbers them from 0 for each task
        ("0,1", None, "1"),  # a SLURM that does not say how many the node has
        ("0", 1, "0"),
    ],
)
def test_a_task_leaves_the_gpus_of_others_to_them(monkeypatch, seen, on_node, left):
    step(monkeypatch, 4, 2, **({} if on_node is None else {"GPUS_ON_NODE": on_node}))
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    take_gpus_of_task()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_two_tasks_that_dispatch_keep_to_half_of_the_host_each(monkeypatch):
    step(monkeypatch, 2, GPUS_ON_NODE=2)
    monkeypatch.setattr(strategies, "visible", lambda: ["0", "1"])
    monkeypatch.setattr(strategies, "_gpu_bytes", lambda: [12 * GIB] * 2)
    plan = plan_of(drafts=[draft("large", layers=BLOCKS + 1, **SIZES)])
    choice = choose(
        "large", needs_of(plan, plan.model("large")), "dispatch", devices_of_task(Resources(1, 64))
    )
    each = choice.footprint.host_bytes + choice.means().host_bytes
    assert each == 32 * GIB


@pytest.mark.parametrize(
    ("seen", "workers", "expected"), [([], 2, 2), (["0", "1", "2"], 1, 3), (["0"] * 9, 1, 6)]
)
def test_a_group_of_this_machine_has_a_process_for_each_gpu(monkeypatch, tmp_path, seen, workers, expected):
    started = []
    monkeypatch.setattr(groups, "visible", lambda: seen)
    monkeypatch.setattr(groups, "run_group", lambda command, n, *_, **__: started.append(n))
    plan = plan_of(drafts=[draft("large", layers=BLOCKS + 1, **SIZES)])
    units = units_of(plan, "extract")
    run = SimpleNamespace(plan=plan, root=tmp_path, select=lambda _, indices: [units[i] for i in indices])
    launch = groups.with_groups(lambda *_: None, run, workers)
    launch([Task(str(tmp_path), "extract", (0,), Means("pipeline"))], lambda _: None, lambda: False)
    assert started == [expected]  # of six blocks
