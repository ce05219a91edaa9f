"""The plan: a manifest worked out, frozen and written once by prepare. Every process reads only this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from hpcgeom.errors import InputError
from hpcgeom.plan.identity import PLAN_SCHEMA

SEARCH_WORK = 1e12
"""N x N x D of a search of about 20 seconds on one core."""


class Frozen(BaseModel):
    """Base of the plan's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFile(Frozen):
    """A file that the run was prepared from."""

    path: str
    size: int
    sha256: str


class Representation(Frozen):
    """One site and pooling of a model, at all of its layers."""

    site: str
    pooling: str
    layers: tuple[int, ...]
    width: int
    modules: tuple[str, ...] = ()


class DetailSitePlan(Frozen):
    """What is kept whole at one site.

    Attributes
    ----------
    layers
        Layers that are kept; none for what the head gives.
    width
        Features, heads of attention maps, or outputs of the head.
    is_of_the_sample
        Whether the head gives scores of the sample, not of its tokens.
    n_heads
        Heads whose features these are, one after the other; 0 where they are not those of heads, or where a
        module's section does not say how many it has.
    """

    site: str
    layers: tuple[int, ...]
    width: int
    is_of_the_sample: bool = False
    n_heads: int = 0


class DetailPlan(Frozen):
    """What is kept whole of chosen samples, and how long these are.

    Attributes
    ----------
    rows, n_tokens
        Rows of the samples, ascending, and their tokens.
    """

    sites: tuple[DetailSitePlan, ...]
    rows: tuple[int, ...]
    n_tokens: tuple[int, ...]


class TokenPoints(Frozen):
    """The ordinary tokens of all samples, each of which is a point for the pooling `tokens`.

    Attributes
    ----------
    n_of_units
        How many there are in the rows of every extract unit, in order.
    n_base
        How many of them, the first ones, are of samples that are no queries: all for None.
    digest
        Identity of the tokens, those of queries left out: models where it is equal read the same ones, so
        that their points are the same. Empty where nobody has counted the tokens, and the numbers are upper
        bounds.
    """

    n_of_units: tuple[int, ...]
    digest: str
    n_base: int | None = None


class ModelPlan(Frozen):
    """One model: where its weights lie, what is read from it, and the digests of its stages.

    Attributes
    ----------
    config
        What config.json would say, for a model without files.
    tokenizer
        Folder of the tokenizer, where it is not that of the model.
    details
        What is kept whole of chosen samples; None for nothing.
    tokens
        The tokens that are points; None where all points are samples.
    flops
        Operations of one pass over the data set; 0 where nobody knows.
    values_per_token
        Numbers that a block holds of each token at once, an upper estimate.
    n_rows
        Rows of points that exist already, of which the samples are some or all; queries are not among them.
    """

    name: str
    family: str
    folder: str
    revision: str
    dtype: str
    strategy: str
    store_dtype: str = "float32"
    n_layers: int
    width: int
    n_parameters: int
    step: int = -1
    files: tuple[SourceFile, ...]
    unused_keys: tuple[str, ...] = ()
    representations: tuple[Representation, ...]
    n_tokens: int = 0
    config: dict[str, Any] | None = None
    tokenizer: str = ""
    details: DetailPlan | None = None
    details_digest: str = ""
    tokens: TokenPoints | None = None
    flops: float = 0.0
    values_per_token: int = 0
    n_rows: int = 0
    extract_digest: str
    search_digest: str

    def representation(self, site: str, pooling: str) -> Representation:
        """What is read at `site` with `pooling`."""
        return next(item for item in self.representations if (item.site, item.pooling) == (site, pooling))

    @property
    def lens_layers(self) -> tuple[int, ...]:
        """Layers of the logit lens; none where it was not asked for."""
        sites = () if self.details is None else self.details.sites
        return next((item.layers for item in sites if item.site == "logit_lens"), ())


class SamplesPlan(Frozen):
    """The data set: how many samples, which, and the files that they came from.

    Attributes
    ----------
    n
        Samples, queries included.
    n_base
        How many of them, the first ones, may be neighbors: all where none is given. The others are queries.
    """

    n: int
    n_base: int = -1
    digest: str
    label_digests: dict[str, str]
    files: tuple[SourceFile, ...]
    notices: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _all_are_base(cls, values: Any) -> Any:
        """Plans without queries need not say that there are none."""
        if isinstance(values, dict) and "n" in values and "n_base" not in values:
            return {**values, "n_base": values["n"]}
        return values

    @property
    def n_queries(self) -> int:
        """Samples that are nobody's neighbors."""
        return self.n - self.n_base


class Plan(Frozen):
    """Everything that the stages need to know.

    Attributes
    ----------
    unit_rows
        Rows of an extract unit.
    tile_rows, threads
        Of the search.
    search_work
        Most N x N x D of one unit of the search; larger searches are split.
    kernel
        What proposes neighbors.
    """

    schema_version: int = PLAN_SCHEMA
    name: str
    manifest_digest: str
    manifest: dict[str, Any]
    manifest_folder: str
    samples: SamplesPlan
    models: tuple[ModelPlan, ...]
    unit_rows: int
    tile_rows: int
    threads: int = 1
    search_work: float = SEARCH_WORK
    kernel: str = "auto"

    def model(self, name: str) -> ModelPlan:
        """The model called `name`."""
        return next(model for model in self.models if model.name == name)

    @property
    def deepest_layer(self) -> int:
        """The last layer of the results: of all representations and logit lenses."""
        kept = [item.layers for model in self.models for item in model.representations]
        kept += [model.lens_layers for model in self.models if model.lens_layers]
        return max(map(max, kept))

    def groups(self) -> tuple[tuple[str, str], ...]:
        """All (site, pooling) of the run, in the order in which the models name them."""
        found: dict[tuple[str, str], None] = {}
        for model in self.models:
            for item in model.representations:
                found[item.site, item.pooling] = None
        return tuple(found)

    def row_ranges(self) -> tuple[tuple[int, int], ...]:
        """The (start, stop) of every extract unit, the same for all models."""
        n, rows = self.samples.n, self.unit_rows
        return tuple((start, min(start + rows, n)) for start in range(0, n, rows))


def read_plan(path: Path) -> Plan:
    """Read ``plan.json``.

    Raises
    ------
    InputError
        There is none, it was written by a newer hpcgeom, or it is not a plan.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path.parent} is not a prepared run (it has no plan.json): hpcgeom prepare -m MANIFEST"
        ) from None
    _refuse_newer(path, content)
    try:
        return Plan.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(
            f"{path} is damaged ({where}: {first['msg']}): hpcgeom prepare writes it again"
        ) from error


def _refuse_newer(path: Path, content: bytes) -> None:
    """A newer plan may mean something else even where it looks the same."""
    try:
        found = json.loads(content).get("schema_version")
    except (ValueError, AttributeError):
        return  # damaged, as its reader will say
    if isinstance(found, int) and found > PLAN_SCHEMA:
        raise InputError(
            f"{path} has schema {found}, but this hpcgeom reads up to {PLAN_SCHEMA}: "
            "use the hpcgeom that made the run, or a newer one"
        )
