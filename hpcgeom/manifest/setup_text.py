"""Lines of shell that a user adds to a job: a few commands, plain words, and nothing that runs anything else.

A line is no place for a program. What needs quotes, loops or other commands stands in a file that is sourced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from hpcgeom.manifest.fields import refuse

MAX_LINE = 1000

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_EXPANSION = rf"\$(?:{_NAME}|\{{{_NAME}\}})"
_WORD = rf"(?:~/)?(?:[A-Za-z0-9_./:,+@%=^-]|{_EXPANSION})+|~"
_ASSIGNMENT = rf"{_NAME}=(?:{_WORD})?"
_FILE = rf"(?:~/|/|{_EXPANSION}/)(?:{_WORD})"
_MODULE_VERBS = (
    "load|try-load|add|unload|rm|remove|del|delete|purge|swap|switch|use|unuse|restore|reset|refresh"
)


@dataclass(frozen=True, slots=True)
class _Form:
    """What may follow a command."""

    shown: str
    pattern: str


def _words(first: str, more: str = _WORD) -> str:
    return rf"(?:{first})(?: +(?:{more}))*"


# The shell looks for a subscript in the name that it unsets, and runs what stands there: names are plain.
_CONDA = _Form("activate NAME, or deactivate", rf"{_words('activate')}|deactivate")
_SOURCE = _Form("the path of a file that begins with /, ~/ or $NAME/", _words(_FILE))
_FORMS: Mapping[str, _Form] = {
    "export": _Form("NAME=VALUE", _words(_ASSIGNMENT, _ASSIGNMENT)),
    "source": _SOURCE,
    ".": _SOURCE,
    "module": _Form(
        "load NAME, unload NAME, swap A B, use FOLDER, restore or purge",
        rf"(?:--?[A-Za-z][A-Za-z_-]* +)*{_words(_MODULE_VERBS)}",
    ),
    "ml": _Form("names of modules", _words(_WORD)),
    "ulimit": _Form(
        "-X LIMIT, the limit a number, unlimited, soft or hard",
        rf"(?:-[A-Za-z]+ +)+(?:unlimited|soft|hard|[0-9]{{1,18}}|{_EXPANSION})",
    ),
    "umask": _Form("three or four octal digits", r"[0-7]{3,4}"),
    "unset": _Form("names of variables", _words(_NAME, _NAME)),
    "conda": _CONDA,
    "mamba": _CONDA,
    "micromamba": _CONDA,
    "spack": _Form(
        "load NAME, unload NAME, or env activate NAME",
        rf"{_words('(?:load|unload)')}|{_words('env +(?:activate|deactivate)')}",
    ),
}
COMMANDS = tuple(_FORMS)

# Variables by which bash runs a file or reads its input in another way, and those that tell a job what it is.
_OF_THE_SHELL = re.compile(r"BASH.*|ENV|IFS|SHELLOPTS|PS[0-4]|PROMPT_COMMAND|UID|EUID|PPID|GROUPS|_")
_OF_THE_SCHEDULER = re.compile(r"(?:SLURM|SBATCH|SRUN|SUBMITIT|PMI|PMIX)_.*")
_FREE = frozenset({"SLURM_CPU_BIND", "SLURM_EXPORT_ENV", "SLURM_HINT", "SLURM_MEM_BIND"})


def checked_line(value: str) -> str:
    """Return `value` if a job may begin with such a line; raise a pydantic error otherwise."""
    command, _, rest = value.partition(" ")
    if len(value) > MAX_LINE:
        raise refuse(f"a line of at most {MAX_LINE} characters", value, "put it into a file and source that")
    if command not in _FORMS:
        mend = "put other commands into a file, and name it in a line source /path/of/file"
        raise refuse(f"a line that begins with {', '.join(COMMANDS)}", value, mend)
    form = _FORMS[command]
    if not re.fullmatch(form.pattern, rest.lstrip(" ")):
        raise refuse(
            f"{command} and {form.shown}, in words of A-Z a-z 0-9 _ . / : , + @ % = ^ -, $NAME and ${{NAME}}",
            value,
            "put other values into environment.variables, and other commands into a file that is sourced",
        )
    if command in {"export", "unset"}:
        for word in rest.split():
            _check_free(word.partition("=")[0], value)
    return value


def checked_name(value: str) -> str:
    """Return `value` if a variable of that name may be set in a job; raise a pydantic error otherwise."""
    if not re.fullmatch(_NAME, value):
        raise refuse("a name of 1 to 100 of A-Z a-z 0-9 _, the first no digit", value, "correct the name")
    _check_free(value, value)
    return value


def _check_free(name: str, value: str) -> None:
    if _OF_THE_SHELL.fullmatch(name):
        raise refuse("a variable that the shell does not need for itself", value, f"leave {name} alone")
    if _OF_THE_SCHEDULER.fullmatch(name) and name not in _FREE:
        mend = f"leave {name} alone; of these only {', '.join(sorted(_FREE))} may be set"
        raise refuse("a variable that the scheduler does not set", value, mend)


SetupLine = Annotated[str, AfterValidator(checked_line)]
VariableName = Annotated[str, AfterValidator(checked_name)]
