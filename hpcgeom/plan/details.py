"""What is kept whole of chosen samples: which arrays, of which shapes, in which files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcgeom.catalog.families import ModelFacts
from hpcgeom.catalog.sites import HEAD_SITES, SITES, layers_of_site
from hpcgeom.data.wording import nearest
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.sections import Manifest
from hpcgeom.plan.plan import DetailPlan, DetailSitePlan
from hpcgeom.plan.sequences import Sequences

N_TOP = 10
"""Most probable tokens that the logit lens keeps."""


@dataclass(frozen=True, slots=True)
class DetailArray:
    """One array of one sample.

    Attributes
    ----------
    group
        Path of its group in the store: ``<site>/<row>``.
    name
        Its name there.
    dims, shape
        Dimensions and their sizes. A shard holds one layer, or the whole array where it has no layers.
    dtype
        Type on disk.
    """

    group: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def shard(self) -> tuple[int, ...]:
        """Shape of a shard."""
        return (1, *self.shape[1:]) if self.dims[0] == "layer" else self.shape

    @property
    def files(self) -> list[str]:
        """Its shards, relative to the store."""
        rest = "/".join("0" for _ in self.shape[1:])
        n_shards = self.shape[0] if self.dims[0] == "layer" else 1
        return ["/".join([f"{self.group}/{self.name}/c/{i}", rest]).rstrip("/") for i in range(n_shards)]


def arrays_of(plan: DetailPlan, row: int) -> Iterator[DetailArray]:
    """All arrays that are kept of the sample at `row`."""
    n_tokens = plan.n_tokens[plan.rows.index(row)]
    for item in plan.sites:
        group, layers = f"{item.site}/{row}", len(item.layers)
        yield DetailArray(group, "input_id", ("position",), (n_tokens,), "int64")
        if item.site == "attention":
            maps = (layers, item.width, n_tokens, n_tokens)
            yield DetailArray(group, "attention", ("layer", "head", "query", "key"), maps)
        elif item.site == "logit_lens":
            yield from _lens_arrays(group, layers, n_tokens, item.width)
        elif item.site in SITES:
            tokens = (layers, n_tokens, item.width)
            yield DetailArray(group, "activations", ("layer", "position", "feature"), tokens)
        elif item.is_of_the_sample:
            yield DetailArray(group, item.site, ("class",), (item.width,))
        else:
            yield DetailArray(group, item.site, ("position", "token"), (n_tokens, item.width))


def _lens_arrays(group: str, n_layers: int, n_tokens: int, n_outputs: int) -> Iterator[DetailArray]:
    for name in ("entropy", "kl_to_last", "cosine_to_last"):
        yield DetailArray(group, name, ("layer", "position"), (n_layers, n_tokens))
    dims, shape = ("layer", "position", "top"), (n_layers, n_tokens, min(N_TOP, n_outputs))
    yield DetailArray(group, "top_token", dims, shape, "int64")
    yield DetailArray(group, "top_probability", dims, shape)


def size_bytes(plan: DetailPlan) -> int:
    """Bytes of all arrays."""
    return sum(size_bytes_of(plan, row) for row in plan.rows)


def size_bytes_of(plan: DetailPlan, row: int) -> int:
    """Bytes of the arrays of the sample at `row`."""
    return sum(int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize for array in arrays_of(plan, row))


def plan_details(
    manifest: Manifest,
    name: str,
    sample_ids: Sequence[str],
    sequences: Sequences,
    sites: Iterable[DetailSitePlan],
) -> DetailPlan | None:
    """The details of a model.

    Parameters
    ----------
    name
        Of the model, for messages.
    sites
        What is kept at each site; see `catalog_sites`.

    Raises
    ------
    ProblemsError
        A sample does not exist, or is too long for one forward pass.
    """
    asked = manifest.representations.details
    if asked is None:
        return None
    row_of = {sample: row for row, sample in enumerate(sample_ids)}
    n_windows = np.bincount(sequences.row, minlength=len(sample_ids))
    problems = []
    for sample in asked.samples:
        if sample not in row_of:
            problems.append(
                f"representations.details.samples: there is no sample '{sample}'"
                f"{nearest(sample, sample_ids)}: correct or remove it"
            )
        elif n_windows[row_of[sample]] > 1:
            problems.append(
                f"representations.details.samples: '{sample}' is read in {n_windows[row_of[sample]]} windows "
                f"by model '{name}', and details are of one forward pass: choose a shorter sample"
            )
    if problems:
        raise ProblemsError(problems)
    rows = tuple(sorted(row_of[sample] for sample in asked.samples))
    n_tokens = dict(zip(sequences.row.tolist(), sequences.n_tokens.tolist(), strict=True))
    return DetailPlan(sites=tuple(sites), rows=rows, n_tokens=tuple(n_tokens[row] for row in rows))


def catalog_sites(manifest: Manifest, name: str, family: str, facts: ModelFacts) -> list[DetailSitePlan]:
    """What is kept at each site of a model of the catalog.

    Raises
    ------
    InputError
        A layer does not exist, or a site has none of those asked for.
    """
    asked = manifest.representations.details
    widths = {
        "attention": facts.n_heads,
        **{s: facts.n_outputs for s in ("logits", "probabilities", "logit_lens")},
    }
    return [
        DetailSitePlan(
            site=site,
            layers=detail_layers(manifest, name, site, facts.n_layers),
            width=widths[site] if site in widths else facts.site_width(site),
            is_of_the_sample=family == "vit" and site in ("logits", "probabilities"),
            n_heads=facts.n_heads_of(site) if site in HEAD_SITES else 0,
        )
        for site in (asked.sites if asked else ())
    ]


def probed_sites(
    manifest: Manifest,
    name: str,
    n_layers: int,
    heads_of: Callable[[str], int | None],
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]],
) -> list[DetailSitePlan]:
    """What is kept at each site of a model of which one sample was read.

    Parameters
    ----------
    heads_of
        Heads of q, k, v or z, as far as the module's section says it.
    shapes
        Site to variable to shape, as `read_details` of the models package gives them.
    """
    found = []
    for site, variables in shapes.items():
        layers = detail_layers(manifest, name, site, n_layers)
        axis = {"attention": ("attention", 1), "logit_lens": ("top_token", 2)}
        variable, place = axis.get(site, ("activations" if site in SITES else site, -1))
        width = variables[variable][place]
        n_heads = heads_of(site) if site in HEAD_SITES else None
        heads = n_heads if n_heads and width % n_heads == 0 else 0
        found.append(DetailSitePlan(site=site, layers=layers, width=width, n_heads=heads))
    return found


def detail_layers(manifest: Manifest, name: str, site: str, n_layers: int) -> tuple[int, ...]:
    """Layers of a site that are kept; none for what the head gives of the last layer alone.

    Raises
    ------
    InputError
        A layer does not exist, or the site has none of those asked for.
    """
    asked = manifest.representations.details
    if site in ("logits", "probabilities") or asked is None:
        return ()
    available = layers_of_site(site, n_layers)
    if asked.layers == "all" or site == "logit_lens":
        return available
    wrong = [layer for layer in asked.layers if layer > n_layers]
    if wrong:
        raise InputError(
            f"model '{name}': representations.details.layers names layer {wrong[0]}, but its layers are 0 to "
            f"{n_layers}: remove it"
        )
    kept = tuple(layer for layer in available if layer in asked.layers)
    if not kept:
        raise InputError(
            f"model '{name}': '{site}' has layers {available[0]} to {available[-1]}, and "
            "representations.details.layers names none of them: add one, or take the site out"
        )
    return kept
