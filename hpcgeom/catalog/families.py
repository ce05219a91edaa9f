"""The families that can be run: what they read, and the sites they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcgeom.catalog.architectures import ARCHITECTURES
from hpcgeom.catalog.facts import ModelFacts, facts_of, read_facts
from hpcgeom.catalog.sites import DETAIL_SITES, SITES

__all__ = ["FAMILIES", "Family", "ModelFacts", "facts_of", "read_facts"]


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture, as far as it can be known without loading it.

    Attributes
    ----------
    model_types
        Values of ``model_type`` in config.json that this family reads.
    sites
        Places in the model that can be read.
    detail_sites
        What can be kept whole, for chosen samples.
    absent_sites
        Site of either kind to the reason why the architecture has none.
    dataset_kinds
        Kinds of data sets that it takes.
    objective
        What it was trained to predict.
    is_causal
        Whether a token sees only itself and those before it, in the models of that paper; the twin of Image
        GPT that was trained on masked pixels is the one exception.
    reference
        The paper that describes it.
    """

    name: str
    model_types: tuple[str, ...]
    sites: tuple[str, ...]
    detail_sites: tuple[str, ...]
    absent_sites: Mapping[str, str]
    dataset_kinds: tuple[str, ...]
    objective: str
    is_causal: bool
    reference: str


def _family(
    name: str,
    dataset_kinds: tuple[str, ...],
    objective: str,
    reference: str,
    *,
    is_causal: bool = False,
    absent: Mapping[str, str] | None = None,
) -> Family:
    """A family that has all sites but those `absent`."""
    absent = absent or {}
    return Family(
        name=name,
        model_types=ARCHITECTURES[name].model_types,
        sites=tuple(site for site in SITES if site not in absent),
        detail_sites=tuple(site for site in DETAIL_SITES if site not in absent),
        absent_sites=absent,
        dataset_kinds=dataset_kinds,
        objective=objective,
        is_causal=is_causal,
        reference=reference,
    )


_TEXT = ("text", "tokens")
_ROTARY = {"pos_embed": "its positions are rotations of q and k (rotary), and are added to no embedding"}

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        _family(
            "bert",
            _TEXT,
            "masked tokens",
            "Devlin et al. 2019",
            absent={
                "ln_1": "its blocks are post-norm: there is no norm before the attention",
                "ln_2": "its blocks are post-norm: there is no norm before the MLP",
            },
        ),
        _family("esm2", ("fasta", "tokens"), "masked amino acids", "Lin et al. 2023", absent=_ROTARY),
        _family("gpt2", _TEXT, "the next token", "Radford et al. 2019", is_causal=True),
        _family("igpt", ("images", "tokens"), "the next pixel's color", "Chen et al. 2020", is_causal=True),
        _family("llama", _TEXT, "the next token", "Touvron et al. 2023", is_causal=True, absent=_ROTARY),
        _family(
            "vit",
            ("images",),
            "the class of an image",
            "Dosovitskiy et al. 2021",
            absent={
                "pos_embed": "its positions are the same for every image",
                "logit_lens": "its head scores classes of images, and reads the class token alone",
            },
        ),
    )
}
