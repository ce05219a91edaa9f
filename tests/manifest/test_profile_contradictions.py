"""Keys of a profile that are right one by one, and wrong together or on this cluster."""

from __future__ import annotations

import pytest
from profile_examples import check_refused, loaded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "node: {cpus: 8}\nextract: {cpus: 3, processes: 3}\n",
            r"3: extract\.cpus: expected at most the 8 CPUs of a node \(node\.cpus\), found 9 \(3 processes",
        ),
        (
            "node: {memory_gb: 16}\nsearch: {memory_gb: 4.5}\n",
            r"3: search\.memory_gb: expected at most the 16 GiB of a node \(node\.memory_gb\), found 18 \(",
        ),
        (
            "node: {gpus: 4}\nextract: {gpus: 5}\n",
            r"3: extract\.gpus: expected at most the 4 GPUs of a node \(node\.gpus\), found 5: ask for less",
        ),
        ("node: {gpus: 0}\ncollect: {gpus: 1}\n", r"3: collect\.gpus: expected at most the 0 GPUs of a node"),
        (
            "node: {gpus: 9}\nextract: {gpus: 5, node: {gpus: 4}}\n",
            r"3: extract\.gpus: expected at most the 4 GPUs of a node",
        ),
        (
            "node: {gpus: 0, gpu_memory_gb: 80}\n",
            r"2: node\.gpu_memory_gb: expected no such key, because gpus is 0, found 80: remove one of them",
        ),
        (
            "extract: {gpu_type: a100}\n",
            r"2: extract\.gpu_type: expected no such key, because gpus is 0, found 'a100'",
        ),
        (
            "extract: {gpus: 3, processes: 2}\n",
            r"2: extract\.processes: expected a number that divides the 3 GPUs of a job, found 2: change",
        ),
        (
            "extract: {jobs: 4, units_per_job: 2}\n",
            r"2: extract\.units_per_job: expected jobs or units_per_job, found both \(4, 2\): remove one",
        ),
        (
            "dask: {workers: 5, nodes: 2}\n",
            r"2: dask\.workers: expected a multiple of dask\.nodes = 2, found 5: change one of them",
        ),
        (
            "dask: {mode: local, nodes: 2}\n",
            r"2: dask\.nodes: expected 1, because dask\.mode is local, found 2: set it to 1, or change mode",
        ),
        (
            "dask: {nodes: 2}\nsearch: {gpus: 3}\n",
            r"3: search\.gpus: expected a multiple of dask\.nodes = 2, found 3: change one of them",
        ),
        *(
            (
                f"environment: {{apptainer: image.sif}}\ndask: {{{mode}}}\n",
                r"3: dask\.mode: expected local, because environment\.apptainer is .*, found '\w+': set it",
            )
            for mode in ("mode: allocation", "mode: jobqueue", "")
        ),
        (
            "slurm: {signal_before_end_s: 300}\ncollect: {walltime: 00:10:00}\n",
            r"3: collect\.walltime: expected more than twice .* = 300 seconds, found '00:10:00', 600",
        ),
        (
            "environment: {modules: [a, b, a]}\n",
            r"2: environment\.modules: expected every item once, found a more than once: keep one of each",
        ),
        (
            "environment: {variables: {1a: b}}\n",
            r"2: environment\.variables\.1a: expected a name of 1 to 100 of .*: correct the name",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, text, expected):
    check_refused(tmp_path, text, expected)


def test_a_node_too_small_for_the_defaults_is_refused_for_each_stage(tmp_path):
    check_refused(
        tmp_path,
        "node: {cpus: 3}\n",
        r"1: search\.cpus: expected at most the 3 CPUs .*found 4 \(4 processes of 1\)",
        r"1: geometry\.cpus: .*found 4 ",
    )


def test_a_python_has_one_place(tmp_path):
    check_refused(
        tmp_path,
        "environment:\n  venv: a\n  conda: b\n  python: /c\n",
        r"3: environment\.venv: expected at most one of python, venv, conda and apptainer, found python and "
        "venv and conda: remove venv or python",
        r"4: environment\.conda: .*: remove conda or python",
    )


@pytest.mark.parametrize(
    "text",
    [
        "node: {cpus: 9}\nextract: {cpus: 3, processes: 3}\n",
        "node: {gpus: 0}\nextract: {gpus: 4, node: {gpus: 4, gpu_memory_gb: 80}}\n",
        "node: {gpus: 4, gpu_memory_gb: 80}\nextract: {gpus: 4}\nsearch: {node: {gpus: 0}}\n",
        "node: {cpus: 4, memory_gb: 16}\nsearch: {cpus: 4, memory_gb: 16}\ndask: {nodes: 4}\n",
        "node: {cpus: 4}\nsearch: {cpus: 4}\ndask: {mode: jobqueue, workers: 100}\n",
        "node: {gpus: 2}\nsearch: {gpus: 4}\ndask: {nodes: 2}\n",
        "environment: {apptainer: image.sif}\ndask: {mode: local}\n",
        "slurm: {signal_before_end_s: 29}\nextract: {walltime: 00:01:00}\n",
        "slurm: {signal_before_end_s: 299}\ncollect: {walltime: 00:10:00}\n",
        "extract: {gpus: 4, processes: 2, gpu_type: a100}\n",
    ],
)
def test_what_just_fits_is_accepted(tmp_path, text):
    assert loaded(tmp_path, text).profile.name == "demo"


SET_BY_HPCGEOM = (
    "wrap",
    "chdir",
    "uid",
    "gid",
    "export",
    "array",
    "output",
    "error",
    "job-name",
    "requeue",
    "signal",
)


@pytest.mark.parametrize("section", ["slurm", "extract", "collect", "environment", "dask"])
@pytest.mark.parametrize("key", [*SET_BY_HPCGEOM, "WRAP", "open_mode", "job_name", "dependency"])
def test_options_that_hpcgeom_sets_are_no_keys(tmp_path, section, key):
    check_refused(
        tmp_path,
        f"{section}:\n  {key}: x\n",
        rf"3: {section}\.{key}: expected one of .*, found '{key}': hpcgeom sets this itself: remove it$",
    )


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("mail-user", "hpcgeom sends no mail"),
        ("time", "write walltime"),
        ("mem", "write memory_gb, the GiB of one process"),
        ("cpus-per-task", "write cpus"),
        ("gres", "write gpus, and gpu_type"),
        ("nodelist", "write slurm.constraint, or slurm.exclude"),
        ("wall_time", "did you mean 'walltime'"),
    ],
)
def test_other_options_of_sbatch_have_their_word_here(tmp_path, key, mend):
    check_refused(
        tmp_path, f"extract: {{{key}: x}}\n", rf"2: extract\.{key}: expected one of .*, found '{key}': {mend}"
    )
