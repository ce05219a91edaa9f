"""What a request reads, worked out against one model: sites that exist, layers that it has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from hpcgeom.catalog.sites import FROM_LAYER_0, MODULE_PREFIX, POOLINGS, SITES, is_module_glob, layers_of_site
from hpcgeom.errors import InputError
from hpcgeom.models.blocks import BlockLayout
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
    """

    site: str
    poolings: tuple[str, ...]
    layers: tuple[int, ...]
    position: Mapping[int, int]
    modules: tuple[str, ...] = ()

    def source(self, layer: int) -> str:
        """What gives `layer`, in words."""
        if self.modules:
            return f"module '{self.modules[layer]}'"
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
        resolved[reading.site] = SiteReading(reading.site, reading.poolings, layers, position, modules)
    return resolved


def _check_poolings(reading: Reading, name: str) -> None:
    poolings = reading.poolings
    unknown = [pooling for pooling in poolings if pooling not in POOLINGS]
    if unknown or not poolings or len(set(poolings)) != len(poolings):
        raise InputError(
            f"model '{name}', site '{reading.site}': expected distinct poolings out of "
            f"{', '.join(POOLINGS)}; found {', '.join(poolings) or 'none'}"
        )


def _matching_modules(site: str, model: torch.nn.Module, name: str) -> tuple[str, ...]:
    glob = site.removeprefix(MODULE_PREFIX)
    names = [module_name for module_name, _ in model.named_modules() if module_name]
    if matches := tuple(module_name for module_name in names if fnmatchcase(module_name, glob)):
        return matches
    raise InputError(
        f"model '{name}' has no submodule that matches '{glob}': near names are {near_names(glob, names)}"
    )


def near_names(name: str, names: Sequence[str]) -> str:
    """A few of `names` that look like `name`, for a message."""
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or list(names[:5])
    return ", ".join(f"'{candidate}'" for candidate in near) or "none: the model has no submodules"


def _layers_of_block_site(
    reading: Reading, layout: BlockLayout | None, model: torch.nn.Module, name: str
) -> tuple[int, ...]:
    site = reading.site
    if site not in SITES:
        raise InputError(
            f"model '{name}' has no site '{site}': expected one of {', '.join(SITES)} or module:<glob>"
        )
    if layout is None:
        raise InputError(
            f"model '{name}' has no blocks, so it has no site '{site}': give the path of its list of blocks "
            "as `blocks`, or read module:<glob>"
        )
    if site not in layout.site_names:
        why = (
            "its post-norm blocks have no first norm" if layout.post_norm and site == "ln_1" else "not mapped"
        )
        raise InputError(
            f"model '{name}' has no site '{site}' ({why}): its sites are {', '.join(layout.site_names)}"
        )
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


def _checked_layers(reading: Reading, available: tuple[int, ...], name: str) -> tuple[int, ...]:
    layers = reading.layers
    if layers is None:
        return available
    if not layers or list(layers) != sorted(set(layers)) or not set(layers) <= set(available):
        raise InputError(
            f"model '{name}', site '{reading.site}': expected ascending layers out of {available[0]} to "
            f"{available[-1]}; found {list(layers)}"
        )
    return layers
