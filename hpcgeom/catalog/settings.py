"""Values of a config.json, each checked as it is taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hpcgeom.errors import InputError

DOWNLOAD_AGAIN = "download the model again"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a configuration says, and where it stands.

    Attributes
    ----------
    values
        Key to value, as in config.json.
    where
        The file, for messages.
    """

    values: Mapping[str, Any]
    where: str

    def positive(self, key: str, default: int | None = None) -> int:
        """A whole number above 0; `default` where the key is absent.

        Raises
        ------
        InputError
            It is anything else, or absent without a default.
        """
        return self._whole(key, self.values.get(key, default), 1)

    def optional(self, key: str) -> int | None:
        """A whole number above 0, or None where the key is absent or null.

        Raises
        ------
        InputError
            It is anything else.
        """
        found = self.values.get(key)
        return None if found is None else self._whole(key, found, 1)

    def multiple(self, key: str, of: str) -> int:
        """A whole number above 0 that the value of the key `of` divides.

        Raises
        ------
        InputError
            One of the two is no such number, or there is a remainder.
        """
        found, divisor = self.positive(key), self.positive(of)
        if found % divisor:
            self.refuse(key, f"a multiple of {of} ({divisor})")
        return found

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false; `default` where the key is absent or null.

        Raises
        ------
        InputError
            It is anything else.
        """
        found = self.values.get(key)
        if found is None:
            return default
        if not isinstance(found, bool):
            self.refuse(key, "true or false")
        return found

    def must_be(self, key: str, only: str | bool, default: str | bool, advice: str) -> None:
        """Check a setting that must have one value.

        Parameters
        ----------
        default
            What an absent key or null means.
        advice
            What to do where it has another.

        Raises
        ------
        InputError
            It has another value.
        """
        found = self.values.get(key)
        if (default if found is None else found) != only:
            self.refuse(key, json.dumps(only), advice)

    def n_classes(self) -> int:
        """Classes of a classifier's head; 2 where nothing is said, as transformers takes it.

        Raises
        ------
        InputError
            `id2label` is no mapping, `num_labels` no number, or the two differ.
        """
        labels, n_labels = self.values.get("id2label"), self.values.get("num_labels")
        if n_labels is not None:
            self._whole("num_labels", n_labels, 0)
        if labels is None:
            return 2 if n_labels is None else int(n_labels)
        if not isinstance(labels, Mapping):
            self.refuse("id2label", "a mapping of numbers to names")
        if n_labels is not None and n_labels != len(labels):
            self.refuse("num_labels", f"{len(labels)}, the number of names in id2label")
        return len(labels)

    def refuse(self, key: str, expected: str, advice: str = DOWNLOAD_AGAIN) -> NoReturn:
        """Say that the value of `key` is wrong.

        Raises
        ------
        InputError
            Always.
        """
        found = json.dumps(self.values.get(key), default=str)
        raise InputError(f"{self.where} has {key} {found}, expected {expected}: {advice}")

    def _whole(self, key: str, found: Any, least: int) -> int:
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            self.refuse(key, f"a number above {least - 1}")
        return found
