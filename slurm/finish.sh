#!/usr/bin/env bash
#SBATCH --job-name=hpcgeom-finish
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#
# Everything of a prepared run that is still missing (neighbors, geometry, results, figures), on one node:
#
#   sbatch --dependency=afterany:JOB slurm/finish.sh RUN
set -euo pipefail
run=${1:?"usage: sbatch slurm/finish.sh RUN"}
export HF_HUB_OFFLINE=1
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" hpcgeom resume "$run" --workers "${SLURM_CPUS_PER_TASK:-1}"
