"""From the content of a sample to what its model reads: one encoder a kind of data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from hpcgeom.data.wording import shortened
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models.encodings import Encoding
from hpcgeom.models.families import model_limits
from hpcgeom.models.images import ColorEncoder, PixelEncoder, color_encoding, start_token
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.tokens import Tokenizer

Content: TypeAlias = "str | bytes | npt.NDArray[np.int64]"
"""A text or sequence, the bytes of an image file, or a row of token ids."""

UNLIMITED_TOKENS = 2**31 - 1
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class InputSettings:
    """How the samples of a data set are turned into tokens.

    Attributes
    ----------
    kind
        ``text``, ``fasta``, ``images`` or ``tokens``.
    max_length
        Longest text in tokens, special ones included, or longest sequence in residues.
    too_long
        What is done with a longer one. Sequences that are truncated are cut where they are read.
    transparent
        What is done with transparent pixels of images.
    """

    kind: str
    max_length: int = UNLIMITED_TOKENS
    too_long: Literal["error", "truncate", "window"] = "error"
    transparent: Literal["error", "white", "black"] = "error"


class Encoder(Protocol):
    """Turns contents into encodings, always in the same way."""

    @property
    def pad_id(self) -> int:
        """The id that fills padding."""

    @property
    def n_tokens(self) -> int | None:
        """Tokens of every sample, where all have the same number; None otherwise."""

    def encode(self, ids: Sequence[str], contents: Sequence[Content]) -> list[list[Encoding]]:
        """Encodings of each sample, by windows.

        Raises
        ------
        InputError
            A sample does not suit the model; all such samples of one kind are named together.
        """


def encoder_of(request: ModelRequest, settings: InputSettings) -> Encoder:
    """The encoder of a model for a data set.

    Raises
    ------
    InputError
        What it needs (tokenizer, palette, preprocessor) is missing or of another model.
    """
    limits = model_limits(request)
    if settings.kind in ("text", "fasta"):
        folder = request.tokenizer or request.folder
        if folder is None:
            raise InputError(f"model '{request.name}' has no tokenizer: name its folder with `tokenizer`")
        return TextEncoder(Tokenizer(folder, limits.vocab_size), settings, limits)
    if settings.kind == "tokens":
        return RowEncoder(request, limits)
    if request.family == "igpt":
        return ColorEncoder(request, limits, settings.transparent)
    return PixelEncoder(request, limits, settings.transparent)


class TextEncoder:
    """Texts and sequences, through a tokenizer."""

    n_tokens = None

    def __init__(self, tokenizer: Tokenizer, settings: InputSettings, limits: Limits) -> None:
        self._tokenizer = tokenizer
        self._too_long: Literal["error", "truncate", "window"] = settings.too_long
        most = limits.max_tokens or UNLIMITED_TOKENS
        if settings.kind == "text":
            self._max_length = settings.max_length
        elif settings.too_long == "window":  # residues are counted without special tokens
            self._max_length = min(settings.max_length + tokenizer.n_special, most)
        else:
            self._max_length, self._too_long = most, "error"

    @property
    def pad_id(self) -> int:
        """The tokenizer's."""
        return self._tokenizer.pad_id

    def encode(self, ids: Sequence[str], contents: Sequence[Content]) -> list[list[Encoding]]:
        """See `Encoder.encode`."""
        texts = [str(content) for content in contents]
        return self._tokenizer.encode(ids, texts, self._max_length, self._too_long)


class RowEncoder:
    """Samples that are token ids already; for iGPT, colors without their start token."""

    n_tokens = None
    pad_id = 0

    def __init__(self, request: ModelRequest, limits: Limits) -> None:
        self._name, self._limits = request.name, limits
        self._is_colors = request.family == "igpt"
        self._start = start_token(request) if self._is_colors else None

    def encode(self, ids: Sequence[str], contents: Sequence[Content]) -> list[list[Encoding]]:
        """See `Encoder.encode`."""
        rows = [np.asarray(content, dtype=np.int64) for content in contents]
        self._check(ids, rows)
        if self._is_colors:
            return [[color_encoding(row, self._start)] for row in rows]
        return [[Encoding(row, np.zeros(len(row), bool))] for row in rows]

    def _check(self, ids: Sequence[str], rows: Sequence[npt.NDArray[np.int64]]) -> None:
        vocabulary, longest = self._limits.vocab_size, self._limits.max_tokens
        highest = None if vocabulary is None else vocabulary - (1 if self._start is None else 2)
        named, problems = list(zip(ids, rows, strict=True)), []
        if highest is not None:
            foreign = [f"'{i}' ({row.max()})" for i, row in named if row.max() > highest]
            if foreign:
                problems.append(
                    f"{len(foreign)} samples have token ids that model '{self._name}' does not know (0 to "
                    f"{highest}): {shortened(foreign, _SHOWN)}: they were encoded for another model: encode "
                    "them for this one"
                )
        long = [f"'{i}' ({len(row)})" for i, row in named if len(row) > (longest or np.inf)]
        if long:
            problems.append(
                f"{len(long)} samples are longer than the {longest} positions of model '{self._name}': "
                f"{shortened(long, _SHOWN)}: shorten them"
            )
        if problems:
            raise ProblemsError(problems)
