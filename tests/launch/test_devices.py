"""Processes of a job that has several GPUs take one each."""

from __future__ import annotations

import os

import pytest
import torch

from hpcgeom.launch.devices import number_on_node, take_one
from hpcgeom.models import chosen_device


@pytest.mark.parametrize(
    ("visible", "number", "left"),
    [("0,1,2", 1, "1"), ("0,1,2", 4, "1"), ("3", 5, "3"), ("GPU-a,GPU-b", 1, "GPU-b"), ("", 0, "")],
)
def test_a_process_sees_one_of_the_gpus_of_its_job(monkeypatch, visible, number, left):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    take_one(number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_where_there_is_no_gpu_none_is_named(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    take_one(3)
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
