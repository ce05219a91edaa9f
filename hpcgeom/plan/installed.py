"""What a manifest asks for that is no dependency of hpcgeom: refused before anything is computed."""

from __future__ import annotations


def refuse_missing_dadapy(clusters: object) -> None:
    """Refuse clusters where DADApy, which finds them, cannot be imported.

    Parameters
    ----------
    clusters
        `geometry.clusters` of a manifest; None where none are asked for, and nothing is imported then.

    Raises
    ------
    InputError
        Says what to install.
    """
    if clusters is None:
        return
    from hpcgeom.geometry import dadapy_backend  # compiled kernels come with it: planning is light

    dadapy_backend.load(
        "geometry.clusters",
        "install hpcgeom there too and call it there (docs/estimators.md, Density peaks), or take "
        "geometry.clusters out of the manifest",
    )
