"""Failures inside a user's forward: whose fault they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.models.sinks import NonFiniteActivation

_DEVICE_FAILURES = ("CUDA error", "cuBLAS", "CUBLAS", "cuDNN", "NCCL")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class MemoryRanOut(MemoryError):
    """Memory ran out on a batch somewhere else than here, or on what this process is told of.

    Attributes
    ----------
    batch
        Its number, of those of one `run`.
    where
        In words, as they stand behind "memory ran out".
    """

    def __init__(self, batch: int, where: str, why: str) -> None:
        super().__init__(why)
        self.batch, self.where = batch, where


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the device or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


@contextmanager
def of_batch(number: int) -> Iterator[None]:
    """Let an error about memory, or about a value, say in `batch` which batch of a `run` it is about."""
    try:
        yield
    except Exception as error:
        if isinstance(error, NonFiniteActivation) or is_out_of_memory(error):
            error.batch = number  # type: ignore[attr-defined, union-attr]
        raise


@contextmanager
def explaining_forward(name: str, n_rows: int, n_tokens: int) -> Iterator[None]:
    """Turn a failure of a user's forward into an InputError; the machine's failures pass as they are."""
    try:
        yield
    except HpcgeomError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or any(text in str(error) for text in _DEVICE_FAILURES):
            raise
        raise InputError(
            f"model '{name}': its forward failed on a batch of {n_rows} x {n_tokens} tokens: "
            f"{type(error).__name__}: {error}: add -v to see where"
        ) from error
