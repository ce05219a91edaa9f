"""A run in which everything is asked for that is measured on one layer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def measured(tmp_path_factory) -> SimpleNamespace:
    """Its root, its results, and the stored lists of every layer; read only."""
    import arrays_run  # here, so that tests that do not run anything start fast
    import layers_run
    import xarray as xr

    folder = tmp_path_factory.mktemp("layers")
    arrays_run.write_clouds(folder)
    root = layers_run.run(folder)
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        results = found.load().squeeze(["site", "pooling"])
    return SimpleNamespace(root=root, results=results, lists=list(layers_run.stored_lists(root)))
