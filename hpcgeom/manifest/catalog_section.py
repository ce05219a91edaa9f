"""The models of a manifest whose family is in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hpcgeom.manifest.fields import (
    MAX_INT64,
    PACKAGE_PREFIX,
    List,
    PathText,
    Problem,
    Scalar,
    Section,
    Slug,
    Source,
    Text,
    list_text,
    refuse_list,
)

CatalogFamily = Literal["bert", "esm2", "gpt2", "igpt", "llama", "vit"]
Dtype = Literal["float32", "bfloat16", "float16"]
Strategy = Literal["auto", "replicate", "pipeline", "stream", "dispatch"]

ModelName = Annotated[Slug, Field(description="Name of the model in all results and file names.")]
DtypeField = Annotated[
    Dtype, Field(description="Type in which weights are held and the forward pass is computed.")
]
StrategyField = Annotated[
    Strategy,
    Field(
        description="How the model is laid over devices; changes no number, so it is not part of the digest."
    ),
]
Step = Annotated[int, Field(ge=0, le=MAX_INT64)]
_SOURCE = (
    "A local folder, package:<import name>/<folder in the package>, hub id org/name, or an original "
    "checkpoint that prepare converts (fair-esm .pt)."
)


def is_hub_id(source: str) -> bool:
    """Whether `source` could be a hub id ``org/name`` by its form; a local folder may have this form too."""
    organization, slash, name = source.partition("/")
    return bool(slash and organization.strip(".") and name.strip(".")) and not (
        source.startswith((PACKAGE_PREFIX, "/")) or "/" in name
    )


def revision_problem(source: str, revision: str | None) -> Iterator[Problem]:
    """A revision needs a hub id."""
    if revision is not None and not is_hub_id(source):
        yield Problem(
            ("revision",),
            f"expected no revision, because source is '{source}' and only a hub id org/name has "
            "revisions: remove revision",
        )


class Checkpoint(Section):
    """Weights of one step of training."""

    step: Annotated[Step, Field(description="Training step; a coordinate of the results.")]
    source: Annotated[Source, Field(description=_SOURCE)]
    revision: Annotated[Text | None, Field(description="Commit, branch or tag of the hub id.")] = None

    def problems(self) -> Iterator[Problem]:
        """A revision needs a hub id."""
        yield from revision_problem(self.source, self.revision)


def _ascending_steps(values: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
    steps = [value.step for value in values]
    if steps != sorted(set(steps)):
        raise refuse_list(
            "checkpoints by strictly ascending step", f"{list_text(steps)}: sort them, each once"
        )
    return values


class CatalogModel(Section):
    """A model of a known architecture, in Hugging Face format or one that prepare converts to it."""

    name: ModelName
    family: Annotated[CatalogFamily, Field(description="Architecture; see hpcgeom models.")]
    source: Annotated[
        Source | None, Field(description=_SOURCE + " Exactly one of source and checkpoints.")
    ] = None
    revision: Annotated[
        Text | None, Field(description="Commit of the hub id; pinned by prepare when absent.")
    ] = None
    step: Annotated[
        Step | None, Field(description="Training step of these weights; a coordinate of the results.")
    ] = None
    checkpoints: Annotated[
        tuple[Checkpoint, ...],
        List,
        AfterValidator(_ascending_steps),
        Field(description="Weights of several training steps; they become models <name>.step<step>."),
    ] = ()
    weights: Annotated[
        Literal["random"] | None,
        Field(description="random: untrained, as the architecture starts; source then gives the sizes only."),
    ] = None
    seed: Annotated[int, Field(ge=0, le=MAX_INT64, description="Seed of random weights; 0 otherwise.")] = 0
    config: Annotated[
        dict[Text, Scalar],
        Field(
            description="With weights: random, settings of config.json that differ from source's, or that "
            "its authors never published."
        ),
    ] = Field(default={})
    tokenizer: Annotated[
        Source | None,
        Field(description="Folder or hub id of the tokenizer, where it is not that of source; texts only."),
    ] = None
    image_pipeline: Annotated[
        Literal["paper", "huggingface"],
        Field(
            description="igpt only. How an image becomes colors: as Chen et al. 2020 do, with a start token; "
            "or as transformers does, without."
        ),
    ] = "paper"
    clusters: Annotated[
        PathText | None,
        Field(description="igpt only. The palette, kmeans_centers.npy, where it is not in source."),
    ] = None
    dtype: DtypeField = "float32"
    strategy: StrategyField = "auto"

    def problems(self) -> Iterator[Problem]:
        """Weights come from one place, and keys of one architecture are not given to another."""
        if (self.source is None) == (not self.checkpoints):
            found = "none: give one of them" if self.source is None else "both: remove one of them"
            yield Problem((), f"expected exactly one of the keys source and checkpoints, found {found}")
        if self.source is not None:
            yield from revision_problem(self.source, self.revision)
        if self.weights is None:
            yield from self._keys_of_random_weights()
        if self.checkpoints:
            yield from self._keys_beside_checkpoints()
            yield from self._repeated_weights()
        yield from self._foreign_keys()

    def _keys_of_random_weights(self) -> Iterator[Problem]:
        if self.seed != 0:
            yield Problem(
                ("seed",),
                f"expected no seed, because only weights: random uses it, found {self.seed}: remove seed",
            )
        if self.config:
            yield Problem(
                ("config",),
                "expected no config, because weights that are read have sizes of their own, found "
                f"{', '.join(self.config)}: remove config, or add weights: random",
            )

    def _keys_beside_checkpoints(self) -> Iterator[Problem]:
        for key in ("revision", "step"):
            if self.source is None and (value := getattr(self, key)) is not None:
                yield Problem(
                    (key,),
                    f"expected no {key} beside checkpoints, each of which has its own, found {value}: "
                    f"remove {key}",
                )
        if self.weights is not None:
            yield Problem(
                ("weights",),
                f"expected no weights beside checkpoints, which are files, found {self.weights}: remove "
                "weights, and name the untrained model as another model",
            )

    def _repeated_weights(self) -> Iterator[Problem]:
        """Two steps of one training do not have the same weights."""
        steps: dict[tuple[str, str | None], int] = {}
        for position, checkpoint in enumerate(self.checkpoints):
            weights = (checkpoint.source, checkpoint.revision)
            if weights in steps:
                at = "" if checkpoint.revision is None else f" at revision '{checkpoint.revision}'"
                yield Problem(
                    ("checkpoints", position),
                    f"expected weights of step {checkpoint.step}, found '{checkpoint.source}'{at}, which is "
                    f"that of step {steps[weights]} too: correct source or revision",
                )
            steps.setdefault(weights, checkpoint.step)

    def _foreign_keys(self) -> Iterator[Problem]:
        if self.family != "igpt":
            for key in ("image_pipeline", "clusters"):
                value = getattr(self, key)
                if value != type(self).model_fields[key].default:
                    yield Problem(
                        (key,),
                        f"expected no {key}, because only family igpt has colors, found '{value}' in family "
                        f"{self.family}: remove {key}",
                    )
        if self.tokenizer is not None and self.family in ("igpt", "vit"):
            yield Problem(
                ("tokenizer",),
                f"expected no tokenizer, because family {self.family} reads images, found "
                f"'{self.tokenizer}': remove tokenizer",
            )

    def expanded(self) -> tuple[CatalogModel, ...]:
        """Itself, or one model for every checkpoint."""
        if not self.checkpoints:
            return (self,)
        return tuple(
            self.model_copy(
                update={
                    "name": f"{self.name}.step{checkpoint.step}",
                    "source": checkpoint.source,
                    "revision": checkpoint.revision,
                    "step": checkpoint.step,
                    "checkpoints": (),
                }
            )
            for checkpoint in self.checkpoints
        )
