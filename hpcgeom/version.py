"""The version, which records carry."""

__version__ = "0.1.0"
