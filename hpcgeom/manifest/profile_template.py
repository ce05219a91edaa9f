"""The commented profile from which a user starts."""

from __future__ import annotations

from hpcgeom.manifest.template import filled


def profile_template(name: str) -> str:
    """Text of a valid profile in which every key is explained and has its default.

    Parameters
    ----------
    name
        Name of the profile.

    Raises
    ------
    InputError
        `name` cannot be the name of a file everywhere.
    """
    return filled(_TEMPLATE, name)


_TEMPLATE = """\
# A profile says what a cluster is like and how runs are laid out on it. It changes no number of any result.
# Every key is shown with its default, so every line but the name may be left out.
# Relative paths start at the folder of this file; ~ and $VARIABLES are expanded in setup only.

name: <name>

slurm:                           # what sbatch is told of every job
  partition: null                # such as gpu, or gpu,gpu-long; null: the cluster's default
  account: null                  # who pays
  qos: null
  constraint: null               # features of nodes, such as 'a100&ib' or '[rack1|rack2]'
  reservation: null
  exclude: null                  # nodes to leave out, such as 'node[01-04,07]'
  max_array_size: null           # the cluster's MaxArraySize; null: the cluster is asked
  signal_before_end_s: 120       # seconds before the walltime at which a job is told to stop
  max_requeues: 20               # how often a job puts itself back into the queue

environment:                     # how Python starts; at most one of python, venv, conda and apptainer
  python: null                   # /path/to/bin/python; null: the Python that submits
  venv: null                     # folder of a virtual environment
  conda: null                    # name or path of an environment; conda is in PATH, or setup sources conda.sh
  apptainer: null                # image of a container, with dask.mode local; sees GPUs where a job has some
  modules: []                    # such as [GCC/12.3.0, CUDA/12.4.0]; loaded first
  setup: []                      # then lines of shell: export source . module ml ulimit umask unset conda
                                 # mamba micromamba spack; such as 'export TMPDIR=/scratch/$USER'
  variables: {}                  # last, literal values, such as {OMP_PLACES: cores}

node:                            # facts of one node; what exceeds them is refused at once
  cpus: null
  memory_gb: null                # GiB
  gpus: null
  gpu_memory_gb: null            # GiB of one GPU

extract:                         # the forward passes: an array for each model
  partition: null                # these four: instead of those of slurm
  account: null
  qos: null
  constraint: null
  walltime: "04:00:00"           # HH:MM:SS or D-HH:MM:SS, whole minutes
  cpus: 1                        # of one process
  memory_gb: null                # GiB of one process; null: worked out by the plan
  gpus: 0                        # of one job
  gpu_type: null                 # as the cluster names it, such as a100
  node: null                     # facts of these nodes that differ from those above, such as {gpus: 4}
  gflops_per_s: null             # of one process, or of one GPU: then the plan says hours
  jobs: 8                        # the most elements over which a model's units are spread
  units_per_job: null            # or instead of jobs: units of one element
  jobs_at_once: 256              # elements of an array that run at the same time
  processes: 1                   # of one job on a node, each of which does units of its own
  nodes: 1                       # of one job whose processes run a model together (strategy: pipeline)

search:                          # the neighbors
  partition: null
  account: null
  qos: null
  constraint: null
  walltime: "04:00:00"
  cpus: 1                        # of one Dask worker
  memory_gb: null                # GiB of one Dask worker
  gpus: 0
  gpu_type: null
  node: null
  gflops_per_s: null             # of one Dask worker, or of one GPU: then the plan says hours

geometry:                        # what is measured
  partition: null
  account: null
  qos: null
  constraint: null
  walltime: "04:00:00"
  cpus: 1
  memory_gb: null
  gpus: 0
  gpu_type: null
  node: null

collect:                         # puts the results together, in one process
  partition: null
  account: null
  qos: null
  constraint: null
  walltime: "04:00:00"
  cpus: 1
  memory_gb: null
  gpus: 0
  gpu_type: null
  node: null

dask:                            # the workers of search and geometry
  mode: allocation               # allocation: on the nodes of one job | jobqueue: each is a job of its own
                                 # | local: processes on one node
  workers: 4
  nodes: 1                       # over which they are spread evenly
  start_timeout_s: 300           # for the first worker to come
  interface: null                # network interface of the nodes, such as ib0
  refill_every_s: 30             # jobqueue: between looks for workers that are gone

logs: null                       # folder of the jobs' logs, which all nodes see; null: logs of the run
"""
