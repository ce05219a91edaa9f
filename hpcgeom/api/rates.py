"""How fast processes are that a plan is priced with: as with units that are done, or as a profile says."""

from __future__ import annotations

from dataclasses import replace

from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.plan.hours import Device, Rate
from hpcgeom.stages.run import Run
from hpcgeom.stages.speeds import rates_of

GIGA = 1e9


def rates_for(profile: Profile | None, run: Run | None) -> dict[tuple[str, str], Rate]:
    """What is known, by stage and model; units that are done come before what a profile says.

    Parameters
    ----------
    profile
        Of the cluster on which the plan would be carried out; this machine for None.
    run
        Whose units are like those of the plan.
    """
    measured = {} if run is None else rates_of(run)
    if profile is None:
        return measured
    found: dict[tuple[str, str], Rate] = {}
    for stage, section in (("extract", profile.extract), ("search", profile.search)):
        of: Device = "GPU" if section.gpus else "core"
        n_of = 1 if section.gpus else section.cpus
        if section.gflops_per_s is not None:
            source = f"profile '{profile.name}' says"
            found[stage, ""] = Rate(GIGA * section.gflops_per_s, of, n_of, source)
        own = {key: rate for key, rate in measured.items() if key[0] == stage and rate.of == of}
        found |= {key: replace(rate, n_of=n_of) for key, rate in own.items()}
    return found
