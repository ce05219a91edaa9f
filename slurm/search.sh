#!/usr/bin/env bash
#SBATCH --job-name=hpcgeom-search
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR2@120
#SBATCH --requeue
#SBATCH --open-mode=append
#
# The nearest neighbors of all representations, on Dask workers in this job (one for each task), by hand:
#
#   sbatch --dependency=afterany:JOB slurm/search.sh [MANIFEST [RUN]]
#   sbatch --nodes=4 --ntasks=64 slurm/search.sh MANIFEST
#
# It refuses, and names what is missing, where activations are not all there.
set -euo pipefail
source "${HPCGEOM_SLURM:-${SLURM_SUBMIT_DIR:-.}/slurm}/common.sh"

exec hpcgeom task "$run" --stage search,merge --dask allocation
