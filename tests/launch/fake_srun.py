"""What `srun` does that matters here: N processes, told their numbers, that end when it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main(folder: Path, arguments: list[str]) -> int:
    n_options = next(i for i, argument in enumerate(arguments) if not argument.startswith("-"))
    options = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments[:n_options])
    step = len(list(folder.glob("started-*")))
    (folder / f"started-{step}").write_text(f"{os.getpid()}\n" + "\n".join(arguments))
    mode = (folder / "mode").read_text().split() if (folder / "mode").exists() else []
    if "refuses" in mode or ("refuses-later" in mode and step > 0):
        sys.stderr.write("srun: error: Unable to create step: Requested nodes are busy\n")
        return 1
    if "hangs" in mode:
        sys.stderr.write("srun: Job step creation temporarily disabled, retrying\n")
        sys.stderr.flush()
        time.sleep(600)
    children = [
        subprocess.Popen(
            arguments[n_options:],
            env={**os.environ, "SLURM_STEP_ID": str(step), "SLURM_PROCID": str(rank)},
            preexec_fn=end_with_parent,
        )
        for rank in range(int(options["ntasks"]))
    ]
    signal.signal(signal.SIGTERM, lambda number, frame: [child.terminate() for child in children])
    return max(child.wait() for child in children)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
