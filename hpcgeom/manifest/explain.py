"""What pydantic found wrong with a manifest, in the words of its user."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from hpcgeom.manifest.fields import Key, Problem, found, nearest

_NONE: Mapping[str, str] = types.MappingProxyType({})
_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "too_short": "at least {min_length} item",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
}


def explain(error: ValidationError, root: type[BaseModel], mends: Mapping[str, str] = _NONE) -> list[Problem]:
    """Turn all errors of one validation into problems.

    Parameters
    ----------
    error
        What ``root.model_validate`` raised.
    root
        The section at the root of the data.
    mends
        What to do about keys that no section has, by key in small letters and with ``_``.

    Returns
    -------
    list of Problem
        Keys are as written by the user: without the tags that pydantic adds for its unions.
    """
    problems: list[Problem] = []
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # a list whose items are all wrong; each of them has its own problem
        key, annotation = _walk(detail["loc"], root)
        if detail["type"] == "problems":
            inner: Sequence[Problem] = detail["ctx"]["problems"]
            problems.extend(Problem(key + problem.key, problem.message) for problem in inner)
        else:
            problems.append(_one_problem(detail, key, annotation, root, mends))
    return problems


def _one_problem(
    detail: Any, key: Key, annotation: Any, root: type[BaseModel], mends: Mapping[str, str]
) -> Problem:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        _, found_at = _walk(detail["loc"][:-1], root)
        description = _members(found_at)[0].model_fields[key[-1]].description.rstrip(".")
        return Problem(key, f"expected the key {key[-1]} ({description}), found none: add it")
    if kind == "extra_forbidden":
        keys = list(annotation.model_fields)
        mend = mends.get(str(key[-1]).lower().replace("-", "_"))
        mend = mend or nearest(key[-1], keys, "remove it")
        return Problem(key, f"expected one of {', '.join(keys)}, found '{key[-1]}': {mend}")
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _tag_problem(value, key, context["discriminator"].strip("'"), annotation)
    if kind not in _EXPECTED:
        return Problem(key, detail["msg"])
    expected = _EXPECTED[kind].format(**context)
    sentence = f"expected {expected}, found {found(value)}"
    if kind == "too_short":
        return Problem(key, f"expected {expected}, found none: add one")
    if value is None:
        return Problem(key, sentence + ": give it a value, or remove the key for the default")
    if kind == "string_type" and isinstance(value, int | float):
        return Problem(key, sentence + ": put it in quotes")
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", expected)
        return Problem(key, f"{sentence}: {nearest(value, allowed)}")
    return Problem(key, sentence + ": correct it")


def _tag_problem(value: Any, key: Key, discriminator: str, annotation: Any) -> Problem:
    tags = [tag for member in _members(annotation) for tag in _tags(member)]
    key = (*key, discriminator)
    if discriminator not in value:
        return Problem(key, f"expected one of {', '.join(tags)}, found no such key: add it")
    tag = value[discriminator]
    return Problem(key, f"expected one of {', '.join(tags)}, found {found(tag)}: {nearest(tag, tags)}")


def _tags(member: Any) -> list[str]:
    """Tags by which pydantic tells a member of a union from the others."""
    if isinstance(member, type) and issubclass(member, BaseModel):
        fields = (member.model_fields.get(name) for name in ("kind", "family"))
        return [tag for field in fields if field is not None for tag in get_args(field.annotation)]
    return [item.tag for item in getattr(member, "__metadata__", ()) if isinstance(item, Tag)]


def _walk(location: Sequence[str | int], root: type[BaseModel]) -> tuple[Key, Any]:
    """Follow a location of pydantic; return the user's key, and the type there or of its section."""
    key: list[str | int] = []
    annotation: Any = root
    for part in location:
        members = _members(annotation)
        if len(members) > 1:  # pydantic puts the tag of the chosen member here
            annotation = next((member for member in members if part in _tags(member)), str)
            continue
        annotation = members[0] if members else annotation
        if part == "[key]":
            continue
        key.append(part)
        annotation = _inside(annotation, part)
    return tuple(key), annotation


def _inside(annotation: Any, part: str | int) -> Any:
    """Type of one part: an item of a list, a field of a section, or the section for an unknown key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return annotation if field is None else field.annotation
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    return arguments[0] if arguments else annotation


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, None left out; any other type is its own only member."""
    while hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in {Union, types.UnionType}:
        return [annotation]
    return [member for member in get_args(annotation) if member is not types.NoneType]
