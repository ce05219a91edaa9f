"""What a launcher takes from a profile: where a stage goes, what of a node it takes, how Python starts."""

from __future__ import annotations

import shlex

import pytest

from hpcgeom.manifest.profile_sections import Profile


def profile(**sections) -> Profile:
    return Profile.model_validate({"name": "x", **sections})


def test_a_stage_goes_where_it_says_and_else_where_all_go():
    every = {
        "partition": "cpu",
        "account": "a",
        "qos": "q",
        "constraint": "c",
        "reservation": "r",
        "exclude": "n1",
    }
    found = profile(
        slurm=every, extract={"partition": "gpu", "qos": "long"}, collect={"account": "b", "constraint": "d"}
    )
    assert found.slurm_of("search") == every
    assert found.slurm_of("extract") == {**every, "partition": "gpu", "qos": "long"}
    assert found.slurm_of("collect") == {**every, "account": "b", "constraint": "d"}
    assert found.job("extract") is found.extract
    assert found.job("geometry") is found.geometry


@pytest.mark.parametrize("stage", ["prepare", "slurm", "name", ""])
def test_only_stages_with_jobs_have_a_section(stage):
    with pytest.raises(ValueError, match="expected one of extract, search, geometry, collect, found '"):
        profile().job(stage)


def test_facts_of_nodes_are_those_of_the_stage_first():
    found = profile(
        node={"cpus": 64, "memory_gb": 500, "gpus": 4, "gpu_memory_gb": 80},
        extract={"node": {"memory_gb": 900}},
        search={"node": {"gpus": 0}},
    )
    assert found.node_of("collect") == found.node
    assert found.node_of("extract").model_dump() == {
        "cpus": 64,
        "memory_gb": 900,
        "gpus": 4,
        "gpu_memory_gb": 80,
    }
    assert found.node_of("search").model_dump() == {
        "cpus": 64,
        "memory_gb": 500,
        "gpus": 0,
        "gpu_memory_gb": None,
    }


@pytest.mark.parametrize(
    ("dask", "stage", "nodes", "processes", "gpus"),
    [
        ({"mode": "allocation", "workers": 6, "nodes": 2}, "search", 2, 3, 2),
        ({"mode": "allocation", "workers": 6}, "geometry", 1, 6, 4),
        ({"mode": "local", "workers": 6}, "search", 1, 6, 4),
        ({"mode": "jobqueue", "workers": 6}, "search", 1, 1, 4),
        ({"mode": "allocation", "workers": 6, "nodes": 2}, "extract", 1, 2, 4),
        ({"mode": "allocation", "workers": 6, "nodes": 2}, "collect", 1, 1, 4),
    ],
)
def test_what_one_node_carries_of_a_job(dask, stage, nodes, processes, gpus):
    job = {"gpus": 4}
    found = profile(dask=dask, extract={**job, "processes": 2}, search=job, geometry=job, collect=job)
    assert (found.n_nodes(stage), found.processes_per_node(stage)) == (nodes, processes)
    assert found.gpus_per_node(stage) == gpus


@pytest.mark.parametrize(
    ("environment", "command", "setup"),
    [
        ({}, ["/usr/bin/python 3"], ()),
        ({"python": "/opt/py/bin/python3"}, ["/opt/py/bin/python3"], ()),
        ({"venv": "/env"}, ["/env/bin/python"], ("source /env/bin/activate || exit 1",)),
        ({"conda": "e"}, ["python"], ('eval "$(conda shell.bash hook)"', "conda activate e || exit 1")),
        ({"conda": "/e=1"}, ["python"], ('eval "$(conda shell.bash hook)"', "conda activate /e=1 || exit 1")),
        ({"apptainer": "/i.sif"}, ["apptainer", "exec", "/i.sif", "python"], ()),
    ],
)
def test_python_starts_as_the_environment_says(environment, command, setup):
    found = profile(environment=environment, dask={"mode": "local"})
    assert found.python_command("/usr/bin/python 3") == command
    assert shlex.split(shlex.join(command)) == command
    assert found.setup_lines() == setup


def test_a_container_sees_gpus_only_where_a_job_has_some():
    found = profile(environment={"apptainer": "i"}, dask={"mode": "local"}, extract={"gpus": 1})
    with_gpus, without = ["apptainer", "exec", "--nv", "i", "python"], ["apptainer", "exec", "i", "python"]
    assert found.python_command("python", "extract") == with_gpus
    assert found.python_command("python", "search") == without
    assert found.python_command("python") == with_gpus


def test_a_python_without_a_folder_is_refused():
    with pytest.raises(ValueError, match=r"expected the path of a Python such as .*: write the whole path"):
        profile(environment={"python": "python3"})
