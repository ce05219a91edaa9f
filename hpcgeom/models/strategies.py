"""How a model is laid over devices: one interface, whatever the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from hpcgeom.models.details import Details
from hpcgeom.models.replicate import Replicate
from hpcgeom.models.request import ModelRequest, ModelShapes, TokenBatch
from hpcgeom.models.sinks import Pooled


class OpenModel(Protocol):
    """A loaded model that turns batches into pooled activations."""

    def describe(self, probe: TokenBatch | None = None) -> ModelShapes:
        """Layers and widths of all that is read, found by running a few tokens."""

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[Pooled]:
        """Pooled activations of each batch, in order.

        Batches may be taken well ahead of what is yielded.

        Raises
        ------
        InputError
            A batch does not suit the model.
        NonFiniteActivation
            A value is NaN or infinite; its `batch` says of which batch.
        """

    def details(self, batch: TokenBatch) -> Details:
        """What is kept whole of one sample; see `hpcgeom.models.details.read_details`."""

    def close(self) -> None:
        """Take all hooks off the model."""


def open_model(request: ModelRequest, strategy: str, device: str, threads: int) -> OpenModel:
    """Build the model of `request` and load its weights.

    Parameters
    ----------
    request
        What is asked for.
    strategy
        How it is laid over devices; it changes no number.
    device
        ``cpu`` or a torch device such as ``cuda:0``.
    threads
        CPU threads of torch, set for the whole process.

    Raises
    ------
    InputError
        The request, the configuration or the weights are wrong.
    """
    if strategy != "replicate":
        raise AssertionError(f"strategy '{strategy}' is not one of a plan")
    return Replicate().open_model(request, device=device, threads=threads)
