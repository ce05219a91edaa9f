"""Which samples several arrays share, and at which of their rows these are: by ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hpcgeom.data.names import check_ids
from hpcgeom.data.wording import counted, listed
from hpcgeom.errors import InputError


def common_ids(
    ids_of: Mapping[str, Sequence[str]], *, intersect: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The samples that all have, in the order of the first, and a notice of how many these are.

    Parameters
    ----------
    ids_of
        Ids of the rows by the name of whose they are, at least one.
    intersect
        Whether samples that some lack are left out; otherwise all must have the same, in any order.

    Returns
    -------
    ids, notices
        No notice where nothing is left out.

    Raises
    ------
    InputError
        An id occurs twice, samples differ and are not to be intersected, or none is in all.
    """
    for name, ids in ids_of.items():
        check_ids(ids, lambda row, name=name: f"{name}, row {row}")  # type: ignore[misc]
    sets = {name: frozenset(ids) for name, ids in ids_of.items()}
    (first, reference), *others = ids_of.items()
    shared = frozenset.intersection(*sets.values())
    if not intersect:
        for name, _ in others:
            if sets[name] != sets[first]:
                raise InputError(_difference(first, name, ids_of, sets))
        return tuple(reference), ()
    ids = tuple(sample for sample in reference if sample in shared)
    if not ids:
        raise InputError(
            f"no sample is in all of {listed(list(ids_of))}: expected at least one id that all have, "
            f"found {', '.join(f'{ours[0]!r} in {name}' for name, ours in ids_of.items())}; spell ids alike"
        )
    sizes = ", ".join(f"{len(ours)} of {name}" for name, ours in ids_of.items())
    told = f"{counted(len(ids), 'sample')} in all: {sizes}"
    return ids, (told,) if any(len(ours) > len(ids) for ours in ids_of.values()) else ()


def rows_of(wanted: Sequence[str], ids: Sequence[str], where: str) -> npt.NDArray[np.int64]:
    """Shape (len(wanted),): the row of each sample among `ids`.

    Raises
    ------
    InputError
        A sample is not there.
    """
    known = {sample: row for row, sample in enumerate(ids)}
    missing = [sample for sample in wanted if sample not in known]
    if missing:
        raise InputError(
            f"{where} has no {listed(missing)}, which it had when the run was prepared: restore it, or start "
            "another run"
        )
    return np.array([known[sample] for sample in wanted], dtype=np.int64)


def _difference(
    first: str, name: str, ids_of: Mapping[str, Sequence[str]], sets: Mapping[str, frozenset[str]]
) -> str:
    n_shared = len(sets[first] & sets[name])
    example = next(
        f"{sample!r} is only in {owner}"
        for owner, other in ((first, name), (name, first))
        for sample in ids_of[owner]
        if sample not in sets[other]
    )
    return (
        f"{first} has {counted(len(sets[first]), 'sample')} and {name} has {len(sets[name])}, of which "
        f"{n_shared} are the same ({example}); expected the same samples in all models: give the others, or "
        f"say dataset.samples: intersect"
    )
