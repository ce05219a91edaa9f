"""What a request reads, worked out against one model: sites that exist, layers that it has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch

from hpcgeom.catalog.sites import (
    DETAIL_SITES,
    EMBEDDING_SITES,
    FROM_LAYER_0,
    MODULE_PREFIX,
    SITES,
    is_module_glob,
    is_pooling,
    layers_of_site,
    pooling_words,
    split_head,
)
from hpcgeom.errors import InputError
from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.request import Reading


@dataclass(frozen=True, slots=True)
class SiteReading:
    """One site with its layers and poolings settled.

    Attributes
    ----------
    site, poolings, layers
        As in `Reading`, layers always given.
    position
        Layer to its place on the first axis of the result.
    modules
        For a glob, the names of all matching modules: layer i is ``modules[i]``.
    head, n_heads
        For a site of one head, its number out of how many; None and 1 otherwise.
    """

    site: str
    poolings: tuple[str, ...]
    layers: tuple[int, ...]
    position: Mapping[int, int]
    modules: tuple[str, ...] = ()
    head: int | None = None
    n_heads: int = 1

    @property
    def base(self) -> str:
        """The site of all heads where this is of one; else the site itself."""
        return split_head(self.site)[0]

    def at(self, layers: Sequence[int] | None) -> SiteReading:
        """The same site at those of its layers that are in `layers`; at all of them for None.

        Raises
        ------
        InputError
            It has none of them.
        """
        kept = self.layers if layers is None else tuple(layer for layer in self.layers if layer in layers)
        if not kept:
            raise InputError(
                f"site '{self.site}' has layers {self.layers[0]} to {self.layers[-1]}, and none of "
                f"{list(layers or ())}: add one, or leave the site out"
            )
        return replace(self, layers=kept, position={layer: i for i, layer in enumerate(kept)})

    def of_head(self, hidden: torch.Tensor) -> torch.Tensor:
        """The features of the reading's head; all of `hidden` (B, T, D) where it is not of one head.

        Raises
        ------
        InputError
            D is no multiple of the number of heads.
        """
        if self.head is None:
            return hidden
        if hidden.shape[-1] % self.n_heads:
            raise InputError(
                f"site '{self.site}': its {hidden.shape[-1]} features cannot be those of {self.n_heads} "
                f"heads: give the right `n_heads`, or read '{self.base}', all heads together"
            )
        return hidden.unflatten(-1, (self.n_heads, -1))[..., self.head, :]

    def source(self, layer: int) -> str:
        """What gives `layer`, in words."""
        if self.modules:
            return f"module '{self.modules[layer]}'"
        if self.base in EMBEDDING_SITES:
            return f"the embedding's {self.base}"
        return f"block {layer if self.site in FROM_LAYER_0 else layer - 1}"


def resolve_readings(
    readings: Sequence[Reading], model: torch.nn.Module, layout: BlockLayout | None, name: str
) -> dict[str, SiteReading]:
    """Settle the sites, layers and poolings of a request on a model.

    Parameters
    ----------
    readings
        What is asked for.
    model
        Skeleton or loaded model; only names of submodules are read.
    layout
        Where its blocks are; None if it has none.
    name
        Name of the model in messages.

    Raises
    ------
    InputError
        A site, pooling or layer does not exist, is asked for twice, or a glob matches nothing.
    """
    if not readings:
        raise InputError(f"model '{name}' reads nothing: give at least one site with one pooling")
    resolved: dict[str, SiteReading] = {}
    for reading in readings:
        if reading.site in resolved:
            raise InputError(f"model '{name}' reads site '{reading.site}' twice: merge the two readings")
        _check_poolings(reading, name)
        if is_module_glob(reading.site):
            modules = _matching_modules(reading.site, model, name)
            available: tuple[int, ...] = tuple(range(len(modules)))
        else:
            modules, available = (), _layers_of_block_site(reading, layout, model, name)
        layers = _checked_layers(reading, available, name)
        position = {layer: i for i, layer in enumerate(layers)}
        base, head = split_head(reading.site)
        n_heads = (layout.heads_of(base) if layout is not None and head is not None else None) or 1
        resolved[reading.site] = SiteReading(
            reading.site, reading.poolings, layers, position, modules, head, n_heads
        )
    return resolved


def resolve_details(details: Sequence[str], layout: BlockLayout | None, name: str) -> None:
    """Make sure that a model has the details that are asked for.

    Raises
    ------
    InputError
        A detail is unknown, or the model has no blocks, no attention map or no head to read it from.
    """
    for site in details:
        if site not in (*DETAIL_SITES, *SITES):
            expected = ", ".join((*DETAIL_SITES, *SITES))
            raise InputError(
                f"model '{name}' has no detail '{site}': expected one of {expected}: choose one of them"
            )
        if layout is None:
            raise InputError(
                f"model '{name}' has no blocks, so it has no '{site}': give their path as `blocks`"
            )
        if site in SITES:
            if site not in layout.site_names:
                raise InputError(
                    f"model '{name}' has no '{site}': its sites are {', '.join(layout.site_names)}: choose "
                    "one of them"
                )
            continue
        if site == "attention" and layout.attention is None:
            raise InputError(
                f"model '{name}' has no '{site}': give the path, in a block, of the module whose output is "
                "the attention map, as `attention`"
            )
        if site != "attention" and layout.head is None:
            raise InputError(
                f"model '{name}' has no '{site}': give the path of the module that makes logits of the last "
                "hidden states, as `head`"
            )
        if site == "logit_lens" and layout.head is not None and layout.head.reads == "first":
            raise InputError(
                f"model '{name}' has no '{site}': its head reads a class token, not every position: "
                "leave it out"
            )


def layers_by_site(readings: Mapping[str, SiteReading]) -> dict[str, set[int]]:
    """All layers that are read, by the site of all heads."""
    found: dict[str, set[int]] = {}
    for reading in readings.values():
        found.setdefault(reading.base, set()).update(reading.layers)
    return found


def _check_poolings(reading: Reading, name: str) -> None:
    poolings = reading.poolings
    unknown = [pooling for pooling in poolings if not is_pooling(pooling)]
    if unknown or not poolings or len(set(poolings)) != len(poolings):
        raise InputError(
            f"model '{name}', site '{reading.site}': expected distinct poolings out of "
            f"{pooling_words()}; found {', '.join(poolings) or 'none'}: name some of them, each once"
        )


def _matching_modules(site: str, model: torch.nn.Module, name: str) -> tuple[str, ...]:
    glob = site.removeprefix(MODULE_PREFIX)
    names = [module_name for module_name, _ in model.named_modules() if module_name]
    if matches := tuple(module_name for module_name in names if fnmatchcase(module_name, glob)):
        return matches
    raise InputError(
        f"model '{name}' has no submodule that matches '{glob}': near names are {near_names(glob, names)}: "
        "correct the glob"
    )


def near_names(name: str, names: Sequence[str]) -> str:
    """A few of `names` that look like `name`, for a message."""
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or list(names[:5])
    return ", ".join(f"'{candidate}'" for candidate in near) or "none: the model has no submodules"


def _layers_of_block_site(
    reading: Reading, layout: BlockLayout | None, model: torch.nn.Module, name: str
) -> tuple[int, ...]:
    site, (base, head) = reading.site, split_head(reading.site)
    if base not in SITES:
        raise InputError(
            f"model '{name}' has no site '{site}': expected one of {', '.join(SITES)} or module:<glob>: "
            "choose one of them"
        )
    if layout is None:
        raise InputError(
            f"model '{name}' has no blocks, so it has no site '{site}': give the path of its list of blocks "
            "as `blocks`, or read module:<glob>"
        )
    if base not in layout.site_names:
        why = (
            "its post-norm blocks have no first norm" if layout.post_norm and site == "ln_1" else "not mapped"
        )
        raise InputError(
            f"model '{name}' has no site '{site}' ({why}): its sites are {', '.join(layout.site_names)}: "
            "choose one of them"
        )
    if head is not None:
        _check_head(head, layout.heads_of(base), site, name)
    available = layers_of_site(site, len(layout.blocks_of(model)))
    last = available[-1]
    wants_last = reading.layers is None or last in reading.layers
    if (
        site in ("ln_1", "hidden_states")
        and wants_last
        and layout.final_norm is None
        and not layout.post_norm
    ):
        raise InputError(
            f"model '{name}', site '{site}': layer {last} is the norm after the last block, and `final_norm` "
            f"does not say where that is: give its path, or read layers 0 to {last - 1} only"
        )
    return available


def _check_head(head: int, n_heads: int | None, site: str, name: str) -> None:
    if n_heads is None:
        raise InputError(
            f"model '{name}', site '{site}': how many heads it has is not known: give `n_heads`, or read "
            f"'{split_head(site)[0]}', all heads together"
        )
    if head >= n_heads:
        raise InputError(
            f"model '{name}', site '{site}': its heads are 0 to {n_heads - 1}: name one of these"
        )


def _checked_layers(reading: Reading, available: tuple[int, ...], name: str) -> tuple[int, ...]:
    layers = reading.layers
    if layers is None:
        return available
    if not layers or list(layers) != sorted(set(layers)) or not set(layers) <= set(available):
        raise InputError(
            f"model '{name}', site '{reading.site}': expected ascending layers out of {available[0]} to "
            f"{available[-1]}; found {list(layers)}: correct them"
        )
    return layers
