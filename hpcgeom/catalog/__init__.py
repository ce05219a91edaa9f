"""Families of models as tables: what they can read, and their sizes from a config.json. No torch."""
