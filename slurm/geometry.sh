#!/usr/bin/env bash
#SBATCH --job-name=hpcgeom-geometry
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR2@120
#SBATCH --requeue
#SBATCH --open-mode=append
#
# Intrinsic dimension and overlaps, the dataset and the figures, on Dask workers in this job, by hand:
#
#   sbatch --dependency=afterany:JOB slurm/geometry.sh [MANIFEST [RUN]]
#
# It refuses, and names what is missing, where neighbors are not all there.
set -euo pipefail
source "${HPCGEOM_SLURM:-${SLURM_SUBMIT_DIR:-.}/slurm}/common.sh"

exec hpcgeom task "$run" --stage geometry,collect --dask allocation
