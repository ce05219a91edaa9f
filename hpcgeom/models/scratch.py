"""What lets a killed pass through the blocks go on: hidden states and pooled layers, with a record of them.

A folder of scratch is of one set of batches. It holds `hidden-LLL.bin`, `pooled-SSS.bin` and `record.json`,
which is written last, by an atomic replace, and says of what the files are and what must be in them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hpcgeom import faults, trace
from hpcgeom.errors import InputError
from hpcgeom.models import hidden_states, pooled_parts
from hpcgeom.models.checkpoint import read_json, weight_files
from hpcgeom.models.hidden_states import HiddenStates
from hpcgeom.models.pooled_parts import PooledInFiles
from hpcgeom.models.raw_files import sync, write_whole
from hpcgeom.models.request import ModelRequest, TokenBatch
from hpcgeom.version import __version__

RECORD = "record.json"
COST_SHARE = 0.02
"""Most of the time of a pass that may go into saving it, before it is over."""
GUESSED_BYTES_PER_S = 200e6
"""How fast hidden states are saved, before it was measured."""
_ARRAYS = ("input_ids", "attention_mask", "special_mask", "pixel_values")
_NO_NUMBERS = ("name", "folder", "tokenizer", "clusters", "image_pipeline", "details", "detail_layers")
"""What of a request changes no number of a given batch, or is in its place in another form."""


class SetDigest:
    """Identity of a pass: what is asked of which weights, by which code, on what device; and the batches."""

    def __init__(self, request: ModelRequest, device: torch.device, threads: int) -> None:
        names = [field.name for field in dataclasses.fields(request)]
        asked = {name: getattr(request, name) for name in names if name not in _NO_NUMBERS}
        files = [] if request.folder is None else weight_files(request.folder)
        about = {
            **asked,
            "config": dict(request.config_settings()),
            "files": [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files],
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": threads,
            "versions": [__version__, torch.__version__, version("transformers")],
        }
        self._hash = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())

    def add(self, batch: TokenBatch) -> None:
        """One more batch."""
        for name in _ARRAYS:
            array = getattr(batch, name)
            if array is not None:
                self._hash.update(f"{name} {array.dtype} {array.shape}".encode())
                self._hash.update(array.tobytes())

    @property
    def hex(self) -> str:
        """Of everything so far, 64 digits."""
        return self._hash.hexdigest()


class Scratch:
    """The folder of one pass.

    Parameters
    ----------
    folder
        Created where it does not exist; nobody else may use it at the same time.
    hidden, pooled
        What is to be saved; both write into `folder`.
    """

    def __init__(self, folder: Path, hidden: HiddenStates, pooled: PooledInFiles) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._hidden, self._pooled = folder, hidden, pooled
        self._digest, self._cost_s, self._saved_at = "", 0.0, time.monotonic()

    def resume(self, digest: str) -> int:
        """How many steps a killed pass of the same digest had done and saved; they are restored.

        What is left of any other pass is removed.
        """
        self._digest = digest
        self._cost_s = self._hidden.n_bytes / GUESSED_BYTES_PER_S
        self._saved_at = time.monotonic()
        n_done = self._restored()
        if n_done == 0:
            (self._folder / RECORD).unlink(missing_ok=True)
            self._hidden.drop_older()
            self._pooled.drop_others()
        return n_done

    def _restored(self) -> int:
        with suppress(InputError, KeyError, TypeError, ValueError, AttributeError):
            record = read_json(self._folder / RECORD)
            checksums = {int(step): int(checksum) for step, checksum in record["pooled"].items()}
            n_steps, hidden = int(record["n_steps"]), record["hidden"]
            if record["digest"] != self._digest or not self._pooled.are_whole(checksums):
                return 0
            if hidden is None:
                _remove(self._folder, hidden_states.FILES)
            elif not self._hidden.restore(n_steps - 1, hidden):
                return 0
            self._pooled.restore(record["widths"], checksums)
            return n_steps
        return 0

    def save_if_due(self, n_steps: int) -> None:
        """Save the pass after `n_steps` steps if it has gone on for so long that saving costs little."""
        if time.monotonic() - self._saved_at >= self._cost_s / COST_SHARE:
            began = time.monotonic()
            with trace.span("write", n_steps=n_steps):
                self._save(n_steps, self._hidden.save())
            self._hidden.drop_older()
            self._saved_at = time.monotonic()
            self._cost_s = self._saved_at - began

    def save_all(self, n_steps: int) -> None:
        """Save the pass that is over; hidden states are not needed any more."""
        self._save(n_steps, None)
        _remove(self._folder, hidden_states.FILES)

    def _save(self, n_steps: int, hidden: list[int] | None) -> None:
        self._pooled.save()
        sync(self._folder)
        record: Mapping[str, Any] = {
            "digest": self._digest,
            "n_steps": n_steps,
            "hidden": hidden,
            "pooled": self._pooled.checksums,
            "widths": self._pooled.widths,
        }
        write_whole(self._folder / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
        faults.reached("stream-saved", n_steps=n_steps)


def forget(folder: Path) -> None:
    """Remove the scratch in `folder`, once what came of it is recorded, and the folder if it is empty then.

    Nothing happens where there is none.
    """
    _remove(folder, RECORD)
    _remove(folder, hidden_states.FILES)
    _remove(folder, pooled_parts.FILES)
    with suppress(OSError):
        os.rmdir(folder)


def _remove(folder: Path, names: str) -> None:
    for path in folder.glob(names):
        path.unlink(missing_ok=True)
