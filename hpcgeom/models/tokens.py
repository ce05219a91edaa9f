"""Texts to token ids, with a model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import AutoTokenizer, EsmTokenizer

from hpcgeom.data.wording import shortened
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models.encodings import Encoding, windows_of

VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
_SHOWN = 5


class Tokenizer:
    """A tokenizer from a local folder; no code of that folder is run.

    Parameters
    ----------
    folder
        With tokenizer.json, or the vocabulary of a tokenizer that transformers knows.
    vocab_size
        Rows of the model's embedding (`Limits.vocab_size`); None if unknown.

    Raises
    ------
    InputError
        The folder holds no tokenizer, or one that transformers cannot load without running foreign code.
    """

    def __init__(self, folder: Path, vocab_size: int | None) -> None:
        if not any((folder / name).is_file() for name in VOCABULARY_FILES):
            raise InputError(
                f"{folder} holds no tokenizer: expected one of {', '.join(VOCABULARY_FILES)}: name the "
                "folder that has it as `tokenizer`"
            )
        try:
            self._backend: Any = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
            )
        except Exception as error:  # the library raises whatever its formats raise
            reason = " ".join(str(error).split())
            raise InputError(
                f"the tokenizer in {folder} cannot be loaded: {type(error).__name__}: {reason}: fetch its "
                "files again, or name another folder as tokenizer"
            ) from error
        self._backend.truncation_side = "right"
        # ESM's splits a sequence along all of its tokens, or not at all; special ones in it are refused below
        self._splits_special = not isinstance(self._backend, EsmTokenizer)
        self._folder, self._vocab_size = folder, vocab_size
        self._unknown_id: int | None = self._backend.unk_token_id
        self._forbidden = set(self._backend.all_special_ids) - {self._unknown_id}

    @property
    def pad_id(self) -> int:
        """The id that fills padding; 0 for tokenizers without one, since masks keep it out."""
        pad_id = self._backend.pad_token_id
        return 0 if pad_id is None else int(pad_id)

    @property
    def n_special(self) -> int:
        """Special tokens added to each sample."""
        return int(self._backend.num_special_tokens_to_add(pair=False))

    def encode(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        max_length: int,
        too_long: Literal["error", "truncate", "window"],
    ) -> list[list[Encoding]]:
        """Tokens of each text, by windows (one, unless there are to be more).

        Names of special tokens inside a text are ordinary characters.

        Parameters
        ----------
        ids
            Sample ids, for messages.
        texts
            One text per id.
        max_length
            Most tokens of a sample, special ones included.
        too_long
            ``error``; ``truncate``: ordinary tokens are dropped at the end; or ``window``: cut into
            windows (see `hpcgeom.models.encodings.windows_of`).

        Raises
        ------
        InputError
            `max_length` leaves no room for an ordinary token.
        ProblemsError
            All of: samples too long, without an ordinary token, with unknown tokens only, with text that is
            parsed as a special token, or with ids outside the model's vocabulary.
        """
        if max_length <= self.n_special:
            raise InputError(
                f"max_length is {max_length}: expected more than the {self.n_special} special tokens that "
                f"the tokenizer in {self._folder} adds: raise it"
            )
        cut = max_length if too_long == "truncate" else None
        encodings = self._encode(texts, cut) if texts else []
        long = [row for row, encoding in enumerate(encodings) if len(encoding.ids) > max_length]
        problems = []
        if long and too_long != "window":
            shown = [f"'{ids[row]}' ({len(encodings[row].ids)})" for row in long]
            problems.append(
                f"{len(long)} samples are longer than max_length = {max_length} tokens: "
                f"{shortened(shown, _SHOWN)}: raise max_length, shorten them, or set too_long: truncate "
                "or window"
            )
        problems += self._problems(ids, encodings)
        if problems:
            raise ProblemsError(problems)
        return [windows_of(encoding, max_length) for encoding in encodings]

    def _encode(self, texts: Sequence[str], max_length: int | None) -> list[Encoding]:
        encoded = self._backend(
            list(texts),
            truncation=max_length is not None,
            max_length=max_length,
            padding=False,
            split_special_tokens=self._splits_special,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            verbose=False,
        )
        encodings = []
        for token_ids, special_mask in zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True):
            row, special = np.asarray(token_ids, np.int64), np.asarray(special_mask, bool)
            n_unknown = 0 if self._unknown_id is None else int((row[~special] == self._unknown_id).sum())
            encodings.append(Encoding(row, special, n_unknown))
        return encodings

    def _problems(self, ids: Sequence[str], encodings: Sequence[Encoding]) -> list[str]:
        empty, unknown, parsed, foreign = [], [], [], []
        for sample, encoding in zip(ids, encodings, strict=True):
            if encoding.n_ordinary == 0:
                empty.append(f"'{sample}'")
            elif encoding.n_unknown == encoding.n_ordinary:
                unknown.append(f"'{sample}'")
            if self._forbidden.intersection(encoding.ids[~encoding.special].tolist()):
                parsed.append(f"'{sample}'")
            if self._vocab_size is not None and int(encoding.ids.max(initial=0)) >= self._vocab_size:
                foreign.append(f"'{sample}' ({encoding.ids.max()})")
        problems = []
        if empty:
            problems.append(
                f"{len(empty)} samples have no token of their own: {shortened(empty, _SHOWN)}: "
                "drop empty samples"
            )
        if unknown:
            problems.append(
                f"{len(unknown)} samples consist of unknown tokens only, so that all look alike: "
                f"{shortened(unknown, _SHOWN)}: "
                f"expected texts that the tokenizer in {self._folder} knows (alphabet, upper or lower case): "
                "write them so, or drop them"
            )
        if parsed:
            problems.append(
                f"{len(parsed)} samples hold the text of a special token, which the tokenizer in "
                f"{self._folder} parses as one: {shortened(parsed, _SHOWN)}: remove it from the text"
            )
        if foreign:
            problems.append(
                f"{len(foreign)} samples have token ids outside the model's vocabulary of "
                f"{self._vocab_size}: "
                f"{shortened(foreign, _SHOWN)}: {self._folder} holds the tokenizer of another model: "
                "name the folder of this one's as `tokenizer`"
            )
        return problems
