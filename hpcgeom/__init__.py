"""The geometry of hidden representations of large transformers."""

__version__ = "0.1.0"
