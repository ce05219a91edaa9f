"""Which layers of which sites a model is read at, from the manifest and the model's shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hpcgeom.catalog.families import FAMILIES, ModelFacts
from hpcgeom.catalog.sites import (
    HEAD_SITES,
    NO_POOLING,
    POINTS_SITE,
    SiteShape,
    is_module_glob,
    layers_of_site,
    split_head,
)
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.sections import Representations
from hpcgeom.plan.plan import Representation


def family_shapes(name: str, family: str, facts: ModelFacts, sites: Sequence[str]) -> dict[str, SiteShape]:
    """Shapes of the sites of a model whose family is in the catalog.

    Raises
    ------
    InputError
        The architecture has no such site.
    """
    known = FAMILIES[family]
    found: dict[str, SiteShape] = {}
    for site in sites:
        if is_module_glob(site):
            raise InputError(
                f"model '{name}' of family '{family}' cannot read '{site}': "
                f"module globs are read by family 'module': choose from {', '.join(known.sites)}"
            )
        base, head = split_head(site)
        if base not in known.sites:
            reason = known.absent_sites.get(base, "it is not in the catalog")
            raise InputError(
                f"model '{name}' of family '{family}' has no site '{site}' ({reason}): "
                f"choose from {', '.join(known.sites)}"
            )
        if head is not None and head >= facts.n_heads_of(base):
            raise InputError(
                f"model '{name}' has no site '{site}': the heads of '{base}' are 0 to "
                f"{facts.n_heads_of(base) - 1}: name one of these"
            )
        found[site] = SiteShape(layers_of_site(site, facts.n_layers), facts.site_width(site))
    return found


def sites_by_head(asked: Representations, n_heads_of: Callable[[str], int]) -> tuple[str, ...]:
    """The sites that `asked` names, those with heads one head at a time where they are to be separate."""
    if asked.heads == "together":
        return tuple(asked.sites)
    return tuple(
        each
        for site in asked.sites
        for each in ([f"{site}.{head}" for head in range(n_heads_of(site))] if site in HEAD_SITES else [site])
    )


def points_representation(layers: Sequence[int], width: int) -> tuple[Representation, ...]:
    """The one representation of points that exist already."""
    return (Representation(site=POINTS_SITE, pooling=NO_POOLING, layers=tuple(layers), width=width),)


def choose_layers(
    name: str, asked: Representations, shapes: Mapping[str, SiteShape]
) -> tuple[Representation, ...]:
    """The representations that `asked` names, each at the layers that its site has.

    Raises
    ------
    ProblemsError
        A layer exists at no site, or a site has none of the layers asked for.
    """
    problems: list[str] = []
    chosen: dict[str, tuple[int, ...]] = {}
    for site, shape in shapes.items():
        chosen[site] = (
            shape.layers if asked.layers == "all" else tuple(sorted(set(asked.layers) & set(shape.layers)))
        )
        if not chosen[site]:
            problems.append(
                f"model '{name}': site '{site}' has layers {shape.layers[0]} to {shape.layers[-1]}, and "
                f"representations.layers names none of them: add one, or leave the site out"
            )
    if asked.layers != "all":
        known = {layer for shape in shapes.values() for layer in shape.layers}
        problems += [
            f"model '{name}': representations.layers names layer {layer}, but its layers are "
            f"{min(known)} to {max(known)}: remove it"
            for layer in asked.layers
            if layer not in known
        ]
    if problems:
        raise ProblemsError(problems)
    return tuple(
        Representation(
            site=site, pooling=pooling, layers=chosen[site], width=shape.width, modules=shape.modules
        )
        for site, shape in shapes.items()
        for pooling in asked.pooling
    )
