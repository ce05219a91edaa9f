"""From a profile's file to a checked profile, and which profile holds where nothing is said."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.fields import Problem
from hpcgeom.manifest.load import load_section, problems_error
from hpcgeom.manifest.profile_checks import MENDS, profile_problems
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.manifest.shell_text import PATH

PROFILE_VARIABLE = "HPCGEOM_PROFILE"


@dataclass(frozen=True)
class LoadedProfile:
    """A profile with the file it came from.

    Attributes
    ----------
    profile
        The checked content, all defaults filled in, its paths absolute.
    path
        The file, absolute; None for the defaults.
    folder
        Where relative paths start: an absolute folder.
    text
        The file as it was read, or one that says the same as the defaults.
    digest
        SHA-256 of the canonical JSON of what is written, defaults filled in, in 64 hex digits. It is for
        people: nothing that is computed depends on a profile.
    """

    profile: Profile
    path: Path | None
    folder: Path
    text: str
    digest: str

    @property
    def logs(self) -> Path | None:
        """Folder of the jobs' logs, absolute; None for ``logs`` of the run directory."""
        return None if self.profile.logs is None else Path(self.profile.logs)


def load_profile(path: str | Path, folder: str | Path | None = None) -> LoadedProfile:
    """Load and check a profile.

    Parameters
    ----------
    path
        The YAML file.
    folder
        Where relative paths start, if not in the folder of `path`: for a copy of a profile.

    Raises
    ------
    InputError
        The file cannot be read or is no YAML.
    ProblemsError
        It is not a profile: one sentence ``file:line: key: expected, found`` a problem, in line order.
    """
    path = Path(path)
    written, document = load_section(path, Profile, profile_problems, MENDS)
    absolute = path.absolute()
    start = Path(folder or absolute.parent).absolute()
    profile, problems = _located(written, start)
    if problems:
        raise problems_error(problems, document, path)
    return LoadedProfile(profile, absolute, start, document.text, _digest(written))


def default_profile() -> LoadedProfile:
    """Return the profile of a cluster that needs none: every default, under the name ``default``."""
    profile = Profile(name="default")
    return LoadedProfile(profile, None, Path.cwd(), "name: default\n", _digest(profile))


def find_profile(given: Path | None = None) -> LoadedProfile:
    """Load the profile that holds here.

    Parameters
    ----------
    given
        A file; without it, the file that ``$HPCGEOM_PROFILE`` names; without that,
        ``hpcgeom/profile.yaml`` in ``$XDG_CONFIG_HOME`` (``~/.config``); without that, the defaults.

    Raises
    ------
    InputError, ProblemsError
        As of `load_profile`: what is named but wrong is never passed over.
    """
    if given is not None:
        return load_profile(given)
    if named := os.environ.get(PROFILE_VARIABLE):
        try:
            return load_profile(named)
        except ProblemsError:
            raise
        except InputError as error:
            raise InputError(f"${PROFILE_VARIABLE}: {error}") from None
    own = _config_folder() / "hpcgeom" / "profile.yaml"
    return load_profile(own) if os.path.lexists(own) else default_profile()


def _config_folder() -> Path:
    """Folder of settings; the XDG rules pass over a relative one."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~"), ".config")


def _located(profile: Profile, folder: Path) -> tuple[Profile, list[Problem]]:
    """Make the paths of a profile absolute, and find those that then hold what no script may hold."""
    problems: list[Problem] = []

    def absolute(section: str, key: str, value: str) -> str:
        whole = str(folder / value)
        try:
            return PATH.required(whole, "from the folder of the profile on")
        except InputError as error:
            where = (section, key) if section else (key,)
            problems.append(Problem(where, f"{error}; or write the path of a link to it, from / on"))
            return whole

    environment = {
        key: absolute("environment", key, value)
        for key in ("python", "venv", "conda", "apptainer")
        if (value := getattr(profile.environment, key)) is not None and (key != "conda" or "/" in value)
    }
    update = {
        "environment": profile.environment.model_copy(update=environment),
        "logs": profile.logs and absolute("", "logs", profile.logs),
    }
    return profile.model_copy(update=update), problems


def _digest(profile: Profile) -> str:
    settings = profile.model_dump(mode="json")
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
