"""How a model is laid over devices: one interface, whatever the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from hpcgeom.models.details import Details
from hpcgeom.models.dispatch import Dispatch, room_of
from hpcgeom.models.replicate import Replicate
from hpcgeom.models.request import ModelRequest, ModelShapes, TokenBatch
from hpcgeom.models.sinks import Pooled
from hpcgeom.models.stream import HOST_MEMORY_BYTES, Stream
from hpcgeom.types import Means


class OpenModel(Protocol):
    """A loaded model that turns batches into pooled activations."""

    def describe(self, probe: TokenBatch | None = None) -> ModelShapes:
        """Layers and widths of all that is read, found by running a few tokens."""

    def run(self, batches: Iterable[TokenBatch], scratch: Path | None = None) -> Iterator[Pooled]:
        """Pooled activations of each batch, in order.

        Batches may be taken well ahead of what is yielded.

        Parameters
        ----------
        scratch
            Folder for what a strategy has found of these batches, so that a killed pass goes on from there;
            it is removed by the caller, once the results are recorded.

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


def open_model(request: ModelRequest, means: Means, device: str, threads: int) -> OpenModel:
    """Build the model of `request` and load its weights.

    Parameters
    ----------
    request
        What is asked for.
    means
        How it is run; it changes no number.
    device
        ``cpu`` or a torch device such as ``cuda:0``.
    threads
        CPU threads of torch, set for the whole process.

    Raises
    ------
    InputError
        The request, the configuration or the weights are wrong.
    """
    if means.strategy == "replicate":
        return Replicate().open_model(request, device=device, threads=threads)
    if means.strategy == "stream":
        host = HOST_MEMORY_BYTES if means.host_bytes is None else means.host_bytes
        return Stream().open_model(request, device, threads, host_memory_bytes=host)
    if means.strategy == "dispatch":
        return Dispatch(room_of(means, device)).open_model(request, threads=threads)
    raise AssertionError(f"strategy '{means.strategy}' is not one of a plan")
