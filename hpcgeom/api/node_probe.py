"""What a small job does on a node: look around, and answer those who submitted it.

The text of this file is sent to the node (``python -c``). It tells what is wrong where nothing is shared and
nothing is installed, so it needs the standard library alone, and any Python from 3.7 on.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

PACKAGES = ("hpcgeom", "numpy", "torch", "transformers", "zarr", "xarray", "distributed", "faiss")
GREETING = "greeting"
"""Name of the file that the submitting host has written before."""
ANSWER = "answer.json"
MARK = "hpcgeom-doctor-answer: "
"""The answer stands after it in the log too, for a folder that cannot be written."""
NOT_SEEN, NOT_WRITABLE = 41, 42
"""Exit codes: the scheduler brings them where nothing is shared."""
SBATCH_TIMEOUT_S = 30


def main(question_text: str) -> int:
    """Answer a question, in a file of its folder and in the log; returns the exit code.

    Parameters
    ----------
    question_text
        JSON: ``folder``, and ``sbatch``, words of a command that submits nothing, or null.
    """
    question = json.loads(question_text)
    folder = question["folder"]
    answer: dict[str, Any] = {
        "began": time.time(),
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "versions": versions(),
        "code": code(),
        "gpus": gpus(),
        "interfaces": interfaces(),
        "sbatch": submission(question["sbatch"]),
        "greeting": _read(os.path.join(folder, GREETING)),
        "trouble": file_trouble(folder),
    }
    answer["ended"] = time.time()
    text = json.dumps(answer)
    exit_code = 0
    try:
        with open(os.path.join(folder, ANSWER + ".new"), "w") as file:
            file.write(text)
        os.replace(os.path.join(folder, ANSWER + ".new"), os.path.join(folder, ANSWER))
    except OSError:
        exit_code = NOT_WRITABLE if os.path.isdir(folder) else NOT_SEEN
    sys.stdout.write("\n" + MARK + text + "\n")
    return exit_code


def versions() -> dict[str, str]:
    """Versions of packages; why it cannot be imported after ``!`` of one that is not."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = str(getattr(importlib.import_module(name), "__version__", "?"))
        except Exception as error:  # a broken installation raises anything
            found[name] = "!" + type(error).__name__ + ": " + str(error)
    return found


def code() -> dict[str, str]:
    """Folder of the package, and SHA-256 of its modules in the order of their names."""
    try:
        package = importlib.import_module("hpcgeom")
        root = os.path.dirname(os.path.abspath(str(package.__file__)))
    except Exception:
        return {"folder": "", "digest": ""}
    names = [os.path.join(at, name) for at, _, files in os.walk(root) for name in files]
    digest = hashlib.sha256()
    for name in sorted(os.path.relpath(name, root) for name in names if name.endswith(".py")):
        with open(os.path.join(root, name), "rb") as file:
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read()).digest())
    return {"folder": root, "digest": digest.hexdigest()}


def gpus() -> list[dict[str, Any]]:
    """Name and bytes of memory of each GPU that torch may use here."""
    try:
        cuda = importlib.import_module("torch").cuda
        found = [cuda.get_device_properties(number) for number in range(cuda.device_count())]
        return [{"name": gpu.name, "bytes": gpu.total_memory} for gpu in found]
    except Exception:
        return []


def interfaces() -> dict[str, str] | None:
    """The IPv4 address of each network interface, empty where it has none; None where nobody can say."""
    try:
        addresses = importlib.import_module("psutil").net_if_addrs()
    except Exception:
        return None
    return {
        name: next((one.address for one in found if one.family == socket.AF_INET), "")
        for name, found in addresses.items()
    }


def submission(command: list[str] | None) -> str:
    """Why jobs cannot be submitted from here; empty where they can, or nobody asked."""
    if command is None:
        return ""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    kept.update({name: value for name, value in os.environ.items() if name.startswith("SLURM_CONF")})
    try:
        done = subprocess.run(
            command,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SBATCH_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else " ".join(done.stdout.decode(errors="replace").split())


def file_trouble(folder: str) -> str:
    """Why records cannot be kept in a folder; empty where names are made once, replaced and linked."""
    if not os.path.isdir(folder):
        return "it is not there"
    try:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            first, second = os.path.join(own, "first"), os.path.join(own, "second")
            for name, text in ((first, "old"), (second, "new")):
                with open(name, "x") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(second, first)
            if _read(first) != "new":
                return "a replaced file keeps its old content"
            os.link(first, second)
            try:
                os.link(first, second)
            except FileExistsError:
                return ""
            return "a name can be created twice"
    except OSError as error:
        return str(error.strerror or error)


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read()
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.path[:] = [place for place in sys.path if place]  # where we happen to be is no place of modules
    sys.exit(main(sys.argv[1]))
