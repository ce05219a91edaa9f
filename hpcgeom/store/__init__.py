"""What is on disk: files, records, leases, and the Zarr stores that plain xarray opens."""
