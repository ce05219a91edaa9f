"""Where units run: in this process, or on Dask workers. A launcher knows nothing of stages."""
