"""Digests: the identity of what was asked for, chained from stage to stage."""

from __future__ import annotations

import hashlib
import json
from typing import Any

PLAN_SCHEMA = 3
"""Raised whenever a plan, a record or a store changes in a way that older code cannot read."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest(what: str, /, **inputs: Any) -> str:
    """SHA-256 (hex) of `what` is asked for: a stage's science settings and of the digests of its inputs."""
    text = canonical_json({"schema": PLAN_SCHEMA, "what": what, **inputs})
    return hashlib.sha256(text.encode()).hexdigest()
