"""A real SLURM cluster of two nodes on this machine, in one folder.

    python tools/slurm_lab/lab.py start FOLDER [--no-accounting] [--cpus N] ...
    export SLURM_CONF=FOLDER/slurm.conf
    python tools/slurm_lab/lab.py stop FOLDER

Needs Debian's slurm-wlm and munge, and slurmdbd and mariadb-server for accounting.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from lab_cluster import Lab
from lab_daemons import ORDER_OF_STOPPING
from lab_options import NODES, PARTITIONS, LabOptions
from lab_processes import LabError

__all__ = ["Lab", "LabError", "LabOptions", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command; returns the exit code."""
    given = vars(_parser().parse_args(arguments))
    command, folder = given.pop("command"), given.pop("folder")
    try:
        if command == "start":
            lab = Lab(folder, **given)
            lab.start()
            said = _exports(lab)
        else:
            said = _COMMANDS[command](Lab(folder), **given) or ""
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(said)
    return 0


def _status(lab: Lab) -> str:
    running = lab.running
    if not running:
        return "the lab is stopped\n"
    lines = [f"{name}: {'running' if name in running else 'not running'}" for name in _daemons_of(lab)]
    if "slurmctld" in running:
        lines += [f"node {name}: {lab.node_state(name)}" for name in NODES]
    return "".join(f"{line}\n" for line in lines) + _exports(lab)


def _daemons_of(lab: Lab) -> list[str]:
    of_accounting = () if lab.options.accounting else ("slurmdbd", "mariadbd")
    return [name for name in reversed(ORDER_OF_STOPPING) if name not in of_accounting]


def _exports(lab: Lab) -> str:
    return "".join(f"export {name}={value}\n" for name, value in lab.environment.items())


def _restart_node(lab: Lab, name: str) -> None:
    lab.stop_node(name)
    lab.start_node(name)


def _restart_controller(lab: Lab) -> None:
    lab.stop_controller()
    lab.start_controller()


def _restart_accounting(lab: Lab) -> None:
    lab.stop_accounting()
    lab.start_accounting()


_COMMANDS: Mapping[str, Callable[..., str | None]] = {
    "stop": Lab.stop,
    "status": _status,
    "kill-node": Lab.kill_node,
    "stop-node": Lab.stop_node,
    "start-node": Lab.start_node,
    "restart-node": _restart_node,
    "node-down": Lab.node_down,
    "node-resume": Lab.node_resume,
    "partition-down": Lab.partition_down,
    "partition-up": Lab.partition_up,
    "stop-controller": Lab.stop_controller,
    "start-controller": Lab.start_controller,
    "restart-controller": _restart_controller,
    "stop-accounting": Lab.stop_accounting,
    "start-accounting": Lab.start_accounting,
    "restart-accounting": _restart_accounting,
    "reset": Lab.reset,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    start = commands.add_parser("start", help="start an empty cluster and print what to export")
    start.add_argument("folder", metavar="FOLDER")
    for option in fields(LabOptions):
        flag = f"--{option.name.replace('_', '-')}"
        if isinstance(option.default, bool):
            start.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default)
        else:
            start.add_argument(flag, type=int, default=option.default, metavar="N")
    for name in _COMMANDS:
        command = commands.add_parser(name)
        command.add_argument("folder", metavar="FOLDER")
        if "node" in name:
            command.add_argument("name", choices=NODES)
        if "partition" in name:
            command.add_argument("name", choices=PARTITIONS)
        if name == "kill-node":
            command.add_argument("--keep-steps", dest="steps", action="store_false", help="its jobs live on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
