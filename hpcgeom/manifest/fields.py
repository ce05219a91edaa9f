"""What all sections of a manifest share: the strict base and the kinds of text a field may hold."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

Key = tuple[str | int, ...]
"""Where something stands in a manifest: ``("models", 0, "name")`` is ``models[0].name``."""

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MODULE_PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)
PACKAGE_PREFIX = "package:"
PACKAGE_SOURCE = re.compile(r"package:[^\W\d]\w*(\.[^\W\d]\w*)*(/[\w.-]+)+", re.ASCII)

MAX_INT64 = 2**63 - 1


class Problem(NamedTuple):
    """One thing that is wrong: the key to look at, and a sentence."""

    key: Key
    message: str


def key_text(key: Sequence[str | int]) -> str:
    """Write a key as a user would: ``models[0].name``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in key]
    return "".join(parts).removeprefix(".")


class Section(BaseModel):
    """Base of every section: immutable, types are not guessed, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def problems(self) -> Iterator[Problem]:
        """Contradictions between the keys of this section; keys are relative to it."""
        yield from ()

    @model_validator(mode="after")
    def _no_problems(self) -> Self:
        if problems := list(self.problems()):
            text = "; ".join(f"{key_text(key)}: {message}" for key, message in problems)
            raise PydanticCustomError("problems", "{text}", {"text": text, "problems": problems})
        return self


def found(value: Any) -> str:
    """Say what stands in a manifest, with the word for its type."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {_shortened(repr(value))}"
    if isinstance(value, str):
        return f"the text {_shortened(repr(value))}"
    if isinstance(value, dict):
        return "a mapping"
    return "a list"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:76] + " ..."


def refuse(expected: str, value: Any, mend: str = "correct it") -> PydanticCustomError:
    """Make the error of one field: what is expected, what was found, what to do."""
    text = f"expected {expected}, found {found(value)}: {mend}"
    return PydanticCustomError("refused", "{text}", {"text": text})


def nearest(word: Any, words: Sequence[str], otherwise: str = "choose one of them") -> str:
    """What to do about a word that is none of the words."""
    near = difflib.get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f"did you mean '{near[0]}'?" if near else otherwise


def described(expected: str) -> WrapValidator:
    """Make a validator that says one sentence instead of what each member of a union expects."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValidationError, PydanticCustomError):
            raise refuse(expected, value) from None

    return WrapValidator(validate)


def checked_slug(value: str) -> str:
    """Return `value` if it can be the name of a file everywhere; raise a pydantic error otherwise."""
    if not SLUG.fullmatch(value):
        expected = "1 to 100 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit"
        raise refuse(expected, value, "choose another name")
    return value


def _checked_text(value: str) -> str:
    if not value.strip():
        raise refuse("some text", value, "write some")
    if not value.isprintable():
        raise refuse("text without control characters", value, "remove them")
    return value


def has_shorthand(path: str) -> bool:
    """Whether a path begins with ``~`` or holds ``$``, which a shell would expand and hpcgeom does not."""
    return path.startswith("~") or "$" in path


def _checked_path(value: str) -> str:
    if has_shorthand(value):
        mend = (
            "write the path out; ~ and $VARIABLES are not expanded, so that a manifest means the same to all"
        )
        raise refuse("a path", value, mend)
    return _checked_text(value)


def _checked_source(value: str) -> str:
    if not value.startswith(PACKAGE_PREFIX):
        return _checked_path(value)
    if not PACKAGE_SOURCE.fullmatch(value) or any(part in {".", ".."} for part in value.split("/")[1:]):
        raise refuse("package:<import name>/<folder inside the package>", value, "write it so")
    return value


def _checked_module_path(value: str) -> str:
    if not MODULE_PATH.fullmatch(value):
        raise refuse("the dotted path of a submodule such as encoder.layer", value, "write it so")
    return value


def _checked_factory(value: str) -> str:
    if not FACTORY.fullmatch(value):
        raise refuse("package.module:function", value, "write it so")
    return value


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values` if no two are equal; raise a pydantic error otherwise."""
    if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
        raise refuse_list("every item once", f"{', '.join(repeated)} more than once: keep one of each")
    return values


def ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values` if strictly ascending; raise a pydantic error otherwise."""
    if any(b <= a for a, b in pairwise(values)):
        raise refuse_list("strictly ascending numbers", f"{list_text(values)}: sort them, each once")
    return values


def descending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values` if strictly descending; raise a pydantic error otherwise."""
    if any(b >= a for a, b in pairwise(values)):
        raise refuse_list("strictly descending numbers", f"{list_text(values)}: sort them, each once")
    return values


def power_of_two(value: int) -> int:
    """Return `value` if it is a power of two; raise a pydantic error otherwise."""
    if value < 1 or value.bit_count() != 1:
        raise refuse("a power of two", value, "round it to one")
    return value


def refuse_list(expected: str, was_found: str) -> PydanticCustomError:
    """Make the error of one list: what is expected, what was found in words."""
    return PydanticCustomError(
        "refused", "{text}", {"text": f"expected {expected}, found {_shortened(was_found)}"}
    )


def list_text(values: Iterable[Any]) -> str:
    """Write a list as a user would: ``[2, 1]``."""
    return f"[{', '.join(map(str, values))}]"


Slug = Annotated[str, AfterValidator(checked_slug), Field(json_schema_extra={"pattern": f"^{SLUG.pattern}$"})]
Text = Annotated[str, AfterValidator(_checked_text)]
Scalar = Annotated[bool | int | float | str | None, described("a finite number, a text, true, false or null")]
PathText = Annotated[str, AfterValidator(_checked_path)]
Source = Annotated[str, AfterValidator(_checked_source)]
ModulePath = Annotated[str, AfterValidator(_checked_module_path)]
Factory = Annotated[str, AfterValidator(_checked_factory)]

List = Field(strict=False)
"""Lets a YAML list stand for a tuple; its items stay strict."""
