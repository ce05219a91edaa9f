"""Where things are in a model made of a chain of blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from hpcgeom.catalog.sites import FROM_LAYER_0, HEAD_SITES, SITES

CHAIN_SITES = ("resid", "hidden_states")
"""Sites that follow from the chain of blocks itself."""


@dataclass(frozen=True, slots=True)
class SitePath:
    """A submodule, and what of it a site is.

    Attributes
    ----------
    path
        Path relative to the block, or to the model for parts of the embedding.
    side
        ``output`` of that submodule, or its first ``input``.
    item
        Which of a tuple of outputs.
    part
        (index, n): which of n equal parts of the last dimension, where one product gives several sites.
    prefix
        Path in the model of a parameter (1, n, D) that stands before the tokens: a class token.
    """

    path: str
    side: Literal["input", "output"] = "output"
    item: int = 0
    part: tuple[int, int] | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What turns hidden states into scores over a vocabulary or classes.

    Attributes
    ----------
    path
        Path of the module; its input are hidden states after the final norm.
    reads
        ``all`` positions, or the ``first`` (a class token).
    """

    path: str
    reads: Literal["all", "first"] = "all"


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Where things are in a model made of a chain of blocks.

    Attributes
    ----------
    blocks
        Path of the list of blocks.
    sites
        Site to its place in every block; `resid` and `hidden_states` follow from the chain itself.
    final_norm
        Path of the norm after the last block; None if there is none.
    post_norm
        Blocks end with their norm, so the last block's output needs none (Vaswani et al. 2017).
    embeddings
        Site to its place in the model, for the parts of the embedding.
    attention
        What gives the attention map (B, n_heads, T, T) of a block; None if nothing does.
    head
        The model's head; None if the model was built without.
    n_heads, n_kv_heads
        Heads of q and z, and of k and v; None if unknown.
    """

    blocks: str
    sites: Mapping[str, SitePath] = field(default_factory=dict)
    final_norm: str | None = None
    post_norm: bool = False
    embeddings: Mapping[str, SitePath] = field(default_factory=dict)
    attention: SitePath | None = None
    head: Head | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None

    @property
    def site_names(self) -> tuple[str, ...]:
        """Sites that exist in this layout, in the order of the catalog."""
        known = {*CHAIN_SITES, *self.sites, *self.embeddings}
        return tuple(site for site in SITES if site in known)

    def heads_of(self, site: str) -> int | None:
        """How many heads `site` has; None where it has none, or their number is unknown."""
        if site not in HEAD_SITES:
            return None
        return self.n_kv_heads if site in ("k", "v") else self.n_heads

    def blocks_of(self, model: torch.nn.Module) -> torch.nn.ModuleList | torch.nn.Sequential:
        """The blocks, in order."""
        return model.get_submodule(self.blocks)

    def final_norm_of(self, model: torch.nn.Module) -> torch.nn.Module | None:
        """The norm after the last block, if there is one."""
        return None if self.final_norm is None else model.get_submodule(self.final_norm)

    def below(self, prefix: str, head: Head) -> BlockLayout:
        """The same model as the submodule `prefix` of one with a head."""
        embeddings = {
            site: replace(
                place,
                path=f"{prefix}.{place.path}",
                prefix=None if place.prefix is None else f"{prefix}.{place.prefix}",
            )
            for site, place in self.embeddings.items()
        }
        norm = None if self.final_norm is None else f"{prefix}.{self.final_norm}"
        blocks = f"{prefix}.{self.blocks}"
        return replace(self, blocks=blocks, final_norm=norm, embeddings=embeddings, head=head)


def n_blocks_to_run(site: str, last_layer: int, n_layers: int) -> int:
    """How many blocks must run for `site` to be read up to `last_layer` of a model of `n_layers` blocks."""
    if site == "ln_1":  # the first norm of the block after h_l
        return min(last_layer + 1, n_layers)
    return last_layer


def layer_in_block(site: str, block_index: int) -> int:
    """Layer number of `site` as read in block `block_index`: norms before a block belong to its input."""
    return block_index if site in FROM_LAYER_0 else block_index + 1
