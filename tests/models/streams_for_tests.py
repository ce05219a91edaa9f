"""What tests of the strategy `stream` share: tiny checkpoints, batches, and results that must be equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import families_for_tests as tiny
import numpy as np
from texts_for_tests import make_batch

from hpcgeom.models import ModelRequest, Reading, Replicate, TokenBatch
from hpcgeom.models.stream import Stream, StreamedModel

PLENTY = 10**9


def batches_of(kind: str) -> list[TokenBatch]:
    """Three batches of other sizes and lengths, with padding on either side."""
    if kind == "vit":
        return [tiny.images(n_rows, seed) for seed, n_rows in enumerate((3, 2, 4))]
    sizes = (([12, 4, 7, 9], "right"), ([5, 5], "right"), ([20, 6, 11], "left"))
    n_ids = tiny.N_IDS
    return [make_batch(lengths, side, n_ids, seed) for seed, (lengths, side) in enumerate(sizes)]


def request_of(kind: str, folder: Path, **more: Any) -> ModelRequest:
    """Everything that the tiny model of a kind has: all sites, layers and poolings."""
    names = tiny.open_model(kind, folder).skeleton.layout.site_names
    return tiny.request(kind, folder, *tiny.everything(names), **more)


def replicated(request: ModelRequest, batches: list[TokenBatch]) -> list[Any]:
    """What the strategy `replicate` gives."""
    return list(Replicate().open_model(request).run(batches))


def streamed(request: ModelRequest, memory_bytes: int = PLENTY) -> StreamedModel:
    """An open model."""
    return Stream().open_model(request, host_memory_bytes=memory_bytes)


def check_equal(found: list[Any], expected: list[Any]) -> None:
    """Same keys in the same order, same shapes, same bits."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for key, values in one.items():
            assert values.dtype == other[key].dtype == np.float32
            np.testing.assert_array_equal(values.view(np.int32), other[key].view(np.int32), err_msg=str(key))


def some(*sites: str) -> tuple[Reading, ...]:
    """These sites with two poolings at all layers."""
    return tuple(Reading(site, ("mean", "tokens")) for site in sites)
