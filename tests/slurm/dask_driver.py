"""What batch jobs of the tests run: calls of functions on Dask workers, and a report in a file.

``python dask_driver.py KIND FOLDER FUNCTION ARGUMENTS OPTIONS``; the last two are JSON.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "launch"))

import launched_functions

from hpcgeom.launch import dask_allocation
from hpcgeom.launch.dask_common import run


def main(kind: str, folder: Path, function: str, arguments: str, options: str) -> None:
    report: dict = {"results": [], "lost": [], "error": "", "begun": time.time()}
    settings = json.loads(options)
    allowed_failures = settings.pop("allowed_failures", None)
    lifetime = settings.pop("lifetime", None)
    if lifetime is not None:
        from hpcgeom.launch import dask_jobqueue

        dask_jobqueue._lifetime = lambda walltime_s: ["--lifetime", lifetime, "--lifetime-stagger", "1s"]
    try:
        with _cluster(kind)(folder=folder / "jobs", logs=folder / "logs", **settings) as client:
            report["up"] = time.time()
            if allowed_failures is not None:
                client.cluster.scheduler.allowed_failures = allowed_failures
            (folder / "up").touch()
            run(
                client,
                getattr(launched_functions, function),
                json.loads(arguments),
                report["results"].append,
                lambda argument, error: report["lost"].append([argument, repr(error)]),
            )
            report["hosts"] = sorted(worker["name"] for worker in client.scheduler_info()["workers"].values())
            report["done"] = time.time()
    except Exception as error:
        report["error"] = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    report["closed"] = time.time()
    (folder / "report.tmp").write_text(json.dumps(report))
    (folder / "report.tmp").rename(folder / "report.json")


def _cluster(kind: str):
    if kind == "allocation":
        return dask_allocation.cluster
    from hpcgeom.launch import dask_jobqueue

    return dask_jobqueue.cluster


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
