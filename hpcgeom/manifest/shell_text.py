"""Text that reaches a shell script or a scheduler: the characters that each kind of it may hold.

Everything else is refused, quoted or not: neither bash, nor sbatch (which parses the lines ``#SBATCH`` in
a way of its own and expands ``%`` in names of logs), nor a library in between is trusted to leave it alone.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from hpcgeom.errors import InputError
from hpcgeom.manifest.fields import found, has_shorthand, refuse

_NOT_PLAIN = re.compile(r"([\\\]\[^-])")
_WORDS = {" ": "space"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of text, by its characters; ASCII letters and digits are always among them.

    Attributes
    ----------
    what
        A few words for it.
    others
        The characters beside letters and digits that it may hold.
    first_others
        Those of them that may be the first.
    max_length
        The most characters.
    min_length
        The fewest characters.
    """

    what: str
    others: str
    first_others: str
    max_length: int
    min_length: int = 1

    @property
    def pattern(self) -> str:
        """A regular expression that matches all of such a text."""
        return _pattern(self)

    @property
    def expected(self) -> str:
        """What a message says of it."""
        first = "" if self.first_others == self.others else f" (the first {_list(self.first_others)})"
        characters = " ".join(_WORDS.get(character, character) for character in self.others)
        return f"{self.what}: {self.min_length} to {self.max_length} of A-Z a-z 0-9 {characters}{first}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let ``Annotated[str, kind]`` be the type of a field."""
        return core_schema.no_info_after_validator_function(self.checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell editors the pattern."""
        return {**handler(schema), "pattern": f"^{self.pattern}$"}

    def accepts(self, value: str) -> bool:
        """Whether `value` is such a text."""
        return re.fullmatch(_pattern(self), value) is not None

    def checked(self, value: str) -> str:
        """Return `value` if it is such a text; raise a pydantic error otherwise."""
        if not self.accepts(value):
            raise refuse(self.expected, value, self._mend(value))
        return value

    def required(self, value: str, where: str) -> str:
        """Return `value` if it is such a text.

        Parameters
        ----------
        value
            What is about to reach a script, such as the name of a job or the path of a run directory.
        where
            What it is, for the message.

        Raises
        ------
        InputError
            It holds anything else.
        """
        if not self.accepts(value):
            raise InputError(f"{where}: expected {self.expected}, found {found(value)}: {self._mend(value)}")
        return value

    def _mend(self, value: str) -> str:
        if not value:
            return "give it a value, or remove the key for the default"
        if len(value) > self.max_length:
            return f"shorten it, it has {len(value)} characters"
        if "/" in self.others and has_shorthand(value):
            return "write it out, ~ and $VARIABLES are not expanded here"
        for position, character in enumerate(value):
            if not _is_among(character, self.others if position else self.first_others):
                verb = "take out" if not _is_among(character, self.others) else "do not begin with"
                return f"{verb} {character!a} (U+{ord(character):04X})"
        return "do not begin with '--'"


def _is_among(character: str, others: str) -> bool:
    return (character.isascii() and character.isalnum()) or character in others


@functools.cache
def _pattern(kind: Kind) -> str:
    first, rest = (_NOT_PLAIN.sub(r"\\\1", others) for others in (kind.first_others, kind.others))
    text = f"[A-Za-z0-9{first}][A-Za-z0-9{rest}]{{0,{kind.max_length - 1}}}"
    if "-" in kind.first_others:
        text = f"(?!--){text}"
    return text if kind.min_length else f"(?:{text})?"


def _list(others: str) -> str:
    return "a letter, a digit or one of " + " ".join(others) if others else "a letter or a digit"


JOB_NAME = Kind("the name of a job", "._-", "", 200)
PARTITION = Kind("a partition, or several with commas", "_.+,-", "_", 200)
ACCOUNT = Kind("an account", "_.+@:-", "_", 200)
QOS = Kind("a quality of service", "_.+@-", "_", 200)
CONSTRAINT = Kind("features of nodes", "_.,:=*&|()[]+-", "_([", 200)
RESERVATION = Kind("a reservation, or several with commas", "_.+@:,-", "_", 200)
NODES = Kind("a list of nodes", "_.,[]-", "_", 1000)
GPU_TYPE = Kind("a type of GPU as the cluster names it", "_.+-", "_", 100)
INTERFACE = Kind("a network interface", "_.:@-", "", 15)
PATH = Kind("a path", "/_.+@=,-", "/_.", 1000)
CONDA_NAME = Kind("the name or the path of a conda environment", "/_.+@=,-", "/_.", 1000)
MODULE = Kind("the name of a module", "/_.+:@=-", "/_", 200)
VALUE = Kind("the value of a variable", " _.,:/@%+=^{}-", "_.,:/@%+=^{}-", 1000, min_length=0)

Partition = Annotated[str, PARTITION]
Account = Annotated[str, ACCOUNT]
Qos = Annotated[str, QOS]
Constraint = Annotated[str, CONSTRAINT]
Reservation = Annotated[str, RESERVATION]
Nodes = Annotated[str, NODES]
GpuType = Annotated[str, GPU_TYPE]
Interface = Annotated[str, INTERFACE]
ScriptPath = Annotated[str, PATH]
CondaName = Annotated[str, CONDA_NAME]
ModuleName = Annotated[str, MODULE]
VariableValue = Annotated[str, VALUE]
