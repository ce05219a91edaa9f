"""Where in a model an activation is read, and how tokens become points."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from hpcgeom.errors import InputError

Site = Literal[
    "token_embed",
    "pos_embed",
    "resid",
    "hidden_states",
    "ln_1",
    "q",
    "k",
    "v",
    "z",
    "attn_out",
    "resid_mid",
    "ln_2",
    "mlp_pre",
    "mlp_act",
    "mlp_out",
]
DetailSite = Literal["attention", "logits", "probabilities", "logit_lens"]
"""What can only be kept whole, for chosen samples; nothing is pooled and no neighbors are found."""
Pooling = Literal["mean", "mean_all", "last", "first", "max", "std", "tokens"]

OF_THE_HEAD = frozenset({"logits", "probabilities", "logit_lens"})
"""What the model's head gives."""

SITES: tuple[str, ...] = get_args(Site)
DETAIL_SITES: tuple[str, ...] = get_args(DetailSite)
HEAD_SITES: tuple[str, ...] = ("q", "k", "v", "z")
"""Sites whose features are those of the heads, one head after the other."""
POOLINGS: tuple[str, ...] = get_args(Pooling)
TOKENS_POOLING = "tokens"
"""Every token is a point."""

POINTS_SITE = "points"
"""The one site of points that exist already; their pooling is `none`."""
NO_POOLING = "none"

MODULE_PREFIX = "module:"

EMBEDDING_SITES = frozenset({"token_embed", "pos_embed"})
"""Sites with layer 0 only."""
FROM_LAYER_0 = frozenset({"resid", "hidden_states", "ln_1"})
"""Sites with layers 0..L; the others have 1..L."""

_ONE_TOKEN = re.compile(r"token:(-?\d{1,9})")
_ONE_HEAD = re.compile(r"([qkvz])\.(\d{1,4})")


def is_module_glob(site: str) -> bool:
    """Whether `site` names submodules (``module:<glob>``) and not a place in a block."""
    return site.startswith(MODULE_PREFIX)


def split_head(site: str) -> tuple[str, int | None]:
    """The site and the head that ``z.3`` names; the head is None where `site` is not of one head."""
    found = _ONE_HEAD.fullmatch(site)
    return (found[1], int(found[2])) if found else (site, None)


def token_position(pooling: str) -> int | None:
    """The position that ``token:<i>`` names among the real tokens, from the end where negative; else None."""
    found = _ONE_TOKEN.fullmatch(pooling)
    return int(found[1]) if found else None


def is_pooling(name: str) -> bool:
    """Whether `name` is one of `POOLINGS` or ``token:<i>``."""
    return name in POOLINGS or token_position(name) is not None


def pooling_words() -> str:
    """All poolings, for a message."""
    return f"{', '.join(POOLINGS)} or token:<i>"


def layers_of_site(site: str, n_layers: int) -> tuple[int, ...]:
    """All layers at which a model of `n_layers` blocks has `site`.

    Raises
    ------
    InputError
        The site is not one of `SITES`, one head of such a site, or one of `DETAIL_SITES`.
    """
    base, _ = split_head(site)
    if base in EMBEDDING_SITES:
        return (0,)
    if base in ("logits", "probabilities"):
        return (n_layers,)
    if base in FROM_LAYER_0 or base == "logit_lens":
        return tuple(range(n_layers + 1))
    if base in SITES or base == "attention":
        return tuple(range(1, n_layers + 1))
    raise InputError(
        f"unknown site '{site}': expected one of {', '.join(SITES)} or module:<glob>: choose one of them"
    )


@dataclass(frozen=True, slots=True)
class SiteShape:
    """The layers read at one site, and the width of a point there.

    Attributes
    ----------
    layers
        Layer numbers, in the order of the first axis of what is extracted.
    width
        Features of a point.
    modules
        Names of the submodules that are these layers; empty for places in a block.
    """

    layers: tuple[int, ...]
    width: int
    modules: tuple[str, ...] = ()
