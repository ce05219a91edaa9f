#!/usr/bin/env bash
#SBATCH --job-name=hpcgeom-extract
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#
# The extract units of a prepared run, by hand:
#
#   hpcgeom prepare -m MANIFEST --run-dir RUN         where there is a network
#   sbatch slurm/extract.sh RUN                       all units in one job
#   sbatch --array=0-7 slurm/extract.sh RUN           units shared by eight jobs
#
# Killed, requeued or submitted twice, the same command does only what is missing.
set -euo pipefail
run=${1:?"usage: sbatch [--array=0-N] slurm/extract.sh RUN"}
export HF_HUB_OFFLINE=1

# Element i of n takes units i, i + n, i + 2n, ...
element=${SLURM_ARRAY_TASK_ID:-0}
first=${SLURM_ARRAY_TASK_MIN:-0}
elements=${SLURM_ARRAY_TASK_COUNT:-1}
# While units are missing, status ends with 3.
units=$({ hpcgeom status "$run" --json || [ $? -eq 3 ]; } |
  python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["n_units"])')
indices=$(seq -s, "$((element - first))" "$elements" "$((units - 1))")
[ -n "$indices" ] || exit 0
exec srun hpcgeom task "$run" --stage extract --indices "$indices"
