"""All figures of the details of a model: which there are, and what they are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

import xarray as xr

from hpcgeom.catalog.sites import HEAD_SITES
from hpcgeom.report.attention_maps import attention_pages
from hpcgeom.report.feature_maps import feature_pages
from hpcgeom.report.lens_maps import measure_page, top_token_pages
from hpcgeom.report.subjects import Page, Subject
from hpcgeom.report.token_maps import class_page, token_pages

LONGEST_NAME = 80


class DetailFigure(NamedTuple):
    """A figure: the stem of its file, and what draws it."""

    name: str
    draw: Page


def detail_figures(details: xr.DataTree, texts: Mapping[int, str] | None = None) -> Iterator[DetailFigure]:
    """Figures of all that was kept whole of samples of one model, by site and sample.

    Nothing is drawn yet: `draw` of a figure reads its layers when it is called. Names are
    ``<site>-<sample>-<n>``, numbered from 1 for each site and sample; those of the most probable tokens of
    the logit lens begin with ``logit_lens_top``.

    Parameters
    ----------
    details
        What `hpcgeom.open_details` gives: groups ``/<site>/<row>``.
    texts
        Texts of tokens, by id; ids are drawn without them.
    """
    model = str(details.attrs["model"])
    for site, samples in details.children.items():
        for row, node in sorted(samples.children.items(), key=lambda item: int(item[0])):
            sample = node.to_dataset(inherit=False)
            subject = Subject(sample, model, site, n_heads_of(details, site, row), texts)
            for stem, drawn in _pages(subject).items():
                name = f"{stem}-{safe_name(str(sample.attrs['sample']))}"
                digits = len(str(len(drawn)))
                yield from (DetailFigure(f"{name}-{i:0{digits}d}", page) for i, page in enumerate(drawn, 1))


def _pages(subject: Subject) -> dict[str, list[Page]]:
    """Figures of a group, by the first part of their names."""
    if subject.site == "attention":
        return {"attention": attention_pages(subject)}
    if subject.site == "logit_lens":
        return {"logit_lens": [measure_page(subject)], "logit_lens_top": top_token_pages(subject)}
    if "activations" in subject.sample:
        return {subject.site: feature_pages(subject)}
    return {subject.site: [class_page(subject)] if "class" in subject.sample.sizes else token_pages(subject)}


def n_heads_of(details: xr.DataTree, site: str, row: str) -> int | None:
    """Into how many heads the features of a site are cut; None where they are not, or it is not known.

    The group's attribute `n_heads` says it. Without one, the heads of the sample's attention maps do: queries
    and attention-weighted values have as many; keys and values have heads of the same width, which may be
    fewer.
    """
    if site not in HEAD_SITES:
        return None
    node = details[f"{site}/{row}"]
    if "n_heads" in node.attrs:
        return int(node.attrs["n_heads"])
    maps = _sizes(details, "attention", row)
    if "head" not in maps:
        return None
    full = next((found for each in ("q", "z") if (found := _sizes(details, each, row))), None)
    if full is None or full["feature"] % maps["head"]:
        return None
    n_heads, rest = divmod(node.sizes["feature"], full["feature"] // maps["head"])
    return None if rest else n_heads


def _sizes(details: xr.DataTree, site: str, row: str) -> Mapping[Hashable, int]:
    """Sizes of a group's dimensions; empty where there is no such group."""
    samples = details.children.get(site)
    return samples.children[row].sizes if samples is not None and row in samples.children else {}


def safe_name(sample: str) -> str:
    """A sample's id as part of a file name: spelled with safe characters, and told apart by a digest."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", sample)[:LONGEST_NAME]
    return safe if safe == sample else f"{safe}-{hashlib.sha256(sample.encode()).hexdigest()[:6]}"
