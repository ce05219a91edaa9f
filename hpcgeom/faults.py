"""The one place where tests may interfere: a function of theirs is called at named moments.

For tests only. Where the environment variable ``HPCGEOM_TEST_HOOK`` names a function (``module:function``),
it is called with the name of the moment and what it is about; otherwise nothing happens.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any

VARIABLE = "HPCGEOM_TEST_HOOK"


def reached(moment: str, **about: Any) -> None:
    """Tell the tests, if any, that a moment has come.

    Parameters
    ----------
    moment
        ``unit-begins``, ``unit-computed`` and ``unit-recorded``, with `stage`, `index` and `key`;
        ``part-written``, with the same, where a process that follows another has written its layers of a
        unit; ``tile``, with `start`, in the loop of a search; ``stream-block``, with `block`, and
        ``stream-saved``, with `n_steps`, in a pass of the strategy `stream`; ``pipeline-batch``, with
        `process` and `shape`, before the blocks of a process of the strategy `pipeline`.
    """
    if name := os.environ.get(VARIABLE):
        _hook(name)(moment, **about)


@functools.cache
def _hook(name: str) -> Callable[..., None]:
    module, _, function = name.partition(":")
    hook: Callable[..., None] = getattr(importlib.import_module(module), function)
    return hook
