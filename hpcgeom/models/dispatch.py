"""The strategy `dispatch`: one process, a model laid over its GPUs, then the host's memory, then the disk.

Parts that do not fit on a GPU are brought there for every batch, and parts that do not fit into memory are
read again from the files of the weights, where they lie: no copy is made. Hooks of accelerate bring them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from accelerate import infer_auto_device_map
from accelerate.hooks import attach_align_device_hook_on_blocks
from accelerate.utils import find_tied_parameters, retie_parameters

from hpcgeom import freed_memory
from hpcgeom.errors import InputError
from hpcgeom.models.checkpoint import Stored, open_safetensors
from hpcgeom.models.families import build_with_readings, family
from hpcgeom.models.replicate import ReplicatedModel
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton
from hpcgeom.models.weights import fill, place_weights, torch_dtype
from hpcgeom.types import Means

HOST, DISK = "cpu", "disk"
_NO_LIMIT = 2**62

Place = int | str
"""A GPU by its number, `HOST` or `DISK`."""


@dataclass(frozen=True)
class Dispatch:
    """A model over all that one process has; the slowest strategy, and one for any model.

    Parameters
    ----------
    room
        Bytes of weights that each GPU (by its number) and the host (`HOST`) may hold, in that order; GPUs
        that are not named are not used.
    """

    room: Mapping[Place, int]

    def open_model(self, request: ModelRequest, threads: int = 1) -> ReplicatedModel:
        """Build the model of `request`, and load of its weights what there is room for.

        Parameters
        ----------
        request
            What is asked for.
        threads
            CPU threads of torch, set for the whole process.

        Raises
        ------
        InputError
            The request, the configuration or the weights are wrong; weights without a file need the disk.
        """
        torch.set_num_threads(threads)
        freed_memory.return_it()
        limits = family(request.family).limits(request)
        skeleton, readings = build_with_readings(request)
        gpus = [place for place in self.room if place != HOST]
        main = gpus[0] if gpus else HOST
        places = _places(skeleton, self.room, main)
        on_disk, unused = _load(skeleton, request, places)
        _attach(skeleton, places, on_disk, main)
        return ReplicatedModel(request, skeleton, limits, readings, unused, _device(main), threads)


def room_of(means: Means, device: str) -> dict[Place, int]:
    """Room for weights on all GPUs that this process sees, where `device` is one, and on the host."""
    gpus = range(torch.cuda.device_count()) if device != HOST else ()
    host = _NO_LIMIT if means.host_bytes is None else means.host_bytes
    return {**{number: means.gpu_bytes or 0 for number in gpus}, HOST: host}


def _places(skeleton: Skeleton, room: Mapping[Place, int], main: Place) -> dict[str, Place]:
    """Path of a submodule, or of a parameter of one that is divided, to where it is; blocks are whole."""
    model, whole = skeleton.model, list(getattr(skeleton.model, "_no_split_modules", None) or ())
    if skeleton.layout is not None:
        whole += {type(block).__name__ for block in skeleton.layout.blocks_of(model)}
    found: Mapping[str, Place] = infer_auto_device_map(
        model, max_memory={**room, DISK: _NO_LIMIT}, no_split_module_classes=whole
    )
    modules = {name for name, _ in model.named_modules()}
    # Hooks bring what is in a module when that runs; a module that is divided does not run as a whole.
    return {name: place if name in modules else main for name, place in found.items()}


def _place_of(name: str, places: Mapping[str, Place]) -> Place:
    """Where the parameter `name` is: as the nearest module above it, or as it is said of itself."""
    while name and name not in places:
        name = name.rpartition(".")[0]
    return places[name]


def _load(
    skeleton: Skeleton, request: ModelRequest, places: Mapping[str, Place]
) -> tuple[Mapping[str, Stored], tuple[str, ...]]:
    """Load what has a place in memory; the rest by its name, and keys that are not needed."""
    model = skeleton.model
    if skeleton.keys is None or request.folder is None:
        if DISK in places.values():
            raise InputError(
                f"model '{request.name}' has random weights, which have no file to be read from when they "
                "are needed, and they do not fit into memory: use a machine with more memory"
            )
        return {}, ()

    _release(model, places)
    placement = place_weights(model, request.folder, skeleton.keys, torch_dtype(request.dtype))
    names: dict[str, list[str]] = defaultdict(list)
    left: dict[int, Stored] = {}
    for name, stored in placement.stored.items():
        target, place = placement.targets[name], _place_of(name, places)
        if place == DISK and target.is_meta:
            left[id(target)] = stored
        else:  # buffers have values already, and are never left
            names[HOST if place == DISK else _device(place)].append(name)
    for device, here in names.items():
        fill(model, placement, here, device)
    on_disk = {name: left[id(target)] for name, target in placement.targets.items() if id(target) in left}
    return on_disk, placement.report.unused


def _release(model: torch.nn.Module, places: Mapping[str, Place]) -> None:
    """Let go of what a factory has made of the parameters that are read from disk; tied ones stay tied."""
    released: dict[int, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.is_meta or _place_of(name, places) != DISK:
            continue
        if id(parameter) not in released:
            released[id(parameter)] = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, released[id(parameter)])


def _device(place: Place) -> str:
    return HOST if place == HOST else f"cuda:{place}"


def _attach(
    skeleton: Skeleton, places: Mapping[str, Place], on_disk: Mapping[str, Stored], main: Place
) -> None:
    """Let hooks bring weights to where they are used, and take them away again."""
    model = skeleton.model
    is_brought = {name: place == DISK or (place == HOST and main != HOST) for name, place in places.items()}
    runs_on = {name: _device(main if is_brought[name] else place) for name, place in places.items()}
    kept = {name: value for name, value in model.named_parameters() if value.device.type == HOST}
    tied = find_tied_parameters(model)
    firsts = [model.get_parameter(group[0]) for group in tied]
    attach_align_device_hook_on_blocks(
        model,
        execution_device={"": _device(main), **runs_on},
        offload=is_brought,
        weights_map=_Brought(kept if main != HOST else {}, on_disk, skeleton),
        tied_params_map={first.data_ptr(): {} for first in firsts if not first.is_meta},
    )
    retie_parameters(model, tied)


class _Brought(Mapping[str, torch.Tensor]):
    """Weights that are not where they are used: in the host's memory, or in files, read at each look.

    What is read is valid until the same parameter of another block is: both are read into one place.
    """

    def __init__(
        self, kept: Mapping[str, torch.Tensor], on_disk: Mapping[str, Stored], skeleton: Skeleton
    ) -> None:
        model, layout = skeleton.model, skeleton.layout
        self._kept, self._on_disk = kept, on_disk
        self._dtypes = {name: value.dtype for name, value in model.named_parameters(remove_duplicate=False)}
        self._of_blocks = None if layout is None else re.compile(rf"{re.escape(layout.blocks)}\.\d+\.")
        self._read: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if name in self._kept:
            return self._kept[name]
        stored = self._on_disk[name]
        with open_safetensors(stored.file) as handle:
            # A copy, as of weights that are loaded: the mapping is not aligned, which changes last bits.
            return self._place(name, stored.shape).copy_(handle.get_tensor(stored.key))

    def _place(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        in_block = None if self._of_blocks is None else self._of_blocks.match(name)
        with torch.inference_mode(False):  # it may be written again outside of that mode
            if in_block is None:
                return torch.empty(shape, dtype=self._dtypes[name])
            key = (name[in_block.end() :], shape)
            if key not in self._read:
                self._read[key] = torch.empty(shape, dtype=self._dtypes[name])
            return self._read[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._kept
        yield from self._on_disk

    def __len__(self) -> int:
        return len(self._kept) + len(self._on_disk)
