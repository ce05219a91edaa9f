"""Processes of a job that has several GPUs take one each."""

from __future__ import annotations

import os

import pytest
import torch

from hpcgeom.launch.devices import number_on_node, take_one, take_share
from hpcgeom.models import chosen_device


@pytest.mark.parametrize(
    ("visible", "number", "left"),
    [("0,1,2", 1, "1"), ("0,1,2", 4, "1"), ("3", 5, "3"), ("GPU-a,GPU-b", 1, "GPU-b"), ("", 0, "")],
)
def test_a_process_sees_one_of_the_gpus_of_its_job(monkeypatch, visible, number, left):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    take_one(number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left


@pytest.mark.parametrize(
    ("visible", "n", "shares"),
    [
        ("0,1,2,3", 2, ["0,2", "1,3"]),
        ("GPU-a,GPU-b,GPU-c", 2, ["GPU-a,GPU-c", "GPU-b"]),
        ("0,1", 3, ["0", "1", "0"]),
        ("5,6", 1, ["5,6"]),
        ("3", 2, ["3", "3"]),
        ("", 2, ["", ""]),
    ],
)
def test_processes_of_a_node_share_its_gpus_out(monkeypatch, visible, n, shares):
    left = []
    for number in range(n):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        take_share(number, n)
        left.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert left == shares


@pytest.mark.parametrize("take", [take_one, lambda number: take_share(number, 2)])
def test_where_there_is_no_gpu_none_is_named(monkeypatch, take):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    take(3)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_number_is_that_of_the_launcher_or_else_of_the_task_on_its_node(monkeypatch):
    monkeypatch.setenv("SLURM_LOCALID", "2")
    assert [number_on_node(name) for name in (5, "1", "10001-0-7", None)] == [5, 1, 2, 2]
    monkeypatch.delenv("SLURM_LOCALID")
    assert number_on_node() == 0


@pytest.mark.parametrize(
    ("visible", "available", "device"),
    [("0", True, "cuda"), ("0", False, "cpu"), ("", True, "cpu"), (None, True, "cpu")],
)
def test_a_model_runs_on_a_gpu_that_its_process_was_given(monkeypatch, visible, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert chosen_device() == device
