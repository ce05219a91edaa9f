"""The contents of samples, in the form that encoders take: texts, bytes of images, rows of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcgeom.data.images import verified_bytes
from hpcgeom.data.samples import Samples
from hpcgeom.data.tokens import TokenArray, open_tokens
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import ImagesDataset, Manifest, TokensDataset

if TYPE_CHECKING:
    from hpcgeom.models import Content


class Contents:
    """Contents by row; images are read when they are asked for, and held against their digests.

    Parameters
    ----------
    folder
        The manifest's folder.
    samples
        With texts and digests.
    """

    def __init__(self, manifest: Manifest, folder: Path, samples: Samples) -> None:
        self._samples = samples
        self._is_images = isinstance(manifest.dataset, ImagesDataset)
        self._tokens: list[TokenArray] = []
        if isinstance(dataset := manifest.dataset, TokensDataset):
            found = [dataset.path, *([dataset.query.path] if dataset.query else [])]
            self._tokens = [open_tokens(resolve_path(folder, path), pad_id=dataset.pad_id) for path in found]

    def of(self, rows: Sequence[int]) -> list[Content]:
        """Contents of some rows.

        Raises
        ------
        InputError
            An image is not the one that was prepared, or cannot be read.
        """
        samples = self._samples
        if self._tokens:
            return [self._row_of_tokens(int(samples.texts[row])) for row in rows]
        if self._is_images:
            return [self._image(row) for row in rows]
        return [samples.texts[row] for row in rows]

    def _row_of_tokens(self, number: int) -> Content:
        """A row by its number in all files, one after the other."""
        first, *others = self._tokens
        return first.row(number) if number < len(first) else others[0].row(number - len(first))

    def _image(self, row: int) -> bytes:
        samples = self._samples
        return verified_bytes(samples.texts[row], samples.ids[row], samples.digests[row])
