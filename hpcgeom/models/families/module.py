"""Any torch.nn.Module that a function of the user's makes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from hpcgeom.catalog.sites import EMBEDDING_SITES, SITES
from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.models.layout import CHAIN_SITES, BlockLayout, Head, SitePath
from hpcgeom.models.limits import Limits
from hpcgeom.models.readings import near_names
from hpcgeom.models.request import RANDOM_WEIGHTS, ModelRequest
from hpcgeom.models.skeletons import Skeleton
from hpcgeom.models.weights import KeyTable, torch_dtype

INPUTS = ("input_ids", "attention_mask")
MAPPABLE_SITES = tuple(s for s in SITES if s not in CHAIN_SITES and s not in EMBEDDING_SITES)
_PLACE = re.compile(r"([^:]+)(?::(input|(\d+)/(\d+)))?")


def limits(request: ModelRequest) -> Limits:
    """Nothing is known of a module before it runs."""
    del request
    return Limits()


def build(request: ModelRequest) -> Skeleton:
    """Call the factory and find the blocks.

    The factory runs with torch's generator seeded by ``request.seed``; the module is then cast to the dtype
    as a whole, with torch's ``Module.to``.

    Raises
    ------
    InputError
        The factory cannot be imported or called or makes something else than a module; neither weights nor
        ``weights: random`` are given (or both); a path of blocks, sites or final norm does not exist; the
        forward takes neither `input_ids` nor `attention_mask`.
    """
    _check_weights(request)
    factory = _import_factory(request)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = _call_factory(factory, request)
    model.to(torch_dtype(request.dtype)).eval().requires_grad_(False)
    keys = None if request.weights == RANDOM_WEIGHTS else KeyTable()
    return Skeleton(model, _layout(request, model), keys, inputs=_inputs(request, model))


def _check_weights(request: ModelRequest) -> None:
    if (request.folder is None) == (request.weights is None):
        found = "neither" if request.folder is None else "both"
        raise InputError(
            f"model '{request.name}': expected either a source (a safetensors file or folder) or "
            f"`weights: random`; found {found}: give one of them"
        )


def _import_factory(request: ModelRequest) -> Callable[..., Any]:
    where = f"model '{request.name}', factory '{request.factory}'"
    module_name, colon, function_name = (request.factory or "").partition(":")
    if not (module_name and colon and function_name):
        raise InputError(f"{where}: expected 'package.module:function': write it so")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{where}: cannot import '{module_name}' ({error}): install the package, or put the folder "
            "that holds it on PYTHONPATH"
        ) from error
    except Exception as error:
        raise InputError(
            f"{where}: importing '{module_name}' failed: {type(error).__name__}: {error}: mend it, until "
            f"python -c 'import {module_name}' ends well"
        ) from error
    factory = getattr(module, function_name, None)
    if not callable(factory):
        found = "has no such name" if factory is None else f"has a {type(factory).__name__} there"
        raise InputError(
            f"{where}: expected a function that makes a torch.nn.Module; '{module_name}' {found}: name one"
        )
    return factory  # type: ignore[no-any-return]


def _call_factory(factory: Callable[..., Any], request: ModelRequest) -> torch.nn.Module:
    where = f"model '{request.name}', factory '{request.factory}'"
    try:
        model = factory(**request.factory_kwargs)
    except (HpcgeomError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{where} failed with the arguments {dict(request.factory_kwargs)}: {type(error).__name__}: "
            f"{error}: correct factory_kwargs, or the factory"
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"{where} returned a {type(model).__name__}; expected a torch.nn.Module: return one")
    return model


def _inputs(request: ModelRequest, model: torch.nn.Module) -> tuple[str, ...]:
    parameters = inspect.signature(model.forward).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    taken = INPUTS if inspect.Parameter.VAR_KEYWORD in kinds else tuple(n for n in INPUTS if n in parameters)
    if not taken:
        raise InputError(
            f"model '{request.name}': the forward of {type(model).__name__} takes ({', '.join(parameters)}); "
            f"expected a parameter named input_ids (and attention_mask where there is padding): add it"
        )
    return taken


def site_path(place: str, where: str) -> SitePath:
    """What ``path``, ``path:input`` or ``path:0/3`` (the first of three equal parts of the output) names.

    Raises
    ------
    InputError
        The text is something else.
    """
    found = _PLACE.fullmatch(place)
    n_parts = int(found[4]) if found and found[4] else 1
    if found is None or int(found[3] or 0) >= n_parts:
        raise InputError(
            f"{where}: expected a path, path:input, or path:i/n for part i of n of its output; found "
            f"'{place}': correct it"
        )
    if found[2] == "input":
        return SitePath(found[1], "input")
    return SitePath(found[1], part=(int(found[3]), n_parts) if found[3] else None)


def _layout(request: ModelRequest, model: torch.nn.Module) -> BlockLayout | None:
    name = f"model '{request.name}'"
    if request.blocks is None:
        if (
            request.block_sites
            or request.final_norm
            or request.embeddings
            or request.attention
            or request.head
        ):
            raise InputError(
                f"{name} has block_sites, final_norm, embeddings, attention or head, but no `blocks`: "
                "give its path"
            )
        return None
    blocks = _submodule(model, request.blocks, f"{name}, blocks")
    if not isinstance(blocks, torch.nn.ModuleList | torch.nn.Sequential) or len(blocks) == 0:
        raise InputError(
            f"{name}, blocks '{request.blocks}': expected a ModuleList or Sequential with "
            f"blocks in it; found {type(blocks).__name__} of {len(list(blocks.children()))}: "
            "name another list"
        )
    places = {"attention": request.attention} if request.attention else {}
    sites = {}
    for site, place in {**request.block_sites, **places}.items():
        if site not in (*MAPPABLE_SITES, *places):
            raise InputError(
                f"{name}, block_sites: '{site}' cannot be mapped: expected "
                f"{', '.join(MAPPABLE_SITES)}; resid and hidden_states need no path: correct or remove it"
            )
        sites[site] = site_path(place, f"{name}, block_sites.{site}")
        for index, block in enumerate(blocks):
            _submodule(block, sites[site].path, f"{name}, block_sites.{site}, block {index}")
    for key, path in (("final_norm", request.final_norm), ("head", request.head)):
        if path is not None:
            _submodule(model, path, f"{name}, {key}")
    for site, path in request.embeddings.items():
        _submodule(model, path, f"{name}, embeddings.{site}")
    return BlockLayout(
        request.blocks,
        {site: place for site, place in sites.items() if site != "attention"},
        request.final_norm,
        embeddings={site: SitePath(path) for site, path in request.embeddings.items()},
        attention=sites.get("attention"),
        head=None if request.head is None else Head(request.head),
        n_heads=request.n_heads,
        n_kv_heads=request.n_kv_heads or request.n_heads,
    )


def _submodule(root: torch.nn.Module, path: str, where: str) -> torch.nn.Module:
    names = dict(root.named_modules(remove_duplicate=False))
    if not path or path not in names:
        near = near_names(path, [name for name in names if name])
        raise InputError(
            f"{where}: {type(root).__name__} has no submodule '{path}': near names are {near}: "
            "correct the path"
        )
    return names[path]
