"""Figures and tables of the results: pure functions of the Dataset in `results.zarr`.

Nothing is imported here, so that a table does not wait for matplotlib.
"""
