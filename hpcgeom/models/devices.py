"""Which device a model runs on."""

from __future__ import annotations

import os

import torch


def chosen_device() -> str:
    """A GPU where this process was given one (``CUDA_VISIBLE_DEVICES``, which SLURM sets); else the CPU."""
    was_given_one = bool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return "cuda" if was_given_one and torch.cuda.is_available() else "cpu"
