"""What is accepted, against bash itself: it stays one word, and it runs nothing but what is allowed."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from hpcgeom.manifest import shell_text
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.manifest.setup_text import COMMANDS, checked_line, checked_name

KINDS = {name: kind for name, kind in vars(shell_text).items() if isinstance(kind, shell_text.Kind)}
SUBSTITUTIONS = [
    "$(touch canary)",
    "`touch canary`",
    "${X:-$(touch canary)}",
    "<(touch canary)",
    "a[$(touch canary)]",
]
ENDS = [
    ";touch canary",
    "&&touch canary",
    "|touch canary",
    "\ntouch canary",
    ">canary",
    "&",
    "\n",
    "\r",
    "\t",
    "\0",
    "#",
]
EXPANSIONS = [
    "$X",
    "${X}",
    "$SUBSCRIPT",
    "${SUBSCRIPT}",
    "$LINES",
    "$",
    "$$",
    "$1",
    "!",
    "*",
    "~",
    "~/",
    "{a,b}",
]
PLAIN = ["a", "X", "x=", "1", "é", "BASH_ENV=canary.sh", "--", "-c", *" /='\"\\[]-%@:,.+^"]
FRAGMENTS = [*SUBSTITUTIONS, *ENDS, *EXPANSIONS, *PLAIN]
VERBS = [
    "load",
    "use",
    "activate",
    "env activate",
    "run touch canary",
    "-n",
    "-Sn unlimited",
    "027",
    "X=",
    "/dev/null",
]
TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=6).map("".join)
ANYTHING = {
    "X": "$(touch canary); touch canary `touch canary`",
    "SUBSCRIPT": "PATH[$(>canary)]",
    "LINES": "a\ntouch canary\n",
}
STUBS = "".join(
    f"{name}() {{ :; }}\n" for name in COMMANDS if name not in {"export", "ulimit", "umask", "unset"}
)


def accepts(check, value: str) -> bool:
    try:
        return check(value) == value
    except PydanticCustomError:
        return False


def bash(script: str, folder, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder, with variables that hold anything."""
    return subprocess.run(
        ["bash", "--norc", *options, "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **ANYTHING},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


LINES = st.builds(
    "{} {}{}".format,
    st.sampled_from([*COMMANDS, "touch", "eval", "X=1"]),
    st.sampled_from(["", *VERBS]),
    TEXT,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, min_size=20, max_size=60))
def test_accepted_lines_run_nothing_but_their_command(tmp_path, lines):
    accepted = [line for line in lines if accepts(checked_line, line)]
    script = STUBS + "\n".join(accepted)
    assert bash(script, tmp_path, "-n").stderr == ""
    bash(script, tmp_path)
    assert os.listdir(tmp_path) == []
    for line in accepted:
        assert line.isprintable()
        assert len(line) <= 1000


def test_the_check_above_would_notice(tmp_path):
    for line in (
        "unset $SUBSCRIPT",
        "export X=$(touch canary)",
        "export X=`touch canary`",
        "source a;touch canary",
    ):
        assert not accepts(checked_line, line)
        bash(STUBS + line, tmp_path)
        assert os.listdir(tmp_path) == ["canary"], line
        (tmp_path / "canary").unlink()


@pytest.mark.parametrize(
    "line",
    [
        *("export A=b C=$D/e", "export PATH=/x/bin:${PATH}", "export A=", "export A=~/b", "source ~/.bashrc"),
        *(
            "source $HOME/x.sh a",
            ". /etc/profile.d/modules.sh",
            "module --force purge",
            "module load a/1.2 b",
        ),
        *("module use /sw/modules", "ml GCC/12 -x", "ulimit -n 4096", "ulimit -S -n hard", "umask 0027"),
        *("conda activate x", "conda deactivate", "micromamba activate /env/x", "spack env activate x"),
        *(
            "spack load x@1",
            "unset A B",
            "export SLURM_CPU_BIND=none",
            "unset SLURM_EXPORT_ENV",
            "source  /a",
        ),
    ],
)
def test_lines_that_clusters_need_are_accepted(tmp_path, line):
    assert checked_line(line) == line
    assert bash(STUBS + line, tmp_path).stderr == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "rm -rf /",
            "expected a line that begins with export, source, ., .*: put other commands into a file, and",
        ),
        ("", "expected a line that begins with export"),
        (" export A=b", "expected a line that begins with export"),
        ("eval x", "expected a line that begins with export"),
        ("A=b", "expected a line that begins with export"),
        (
            "export A=b" + "c" * 1000,
            "expected a line of at most 1000 characters, .*: put it into a file and source",
        ),
        (
            "export A='b c'",
            "expected export and NAME=VALUE, in words of .*: put other values into environment.variab",
        ),
        ("export A", "expected export and NAME=VALUE"),
        ("export -f A=b", "expected export and NAME=VALUE"),
        ("export $A=b", "expected export and NAME=VALUE"),
        ("export A=$1", "expected export and NAME=VALUE"),
        ("source env.sh", "expected source and the path of a file that begins with /, ~/ or"),
        ("source", "expected source and the path"),
        ("conda run touch x", "expected conda and activate NAME, or deactivate"),
        ("mamba install x", "expected mamba and activate NAME, or deactivate"),
        ("spack build-env x touch y", "expected spack and load NAME"),
        ("module sh-to-mod bash x", "expected module and load NAME"),
        ("umask $X", "expected umask and three or four octal digits"),
        ("umask 999", "expected umask and three or four octal digits"),
        ("ulimit -n", "expected ulimit and -X LIMIT"),
        ("unset $X", "expected unset and names of variables"),
        ("unset -f module", "expected unset and names of variables"),
        (
            "export BASH_ENV=/x",
            "expected a variable that the shell does not need for itself, .*: leave BASH_ENV alone",
        ),
        (
            "export A=b IFS=/",
            "expected a variable that the shell does not need for itself, .*: leave IFS alone",
        ),
        (
            "export SLURM_ARRAY_TASK_ID=1",
            "expected a variable that the scheduler does not set, .*; of these only SLURM_CPU",
        ),
        (
            "unset SLURM_JOB_ID",
            "expected a variable that the scheduler does not set, .*: leave SLURM_JOB_ID alone",
        ),
    ],
)
def test_other_lines_are_refused(line, message):
    with pytest.raises(PydanticCustomError, match=f"^{message}"):
        checked_line(line)


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "A B", "A=b", "Ä", "A\n", "x" * 101, "PS4", "ENV", "SBATCH_X", "_"]
)
def test_names_of_variables_that_may_not_be_set(name):
    with pytest.raises(PydanticCustomError, match=r"^expected a (name of 1 to 100|variable that the)"):
        checked_name(name)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_accepted_is_one_word_of_one_line(tmp_path, name, data):
    kind = KINDS[name]
    matching = st.from_regex(kind.pattern, fullmatch=True)
    values = [
        value
        for value in data.draw(st.lists(matching | TEXT | st.text(), min_size=30, max_size=30))
        if accepts(kind.checked, value)
    ]
    for value in values:
        assert shlex.split(shlex.quote(value)) == [value]
        assert value.isascii()
        assert value.isprintable()
        assert not value.startswith("--")
        assert kind.min_length <= len(value) <= kind.max_length
    script = "\n".join(f"#SBATCH --x={shlex.quote(value)}" for value in values)
    assert bash(script, tmp_path, "-n").stderr == ""
    shown = bash(f"printf '%s\\n' {shlex.join(values)}" if values else "", tmp_path)
    assert shown.stdout == "".join(f"{value}\n" for value in values)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("CONSTRAINT", "a100&ib"),
        ("CONSTRAINT", "[rack1|rack2]"),
        ("CONSTRAINT", "(knl|haswell)&fast*2,x:1"),
        ("PARTITION", "gpu,gpu-long"),
        ("ACCOUNT", "abc@v100"),
        ("NODES", "node[01-04,07],gpu3"),
        ("GPU_TYPE", "nvidia_a100_3g.20gb"),
        ("INTERFACE", "ib0.8001"),
        ("PATH", "../env-3.11/x+y@z=1,2"),
        ("CONDA_NAME", "base"),
        ("MODULE", "Python/3.11.3-GCCcore-12.3.0"),
        ("MODULE", "2023"),
        ("VALUE", "expandable_segments:True,max_split_size_mb:128"),
        ("VALUE", "^lo,docker0"),
        ("VALUE", "{0:4},{4:4}"),
        ("VALUE", "-O2 -g"),
        ("VALUE", ""),
        ("JOB_NAME", "hpcgeom-0123abcd-0001-extract-esm2.8m"),
    ],
)
def test_values_that_clusters_need_are_accepted(kind, value):
    assert KINDS[kind].checked(value) == value


def test_setup_lines_of_a_whole_environment_are_shell(tmp_path):
    python = {"conda": "my-env", "modules": ["GCC/12", "2023"], "setup": ["export A=$X", "umask 0027"]}
    profile = Profile.model_validate(
        {"name": "x", "environment": {**python, "variables": {"B": "{0} 1", "C": ""}}}
    )
    assert profile.setup_lines() == (
        "module load GCC/12 || exit 1",
        "module load 2023 || exit 1",
        "export A=$X",
        "umask 0027",
        'eval "$(conda shell.bash hook)"',
        "conda activate my-env || exit 1",
        "export B='{0} 1'",
        "export C=''",
    )
    script = STUBS + "\n".join([*profile.setup_lines(), 'printf "%s|" "$B" "${C-unset}" "$A"; umask'])
    assert bash(script, tmp_path).stdout == f"{{0}} 1||{ANYTHING['X']}|0027\n"
    assert os.listdir(tmp_path) == []


def test_a_module_that_does_not_load_ends_the_job(tmp_path):
    profile = Profile.model_validate({"name": "x", "environment": {"modules": ["a"]}})
    ran = bash("module() { return 3; }\n" + "\n".join([*profile.setup_lines(), "echo goes on"]), tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
