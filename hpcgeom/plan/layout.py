"""Which layers of which sites a model is read at, from the manifest and the model's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcgeom.catalog.families import FAMILIES, ModelFacts
from hpcgeom.catalog.sites import NO_POOLING, POINTS_SITE, SiteShape, is_module_glob, layers_of_site
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.sections import Representations
from hpcgeom.plan.plan import Representation


def family_shapes(name: str, family: str, facts: ModelFacts, sites: Sequence[str]) -> dict[str, SiteShape]:
    """Shapes of the sites of a model whose family is in the catalogue.

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
                "module globs are read by family 'module'"
            )
        if site not in known.sites:
            reason = known.absent_sites.get(site, "it is not in the catalogue")
            raise InputError(
                f"model '{name}' of family '{family}' has no site '{site}' ({reason}): "
                f"choose from {', '.join(known.sites)}"
            )
        found[site] = SiteShape(layers_of_site(site, facts.n_layers), facts.width)
    return found


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
