"""Scripts for sbatch, read as bash and sbatch read them, and what becomes of sbatch's answers."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_scheduler import FakeScheduler

from hpcgeom.launch.slurm import scripts
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.scripts import JobScript, Placement

SINGLE = JobScript(
    name="hpcgeom-0123abcd-0003-search",
    command=(
        "/opt/py/python",
        "-m",
        "hpcgeom.cli.main",
        "task",
        "/r",
        "--job",
        "hpcgeom-0123abcd-0003-search",
    ),
    setup=("module load CUDA/12 || exit 1", "export A='b c'"),
    logs=Path("/r/logs"),
    walltime_s=5400,
    memory_gb=1.25,
    is_step=False,
)
ARRAY = replace(SINGLE, is_step=True, n_elements=30, at_once=4, cpus=3)


def options(text: str) -> dict[str, str]:
    """What sbatch reads: the lines before the first command, their words unquoted; each option once."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            (word,) = shlex.split(line.removeprefix("#SBATCH"))
            name, _, value = word.removeprefix("--").partition("=")
            assert word.startswith("--")
            assert name not in found
            found[name] = value
    return found


def body(text: str) -> list[str]:
    """What bash executes."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_single_job_asks_for_these_things_and_no_others():
    assert options(scripts.text_of(SINGLE)) == {
        "job-name": "hpcgeom-0123abcd-0003-search",
        "time": "90",
        "nodes": "1",
        "ntasks-per-node": "1",
        "cpus-per-task": "1",
        "mem": "1280M",
        "signal": "B:USR2@120",
        "requeue": "",
        "open-mode": "append",
        "output": "/r/logs/%j_0_log.out",
    }


def test_an_array_has_its_elements_a_log_each_and_a_warning_that_reaches_steps():
    found = options(scripts.text_of(ARRAY))
    assert found["array"] == "0-29%4"
    assert found["output"] == "/r/logs/%A_%a_0_log.out" == ARRAY.log
    assert found["signal"] == "USR2@120"
    assert found["cpus-per-task"] == "3"
    assert options(scripts.text_of(replace(ARRAY, n_elements=2)))["array"] == "0-1%2"


def test_where_jobs_go_is_said_in_sbatchs_words():
    where = Placement("gpu,long", "proj", "high", "[a|b]&c", "maint", "n[1-3,7]")
    found = options(scripts.text_of(replace(SINGLE, placement=where)))
    assert {
        key: found[key] for key in ("partition", "account", "qos", "constraint", "reservation", "exclude")
    } == {
        "partition": "gpu,long",
        "account": "proj",
        "qos": "high",
        "constraint": "[a|b]&c",
        "reservation": "maint",
        "exclude": "n[1-3,7]",
    }


@pytest.mark.parametrize(
    ("changes", "option", "value"),
    [
        ({"depends_on": ("7", "9")}, "dependency", "afterany:7:9"),
        ({"gpus": 2}, "gpus-per-node", "2"),
        ({"gpus": 2, "gpu_type": "a100"}, "gres", "gpu:a100:2"),
        ({"memory_gb": 0.0005}, "mem", "1M"),
        ({"memory_gb": 64}, "mem", "65536M"),
        ({"nodes": 3}, "nodes", "3"),
        ({"tasks_per_node": 4}, "ntasks-per-node", "4"),
        ({"warn_s": 300}, "signal", "B:USR2@300"),
        ({"walltime_s": 60}, "time", "1"),
        ({"nodes": 2}, "no-kill", ""),
    ],
)
def test_each_thing_that_is_asked_for_is_an_option(changes, option, value):
    assert options(scripts.text_of(replace(SINGLE, **changes)))[option] == value


def test_gpus_are_asked_for_in_one_way():
    assert "gpus-per-node" not in options(scripts.text_of(replace(SINGLE, gpus=2, gpu_type="a100")))
    assert not {"gres", "gpus-per-node"} & options(scripts.text_of(replace(SINGLE, gpu_type="a100"))).keys()


def test_no_key_for_accounting_is_given():
    for script in (SINGLE, ARRAY):
        assert "wckey" not in scripts.text_of(script)


@pytest.mark.parametrize("script", [SINGLE, ARRAY])
def test_bash_takes_a_script_for_a_script(script, tmp_path):
    path = tmp_path / "script.sh"
    path.write_text(scripts.text_of(script))
    assert subprocess.run(["/bin/bash", "-n", path]).returncode == 0
    assert path.read_text().startswith("#!/bin/bash\n")


def test_the_setup_is_there_as_it_was_written_before_the_command():
    lines = body(scripts.text_of(ARRAY))
    assert lines[:2] == list(ARRAY.setup)
    assert lines[-1].startswith("srun ")


def test_an_element_is_a_step_so_that_signals_reach_it():
    words = shlex.split(body(scripts.text_of(ARRAY))[-1])
    assert words[0] == "srun"
    assert words[-len(ARRAY.command) :] == list(ARRAY.command)
    assert "--cpus-per-task=3" in words
    assert words[words.index("--output") + 1] == "/r/logs/%A_%a_%t_log.out"
    assert "--error" not in words


def test_tasks_that_work_together_end_each_other_and_with_a_node():
    text = scripts.text_of(replace(ARRAY, nodes=2, tasks_per_node=4))
    words = shlex.split(body(text)[-1])
    assert {"--kill-on-bad-exit=0", "--wait=0"} < set(words)
    assert (options(text)["nodes"], options(text)["ntasks-per-node"]) == ("2", "4")
    assert "no-kill" not in options(text)
    assert "--wait=0" not in shlex.split(body(scripts.text_of(ARRAY))[-1])
    assert "no-kill" in options(scripts.text_of(replace(SINGLE, nodes=2)))


def test_a_driver_replaces_the_shell_of_its_script():
    lines = body(scripts.text_of(SINGLE))
    assert "srun" not in "".join(lines)
    assert lines[-2] == "trap '' USR1 USR2"
    assert shlex.split(lines[-1]) == ["exec", *SINGLE.command]


def test_a_warning_before_python_listens_does_not_end_it(tmp_path, monkeypatch):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print(*__import__('sys').argv[1:])"
    command = (sys.executable, "-c", program, "a b", "$(c)", "'")
    (tmp_path / "srun").write_text('#!/bin/sh\nwhile [ "$1" != sh ]; do shift; done\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for is_step in (True, False):
        text = scripts.text_of(replace(SINGLE, command=command, setup=(), is_step=is_step))
        done = subprocess.run(["/bin/bash", "-c", text], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "a b $(c) '\n"), done.stderr


@pytest.fixture
def scheduler(tmp_path, monkeypatch) -> FakeScheduler:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "timeout").symlink_to("/usr/bin/timeout")
    return FakeScheduler(folder, monkeypatch)


@pytest.fixture
def script(tmp_path) -> JobScript:
    return replace(SINGLE, logs=tmp_path / "logs")


@pytest.mark.parametrize(
    ("said", "job_id"),
    [
        ("Submitted batch job 12\n", "12"),
        ("*** job 99 of the day: maintenance ***\nSubmitted batch job 12\n", "12"),
        ("Welcome\nSubmitted batch job 12 on cluster lab\n", "12"),
    ],
)
def test_the_id_is_found_behind_a_banner(scheduler, script, said, job_id):
    scheduler.says("sbatch", said)
    assert scripts.submit(script) == job_id
    assert (script.logs).is_dir()
    (call,) = scheduler.calls("sbatch")
    assert call.endswith(".sh")
    assert Path(call).parent == script.logs


@pytest.mark.parametrize(
    "said",
    [
        *("", "12\n", "job 12\n", "Submitted batch job x\n", "x Submitted batch job 3"),
        "Submitted batch job 1\nSubmitted batch job 2\n",
    ],
)
def test_an_answer_that_names_no_job_or_two_is_an_error(scheduler, script, said):
    scheduler.says("sbatch", said)
    with pytest.raises(
        SchedulerError,
        match=rf"^the job '{script.name}' was not accepted: sbatch said '.*', which names no job:",
    ):
        scripts.submit(script)


def test_what_sbatch_refuses_is_an_error_with_its_words(scheduler, script):
    scheduler.says("sbatch", stderr="sbatch: error: Invalid account\nor partition", code=1)
    with pytest.raises(
        SchedulerError,
        match=r"'hpcgeom-\S+' was not accepted: sbatch: error: Invalid account or partition: correct the "
        r"profile, and see hpcgeom doctor --profile; what was accepted before stays, and the same command",
    ):
        scripts.submit(script)


def test_an_sbatch_that_hangs_is_ended_and_the_job_may_be_there(scheduler, script, monkeypatch):
    monkeypatch.setattr(scripts, "TIMEOUT_S", 0.5)
    scheduler.hangs("sbatch")
    with pytest.raises(
        SchedulerError,
        match=rf"^sbatch did not answer within 0.5 s: .*may have accepted the job '{script.name}' all the",
    ):
        scripts.submit(script)


def test_an_sbatch_that_does_not_even_end_when_told_to_is_killed(scheduler, script, monkeypatch):
    monkeypatch.setattr(scripts, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(scripts, "_KILL_AFTER_S", 0.3)
    scheduler.says("sbatch", then="trap '' TERM; /bin/sleep 5; /bin/sleep 60")
    with pytest.raises(SchedulerError, match=r"^sbatch did not answer within 0.3 s"):
        scripts.submit(script)


def test_the_environment_is_as_outside_of_a_job_for_sbatch_and_as_before_afterwards(
    scheduler, script, monkeypatch
):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_QOS", "low")
    before = dict(os.environ)
    scheduler.says("sbatch", "Submitted batch job 12\n")
    scripts.submit(script)
    assert not {"SLURM_JOB_ID", "SBATCH_QOS"} & scheduler.environment("sbatch").keys()
    assert dict(os.environ) == before
