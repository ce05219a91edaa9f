"""Where in a block an activation is read, and how tokens become points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hpcgeom.errors import InputError

Site = Literal["resid", "hidden_states", "ln_1", "attn_out", "resid_mid", "mlp_out"]
Pooling = Literal["mean", "mean_all", "last", "first", "max"]

SITES: tuple[str, ...] = get_args(Site)
POOLINGS: tuple[str, ...] = get_args(Pooling)

POINTS_SITE = "points"
"""The one site of points that exist already; their pooling is `none`."""
NO_POOLING = "none"

MODULE_PREFIX = "module:"

FROM_LAYER_0 = frozenset({"resid", "hidden_states", "ln_1"})
"""Sites with layers 0..L; the others have 1..L."""


def is_module_glob(site: str) -> bool:
    """Whether `site` names submodules (``module:<glob>``) and not a place in a block."""
    return site.startswith(MODULE_PREFIX)


def layers_of_site(site: str, n_layers: int) -> tuple[int, ...]:
    """All layers at which a model of `n_layers` blocks has `site`.

    Raises
    ------
    InputError
        The site is not one of `SITES`.
    """
    if site not in SITES:
        raise InputError(f"unknown site '{site}': expected one of {', '.join(SITES)} or module:<glob>")
    return tuple(range(0 if site in FROM_LAYER_0 else 1, n_layers + 1))


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
