"""Sizes of a model, and what follows from them: operations, and the width of every site."""

from __future__ import annotations

from dataclasses import dataclass

from hpcgeom.catalog.sites import DETAIL_SITES, HEAD_SITES, SITES, split_head
from hpcgeom.errors import InputError

_MLP_SITES = ("mlp_pre", "mlp_act")
_SCORES = ("logits", "probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Sizes of one model.

    Attributes
    ----------
    n_layers
        Blocks.
    width
        Features of the residual stream.
    n_heads, n_kv_heads
        Heads of q and z, and of k and v: fewer with grouped queries (Ainslie et al. 2023).
    head_dim
        Features of a head.
    mlp_width
        Features inside the MLP of a block.
    vocab_size
        Rows of the table of tokens; 0 for a model that reads pixels.
    max_positions
        Tokens of a sample, special ones included, that the model has positions for; with rotary positions,
        that it was trained with.
    n_parameters
        Of the model as it is run for pooled sites: without head, pooler and contact head.
    n_block_parameters
        Of one block.
    n_head_parameters
        What logits need beyond that; a table shared with the embedding is not counted again.
    is_gated_mlp
        Whether the MLP has a third product (Shazeer 2020).
    n_image_tokens
        Tokens of an image; 0 for a model that reads none.
    n_patch_values
        Numbers of a patch of an image; 0 where images are not cut into patches.
    n_outputs
        Scores that the head gives: tokens, colors, or classes.
    """

    n_layers: int
    width: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    mlp_width: int
    vocab_size: int
    max_positions: int
    n_parameters: int
    n_block_parameters: int
    n_head_parameters: int
    is_gated_mlp: bool
    n_image_tokens: int
    n_patch_values: int
    n_outputs: int

    def forward_flops(self, n_tokens: int, length: int) -> float:
        """Operations of a forward pass without the head.

        Parameters
        ----------
        n_tokens
            Tokens of all samples.
        length
            Tokens of one sample; all pairs are counted, also those that a causal mask hides.

        Returns
        -------
        float
            Multiply-adds times two of all matrix products.
        """
        queries = self.n_heads * self.head_dim
        projections = 2 * self.width * (queries + self.n_kv_heads * self.head_dim)
        mlp = (3 if self.is_gated_mlp else 2) * self.width * self.mlp_width
        blocks = self.n_layers * (projections + mlp + 2 * queries * length) * n_tokens
        # A class token stands before the patches of each image, and is no product.
        n_patches = n_tokens - n_tokens / length if self.n_patch_values else 0
        return 2.0 * (blocks + n_patches * self.n_patch_values * self.width)

    def values_per_token(self, length: int, *, keeps_scores: bool = False) -> int:
        """Numbers that a block holds of each token at once, an upper estimate.

        Parameters
        ----------
        length
            Tokens of one sample.
        keeps_scores
            Whether the attention is computed step by step, so that its scores are held.
        """
        # its input and output, q, k, v and what the heads give; the branches of its MLP and their product
        stream = 2 * self.width + 2 * (self.n_heads + self.n_kv_heads) * self.head_dim
        mlp = (3 if self.is_gated_mlp else 2) * self.mlp_width
        return stream + mlp + (3 * self.n_heads * length if keeps_scores else 0)

    def n_heads_of(self, site: str) -> int:
        """How many heads `site` has.

        Raises
        ------
        InputError
            It is not split by heads.
        """
        base, _ = split_head(site)
        if base in ("k", "v"):
            return self.n_kv_heads
        if base in HEAD_SITES or base == "attention":
            return self.n_heads
        raise InputError(
            f"site '{site}' is not split by heads: those that are, are {', '.join(HEAD_SITES)}: choose one"
        )

    def site_width(self, site: str) -> int:
        """Features of a point at `site`, which may be one head, such as ``z.3``.

        Raises
        ------
        InputError
            There is no such site or head, or its points have no features: maps of attention, and the logit
            lens.
        """
        base, head = split_head(site)
        if head is not None:
            return self._head_width(site, head)
        if base in HEAD_SITES:
            return self.n_heads_of(base) * self.head_dim
        if base in _MLP_SITES:
            return self.mlp_width
        if base in _SCORES:
            return self.n_outputs
        if base in SITES:
            return self.width
        if base in DETAIL_SITES:
            raise InputError(
                f"site '{site}' has no width: it is kept whole, and its rows are no points: choose another "
                "site"
            )
        raise InputError(f"unknown site '{site}': expected one of {', '.join(SITES)}: choose one of them")

    def _head_width(self, site: str, head: int) -> int:
        n_heads = self.n_heads_of(site)
        if head >= n_heads:
            raise InputError(
                f"site '{site}' does not exist: the heads of {site[0]} are 0 to {n_heads - 1}: name one of "
                "these"
            )
        return self.head_dim
